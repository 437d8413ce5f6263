"""What a tuning looks like while it runs: the best trials so far on a terminal, a line a trial elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from dmmsa_cli.cli.console import in_parts, say
from dmmsa_cli.cli.drawing import Drawing
from dmmsa_cli.cli.training_view import clock
from dmmsa_cli.stages.engines import Outcome, Step
from dmmsa_cli.stages.tuning.journal import ENDED, SCORES
from dmmsa_cli.stages.tuning.trial import Check, Trial

SHOWN = 8  # trials, the best ones


class TuneView(Drawing):
    """Shows the trials of a tuning; a context manager.

    Args:
        console: where to.
        title: what is tuned.
        wanted: how many trials there shall be.
        there: what has become of those that ended before.
    """

    def __init__(self, console: Console, title: str, wanted: int, there: Sequence[Outcome[Trial]]) -> None:
        super().__init__(console)
        self.title, self.wanted = title, wanted
        self.outcomes = {outcome.job.number: outcome for outcome in there}
        self.steps: dict[str, Step[Any]] = {}  # of what is under way
        self._new, self._began = 0, time.monotonic()

    def __enter__(self) -> Self:
        super().__enter__()
        self._show(self._draw())
        return self

    def tell(self, event: object) -> None:
        """Take note of what a trial is at, or of what became of it."""
        if isinstance(event, Step):
            self.steps[str(event.job)] = event
        elif isinstance(event, Outcome):
            self.steps.pop(str(event.job), None)
            self._note(event)
        if self.live:
            self._show(self._draw())
        elif isinstance(event, Outcome):
            self.console.print(Text(self._line(event)), soft_wrap=True)

    def _note(self, outcome: Outcome[Any]) -> None:
        if isinstance(outcome.job, Trial) and outcome.summary:
            self._new += outcome.state == "trained"
            self.outcomes[outcome.job.number] = outcome

    def _leave(self) -> None:
        self.console.print(Text(self.title, style="bold"), *self._tables(), sep="\n")
        for line in self._best():
            say(self.console, line)

    # --- on a terminal -----------------------------------------------------------------------------------------------

    def _draw(self) -> Group:
        under_way = [Text(_under_way(step), style="dim") for step in self.steps.values()]
        best = [Text(line) for line in self._best()]
        return Group(Text(self.title, style="bold"), *self._tables(), *best, *under_way, Text(self._progress()))

    def _ranked(self) -> list[Outcome[Trial]]:
        scored = [outcome for outcome in self.outcomes.values() if outcome.summary[SCORES]]
        return sorted(scored, key=lambda one: (one.summary["value"], one.job.number))

    def _tables(self) -> Iterator[Table]:
        ranked = self._ranked()[:SHOWN]
        if not ranked:
            return
        table = Table(box=None, padding=(0, 1), pad_edge=False)
        table.add_column("the best so far")
        table.add_column("MAE", justify="right")
        for seed in ranked[0].job.tuning.seeds:
            table.add_column(f"seed {seed}", justify="right")
        for place, outcome in enumerate(ranked):
            scores = [f"{score:.4f}" for score in outcome.summary[SCORES]]
            style = "green" if place == 0 else ""
            table.add_row(str(outcome.job), f"{outcome.summary['value']:.4f}", *scores, style=style)
        yield from in_parts(table, self.console.width)

    def _best(self) -> Iterator[str]:
        for outcome in self._ranked()[:1]:
            yield f"{outcome.job}: {in_words(outcome.summary['params'])}"

    # --- everywhere --------------------------------------------------------------------------------------------------

    def _progress(self) -> str:
        early = sum(bool(outcome.summary[ENDED]) for outcome in self.outcomes.values())
        left = self.wanted - len(self.outcomes)
        line = f"{len(self.outcomes)} of {self.wanted} trials" + (f", {early} of them ended early" if early else "")
        if self._new and left > 0:
            line += f", {clock((time.monotonic() - self._began) / self._new * left)} left"
        return line

    def _line(self, outcome: Outcome[Any]) -> str:
        if isinstance(outcome.job, Check):
            return f"{outcome.job}: " + (f"MAE {outcome.summary['mae']:.4f}" if outcome.summary else outcome.problem)
        if not outcome.summary:
            return f"{outcome.job}: {outcome.problem}"
        value, ended = outcome.summary["value"], outcome.summary[ENDED]
        best = value is not None and self._ranked()[0].job.number == outcome.job.number
        found = f"MAE {value:.4f}{', the best so far' * best}" if value is not None else ended
        return f"{outcome.job}: {found}; {in_words(outcome.summary['params'])} ({self._progress()})"


def in_words(params: Mapping[str, Any]) -> str:
    """Say what a trial tries: `fusion.learning_rate 0.00021, fusion.epochs 4`."""
    return ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in params.items()
    )


def _under_way(step: Step[Any]) -> str:
    return f"{step.job}: {step.what}, epoch {min(int(step.done) + 1, step.epochs)} of {step.epochs}"
