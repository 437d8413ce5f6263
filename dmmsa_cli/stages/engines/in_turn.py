"""One task after the other, in this process."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TypeVar

from dmmsa_cli.stages.engines.queue import Queue
from dmmsa_cli.stages.engines.tasks import Outcome, Task, Tell, attempt

T = TypeVar("T", bound=Task)


class InTurn:
    """Runs one task after the other, in this process and with its threads."""

    def run(self, tasks: Iterable[T], tell: Tell) -> Generator[Outcome[T], None, None]:
        """Yield what became of each task; see `Engine`."""
        queue = Queue(tasks, tell, at_once=1)
        while (task := queue.next()) is not None:
            yield from queue.ended(attempt(task, tell))
