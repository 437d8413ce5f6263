"""Runs on an engine, with their table: what every command does that can spread its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from rich.console import Console
from rich.text import Text

from dmmsa_cli.cli.console import say
from dmmsa_cli.cli.runs_view import RunsView
from dmmsa_cli.stages.engines import Engine, Outcome, Wish, open_engine
from dmmsa_cli.stages.runs import Run, carry_out

R = TypeVar("R", bound=Run)


def run_all(console: Console, tables: Mapping[str, Sequence[R]], wish: Wish) -> list[Outcome[R]]:
    """Train runs, with a table of each group; what failed is named at its end.

    Args:
        console: where to.
        tables: the runs of each, by its title.
        wish: how they are to be spread.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the same command goes on.
        DeviceUnavailable, InvalidInput, PackageMissing: there is no such engine.
    """
    outcomes = []
    with open_engine(wish, max(map(len, tables.values()))) as opened:
        if opened.remark:
            say(console, opened.remark)
        for title, runs in tables.items():
            outcomes += _run(RunsView(console, title, runs), runs, opened.engine)
    return outcomes


def _run(view: RunsView, runs: Sequence[R], engine: Engine) -> list[Outcome[R]]:
    try:
        with view:
            return carry_out(runs, tell=view.tell, engine=engine)
    finally:  # stopped or not
        tell_failures(view.console, list(view.outcomes.values()))


def tell_failures(console: Console, outcomes: Sequence[Outcome[Run]]) -> None:
    """Name what failed, and why."""
    for outcome in outcomes:
        if outcome.state == "failed":
            console.print(Text(f"Failed: {outcome.job}. {outcome.problem}", style="bold red"), soft_wrap=True)
