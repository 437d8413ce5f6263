"""How many threads this process uses and how they wait for each other; the libraries read it when they are loaded.

OpenMP's threads spin where they wait, by default for some milliseconds. While another program has a core, all others
spin until that one's turn is over: with one of two cores busy, a run took up to 18 times as long. Here a thread spins
two thousand times, some microseconds, and then sleeps. On two idle cores that costs a step of MOSI's shape 2 to 3 % in
float32 and 3 to 5 % in bfloat16, a tiny model's 9 to 19 %. With a thousand it was 4, 6 to 12 and 30 to 37 %. With one
core busy a step takes 2.2 to 2.3 times as long, a tiny model's 3; a thousand made it 2.0 and 2.4, three thousand 2.5
and 4.

What the user's own variables say stays. How many threads there are never follows what others do at the moment, since
the bits of a result depend on it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path, PurePosixPath

SPINS = 2000
COUNT = "OMP_NUM_THREADS"
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def settle(environment: MutableMapping[str, str] = os.environ, root: Path = Path("/")) -> None:
    """Set the variables that OpenMP reads, before torch is imported.

    Args:
        environment: of this process, which all that it starts inherit.
        root: where `proc` and `sys` lie.
    """
    if not any(name in environment for name in _WAITING):
        environment["GOMP_SPINCOUNT"] = str(SPINS)
    allowed = allowance(root)
    if COUNT not in environment and allowed is not None and allowed < _cores():
        environment[COUNT] = str(max(1, int(allowed)))


def allowance(root: Path = Path("/")) -> float | None:
    """Return how many cores' time the control groups of this process are given; None where that is not limited.

    A container that may use two of 64 cores sees all of them, and would start 64 threads, which the kernel then stops
    most of the time.
    """
    return min(_limits(root), default=None)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _limits(root: Path) -> Iterator[float]:
    """Yield the limit of each group above this process, of both versions of control groups."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:  # 0::/user.slice, or 4:cpu,cpuacct:/docker/1f0c
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / controllers
        for place in (PurePosixPath(group), *PurePosixPath(group).parents):
            limit = _limit(mount / place.relative_to("/"))
            if limit is not None:
                yield limit


def _limit(group: Path) -> float | None:
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((group / name).read_text(encoding="utf-8") for name in names).split()
            return float(quota) / float(period) if float(quota) > 0 else None
        except (OSError, ValueError, ZeroDivisionError):  # no such group, or `max`
            continue
    return None
