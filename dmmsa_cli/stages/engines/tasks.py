"""What an engine runs, what it hears while that goes on, and what comes of it."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from dmmsa_cli.errors import DmmsaError, Interrupted, as_dmmsa_error


class Task(ABC):
    """What is to be done: a small frozen dataclass, which another process or machine is sent.

    `str` of it is what messages call it.
    """

    @abstractmethod
    def run(self, tell: Tell) -> Outcome[Any]:
        """Do it.

        Args:
            tell: hears what it is at, in the process that the engine was called in.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; what was done is saved, and the same task goes on from there.
            Exception: anything else is this task's failure, and no other's.
        """

    def needs(self) -> Sequence[Task]:
        """Return what several tasks share and one of them has to do first, as an encoder; each can be hashed.

        It is done once, before any task that needs it begins; a task that finds it missing nevertheless does it itself.
        """
        return ()

    def failed(self, problem: str, cause: type[DmmsaError] | None = None) -> Outcome[Any]:
        """Return what became of it where it failed."""
        return Outcome(self, "failed", problem=problem, cause=cause)


T_co = TypeVar("T_co", bound=Task, covariant=True)
T = TypeVar("T", bound=Task)


@dataclass(frozen=True)
class Outcome(Generic[T_co]):
    """What became of a task."""

    job: T_co
    state: Literal["trained", "was there", "failed", "stopped"]
    folder: Path | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    """Why it did not finish, and what to do about it."""
    cause: type[DmmsaError] | None = None
    """The kind of problem, where it is a known one."""
    trace: str = ""
    """Where it arose, of one that only whoever works on dmmsa can do something about."""


@dataclass(frozen=True)
class Step(Generic[T_co]):
    """What a task is at."""

    job: T_co
    what: str
    """`fusion`, or the encoder that has to be trained first."""
    done: float
    """Epochs."""
    epochs: int


@dataclass(frozen=True)
class Remark(Generic[T_co]):
    """What a reader should know of a task; several may say the same."""

    job: T_co
    line: str


@dataclass(frozen=True)
class Postponed(Generic[T_co]):
    """A task found no room on its GPU; it is tried once more when all others have begun."""

    job: T_co
    problem: str


Event = Any  # what a task tells: a `Step`, a `Remark`, or what else can be pickled and its caller understands
Tell = Callable[[Event], None]


class Engine(Protocol):
    """Runs tasks."""

    def run(self, tasks: Iterable[T], tell: Tell) -> Generator[Outcome[T], None, None]:
        """Yield what became of each task, as they end; whoever leaves early has to close it (`contextlib.closing`).

        Args:
            tasks: taken one at a time, whenever there is room for another: what comes may depend on what has ended.
            tell: hears, in this process, what the tasks tell.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; every task under way has saved what it had.
        """


def attempt(task: Task, tell: Tell) -> Outcome[Any]:
    """Run a task in this process; whatever goes wrong is its outcome, since the others are not to blame."""
    try:
        return task.run(tell)
    except Interrupted as error:
        return Outcome(task, "stopped", problem=f"{task}, {error.what}", cause=Interrupted)
    except KeyboardInterrupt:
        return Outcome(task, "stopped", problem=f"{task}; what was finished is kept.", cause=Interrupted)
    except Exception as error:  # whatever it is: a task that fails stops no other, and keeps its trace
        known = as_dmmsa_error(error)
        if known is not None:
            return task.failed(str(known), type(known))
        return replace(task.failed(f"{type(error).__name__}: {error}"), trace=traceback.format_exc())
