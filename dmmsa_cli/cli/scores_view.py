"""How `dmmsa evaluate` shows metrics: a line for each system, its spread over seeds below it, and what they are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dmmsa_cli.cli.console import in_parts
from dmmsa_cli.cli.worth_view import about_worth, worth_tables
from dmmsa_cli.plain import plural

if TYPE_CHECKING:  # imported where it is used, to keep --help quick
    from rich.console import Console
    from rich.table import Table

    from dmmsa_cli.metrics import Metrics
    from dmmsa_cli.reporting.results import Column
    from dmmsa_cli.reporting.worth import Worths
    from dmmsa_cli.stages.evaluation import Evaluation, Row


def show(console: Console, table: Evaluation, worth: Worths) -> None:
    """Print the metrics of all systems, those of emotions, what predictions are worth, and what to know of all that."""
    from dmmsa_cli.metrics import ALL_EMOTIONS
    from dmmsa_cli.reporting.results import COLUMNS, EMOTION_METRICS, LEGEND, emotion_columns
    from dmmsa_cli.stages.evaluation import MAJORITY, PLAINEST

    spec = table.spec
    synthetic = "SYNTHETIC data, " if spec.synthetic else ""
    title = f"{spec.name}: {synthetic}{table.where}, {plural(table.rows, 'clip')}"
    _print(console, filled(title, COLUMNS[spec.metrics], table.systems))
    knowing = [
        replace(system, title=MAJORITY) if system.title == PLAINEST else system
        for system in table.systems
        if f"acc_{ALL_EMOTIONS}" in system.summary.mean
    ]
    learned = len(knowing) > 1  # beside the plainest predictor, which always is there
    for kind, name in EMOTION_METRICS.items() if learned else ():  # in one table they would not fit on a screen
        console.print()
        _print(console, filled(f"{title}, {name} of emotions", emotion_columns(table.emotions, [kind]), knowing))
    for grid in worth_tables(worth):
        console.print()
        _print(console, grid)
    for line in (*_notes(table), *about_worth(worth)):
        console.print(line, style="dim")
    console.print(LEGEND[spec.metrics], style="dim")
    if learned:
        console.print("Emotions: present against absent, over the clips of which it is known.", style="dim")


def _print(console: Console, grid: Table) -> None:
    for part in in_parts(grid, console.width):
        console.print(part)


def filled(title: str, columns: tuple[Column, ...], systems: Sequence[Row]) -> Table:
    """Return the table of some systems."""
    grid = _grid(title, columns)
    for system in systems:
        summary, seeds = system.summary, system.seeds
        one = f" (seed {seeds[0]})" if len(seeds) == 1 and not (system.alone or system.together) else ""
        _add(grid, columns, f"{system.title}{one}", summary.mean)
        if summary.runs > 1:  # of runs together there is one set of metrics, and no spread
            _add(grid, columns, f"  {summary.runs} seeds", summary.sd, spread=True)
    return grid


def _notes(table: Evaluation) -> list[str]:
    from dmmsa_cli.reporting.results import CHOSEN_EPOCH

    floor = table.notes.get("best_reachable_mae", {}).get(table.split)
    lines = [f"The best reachable MAE on this synthetic split is {floor:.4f}."] if floor is not None else []
    several = [system for system in table.systems if system.summary.runs > 1]
    covers = {system.covers for system in several}
    for what in sorted(covers):
        whose = "" if len(covers) == 1 else " of " + "; ".join(s.title for s in several if s.covers == what)
        lines.append(f"±{whose} is the sample standard deviation over seeds; it covers {what}.")
    if table.folds is None:
        what = "'alone': a pretrained encoder with its own head, scored against y."
    else:
        what = "Each clip is predicted by the run that has seen none of its video; no clip of the test split is here."
    lines += [CHOSEN_EPOCH, *(f"! {remark}" for remark in table.remarks)]
    return [*lines, f"Data {table.data_hash[:12]}. {what}"]


def _grid(title: str, columns: tuple[Column, ...]) -> Table:
    from rich.table import Table

    grid = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1), pad_edge=False)
    grid.add_column("")
    for column in columns:
        grid.add_column(column.title, justify="right", no_wrap=True)
    return grid


def _add(grid: Table, columns: tuple[Column, ...], title: str, values: Metrics, *, spread: bool = False) -> None:
    from dmmsa_cli.reporting.results import cell

    cells = [cell(column, values, spread=spread) for column in columns]
    grid.add_row(title, *cells, style="dim" if spread else "")
