"""Which task may begin next: what several need comes first and once, and what found no room on a GPU comes again."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from dmmsa_cli.commands import to_go_on
from dmmsa_cli.errors import GpuOutOfMemory, Interrupted
from dmmsa_cli.stages.engines.tasks import Outcome, Postponed, Task, Tell

T = TypeVar("T", bound=Task)


class Queue(Generic[T]):
    """Hands out tasks in their order, and takes note of their ends.

    A task that waits for what it needs takes nobody's room: meanwhile others begin.

    Args:
        tasks: taken one at a time, when one more may be under way.
        tell: hears of a task that is tried again.
        at_once: how many may be under way; and how many, with those that wait, are taken at most.
    """

    def __init__(self, tasks: Iterable[T], tell: Tell, at_once: int) -> None:
        self.under_way: list[Task] = []
        self._coming, self._tell, self._at_once = iter(tasks), tell, at_once
        self._waiting: list[tuple[T, Sequence[Task]]] = []  # each with what it needs
        self._needed: list[Task] = []  # all that any has needed
        self._left: list[Task] = []  # of these, what has not begun
        self._done: list[Task] = []  # and what has ended
        self._postponed: list[T] = []
        self._tried: list[T] = []  # and found no room

    def next(self) -> Task | None:
        """Return a task, under way from now on; None where there is no room, all have to wait, or none is left."""
        if len(self.under_way) >= self._at_once:
            return None
        task = self._first()
        while task is None and self._take():
            task = self._first()
        if task is not None:
            self.under_way.append(task)
        return task

    def ended(self, outcome: Outcome[Any]) -> Iterator[Outcome[T]]:
        """Take note of the end of a task, and yield what its caller is to hear of it.

        A need that failed is left to those that need it: each meets the same problem, and says so, or gets over it.

        Raises:
            Interrupted: it was stopped.
        """
        task = outcome.job
        self.under_way.remove(task)
        if outcome.trace:
            print(outcome.trace, file=sys.stderr)
        if outcome.state == "stopped":
            stopped = [waiting for waiting, _ in self._waiting] if task in self._needed else [task]
            yield from (Outcome(each, "stopped", problem=outcome.problem) for each in stopped)
            raise Interrupted(outcome.problem, to_go_on())
        if task in self._needed:
            self._done.append(task)
        elif outcome.cause is GpuOutOfMemory and task not in self._tried:
            self._tried.append(task)
            self._postponed.append(task)
            self._tell(Postponed(task, outcome.problem))
        else:
            yield outcome

    def _first(self) -> Task | None:
        """Return the first that may begin, of what was taken."""
        if self._left:
            return self._left.pop(0)
        for place, (task, needs) in enumerate(self._waiting):
            if all(need in self._done for need in needs):
                del self._waiting[place]
                return task
        return None

    def _take(self) -> bool:
        """Take one more task, if there is room and there is one; what found no room before is the last."""
        if len(self.under_way) + len(self._waiting) >= self._at_once:
            return False
        task = next(self._coming, None) or (self._postponed.pop(0) if self._postponed else None)
        if task is None:
            return False
        needs = task.needs()
        new = [need for need in needs if need not in self._needed]
        self._needed += new
        self._left += new
        self._waiting.append((task, needs))
        return True
