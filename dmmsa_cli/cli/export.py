"""`dmmsa export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dmmsa_cli.cli import completion, options
from dmmsa_cli.commands import command, evaluate_run


def export(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="The folder of a finished run: .../seed-1.", autocompletion=completion.finished_runs
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="The folder to make.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    data_dir: options.DataDir = options.DATA,
) -> None:
    """Put a run and all that its predictions need into one folder that can be handed on."""
    from dmmsa_cli.cli.console import open_console, say
    from dmmsa_cli.reporting.card import card
    from dmmsa_cli.stages.export import export
    from dmmsa_cli.training.run import RunFolder

    report = export(RunFolder(run), out, data_dir=data_dir, card=card, force=force)
    console = open_console()
    console.print(f"{report.folder}: {report.bytes / 2**20:,.1f} MiB, with README.md as its card.")
    if report.lacking:
        say(
            console,
            f"Without {' and '.join(report.lacking)}, which `{evaluate_run(run)}` makes; intervals (--level), and "
            "results on the card, come from there.",
        )
    there = command("predict", report.folder, "--from", "FILE.pkl", out="predictions.csv", data_dir=None)
    say(console, f"Next: {there}")
