"""`dmmsa predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dmmsa_cli.cli import options


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run: .../seed-1")],
    source: Annotated[Path, typer.Option("--from", metavar="FILE", help="A pickle in the field's layout.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.csv", help="Where the predictions go.")],
    split: Annotated[str | None, typer.Option("--split", help="Only this split of the file.")] = None,
    device: options.DeviceOption = options.Device.auto,
    data_dir: options.DataDir = options.DATA,
) -> None:
    """Score one's own clips with a finished run; no labels are needed."""
    from dmmsa_cli.cli.console import open_console
    from dmmsa_cli.data.specs import MODALITY_NAMES
    from dmmsa_cli.stages.predict import predict
    from dmmsa_cli.training.run import RunFolder

    report = predict(RunFolder(run), source, out, data_dir=data_dir, device=device.value, split=split)
    console = open_console()
    for warning in report.warnings:
        console.print(f"! {warning}")
    for what, count in report.repairs.items():
        console.print(f"repaired: {what} ({count})")
    for modality, count in report.cut.items():
        name = MODALITY_NAMES[modality]
        console.print(f"{count} {name} sequences are longer than any the run was trained on, and were cut.")
    rows = ", ".join(f"{count} {name}" for name, count in report.rows.items())
    console.print(f"{report.out}: predictions for {rows} clips")
