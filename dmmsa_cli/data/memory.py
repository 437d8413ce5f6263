"""How much memory this process may still take: what is read from a stranger's file is held against it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

RESERVE = 128 * 2**20  # left for everything else

_CGROUP = Path("/sys/fs/cgroup")


def resident() -> int | None:
    """Return the bytes that this process holds; None where the system doesn't say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * _page_size()


def available() -> int | None:
    """Return the bytes that this process can still take before the machine or its container runs out.

    None where the system doesn't say.
    """
    return min(_limits(), default=None)


def _page_size() -> int:
    import resource  # not on Windows, where there is no /proc either

    return resource.getpagesize()


def _limits() -> Iterator[int]:
    """What the machine has left, and what the container that this runs in has left."""
    machine = _fields(Path("/proc/meminfo")).get("MemAvailable:")
    if machine is not None:
        yield machine * 1024
    limit, used = _number(_CGROUP / "memory.max"), _number(_CGROUP / "memory.current")
    if limit is not None and used is not None:
        cached = _fields(_CGROUP / "memory.stat").get("inactive_file", 0)  # given back when others need it
        yield max(0, limit - used + cached)


def _fields(path: Path) -> dict[str, int]:
    """Numbers by name, from a file of lines such as `MemAvailable:  123 kB`."""
    try:
        lines = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
        return {words[0]: int(words[1]) for words in lines if len(words) > 1}
    except (OSError, ValueError):
        return {}


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return None


class Headroom:
    """Watches that a piece of work stays within the memory there was when it began."""

    def __init__(self) -> None:
        held, free = resident(), available()
        self._most = None if held is None or free is None else held + free - RESERVE

    def check(self, more: int = 0) -> None:
        """Look whether there is room for what is held now and `more` bytes.

        Raises:
            MemoryError: there is not.
        """
        if self._most is not None and (resident() or 0) + more > self._most:
            raise MemoryError
