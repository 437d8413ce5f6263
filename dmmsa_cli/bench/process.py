"""A measure alone: in a process of its own, so that its peak memory is its own."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

from dmmsa_cli.errors import DmmsaError, as_dmmsa_error

Facts = dict[str, float | int | bool | str | None]
"""What one measure found; units stand in the names."""

KILLED = (-9, 137)
EVERY = 0.05  # seconds between two looks at memory


@dataclass(frozen=True)
class Answer:
    """What a process found."""

    facts: Facts
    seconds: float
    """From before its interpreter started until its answer was here."""


def alone(what: str, measure: Callable[..., Facts], *arguments: object) -> Answer:
    """Call a function in a fresh interpreter, and wait for what it finds.

    Args:
        what: is measured, for messages.
        measure: a function of a module.
        arguments: of the function.

    Raises:
        DmmsaError: the measure failed, whatever the reason.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, measure, arguments))
    began = time.perf_counter()
    with _deaf_to_ctrl_c():  # the process inherits it: Ctrl-C reaches the command, which ends this process
        process.start()
    theirs.close()
    try:
        answer = ours.recv()
        seconds = time.perf_counter() - began
        process.join()
    except EOFError:
        process.join()
        answer = DmmsaError(f"Its process ended with status {process.exitcode}.", _hint(process.exitcode))
    except BaseException:  # nobody waits for its answer any more, but for what it takes away
        process.terminate()
        process.join()
        raise
    if isinstance(answer, DmmsaError):
        raise DmmsaError(f"Measuring failed ({what}). {answer.what}", answer.remedy) from answer
    return Answer(answer, seconds)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _hint(status: int | None) -> str:
    return "Where memory ran out, measure fewer --rows." if status in KILLED else ""


def _answer(pipe: Connection, measure: Callable[..., Facts], arguments: tuple[object, ...]) -> None:
    """What a process of its own does."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # its temporary folders go with it
    answer: Facts | DmmsaError
    try:
        answer = measure(*arguments)
    except DmmsaError as error:
        answer = error
    except Exception as error:  # it becomes one line for the person at the keyboard; --debug shows the note
        answer = as_dmmsa_error(error) or DmmsaError(f"{type(error).__name__}: {error}")
        answer.add_note(traceback.format_exc())
    pipe.send(answer)


def peak_memory() -> int | None:
    """Return the most resident memory that this process has had, in bytes; None where the system does not tell.

    It counts pages of mapped files too. Linux's own figure comes first, since `getrusage` starts from what the
    process had that this one was forked from.
    """
    found = _status("VmHWM")
    if found is not None or sys.platform == "win32":
        return found
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status(field: str) -> int | None:
    """Return a size that Linux tells of this process, in bytes; None on another system."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


class AnonymousPeak:
    """Watches the memory that is this process's alone; a context manager.

    Pages of the mapped store count as resident, but the system may drop them at any moment; these it may not.
    """

    def __init__(self) -> None:
        self.bytes = _status("RssAnon")
        """The most that was seen; None where the system does not tell."""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> AnonymousPeak:
        if self.bytes is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(EVERY):
            self.bytes = max(self.bytes or 0, _status("RssAnon") or 0)
