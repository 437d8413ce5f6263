"""`dmmsa prepare`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmmsa_cli.cli import completion, options
from dmmsa_cli.commands import command

if TYPE_CHECKING:  # at run time these are imported where they are used, to keep --help quick
    from rich.console import Console
    from rich.table import Table

    from dmmsa_cli.data.manifest import Manifest
    from dmmsa_cli.data.splitting import Shares
    from dmmsa_cli.stages.prepare import PrepareReport

BAR_WIDTH = 40


def prepare(
    dataset: Annotated[
        str,
        typer.Argument(
            help="mosi, mosei, sims, meld, toy, or a name of your own.", autocompletion=completion.known_datasets
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE|URL", help="A pickle in the field's layout. Default: as published."),
    ] = None,
    spec: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML description of a dataset of your own.")
    ] = None,
    aligned: Annotated[bool, typer.Option("--aligned", help="The variant aligned to the words.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what was prepared before.")] = False,
    sha256: Annotated[
        str | None,
        typer.Option(metavar="HEX|any", help="What the file of --from must hash to; any takes what comes."),
    ] = None,
    emotions_from: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET",
            help="A prepared dataset whose emotions the training clips take: those of the nearest transcript.",
            autocompletion=completion.datasets,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME|FILE",
            help="Whose text encoder tells what is near. Default: dmmsa.",
            autocompletion=completion.recipes,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="T,V,T", help="Deal out a file without splits, by these shares: 0.7,0.1,0.2."),
    ] = None,
    by: Annotated[
        str | None, typer.Option(metavar="video|clip", help="What --split never cuts. Default: video.")
    ] = None,
    split_seed: Annotated[
        int | None, typer.Option(metavar="N", help="Of the order that --split draws. Default: 1.")
    ] = None,
    data_dir: options.DataDir = options.DATA,
    runs_dir: options.RunsDir = options.RUNS,
) -> None:
    """Fetch a dataset, check it, repair it and store it for all other commands.

    The datasets are for research use, under the terms of those who made them.
    """
    from dmmsa_cli.cli.console import open_console
    from dmmsa_cli.stages.prepare import prepare

    console = open_console()
    with _progress() as progress:
        report = prepare(
            dataset,
            data_dir=data_dir,
            source=source,
            spec_file=spec,
            aligned=aligned,
            force=force,
            sha256=sha256,
            emotions_from=emotions_from,
            recipe=recipe,
            shares=_shares(split, by, split_seed),
            runs_dir=runs_dir,
            progress=progress,
        )
    _show(console, report)


def _shares(split: str | None, by: str | None, seed: int | None) -> Shares | None:
    from dmmsa_cli.data.splitting import SEED, Shares
    from dmmsa_cli.errors import InvalidInput

    if split is not None:
        return Shares.parse(split, by or "video", SEED if seed is None else seed)
    if by is not None or seed is not None:
        raise InvalidInput("--by and --split-seed say how --split deals out a file.", "Add --split 0.7,0.1,0.2.")
    return None


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """Show a bar for each thing that is done, on a terminal, and clear them all in the end."""
    from rich import progress as bars

    from dmmsa_cli.cli.console import open_console

    console = open_console(stderr=True)
    columns = (
        bars.TextColumn("{task.description:<12}", markup=False),
        bars.BarColumn(BAR_WIDTH),
        bars.TaskProgressColumn(),
        bars.TimeRemainingColumn(),
    )
    tasks: dict[str, bars.TaskID] = {}
    with bars.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:

        def update(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done, total=total)

        yield update


def _show(console: Console, report: PrepareReport) -> None:
    from rich.text import Text

    from dmmsa_cli.cli.console import say

    manifest = report.manifest
    name, folder = manifest.spec.name, report.store.folder
    if manifest.spec.synthetic:
        mark = (" SYNTHETIC ", "bold black on yellow")
        console.print(Text.assemble(mark, " every clip of this dataset is made up"))
    state = "prepared in" if report.written else "was prepared before (--force does it again), in"
    console.print(Text.assemble((name, "bold"), f" {state} {folder}"))
    for warning in (*report.warnings, *_origin_of_emotions(manifest)):
        console.print(Text.assemble(("! ", "yellow"), warning))
    for table in (_splits(report), _modalities(report), _scores(report, console), _emotions(report), _repairs(report)):
        if table is not None:
            console.print()
            console.print(table)
    console.print()
    _show_best(console, report)
    console.print(Text.assemble("data hash ", (manifest.data_hash[:12], "bold")))
    say(console, f"Next: {_next(name)}")


def _next(name: str) -> str:
    """Return the command that follows; for data of the user's own that which says what recipes there are."""
    from dmmsa_cli.data.specs import SPECS

    return command("fuse", dataset=name) if name in SPECS else command("list", "recipes", dataset=name)


def _show_best(console: Console, report: PrepareReport) -> None:
    best = report.manifest.notes.get("best_reachable_mae")
    if best:
        values = ", ".join(f"{split} {value:.3f}" for split, value in best.items())
        console.print(f"best reachable MAE, SYNTHETIC: {values}")


def _table(title: str, *columns: str) -> Table:
    """Make a plain table: the first column to the left, numbers to the right."""
    from dmmsa_cli.cli.console import plain_table

    return plain_table(title, *columns, numbers=columns[1:])


def _splits(report: PrepareReport) -> Table:
    from rich.text import Text

    manifest = report.manifest
    published = manifest.spec.split_sizes
    of_paper = published is not None and not manifest.spec.synthetic
    whose = "the paper's" if manifest.spec.source else "expected"
    table = _table("Rows", "split", "rows", *([whose] if of_paper else []))
    for split, rows in manifest.rows.items():
        beside: list[Text] = []
        if of_paper and published is not None:
            beside = [Text(f"{published[split]:,}", style="yellow" if published[split] != rows else "")]
        table.add_row(split, f"{rows:,}", *beside)
    return table


def _modalities(report: PrepareReport) -> Table:
    from dmmsa_cli.data.specs import MODALITY_NAMES

    manifest = report.manifest
    table = _table("Modalities", "", "width", "frames: median", "95th perc.", "longest", "own labels")
    own = "yes" if manifest.unimodal_labels else "no"
    for modality in manifest.modalities:
        label = MODALITY_NAMES[modality]
        if modality not in report.lengths:
            table.add_row(f"{label}, transcripts", "", "", "", "", own)
            continue
        if modality == "t":
            label += ", features"
        lengths = report.lengths[modality]
        numbers = (manifest.widths[modality], lengths.median, lengths.p95, lengths.longest)
        table.add_row(label, *(f"{number:,.0f}" for number in numbers), own)
    return table


def _scores(report: PrepareReport, console: Console) -> Table:
    from rich.text import Text

    table = _table("Scores, all splits", "around", "clips", "")
    table.columns[2].justify = "left"
    most = max(bar.count for bar in report.histogram)
    for bar in report.histogram:
        drawn = _bar(bar.count / most, console.options.ascii_only)
        table.add_row(f"{bar.centre:+.1f}", f"{bar.count:,}", Text(drawn, style="cyan"))
    return table


def _bar(share: float, ascii_only: bool) -> str:
    """Draw a share of `BAR_WIDTH` in eighths of a column."""
    if ascii_only:
        return "#" * round(share * BAR_WIDTH)
    full, eighths = divmod(round(share * BAR_WIDTH * 8), 8)
    return "█" * full + " ▏▎▍▌▋▊▉"[eighths].strip()


def _origin_of_emotions(manifest: Manifest) -> list[str]:
    origin = manifest.pseudo_emotions
    if origin is None:
        return []
    nearest = f"those of the nearest transcript of {origin['dataset']} with the same polarity, by {origin['encoder']}"
    return [f"Emotions are pseudo-labels of the training split: {nearest}. No metric is ever computed of them."]


def _emotions(report: PrepareReport) -> Table | None:
    manifest = report.manifest
    if not report.emotions:
        return None
    table = _table("Emotions, clips", "", *report.emotions)
    for name in manifest.emotions:
        table.add_row(name, *(f"{split.present[name]:,}" for split in report.emotions.values()))
    rows = [manifest.rows[split] for split in report.emotions]
    shares = [split.none / count for split, count in zip(report.emotions.values(), rows, strict=True)]
    table.add_row("none of them", *(f"{share:.1%}" for share in shares))
    if any(split.unknown for split in report.emotions.values()):
        table.add_row("not known", *(f"{split.unknown:,}" for split in report.emotions.values()))
    return table


def _repairs(report: PrepareReport) -> Table | None:
    if not report.manifest.repairs:
        return None
    table = _table("Repaired", "what", "how many")
    for what, count in report.manifest.repairs.items():
        table.add_row(what, f"{count:,}")
    return table
