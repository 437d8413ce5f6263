"""What is shown of runs on clips that lack something: a bar while they are measured, then tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich import progress as bars
from rich.console import Console
from rich.table import Table

from dmmsa_cli.cli.console import in_parts, open_console
from dmmsa_cli.metrics import Summary
from dmmsa_cli.reporting.missing import LEGEND, about_protocol, rate_name
from dmmsa_cli.reporting.results import COLUMNS, Column, cell
from dmmsa_cli.reporting.results import LEGEND as METRICS_LEGEND
from dmmsa_cli.stages.missing import MissingTable, RobustSystem

BAR_WIDTH = 24


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show how many passes of a run are done, on a terminal."""
    console = open_console(stderr=True)
    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(BAR_WIDTH),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
    )
    tasks: dict[str, bars.TaskID] = {}
    with bars.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:

        def update(run: str, done: int, total: int) -> None:
            if run not in tasks:
                for former in tasks.values():
                    shown.update(former, visible=False)
                tasks[run] = shown.add_task(run, total=total)
            shown.update(tasks[run], completed=done)

        yield update


def show(console: Console, table: MissingTable) -> None:
    """Print each system by rate and by the modalities that are there; of several, their means over the rates too."""
    columns = COLUMNS[table.spec.metrics]
    synthetic = "SYNTHETIC data, " if table.spec.synthetic else ""
    where = f"{table.spec.name}: {synthetic}missing data, {table.split} split, {table.rows} clips"
    for system in table.systems:
        _print(console, f"{where}\n{system.title}", "rate", columns, _by_rate(system))
        _print(console, "", "present", columns, list(system.present.items()))
        console.print()
    if len(table.systems) > 1:
        means = [(system.title, system.over_rates) for system in table.systems]
        _print(console, f"{where}\nmean over the rates", "", columns, means)
    for line in (*about_protocol(table.systems[0].rates, table.draws), *_spreads(table), LEGEND):
        console.print(line, style="dim")
    console.print(f"{METRICS_LEGEND[table.spec.metrics]} Data {table.data_hash[:12]}.", style="dim")


def _by_rate(system: RobustSystem) -> list[tuple[str, Summary]]:
    return [*((rate_name(rate), system.at(rate)) for rate in system.rates), ("mean", system.over_rates)]


def _print(
    console: Console, title: str, first: str, columns: Sequence[Column], rows: Sequence[tuple[str, Summary]]
) -> None:
    grid = Table(
        title=title or None, title_justify="left", title_style="bold", box=None, padding=(0, 1), pad_edge=False
    )
    grid.add_column(first)
    for column in columns:
        grid.add_column(column.title, justify="right", no_wrap=True)
    for name, summary in rows:
        grid.add_row(name, *(cell(column, summary.mean) for column in columns))
        if summary.runs > 1:
            grid.add_row("", *(cell(column, summary.sd, spread=True) for column in columns), style="dim")
    for part in in_parts(grid, console.width):
        console.print(part)


def _spreads(table: MissingTable) -> Iterator[str]:
    several = [system for system in table.systems if len(system.runs) > 1]
    for covers in sorted({system.covers for system in several}):
        whose = [system.title for system in several if system.covers == covers]
        of = "" if len(whose) == len(several) else f" of {'; '.join(whose)}"
        yield f"±{of} is the sample standard deviation over seeds; it covers {covers}."
