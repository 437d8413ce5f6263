"""`dmmsa evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmmsa_cli.cli import completion, options
from dmmsa_cli.errors import InvalidInput, RunMismatch

if TYPE_CHECKING:  # imported where it is used, to keep --help quick
    from dmmsa_cli.stages.evaluation import Evaluated
    from dmmsa_cli.stages.missing import MissingEvaluated
    from dmmsa_cli.training.run import RunFolder


class Split(StrEnum):
    """A split of a dataset."""

    train = "train"
    valid = "valid"
    test = "test"


def evaluate(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN ...]", help="Run folders, or folders of several.", autocompletion=completion.folders_of_runs
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", "-d", metavar="NAME", help="All runs of this dataset.", autocompletion=completion.datasets
        ),
    ] = None,
    split: Annotated[Split, typer.Option("--split", help="Which rows to score.")] = Split.test,
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", metavar="FILE.csv", help="Score these: columns id, y_true, y_pred."),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option("--folds", metavar="N", help="The runs on N folds of the dataset, over all their clips together."),
    ] = None,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Add rows of all seeds together: metrics of the mean of predictions.")
    ] = False,
    level: Annotated[
        float | None,
        typer.Option("--level", metavar="SHARE", help="Of intervals that are held against the test split: 0.9."),
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
    threads: options.Threads = None,
    data_dir: options.DataDir = options.DATA,
    runs_dir: options.RunsDir = options.RUNS,
) -> None:
    """Score runs, or anybody's predictions, with the field's metrics.

    Writes metrics.json and predictions into each run, with --missing missing.json, and prints means and standard
    deviations over seeds, and how often intervals made from the validation split hold the label.
    """
    asked = {"--ensemble": ensemble or None, "--level": level, "--draws": draws}
    _check_together(predictions, folds, missing, asked)
    if level is not None and split is not Split.test:
        raise InvalidInput("--level is of intervals, which are held against the test split.", "Leave --split out.")
    if predictions:
        _evaluate_predictions(predictions, runs, dataset, json_out, data_dir)
        return
    from dmmsa_cli.stages.evaluate import evaluate, find_runs, left_unfinished

    if folds is not None:
        found = _evaluate_folds(folds, runs, dataset, split, data_dir, runs_dir, device)
        _tell(found, None, json_out)
        return
    chosen, unfinished = find_runs(runs or (), dataset, runs_dir), left_unfinished(runs or (), dataset, runs_dir)
    if missing is not None:
        _evaluate_missing(chosen, missing, draws, split, json_out, data_dir, device, unfinished)
        return
    found = evaluate(chosen, split=split.value, data_dir=data_dir, device=device.value, ensemble=ensemble)
    _tell(found, level, json_out, ensemble=ensemble, unfinished=unfinished)


def _check_together(
    predictions: Path | None, folds: int | None, missing: str | None, more: Mapping[str, float | None]
) -> None:
    """See that one thing is asked for, and nothing that it can't have.

    Raises:
        InvalidInput: otherwise.
    """
    asked = {"--predictions": predictions, "--folds": folds, "--missing": missing}
    named = [name for name, value in asked.items() if value is not None]
    if len(named) > 1:
        raise InvalidInput(f"{named[0]} and {named[1]} are different questions.", "Ask one after the other.")
    fits = {"--ensemble": (None,), "--level": (None,), "--draws": ("--missing",)}
    what = named[0] if named else None
    for name, value in more.items():
        if value is not None and what not in fits[name]:
            beside = f" beside {what}" if what else f" without {fits[name][0]}"
            raise InvalidInput(f"{name} means nothing{beside}.", "Leave one of them out." if what else "Add it.")
    if not named and more["--level"] is not None:
        from dmmsa_cli.uncertainty import check_level

        check_level(more["--level"])


def _tell(
    evaluated: Evaluated, level: float | None, json_out: Path | None, *, ensemble: bool = False, unfinished: str = ""
) -> None:
    from dmmsa_cli.cli.console import open_console
    from dmmsa_cli.cli.scores_view import show
    from dmmsa_cli.reporting.worth import to_json, worths
    from dmmsa_cli.uncertainty import LEVEL

    console = open_console()
    worth = [worths(table, LEVEL if level is None else level) for table in evaluated.tables]
    for table, measured in zip(evaluated.tables, worth, strict=True):
        show(console, table, measured)
    if ensemble and not any(row.together for table in evaluated.tables for row in table.systems):
        console.print("Nothing stands together: no system has more than one run.")
    if json_out:
        _write(json_out, [to_json(table, measured) for table, measured in zip(evaluated.tables, worth, strict=True)])
    _report_left_out(evaluated, unfinished)


def _write(path: Path, tables: list[dict[str, Any]]) -> None:
    """Write the table, or a list of several; without any there is nothing to write."""
    from dmmsa_cli.files import write_json

    if tables:
        write_json(path, tables[0] if len(tables) == 1 else tables)


def _report_left_out(evaluated: Evaluated | MissingEvaluated, unfinished: str) -> None:
    """Tell which runs are not there; end with status 1 where one could not be evaluated, though all others were.

    Raises:
        RunMismatch: with every such run.
    """
    from dmmsa_cli.cli.console import open_console

    if unfinished:
        open_console().print(unfinished, soft_wrap=True)
    if evaluated.read_only:
        count = len(evaluated.read_only)
        where = str(evaluated.read_only[0]) if count == 1 else f"{count} runs"
        open_console().print(
            f"Nothing is kept in {where}: what can't be written is left as it is, and `report` knows what is kept."
        )
    left_out = evaluated.left_out
    if len(left_out) == 1 and not evaluated.tables:
        raise left_out[0]
    if left_out:
        what = "One run was" if len(left_out) == 1 else f"{len(left_out)} runs were"
        beside = "; all others are in the table" if evaluated.tables else ""
        raise RunMismatch(f"{what} left out{beside}.", "\n".join(dict.fromkeys(map(str, left_out))))


# --- other questions ------------------------------------------------------------------------------------------------


def _evaluate_predictions(
    path: Path, runs: list[Path] | None, dataset: str | None, json_out: Path | None, data_dir: Path
) -> None:
    if dataset is None or runs:
        raise InvalidInput(
            "--predictions scores one file under one dataset's metrics.", "Add --dataset NAME, and name no runs."
        )
    from dmmsa_cli.cli.console import open_console
    from dmmsa_cli.cli.scores_view import filled
    from dmmsa_cli.metrics import without_nan
    from dmmsa_cli.plain import plural
    from dmmsa_cli.reporting.results import COLUMNS, LEGEND
    from dmmsa_cli.stages.evaluation import Row
    from dmmsa_cli.stages.score import evaluate_predictions

    spec, rows, metrics = evaluate_predictions(path, dataset, data_dir=data_dir)
    console = open_console()
    title = f"{path.name}, {plural(rows, 'clip')}, metrics of {spec.name}"
    console.print(filled(title, COLUMNS[spec.metrics], [Row(path.stem, [metrics])]))
    console.print(LEGEND[spec.metrics], style="dim")
    if json_out:
        _write(json_out, [without_nan(metrics)])


def _evaluate_folds(
    folds: int,
    runs: list[Path] | None,
    dataset: str | None,
    split: Split,
    data_dir: Path,
    runs_dir: Path,
    device: options.Device,
) -> Evaluated:
    if dataset is None or runs or split is not Split.test:
        raise InvalidInput(
            "--folds scores all runs on the folds of one dataset, each on the videos that it has not seen.",
            "Add --dataset NAME; name no runs, and no --split.",
        )
    from dmmsa_cli.stages.folds import evaluate_folds

    return evaluate_folds(dataset, folds, data_dir=data_dir, runs_dir=runs_dir, device=device.value)


def _evaluate_missing(
    runs: list[RunFolder],
    missing: str,
    draws: int | None,
    split: Split,
    json_out: Path | None,
    data_dir: Path,
    device: options.Device,
    unfinished: str,
) -> None:
    from dmmsa_cli.cli import missing_view
    from dmmsa_cli.cli.console import open_console, say
    from dmmsa_cli.experiments.robustness import parse_rates
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
            remark=partial(say, console),
            on_pass=on_pass,
        )
    for table in evaluated.tables:
        missing_view.show(console, table)
    if json_out:
        _write(json_out, [table.to_json() for table in evaluated.tables])
    _report_left_out(evaluated, unfinished)
