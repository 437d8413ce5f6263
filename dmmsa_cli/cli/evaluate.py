"""`dmmsa evaluate`."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmmsa_cli.cli import options
from dmmsa_cli.errors import InvalidInput, RunMismatch

if TYPE_CHECKING:  # imported where it is used, to keep --help quick
    from rich.console import Console
    from rich.table import Table

    from dmmsa_cli.metrics import Metrics
    from dmmsa_cli.reporting.results import Column
    from dmmsa_cli.stages.evaluate import Evaluated, Evaluation, Row
    from dmmsa_cli.stages.missing import MissingEvaluated
    from dmmsa_cli.training.run import RunFolder


class Split(StrEnum):
    """A split of a dataset."""

    train = "train"
    valid = "valid"
    test = "test"


def evaluate(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN ...]", help="Run folders, or folders above them.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", metavar="NAME", help="All runs of this dataset.")
    ] = None,
    split: Annotated[Split, typer.Option("--split", help="Which rows to score.")] = Split.test,
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", metavar="FILE.csv", help="Score these: columns id, y_true, y_pred."),
    ] = None,
    missing: Annotated[
        str | None,
        typer.Option(
            "--missing",
            metavar="RATES",
            help="Leave out tokens and frames at these rates, and whole modalities: 0:0.9:0.1, or 0,0.3,0.6.",
        ),
    ] = None,
    draws: Annotated[
        int | None, typer.Option("--draws", metavar="N", help="Times that --missing corrupts clips at a rate: 3.")
    ] = None,
    json_out: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Write fractions, unrounded, as JSON.")
    ] = None,
    device: options.DeviceOption = options.Device.auto,
    data_dir: options.DataDir = options.DATA,
    runs_dir: options.RunsDir = options.RUNS,
) -> None:
    """Score runs, or anybody's predictions, with the field's metrics.

    Writes metrics.json and predictions.csv into each run, with --missing missing.json, and prints means and standard
    deviations over seeds.
    """
    _check_together(predictions, missing, draws)
    if predictions:
        _evaluate_predictions(predictions, runs, dataset, json_out, data_dir)
        return
    from dmmsa_cli.cli.console import open_console
    from dmmsa_cli.files import write_json
    from dmmsa_cli.stages.evaluate import evaluate, find_runs

    found = find_runs(runs or (), dataset, runs_dir)
    if missing is not None:
        _evaluate_missing(found, missing, draws, split, json_out, data_dir, device)
        return
    evaluated = evaluate(found, split=split.value, data_dir=data_dir, device=device.value)
    console = open_console()
    for table in evaluated.tables:
        _show(console, table)
    if json_out and evaluated.tables:
        values = [table.to_json() for table in evaluated.tables]
        write_json(json_out, values[0] if len(values) == 1 else values)
    _report_left_out(evaluated)


def _check_together(predictions: Path | None, missing: str | None, draws: int | None) -> None:
    if predictions and missing is not None:
        raise InvalidInput("--missing needs runs to show clips to; --predictions has none.", "Give one of them.")
    if draws is not None and missing is None:
        raise InvalidInput("--draws says how often --missing corrupts clips.", "Add --missing 0:0.9:0.1, say.")


def _evaluate_missing(
    runs: list[RunFolder],
    missing: str,
    draws: int | None,
    split: Split,
    json_out: Path | None,
    data_dir: Path,
    device: options.Device,
) -> None:
    from dmmsa_cli.cli import missing_view
    from dmmsa_cli.cli.console import open_console
    from dmmsa_cli.experiments.robustness import parse_rates
    from dmmsa_cli.files import write_json
    from dmmsa_cli.stages.missing import DRAWS, evaluate_missing

    rates, console = parse_rates(missing), open_console()
    with missing_view.progress() as on_pass:
        evaluated = evaluate_missing(
            runs,
            rates,
            draws=DRAWS if draws is None else draws,
            split=split.value,
            data_dir=data_dir,
            device=device.value,
            remark=lambda line: console.print(line, soft_wrap=not console.is_terminal),
            on_pass=on_pass,
        )
    for table in evaluated.tables:
        missing_view.show(console, table)
    if json_out and evaluated.tables:
        values = [table.to_json() for table in evaluated.tables]
        write_json(json_out, values[0] if len(values) == 1 else values)
    _report_left_out(evaluated)


def _report_left_out(evaluated: Evaluated | MissingEvaluated) -> None:
    """End with status 1 where a run could not be evaluated, though all others were.

    Raises:
        RunMismatch: with every such run.
    """
    left_out = evaluated.left_out
    if len(left_out) == 1 and not evaluated.tables:
        raise left_out[0]
    if left_out:
        what = "One run was" if len(left_out) == 1 else f"{len(left_out)} runs were"
        beside = "; all others are in the table" if evaluated.tables else ""
        raise RunMismatch(f"{what} left out{beside}.", "\n".join(map(str, left_out)))


def _evaluate_predictions(
    path: Path, runs: list[Path] | None, dataset: str | None, json_out: Path | None, data_dir: Path
) -> None:
    if dataset is None or runs:
        raise InvalidInput(
            "--predictions scores one file under one dataset's metrics.", "Add --dataset NAME, and name no runs."
        )
    from dmmsa_cli.cli.console import open_console
    from dmmsa_cli.files import write_json
    from dmmsa_cli.metrics import without_nan
    from dmmsa_cli.reporting.results import COLUMNS, LEGEND
    from dmmsa_cli.stages.score import evaluate_predictions

    spec, rows, metrics = evaluate_predictions(path, dataset, data_dir=data_dir)
    console = open_console()
    grid = _grid(f"{path.name}, {rows} clips, metrics of {spec.name}", COLUMNS[spec.metrics])
    _add(grid, COLUMNS[spec.metrics], path.stem, metrics)
    console.print(grid)
    console.print(LEGEND[spec.metrics], style="dim")
    if json_out:
        write_json(json_out, without_nan(metrics))


def _show(console: Console, table: Evaluation) -> None:
    from dmmsa_cli.metrics import ALL_EMOTIONS
    from dmmsa_cli.reporting.results import COLUMNS, EMOTION_METRICS, LEGEND, emotion_columns
    from dmmsa_cli.stages.evaluate import MAJORITY, PLAINEST

    spec = table.spec
    synthetic = "SYNTHETIC data, " if spec.synthetic else ""
    title = f"{spec.name}: {synthetic}{table.split} split, {table.rows} clips"
    console.print(_filled(title, COLUMNS[spec.metrics], table.systems))
    knowing = [
        replace(system, title=MAJORITY) if system.title == PLAINEST else system
        for system in table.systems
        if f"acc_{ALL_EMOTIONS}" in system.summary.mean
    ]
    learned = len(knowing) > 1  # beside the plainest predictor, which always is there
    for kind, name in EMOTION_METRICS.items() if learned else ():  # in one table they would not fit on a screen
        console.print()
        console.print(_filled(f"{title}, {name} of emotions", emotion_columns(table.emotions, [kind]), knowing))
    for line in _notes(table):
        console.print(line, style="dim")
    console.print(LEGEND[spec.metrics], style="dim")
    if learned:
        console.print("Emotions: present against absent, over the clips of which it is known.", style="dim")


def _filled(title: str, columns: tuple[Column, ...], systems: list[Row]) -> Table:
    grid = _grid(title, columns)
    for system in systems:
        summary = system.summary
        _add(grid, columns, system.title, summary.mean)
        if summary.runs > 1:
            _add(grid, columns, f"  {summary.runs} seeds", summary.sd, spread=True)
    return grid


def _notes(table: Evaluation) -> list[str]:
    floor = table.notes.get("best_reachable_mae", {}).get(table.split)
    lines = [f"The best reachable MAE on this synthetic split is {floor:.4f}."] if floor is not None else []
    several = [system for system in table.systems if system.summary.runs > 1]
    covers = {system.covers for system in several}
    for what in sorted(covers):
        whose = "" if len(covers) == 1 else " of " + "; ".join(s.title for s in several if s.covers == what)
        lines.append(f"±{whose} is the sample standard deviation over seeds; it covers {what}.")
    return [*lines, f"Data {table.data_hash[:12]}. 'alone': a pretrained encoder with its own head, scored against y."]


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
