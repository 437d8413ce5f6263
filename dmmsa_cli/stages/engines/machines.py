"""The machines of a Ray cluster: what a run gets of them, and whether each has what a run needs."""

from __future__ import annotations

import os
import platform
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dmmsa_cli import __version__
from dmmsa_cli.errors import DeviceUnavailable, InvalidInput
from dmmsa_cli.files import PARTIAL, remove_stale
from dmmsa_cli.plain import plural
from dmmsa_cli.stages.engines.connection import first_line

if TYPE_CHECKING:
    from dmmsa_cli.stages.engines.opening import Wish

ANSWER = 60  # seconds that a machine has to answer in
RETRIES = 3  # of a look at a machine whose process was lost


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


@dataclass(frozen=True)
class Call:
    """How the command was called, which runs write down, and where relative paths begin."""

    arguments: list[str]
    directory: str

    @staticmethod
    def of_this_process() -> Call:
        """Return how this process was called."""
        return Call(sys.argv, str(Path.cwd()))

    def take_over(self) -> None:
        """Stand where the command stood, in a process of Ray's.

        Raises:
            OSError: there is no such folder here.
        """
        sys.argv = self.arguments
        os.chdir(self.directory)


def machines_of_cluster() -> list[Machine]:
    """Return the machines that Ray counts among the living."""
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


class Lost(Exception):
    """A machine that Ray counts among the living can't be reached: it is lost, or has come this moment."""


def look_over(machines: Sequence[Machine], folders: Sequence[Path]) -> None:
    """See that a run would find on every machine what it finds here.

    Raises:
        InvalidInput: it would not; the first machine's first fault.
        Lost: a machine is not there.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    call, here = Call.of_this_process(), _versions()
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
        raise Lost(f"Machine {name} of the cluster can't be reached: {first_line(error)}") from error
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


def _looked_at(call: Call, versions: Mapping[str, str], marks: Sequence[str]) -> str:
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
