"""`dmmsa report`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmmsa_cli.cli import completion, options
from dmmsa_cli.errors import RunMismatch

if TYPE_CHECKING:  # imported where it is used, to keep --help quick
    from dmmsa_cli.reporting.contents import Report


class Format(StrEnum):
    """What a report is written as."""

    console = "console"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"
    html = "html"


def report(
    formats: Annotated[
        list[Format] | None,
        typer.Option("--format", metavar="FORMAT ...", help="console (the default), markdown, latex, csv, html."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where files are written.")] = Path("report"),
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", "-d", metavar="NAME", help="Tables of this dataset only.", autocompletion=completion.datasets
        ),
    ] = None,
    study: Annotated[
        list[str] | None,
        typer.Option(
            "--study",
            metavar="FILE",
            help="A table for a study of your own too. Repeatable.",
            autocompletion=completion.studies,
        ),
    ] = None,
    runs_dir: options.RunsDir = options.RUNS,
) -> None:
    """Show the papers' tables beside one's own runs, and whether differences are real.

    Files: tables.md, tables.tex, tables.csv with comparisons.csv, index.html, and figures/ beside them.
    """
    from dmmsa_cli.cli.console import open_console
    from dmmsa_cli.reporting.formats.console import show, show_notes
    from dmmsa_cli.reporting.report import report

    requested = [one.value for one in formats or [Format.console]]
    built, written = report(runs_dir, requested, out, dataset, study or ())
    console = open_console()
    if "console" in requested:
        show(console, built)
    else:
        show_notes(console, built)
    for path in written:
        console.print(str(path), soft_wrap=True)
    _tell_damage(built)


def _tell_damage(built: Report) -> None:
    """End with status 1 where a run is damaged, though all else is told.

    Raises:
        RunMismatch: with all that is damaged.
    """
    damaged = built.collection.damaged
    if damaged:
        what = "One run is damaged and was" if len(damaged) == 1 else f"{len(damaged)} runs are damaged and were"
        raise RunMismatch(f"{what} left out; all else is in the report.", "\n".join(map(str, damaged)))
    stale = built.collection.stale
    if stale:
        what = "One run's" if len(stale) == 1 else f"{len(stale)} runs'"
        raise RunMismatch(
            f"{what} results on missing data were left out; all else is in the report.", "\n".join(map(str, stale))
        )
