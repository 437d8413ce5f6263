"""What many runs look like while they go on: a table that fills on a terminal, a line a run elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Self

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from dmmsa_cli.cli.console import in_parts, say
from dmmsa_cli.cli.drawing import Drawing
from dmmsa_cli.cli.training_view import clock
from dmmsa_cli.stages.engines import Outcome, Postponed, Remark, Step
from dmmsa_cli.stages.runs import Run

Key = tuple[str, int]  # title, seed
AGAIN = "It is tried once more when all other runs have begun."


class RunsView(Drawing):
    """Shows runs; a context manager.

    Args:
        console: where to.
        title: what a study asks, or what is trained.
        jobs: the runs.
    """

    def __init__(self, console: Console, title: str, jobs: Sequence[Run]) -> None:
        super().__init__(console)
        self.title = title
        self.keys = [_key(job) for job in jobs]
        self.steps: dict[Key, Step[Run]] = {}
        self.outcomes: dict[Key, Outcome[Run]] = {}
        self._remarks: list[str] = []
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        super().__enter__()
        self._show(self._draw())
        return self

    def tell(self, event: Step[Any] | Remark[Any] | Postponed[Any] | Outcome[Any]) -> None:
        """Take note of what a run is at, or of what became of it."""
        key = _key(event.job)
        if isinstance(event, Postponed):
            self.steps.pop(key, None)
            self.console.print(Text(f"{event.job}: {event.problem}\n{AGAIN}"), soft_wrap=True)
        elif isinstance(event, Remark):
            self._remark(event)
        elif isinstance(event, Step):
            self.steps[key] = event
        else:
            self.outcomes[key] = event
        if self.live:
            self._show(self._draw())
        elif isinstance(event, Outcome):
            self.console.print(Text(self._line(event)), soft_wrap=True)

    def _remark(self, remark: Remark[Any]) -> None:
        """Print what the first run says that says it; others may say the same."""
        if remark.line not in self._remarks:
            self._remarks.append(remark.line)
            say(self.console, f"{remark.job}: {remark.line}")

    def _leave(self) -> None:
        self.console.print(self._heading(), *self._tables(), sep="\n")

    def _draw(self) -> Group:
        under_way = [
            Text(_under_way(step), style="dim") for key, step in self.steps.items() if key not in self.outcomes
        ]
        return Group(self._heading(), *self._tables(), *under_way, Text(self._progress()))

    def _heading(self) -> Text:
        return Text(self.title, style="bold")

    def _tables(self) -> Iterator[Table]:
        return in_parts(self._table(), self.console.width)

    def _table(self) -> Table:
        """Title by seed: the validation MAE of what has finished."""
        table = Table(box=None, padding=(0, 1), pad_edge=False)
        table.add_column("validation MAE")
        seeds = list(dict.fromkeys(seed for _, seed in self.keys))
        for seed in seeds:
            table.add_column(f"seed {seed}", justify="right")
        table.add_column("mean", justify="right")
        for title in dict.fromkeys(title for title, _ in self.keys):
            table.add_row(title, *(self._cell((title, seed)) for seed in seeds), self._mean(title, seeds))
        return table

    def _cell(self, key: Key) -> Text:
        outcome, step = self.outcomes.get(key), self.steps.get(key)
        if outcome is None:
            return Text(f"{step.done:.1f}/{step.epochs}" if step else "" if key in self.keys else "-", style="yellow")
        if not outcome.summary:
            return Text(outcome.state, style="bold red")
        return Text(f"{_mae(outcome):.4f}", style="dim" if outcome.state == "was there" else "green")

    def _mean(self, title: str, seeds: list[int]) -> str:
        found = [_mae(o) for seed in seeds if (o := self.outcomes.get((title, seed))) and o.summary]
        return f"{sum(found) / len(found):.4f}" if found else ""

    def _progress(self) -> str:
        trained = sum(outcome.state == "trained" for outcome in self.outcomes.values())
        ended = sum(outcome.state != "stopped" for outcome in self.outcomes.values())
        left = len(self.keys) - ended
        line = f"{ended} of {len(self.keys)} runs"
        if trained and left:
            line += f", {clock((time.monotonic() - self._began) / trained * left)} left"
        return line

    def _line(self, outcome: Outcome[Run]) -> str:
        found = f"validation MAE {_mae(outcome):.4f}, {outcome.folder}" if outcome.summary else outcome.problem
        return f"{outcome.job}: {outcome.state}; {found} ({self._progress()})"


def _key(job: Run) -> Key:
    return job.title, job.seed


def _mae(outcome: Outcome[Run]) -> float:
    return float(outcome.summary["validation"]["mae"])


def _under_way(step: Step[Run]) -> str:
    return f"{step.job}: {step.what}, epoch {min(int(step.done) + 1, step.epochs)} of {step.epochs}"
