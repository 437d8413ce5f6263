"""Which engine: what the user asked for, held against what there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from dmmsa_cli.errors import DeviceUnavailable
from dmmsa_cli.plain import plural
from dmmsa_cli.runtime import DeviceName
from dmmsa_cli.stages.engines.gpus import gpus_of, spread
from dmmsa_cli.stages.engines.in_turn import InTurn
from dmmsa_cli.stages.engines.side_by_side import SideBySide, Slot
from dmmsa_cli.stages.engines.tasks import Engine

BIT_EQUAL = "results are bit-equal only between runs of equal thread counts"


@dataclass(frozen=True)
class Wish:
    """How runs are to be spread."""

    jobs: int | None = None
    """At a time; None for one, or with `runs_per_gpu` or Ray for as many as there is room for."""
    runs_per_gpu: int | None = None
    """That share one; None for one alone."""
    device: DeviceName = "auto"
    threads: int | None = None
    """Of each run on Ray; here they are this process's own, divided among the runs."""
    ray: bool = False
    address: str | None = None
    """Of a Ray cluster; None starts one of this machine alone."""
    folders: tuple[Path, ...] = ()
    """Those that every machine has to see."""

    @property
    def spreads(self) -> bool:
        """Whether anything but one run after the other in this process was asked for."""
        return self.ray or self.runs_per_gpu is not None or (self.jobs or 1) > 1

    @property
    def device_of_runs(self) -> DeviceName:
        """What a run is told: on Ray it takes the GPU that it is given; the command's own machine may have none."""
        return "auto" if self.ray and self.device == "cuda" else self.device


@dataclass(frozen=True)
class Opened:
    """An engine, and what it has for the tasks."""

    engine: Engine
    at_once: int
    remark: str
    """What a reader should know of it; nothing where it is the usual one."""


@contextmanager
def open_engine(wish: Wish, runs: int) -> Iterator[Opened]:
    """Yield the engine for so many runs; what it began ends with it.

    Raises:
        DeviceUnavailable: runs are to share a GPU, and there is none.
        InvalidInput, PackageMissing: Ray is not there, or no cluster, or not as it has to be; in words for the user.
    """
    if wish.ray:
        from dmmsa_cli.stages.engines.cluster import open_cluster

        with open_cluster(wish, runs) as cluster:
            yield Opened(cluster, cluster.at_once, cluster.in_words())
    else:
        slots, remark = slots_for(wish, runs, gpus_of(wish.device), torch.get_num_threads())
        yield Opened(SideBySide(slots) if len(slots) > 1 else InTurn(), len(slots), remark)


def slots_for(wish: Wish, runs: int, gpus: list[str], threads: int) -> tuple[list[Slot], str]:
    """Return what each of the runs that go on at once may use, and say so in words.

    Args:
        wish: how many are wanted.
        runs: that there are.
        gpus: of this machine; none where runs use the processor.
        threads: of this process, which are divided.

    Raises:
        DeviceUnavailable: runs are to share a GPU, and there is none.
    """
    if wish.runs_per_gpu and not gpus:
        raise DeviceUnavailable("--runs-per-gpu: there is no GPU that runs could share.", "Leave it out.")
    room = len(gpus) * (wish.runs_per_gpu or 1)
    wanted = min(wish.jobs or (room if wish.runs_per_gpu else 1), runs)
    at_once = min(wanted, room) if gpus else wanted
    each = max(1, threads // max(1, at_once))
    apart = at_once > 1 and gpus  # one alone takes the first
    slots = [Slot(each, gpu) for gpu in spread(gpus, at_once)] if apart else [Slot(each)] * at_once
    return slots, _in_words(wish, wanted, at_once, each, gpus)


def _in_words(wish: Wish, wanted: int, at_once: int, threads: int, gpus: list[str]) -> str:
    if wanted <= 1:
        return ""
    where = f" on {plural(min(len(gpus), at_once), 'GPU')}" if gpus else ""
    line = f"{plural(at_once, 'run')} at a time{where}, {plural(threads, 'thread')} each; {BIT_EQUAL}."
    if at_once < wanted:
        more = wish.runs_per_gpu + 1 if wish.runs_per_gpu else 2
        line += f" A GPU has {plural(wish.runs_per_gpu or 1, 'run')} at most; more fit with --runs-per-gpu {more}."
    return line
