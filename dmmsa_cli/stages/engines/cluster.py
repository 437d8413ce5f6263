"""Tasks on a Ray cluster: Ray finds each a place, starts it again where a machine is lost, and carries what it tells.

What a task tells goes through a queue that lives on the machine of the command; what became of it is Ray's result. A
stop is Ray's own interrupt of a task, which reaches a training as Ctrl-C does: it saves, and its result is heard to the
end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from dmmsa_cli.commands import to_go_on
from dmmsa_cli.errors import DmmsaError, FolderBusy, Interrupted, InvalidInput
from dmmsa_cli.plain import plural
from dmmsa_cli.stages.engines.connection import connected, first_line
from dmmsa_cli.stages.engines.gpus import VISIBLE
from dmmsa_cli.stages.engines.machines import Call, Lost, Machine, Share, look_over, machines_of_cluster, share_for
from dmmsa_cli.stages.engines.queue import Queue
from dmmsa_cli.stages.engines.tasks import Event, Outcome, Step, Task, Tell, attempt

if TYPE_CHECKING:
    from dmmsa_cli.stages.engines.opening import Wish

RETRIES = 3  # of a task whose process or machine was lost
LISTENING = 0.25  # seconds between two looks at what tasks tell
OFTEN = 0.25  # seconds between two steps of a task that are told
LOCK_OF_THE_DEAD = 150  # seconds until a file system has noticed that a machine is gone; NFS takes 90
MISSED = 60  # seconds within which Ray has noticed that a machine is lost

T = TypeVar("T", bound=Task)


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
        remote, call = _remote(self.share), Call.of_this_process()
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
            raise DmmsaError(f"Ray has failed: {first_line(error)}", to_go_on()) from error
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
        return task.failed(f"Ray could not bring it to its end: {first_line(error)}")
    return outcome


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


def _run_there(task: Task, share: Share, call: Call, events: Any) -> Outcome[Any]:  # noqa: ANN401
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
    with connected(wish.address):
        yield _looked_over(wish, runs)


def _looked_over(wish: Wish, runs: int) -> Cluster:
    """Return the cluster of those machines that are there; Ray takes half a minute to notice that one is lost."""
    until = time.monotonic() + MISSED
    while True:
        machines = machines_of_cluster()
        share, at_once = share_for(wish, runs, machines)
        try:
            look_over([machine for machine in machines if share.fits(machine)], wish.folders)
        except Lost as lost:
            if time.monotonic() > until:
                raise InvalidInput(f"{lost}.", "`ray status` on the cluster's first machine says more.") from None
            time.sleep(1)
        else:
            return Cluster(at_once, share, machines)
