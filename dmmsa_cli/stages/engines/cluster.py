"""Tasks on a Ray cluster: Ray finds each a place, starts it again where a machine is lost, and carries what it tells.

Ray's own part begins at `ray.init` and ends at `ray.shutdown`. What a task tells goes through a queue that lives on
the machine of the command; what became of it is Ray's result. A stop is Ray's own interrupt of a task, which reaches a
training as Ctrl-C does: it saves, and its result is heard to the end.
"""

from __future__ import annotations

import logging
import os
import platform
import secrets
import signal
import socket
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from dmmsa_cli import __version__
from dmmsa_cli.commands import to_go_on
from dmmsa_cli.errors import DeviceUnavailable, DmmsaError, FolderBusy, Interrupted, InvalidInput, PackageMissing
from dmmsa_cli.files import PARTIAL, remove_stale
from dmmsa_cli.plain import plural
from dmmsa_cli.stages.engines.gpus import VISIBLE
from dmmsa_cli.stages.engines.queue import Queue
from dmmsa_cli.stages.engines.tasks import Event, Outcome, Step, Task, Tell, attempt

if TYPE_CHECKING:
    from dmmsa_cli.stages.engines.opening import Wish

RETRIES = 3  # of a task whose process or machine was lost
LISTENING = 0.25  # seconds between two looks at what tasks tell
OFTEN = 0.25  # seconds between two steps of a task that are told
LOCK_OF_THE_DEAD = 150  # seconds until a file system has noticed that a machine is gone; NFS takes 90
ANSWER = 60  # seconds that a machine has to answer in
KNOCK = 10  # seconds that a cluster has to take a connection in
STORE = 100 * 2**20  # bytes of Ray's memory for objects; ours are small
INSTALL = "pip install 'dmmsa[cluster]', which brings Ray; --engine local needs nothing."

T = TypeVar("T", bound=Task)


@dataclass(frozen=True)
class Machine:
    """A machine of a cluster, as far as Ray may use it."""

    node: str
    name: str
    cpus: int
    gpus: int


@dataclass(frozen=True)
class Share:
    """What a run gets of a machine."""

    threads: int
    gpu: float
    """Part of a GPU; 0 for none."""

    def fits(self, machine: Machine) -> int:
        """Return how many runs a machine has room for."""
        on_gpus = machine.gpus * round(1 / self.gpu) if self.gpu else machine.cpus
        return min(machine.cpus // self.threads, on_gpus)


class Cluster:
    """Runs each task where a Ray cluster has room for it.

    Args:
        at_once: how many at a time.
        share: what each gets.
        machines: those there are.
    """

    def __init__(self, at_once: int, share: Share, machines: Sequence[Machine]) -> None:
        self.at_once, self.share, self.machines = at_once, share, machines

    def in_words(self) -> str:
        """Say what is done with what there is."""
        from dmmsa_cli.stages.engines.opening import BIT_EQUAL

        gpu = f" and {self.share.gpu:g} of a GPU" if self.share.gpu else ""
        return (
            f"{plural(self.at_once, 'run')} at a time on {plural(len(self.machines), 'machine')}, "
            f"{plural(self.share.threads, 'thread')}{gpu} each; {BIT_EQUAL}."
        )

    def run(self, tasks: Iterable[T], tell: Tell) -> Generator[Outcome[T], None, None]:
        """Yield what became of each task, as they end; see `Engine`."""
        import ray
        from ray.exceptions import RayError

        queue, events = Queue(tasks, tell, self.at_once), _open_queue()
        remote, call = _remote(self.share), _Call.of_this_process()
        running: dict[Any, Task] = {}  # by Ray's reference to its outcome
        try:
            while True:
                while (task := queue.next()) is not None:
                    running[remote.options(name=str(task)).remote(task, self.share, call, events)] = task
                if not running:
                    return
                ended, _ = ray.wait(list(running), timeout=LISTENING)
                _listen(events, tell)  # before the outcome, which a task gives when all it told has arrived
                for reference in ended:
                    yield from queue.ended(_outcome(reference, running.pop(reference)))
        except KeyboardInterrupt:
            under_way = "; ".join(map(str, queue.under_way)) or "before the first run"
            raise Interrupted(f"{under_way}; what was finished is kept.", to_go_on()) from None
        except RayError as error:
            raise DmmsaError(f"Ray has failed: {_first_line(error)}", to_go_on()) from error
        finally:  # stopped, failed or left by the caller: whatever still runs saves what it has
            _stop(list(running))


# --- in the process of the command ----------------------------------------------------------------------------------


def _open_queue() -> Any:  # noqa: ANN401  (Ray has no types)
    """Return a queue on this machine, so that no other's loss takes what was told with it."""
    import ray
    from ray.util.queue import Queue as RayQueue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return RayQueue(actor_options={"num_cpus": 0, "scheduling_strategy": here})


def _remote(share: Share) -> Any:  # noqa: ANN401
    """Return what Ray calls for a task, with what a task gets."""
    import ray

    return ray.remote(
        num_cpus=share.threads,
        num_gpus=share.gpu,
        max_retries=RETRIES,
        max_calls=1 if share.gpu else 0,  # a process that has used a GPU can't be given another
        scheduling_strategy="SPREAD",
    )(_run_there)


def _listen(events: Any, tell: Tell) -> None:  # noqa: ANN401
    waiting = events.qsize()
    for event in events.get_nowait_batch(waiting) if waiting else ():
        tell(event)


def _outcome(reference: Any, task: Task) -> Outcome[Any]:  # noqa: ANN401
    import ray
    from ray.exceptions import RayError

    try:
        outcome: Outcome[Any] = ray.get(reference)
    except RayError as error:
        return task.failed(f"Ray could not bring it to its end: {_first_line(error)}")
    return outcome


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _stop(references: Sequence[Any]) -> None:
    """Ask every task to save what it has and to end, and wait for that; a further signal ends them at once."""
    import ray

    if not references:
        return
    try:
        _cancel(references, force=False)
        ray.wait(references, num_returns=len(references))
    except KeyboardInterrupt:
        _cancel(references, force=True)


def _cancel(references: Sequence[Any], *, force: bool) -> None:
    import ray
    from ray.exceptions import RayError

    for reference in references:
        with suppress(RayError, ValueError):  # it has just ended
            ray.cancel(reference, force=force)


# --- where a task runs ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Call:
    """How the command was called, which runs write down, and where relative paths begin."""

    arguments: list[str]
    directory: str

    @staticmethod
    def of_this_process() -> _Call:
        return _Call(sys.argv, str(Path.cwd()))

    def take_over(self) -> None:
        sys.argv = self.arguments
        os.chdir(self.directory)


def _run_there(task: Task, share: Share, call: _Call, events: Any) -> Outcome[Any]:  # noqa: ANN401
    """What a process of Ray's does."""
    call.take_over()
    if not share.gpu:
        os.environ[VISIBLE] = ""  # where CUDA has not been asked yet: Ray gave this task none
    torch.set_num_threads(share.threads)
    teller = _Teller(events)
    outcome = _patiently(task, teller)
    teller.wait()
    return outcome


def _patiently(task: Task, tell: Tell) -> Outcome[Any]:
    """Run a task; where a process of a machine that was lost still holds its folder, wait until that is noticed."""
    until = time.monotonic() + LOCK_OF_THE_DEAD
    while (outcome := attempt(task, tell)).cause is FolderBusy and time.monotonic() < until:
        time.sleep(1)
    return outcome


class _Teller:
    """Sends what a task tells; of its steps only as many as an eye can follow."""

    def __init__(self, events: Any) -> None:  # noqa: ANN401
        self._events, self._told, self._last = events, 0.0, None

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, Step) and event.done % 1 and now - self._told < OFTEN:
            return
        self._told = now
        self._last = self._events.actor.put_nowait.remote(event)  # in their order, and nobody waits

    def wait(self) -> None:
        """Wait until all has arrived."""
        import ray

        if self._last is not None:
            ray.get(self._last)


# --- the cluster ----------------------------------------------------------------------------------------------------


@contextmanager
def open_cluster(wish: Wish, runs: int) -> Iterator[Cluster]:
    """Yield a cluster, looked over; one that was started here ends here.

    Args:
        wish: how many runs at a time, and on what.
        runs: how many there are.

    Raises:
        PackageMissing: Ray is not installed.
        DeviceUnavailable: a GPU is wanted, and the cluster has none.
        InvalidInput: there is no such cluster, or one of its machines lacks what a run needs.
    """
    with _connected(wish.address):
        yield _looked_over(wish, runs)


def _looked_over(wish: Wish, runs: int) -> Cluster:
    """Return the cluster of those machines that are there; Ray takes half a minute to notice that one is lost."""
    until = time.monotonic() + ANSWER
    while True:
        machines = _machines()
        share, at_once = share_for(wish, runs, machines)
        try:
            _look_over([machine for machine in machines if share.fits(machine)], wish.folders)
        except _Lost as lost:
            if time.monotonic() > until:
                raise InvalidInput(f"{lost}.", "`ray status` on the cluster's first machine says more.") from None
            time.sleep(1)
        else:
            return Cluster(at_once, share, machines)


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or Ray warns that this will be so
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        import ray
    except ImportError as error:
        raise PackageMissing("--engine ray needs Ray, which is not installed.", INSTALL) from error
    if ray.is_initialized():  # by a program of the user's own
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        _begin(address)
    except Exception as error:  # each way to fail has a class of its own
        where = f"There is no Ray cluster at {address}" if address else "Ray can't be started on this machine"
        raise InvalidInput(
            f"{where}: {_first_line(error)}",
            "`ray status` on its first machine says whether it runs; it needs the same versions of Ray and Python.",
        ) from error
    finally:
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGTERM, before)  # which Ray takes for itself
    try:
        yield
    finally:
        ray.shutdown()


def _begin(address: str | None) -> None:
    import ray

    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        ray.init("local", include_dashboard=False, object_store_memory=STORE, **quiet)
        return
    if address != "auto":  # which Ray looks up
        _knock(address)
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "3")  # tries of a quarter of a minute; Ray has 20
    ray.init(address, **quiet)


def _knock(address: str) -> None:
    """See that somebody listens there, which Ray takes minutes to find out.

    Raises:
        ValueError: it is no address.
        OSError: nobody does.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError("an address is HOST:PORT.")
    socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()


def _machines() -> list[Machine]:
    import ray

    alive = [(node, node["Resources"]) for node in ray.nodes() if node["Alive"]]
    return [
        Machine(node["NodeID"], node["NodeManagerHostname"], int(has.get("CPU", 0)), int(has.get("GPU", 0)))
        for node, has in alive
    ]


def share_for(wish: Wish, runs: int, machines: Sequence[Machine]) -> tuple[Share, int]:
    """Return what each run gets, and how many go on at a time.

    Threads that are not given are as many as let as many runs go on at once as are wanted: one on each GPU, or one on
    each core.

    Raises:
        DeviceUnavailable: a GPU is wanted, and there is none.
        InvalidInput: no machine has so many cores.
    """
    gpus = sum(machine.gpus for machine in machines) if wish.device in ("auto", "cuda") else 0
    if not gpus and (wish.device == "cuda" or wish.runs_per_gpu):
        raise DeviceUnavailable(
            "The cluster has no GPU that Ray knows of.", "Use --device cpu, without --runs-per-gpu."
        )
    gpu = int(10_000 / (wish.runs_per_gpu or 1)) / 10_000 if gpus else 0.0  # Ray counts in ten-thousandths
    room = sum(Share(wish.threads or 1, gpu).fits(machine) for machine in machines)
    if room == 0:
        most = max((machine.cpus for machine in machines), default=0)
        raise InvalidInput(
            f"No machine of the cluster has room for a run of {plural(wish.threads or 1, 'thread')}: "
            f"the largest has {plural(most, 'core')}.",
            "Choose another --threads.",
        )
    at_once = max(1, min(wish.jobs or room, room, runs))
    threads = wish.threads or max(
        n for n in range(1, 1 + max(machine.cpus for machine in machines))
        if sum(Share(n, gpu).fits(machine) for machine in machines) >= at_once
    )  # fmt: skip
    return Share(threads, gpu), at_once


# --- whether every machine has what a run needs ---------------------------------------------------------------------


class _Lost(Exception):
    """A machine that Ray counts among the living can't be reached: it is lost, or has come this moment."""


def _look_over(machines: Sequence[Machine], folders: Sequence[Path]) -> None:
    """See that a run would find on every machine what it finds here.

    Raises:
        InvalidInput: it would not; the first machine's first fault.
        _Lost: a machine is not there.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    call, here = _Call.of_this_process(), _versions()
    with _marks(folders) as marks:
        remote = ray.remote(_looked_at)
        places = [NodeAffinitySchedulingStrategy(machine.node, soft=False) for machine in machines]
        asked = [
            remote.options(num_cpus=0, max_retries=RETRIES, scheduling_strategy=place).remote(call, here, marks)
            for place in places
        ]
        for name, reference in zip((machine.name for machine in machines), asked, strict=True):
            fault = _answer(reference, name)
            if fault:
                raise InvalidInput(
                    f"Machine {name} of the cluster {fault}.",
                    "Every machine needs the same dmmsa, Python and torch, and has to see the same folders: start the "
                    "command in one that all of them see.",
                )


def _answer(reference: Any, name: str) -> str:  # noqa: ANN401
    """Return what a machine says is wrong with it, or why it can't say."""
    import ray
    from ray.exceptions import GetTimeoutError, NodeDiedError, RayError, TaskUnschedulableError

    try:
        fault: str = ray.get(reference, timeout=ANSWER)
    except GetTimeoutError:
        fault = f"has not answered for {ANSWER} seconds"
    except (NodeDiedError, TaskUnschedulableError) as error:
        raise _Lost(f"Machine {name} of the cluster can't be reached: {_first_line(error)}") from error
    except RayError as error:
        fault = f"can't run dmmsa: {_cause(error)}"
    return fault


@contextmanager
def _marks(folders: Sequence[Path]) -> Iterator[list[str]]:
    """Leave a file in each folder while machines look for it: one of the same name elsewhere would not do."""
    marks = [folder / f".seen.{secrets.token_hex(4)}{PARTIAL}" for folder in folders]  # of this form to be swept
    for folder in folders:
        remove_stale(folder, ".seen")
    try:
        for mark in marks:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        yield [str(mark) for mark in marks]
    finally:
        for mark in marks:
            mark.unlink(missing_ok=True)


def _looked_at(call: _Call, versions: Mapping[str, str], marks: Sequence[str]) -> str:
    """Say what is wrong with this machine; nothing where all is well."""
    try:
        call.take_over()
    except OSError:
        return f"does not see the folder {call.directory}"
    for name, there in versions.items():
        if (here := _versions()[name]) != there:
            return f"has {name} {here}, and this one {there}"
    for mark in map(Path, marks):
        if not mark.exists():
            return f"does not see the folder {mark.parent} as it is here"
        if not os.access(mark.parent, os.W_OK):
            return f"can't write the folder {mark.parent}"
    return ""


def _versions() -> dict[str, str]:
    return {"dmmsa": __version__, "Python": platform.python_version(), "torch": torch.__version__}


def _cause(error: Exception) -> str:
    """Return the last line of what Ray says of a task that failed, which is the error itself."""
    return next(reversed(str(error).strip().splitlines()), type(error).__name__)
