"""`dmmsa predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmmsa_cli.cli import completion, options
from dmmsa_cli.errors import InvalidInput

if TYPE_CHECKING:  # imported where it is used, to keep --help quick
    from rich.console import Console

    from dmmsa_cli.stages.predict import PredictReport


LONGEST = 300  # letters of a transcript on the screen
FEW = 10  # clips whose scores stand on the screen, whether they are written to a file or not


def predict(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN ...",
            help="Folders of finished runs: .../seed-1; of several, their mean.",
            autocompletion=completion.finished_runs,
        ),
    ],
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="A pickle in the field's layout.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="WORDS", help="A transcript, for runs of text alone. Repeatable."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Transcripts: columns text and, if any, id.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.csv", help="Where the predictions go; --text needs none.")
    ] = None,
    level: Annotated[
        float | None, typer.Option("--level", metavar="SHARE", help="Add intervals that hold this share, as 0.9.")
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Add a column for the probability of each class.")
    ] = False,
    split: Annotated[str | None, typer.Option("--split", help="Only this split of the file given to --from.")] = None,
    device: options.DeviceOption = options.Device.auto,
    threads: options.Threads = None,
    data_dir: options.DataDir = options.DATA,
) -> None:
    """Score one's own clips, or words alone, with finished runs; no labels are needed."""
    _check(source, text, csv, out, split)
    from dmmsa_cli.uncertainty import check_level

    level = None if level is None else check_level(level)
    from dmmsa_cli.cli.console import open_console
    from dmmsa_cli.data.texts import given_texts, read_texts
    from dmmsa_cli.stages.predict import Wanted, predict, predict_texts
    from dmmsa_cli.training.run import RunFolder

    wanted = Wanted(level, probabilities)
    folders = [RunFolder(run) for run in runs]
    if source is not None and out is not None:
        report = predict(folders, source, out, data_dir=data_dir, device=device.value, split=split, wanted=wanted)
    else:
        texts = read_texts(csv) if csv is not None else given_texts(text or [])
        report = predict_texts(folders, texts, out, data_dir=data_dir, device=device.value, wanted=wanted)
    console = open_console()
    if text or len(report.table) <= FEW:
        _show(console, report, level)
    _tell(console, report)


def _check(source: Path | None, text: list[str] | None, csv: Path | None, out: Path | None, split: str | None) -> None:
    """See that there is one thing to predict, and somewhere to put what is more than a few lines.

    Raises:
        InvalidInput: otherwise.
    """
    given = {"--from": source, "--text": text, "--csv": csv}
    named = [name for name, value in given.items() if value]
    if len(named) != 1:
        both = f"{' and '.join(named)} are given" if named else "There is nothing to predict"
        raise InvalidInput(f"{both}.", "Give exactly one of --from FILE, --text WORDS and --csv FILE.")
    if out is None and not text:
        raise InvalidInput(f"{named[0]} needs a file for the predictions.", "Add --out FILE.csv.")
    if out is not None and out.is_dir():
        raise InvalidInput(f"--out {out} is a folder.", f"Name a file in it: --out {out / 'predictions.csv'}.")
    if out is not None and out.suffix.lower() != ".csv":
        raise InvalidInput(
            f"--out {out}: predictions are written as CSV.", f"Name the file so: --out {out.with_suffix('.csv')}."
        )
    if split is not None and source is None:
        raise InvalidInput("--split chooses among the splits of the file given to --from.", "Leave it out.")


def _tell(console: Console, report: PredictReport) -> None:
    from dmmsa_cli.data.features import WHOLE
    from dmmsa_cli.data.specs import MODALITY_NAMES

    for warning in report.warnings:
        console.print(f"! {warning}")
    for what, count in report.repairs.items():
        console.print(f"repaired: {what} ({count})")
    for modality, cut in report.cut.items():
        clips = "1 clip has" if cut.clips == 1 else f"{cut.clips:,} clips have"
        console.print(
            f"{clips} more {MODALITY_NAMES[modality]} than any that the run was trained on: of up to {cut.longest:,} "
            f"frames the first {cut.limit:,} were judged."
        )
    if len(report.runs) > 1:
        console.print(f"The mean of the predictions of {len(report.runs)} runs: {', '.join(report.runs)}.")
    if report.out is not None:
        rows = ", ".join(f"{count}" if name == WHOLE else f"{count} {name}" for name, count in report.rows.items())
        replaced = " (replaced what was there)" if report.replaced else ""
        clips = f"{rows} clip{'s' * (sum(report.rows.values()) != 1)}"
        console.print(f"{report.out}: predictions for {clips}{replaced}")


def _show(console: Console, report: PredictReport, level: float | None) -> None:
    """Print a line for each text: its score, its interval, the probabilities of classes, its words."""
    from rich.table import Table
    from rich.text import Text

    from dmmsa_cli.data.words import printable
    from dmmsa_cli.uncertainty import percent

    grid = Table(box=None, padding=(0, 1), pad_edge=False)
    grid.add_column("score", justify="right", no_wrap=True)
    grid.add_column("", no_wrap=True)
    if level is not None:
        grid.add_column(percent(level), no_wrap=True)
    for name in report.probabilities:
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("text", ratio=1)
    for row in report.table.to_dict("records"):
        ends = [] if level is None else [f"[{row['y_low']:.2f}, {row['y_high']:.2f}]"]
        classes = [f"{row[name]:.2f}" for name in report.probabilities]
        grid.add_row(
            f"{row['y_pred']:.2f}", row["polarity"], *ends, *classes, Text(printable(row["text"] or row["id"], LONGEST))
        )
    console.print(grid)
