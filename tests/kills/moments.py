"""When a command is killed, and which of its processes."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

MARK = "DMMSA_TEST_PLACE"  # environment variable that all processes of a command inherit: the folder it works in
CALLS = 400  # into C, about, that a process makes from one change to the next; most of what matters comes early
SOON = 0.004  # seconds after such a call, at most
AT_ONCE = 0.001  # seconds after a call that writes, at most: it takes less


@dataclass(frozen=True)
class Usual:
    """A life of a command that nobody disturbed."""

    seconds: float
    changes: int
    """To files, of the process that made most."""


@dataclass(frozen=True)
class Moment:
    """When to kill; either from outside, some time after the last look, or by what the process itself does."""

    kind: str
    seconds: float | None = None
    change: int | None = None
    calls: int = 0
    delay: float = 0.0
    writing: bool = False

    @property
    def of_itself(self):
        """What a process has to know so as to end itself then, in the words of inside/sitecustomize.py."""
        return {"change": self.change, "calls": self.calls, "delay": self.delay, "writing": self.writing}


NEVER = Moment("never")


def draw(chance, usual, *, fresh):
    """Draw the moment at which a life is to end: half of them where files are being written.

    Args:
        chance: the random numbers.
        usual: how long it takes, and how much it does, where nobody disturbs it.
        fresh: nothing has been done yet, so that the last fifth of the time is known.
    """
    if chance.random() < 0.2:
        change, calls, delay = chance.randint(1, usual.changes), chance.randint(0, 3), chance.uniform(0, AT_ONCE)
        return Moment("in a write", change=change, calls=calls, delay=delay, writing=True)
    if chance.random() < 0.4:
        delay = chance.choice((0.0, chance.uniform(0, SOON)))
        calls = int(CALLS ** chance.random()) - 1
        return Moment("at a file", change=chance.randint(1, usual.changes), calls=calls, delay=delay)
    if fresh and chance.random() < 0.4:
        return Moment("in the last fifth", seconds=chance.uniform(0.8, 1.0) * usual.seconds)
    return Moment("at any time", seconds=chance.uniform(0, usual.seconds))


# --- processes ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """A process that a command has started."""

    number: int
    parent: int
    line: str
    """Its command line."""


def processes(place, sessions):
    """Return what commands have started and is still there, be it by a process that is gone.

    Args:
        place: the folder that they work in, which the environment of each names; some write over that.
        sessions: ids of the commands' processes, which each began one; some of what they start begin their own.
    """
    mark = f"{MARK}={place}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            marked = mark in (folder / "environ").read_bytes().split(b"\0")
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # gone meanwhile, or another user's
            continue
        if state != "Z" and int(folder.name) not in sessions and (marked or int(session) in sessions):
            found.append(Process(int(folder.name), int(parent), line))
    return found


def kill(number):
    """Kill a process; say whether it was there."""
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def victim(chance, command, started):
    """Draw who dies: the command itself, or one of what it has started, each kind as often.

    Args:
        chance: the random numbers.
        command: id of its process.
        started: what it has started.

    Returns:
        The kind, and the process's id.
    """
    kinds = {"the command": [command]}
    for process in started:
        kinds.setdefault(_kind(process, command), []).append(process.number)
    kinds.pop("", None)
    kind = chance.choice(sorted(kinds))
    return kind, chance.choice(kinds[kind])


def _kind(process, command):
    if "multiprocessing.forkserver" in process.line:
        return "the server that forks runs" if process.parent == command else "a run"
    if process.line.startswith("ray::") and "Agent" not in process.line:
        return "an actor" if "Actor" in process.line else "a worker"
    return ""
