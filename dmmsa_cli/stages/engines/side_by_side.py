"""Several tasks at a time on this machine, each in a process of its own, which sees one GPU alone or none."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as ready
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import torch

from dmmsa_cli.commands import to_go_on
from dmmsa_cli.errors import Interrupted
from dmmsa_cli.stages.engines.queue import Queue
from dmmsa_cli.stages.engines.tasks import Event, Outcome, Task, Tell, attempt

T = TypeVar("T", bound=Task)


@dataclass(frozen=True)
class Slot:
    """Room for one task."""

    threads: int
    gpu: str | None = None
    """The one that its process sees, as CUDA_VISIBLE_DEVICES has it: an index or a UUID; None leaves that as it is."""


@dataclass(frozen=True)
class _Running:
    task: Task
    slot: Slot
    process: BaseProcess
    pipe: Connection


class SideBySide:
    """Runs each task in a process of its own.

    Args:
        slots: how many at a time, and what each may use.
    """

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = slots

    def run(self, tasks: Iterable[T], tell: Tell) -> Generator[Outcome[T], None, None]:
        """Yield what became of each task, as they end; see `Engine`."""
        queue = Queue(tasks, tell, at_once=len(self.slots))
        running: dict[Connection, _Running] = {}
        try:
            while True:
                while (task := queue.next()) is not None:
                    started = _start(task, self._free(running.values()))
                    running[started.pipe] = started
                if not running:
                    return
                for pipe in ready(list(running)):
                    assert isinstance(pipe, Connection)
                    outcome = _hear(running[pipe], tell)
                    if outcome is not None:
                        del running[pipe]
                        yield from queue.ended(outcome)
        except KeyboardInterrupt:
            under_way = "; ".join(map(str, queue.under_way)) or "before the first run"
            raise Interrupted(f"{under_way}; what was finished is kept.", to_go_on()) from None
        finally:  # stopped, failed or left by the caller: whatever still runs saves what it has
            _stop(list(running.values()))

    def _free(self, running: Iterable[_Running]) -> Slot:
        """Return a slot that nothing runs in, on the GPU that has the fewest."""
        taken = [each.slot for each in running]
        on_gpu = Counter(slot.gpu for slot in taken)
        left = Counter(self.slots) - Counter(taken)
        return min(left, key=lambda slot: on_gpu[slot.gpu])


# --- one process ----------------------------------------------------------------------------------------------------


def start_method(platform: str) -> str:
    """How a task's process begins: a server that has imported torch once forks it, which is safe on Linux alone."""
    return "forkserver" if platform == "linux" else "spawn"


def _start(task: Task, slot: Slot) -> _Running:
    context = multiprocessing.get_context(start_method(sys.platform))
    context.set_forkserver_preload(["dmmsa_cli.stages.runs"])  # all that a run imports; CUDA it leaves alone
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run_alone, args=(task, slot, theirs))  # type: ignore[attr-defined]
    process.start()
    theirs.close()
    return _Running(task, slot, process, ours)


def _run_alone(task: Task, slot: Slot, pipe: Connection) -> None:
    """What a process of its own does."""

    def tell(event: Event) -> None:
        try:
            pipe.send(event)
        except OSError as error:
            raise Interrupted("the command that began the run is gone.") from error

    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C reaches the command alone, which then asks every run to stop, once
    if slot.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = slot.gpu  # CUDA reads it when torch first asks for a device
    torch.set_num_threads(slot.threads)
    with suppress(Interrupted):
        tell(attempt(task, tell))


def _hear(running: _Running, tell: Tell) -> Outcome[Any] | None:
    """Take the next message of a task; an outcome is its last."""
    try:
        message = running.pipe.recv()
    except (EOFError, OSError):
        running.process.join()
        code = running.process.exitcode
        hint = " Where memory ran out, run fewer --jobs at a time." if code in (-9, 137) else ""
        return running.task.failed(f"its process ended with status {code}.{hint}")
    if isinstance(message, Outcome):
        running.process.join()
        return message
    tell(message)
    return None


def _stop(running: Sequence[_Running]) -> None:
    """Ask every task to save what it has and to end, and wait for that; a further signal ends them at once."""
    left = {each.pipe: each.process for each in running}
    try:
        for process in left.values():
            process.terminate()
        while left:
            for pipe in ready(list(left)):
                assert isinstance(pipe, Connection)
                try:
                    pipe.recv()  # heard to the end: a full pipe would keep a run from saving
                except (EOFError, OSError):
                    left.pop(pipe).join()
    except KeyboardInterrupt:
        for process in left.values():
            process.kill()
