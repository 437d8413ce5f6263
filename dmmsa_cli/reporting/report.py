"""`dmmsa report`: everything there is to say about the runs in a folder, in the formats that are asked for."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Collection as Container
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmmsa_cli import __version__
from dmmsa_cli.commands import command, evaluate_run, nearby, work_in
from dmmsa_cli.data.specs import SPECS
from dmmsa_cli.data.store import check_name
from dmmsa_cli.errors import InvalidInput, RunMismatch, RunMissing
from dmmsa_cli.files import write_text
from dmmsa_cli.metrics import score
from dmmsa_cli.plain import plural
from dmmsa_cli.reporting.collection import Collection, collect
from dmmsa_cli.reporting.comparison import compare
from dmmsa_cli.reporting.contents import Report, Table
from dmmsa_cli.reporting.folds import on_folds
from dmmsa_cli.reporting.missing import faults
from dmmsa_cli.reporting.published import load_published
from dmmsa_cli.reporting.rows import in_order
from dmmsa_cli.reporting.runs import Run, System, evaluate_again
from dmmsa_cli.reporting.series.scale import scale
from dmmsa_cli.reporting.tables import build_tables
from dmmsa_cli.reporting.tunings import TunedRecipe, tunings
from dmmsa_cli.stages.tuning.names import INSTALL
from dmmsa_cli.training.run import RunFolder, goes_on

if TYPE_CHECKING:
    from dmmsa_cli.reporting.figures.write import WrittenFigure

FIGURES = "figures"  # folder beside the files that show them


def report(
    runs_dir: Path, formats: Container[str], out: Path, dataset: str | None = None, studies: Sequence[str] = ()
) -> tuple[Report, list[Path]]:
    """Build the report, and write it in every format that is a file.

    Args:
        runs_dir: where runs lie.
        formats: `markdown`, `latex`, `csv` and `html` are written; `console` is the caller's to print.
        out: folder that gets the files.
        dataset: restrict to this one.
        studies: files of studies that get a table beside the shipped ones.

    Returns:
        The report, and what was written.

    Raises:
        InvalidInput: there is no such dataset.
        DiskFull: there is no room.
    """
    built = build_report(runs_dir, dataset, studies)
    figures: list[WrittenFigure] = []
    if not {"markdown", "latex", "html"}.isdisjoint(formats):
        built, figures = _draw(built, out / FIGURES)
    return built, [*_write(built, formats, out, figures), *([out / FIGURES] if figures else [])]


def build_report(runs_dir: Path, dataset: str | None = None, studies: Sequence[str] = ()) -> Report:
    """Put together tables, comparisons and what a reader should know first.

    Raises:
        InvalidInput: there is no such dataset.
    """
    if dataset is not None:
        check_name(dataset)
    collection = _readable(collect(runs_dir, dataset))
    _work_where_they_did(runs_dir, collection)
    tables = build_tables(collection.systems, dataset, studies, collection.folds)
    runs = (
        collection.systems or collection.folds or collection.unfinished or collection.diverged or collection.unevaluated
    )
    empty = not (runs or collection.damaged)
    if dataset is not None and dataset not in SPECS and empty:
        raise InvalidInput(
            f"There is neither a run of {dataset} in {runs_dir} nor a published table of it.",
            f"Train one (`{command('fuse', dataset=dataset)}`), or leave out --dataset.",
        )
    problems: list[str] = []
    comparisons = compare(collection.systems, problems)
    tuned = tunings(runs_dir, dataset, problems)
    first = [_nothing_run(runs_dir, dataset)] if empty else []
    return Report(
        collection=collection,
        tables=tables,
        comparisons=comparisons,
        notes=(
            *first,
            *_about_runs(collection),
            *_about_folds(collection),
            *_about_studies(studies, tables, collection.systems),
            *_about_tunings(tuned),
            *problems,
        ),
        tunings=tuned,
        runs_dir=str(runs_dir.absolute()),  # the page may be read elsewhere than where it was made
        made={
            "made": datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
            "version": f"dmmsa {__version__}",
            "command": shlex.join(["dmmsa", *sys.argv[1:]]),
        },
    )


# --- files ----------------------------------------------------------------------------------------------------------


def _draw(built: Report, folder: Path) -> tuple[Report, list[WrittenFigure]]:
    from dmmsa_cli.reporting.figures.write import write_figures

    problems: list[str] = []
    figures = write_figures(built, folder, problems)
    return replace(built, notes=(*built.notes, *problems)), figures


def _write(built: Report, formats: Container[str], out: Path, figures: Sequence[WrittenFigure]) -> Iterator[Path]:
    from dmmsa_cli.reporting.formats.latex import to_latex
    from dmmsa_cli.reporting.formats.markdown import to_markdown
    from dmmsa_cli.reporting.formats.tidy import comparisons_csv, tables_csv
    from dmmsa_cli.reporting.page.page import write_page

    texts: list[tuple[Path, str]] = []
    if "markdown" in formats:
        shown = [(f"{FIGURES}/{figure.png.name}", figure) for figure in figures]
        texts.append((out / "tables.md", to_markdown(built, shown)))
    if "latex" in formats:
        shown = [(f"{FIGURES}/{figure.pdf.name}", figure) for figure in figures]
        texts.append((out / "tables.tex", to_latex(built, shown)))
    if "csv" in formats:
        texts += [(out / "tables.csv", tables_csv(built)), (out / "comparisons.csv", comparisons_csv(built))]
    for path, text in texts:
        write_text(path, text)
        yield path
    if "html" in formats:
        write_page(built, out / "index.html")
        yield out / "index.html"


def _work_where_they_did(runs_dir: Path, found: Collection) -> None:
    """Name, in every command, the folder of runs, and that of the data they were trained on, where that is one."""
    work_in(runs_dir=runs_dir)
    folders = {str(run.facts.get("data_dir")) for system in (*found.systems, *found.folds) for run in system.runs}
    if len(folders) == 1 and (folder := folders.pop()) != "None":
        work_in(data_dir=nearby(Path(folder)))


# --- what a reader should know first --------------------------------------------------------------------------------


def _readable(found: Collection) -> Collection:
    """Leave out runs whose predictions can't be read, so that no comparison, figure or page stumbles over them."""
    kept = Collection(
        unfinished=found.unfinished,
        diverged=found.diverged,
        unevaluated=list(found.unevaluated),
        damaged=list(found.damaged),
    )
    for systems, readable in ((found.systems, kept.systems), (found.folds, kept.folds)):
        for system in in_order(systems):
            runs = [run for run in system.runs if _has_predictions(run, kept)]
            if runs:
                readable.append(system if len(runs) == len(system.runs) else System(tuple(runs)))
    kept.stale.extend(faults(kept.systems))
    return kept


def _has_predictions(run: Run, found: Collection) -> bool:
    try:
        _check_predictions(run)
        _ = run.similarity  # told if it is damaged
        return True
    except RunMissing:
        found.unevaluated.append(run.folder)
    except RunMismatch as error:
        found.damaged.append(error)
    return False


def _check_predictions(run: Run) -> None:
    """Hold metrics.json against predictions.csv: where one was changed by hand, neither is to be trusted.

    Raises:
        RunMissing, RunMismatch: the predictions are not there, or say otherwise.
    """
    table, scores = run.predictions, scale(System((run,)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Corr is undefined was told when it was measured
        found = score(table["y_true"], table["y_pred"], metrics=scores.metrics, score_range=scores.score_range)
    wrong = [
        name for name, value in found.items() if not np.isclose(value, run.metrics[name], atol=1e-6, equal_nan=True)
    ]
    if wrong:
        raise RunMismatch(
            f"predictions.csv and metrics.json in {run.folder} contradict each other: {wrong[0]} is "
            f"{found[wrong[0]]:.6f} in the one and {run.metrics[wrong[0]]:.6f} in the other.",
            evaluate_again(run.folder),
        )


def _nothing_run(runs_dir: Path, dataset: str | None) -> str:
    what = "There are no runs" + (f" of {dataset}" if dataset else "")
    if dataset is not None and dataset not in {table.dataset for table in load_published().tables}:
        return f"{what} in {runs_dir} yet. To train: `{command('fuse', dataset=dataset)}`."
    return f"{what} in {runs_dir} yet: the tables are as published, and under each stands the command that fills it."


def _about_runs(collection: Collection) -> list[str]:
    """Tell of runs that stand in no table, and of the command that brings them there."""
    unfinished: dict[tuple[Path, str], list[str]] = {}
    for folder in collection.unfinished:
        unfinished.setdefault((folder.parent, goes_on(folder)), []).append(folder.name)
    unevaluated: dict[Path, list[str]] = {}
    for folder in collection.unevaluated:
        unevaluated.setdefault(folder.parent, []).append(folder.name)
    return [
        *(
            f"Damaged, and left out everywhere: {error.what.rstrip('.')}. {error.remedy}"
            for error in collection.damaged
        ),
        *(f"No tables of missing data: {error.what.rstrip('.')}. {error.remedy}" for error in collection.stale),
        *(
            f"Unfinished, or still running: {', '.join(names)} in {place}. {how}"
            for (place, how), names in unfinished.items()
        ),
        *(
            f"Diverged: {folder}. {RunFolder(folder).diverged} To go on would end there again: train it with a lower "
            "rate (--learning-rate) under another --name, or look at the features: prepare warns of absurd ones."
            for folder in collection.diverged
        ),
        *(
            f"Not evaluated yet: {', '.join(names)} in {place}. To evaluate: "
            f"`{evaluate_run(place if len(names) > 1 else place / names[0])}`."
            for place, names in unevaluated.items()
        ),
    ]


def _about_studies(studies: Sequence[str], tables: Sequence[Table], systems: Sequence[System]) -> Iterator[str]:
    """Tell of a study that was asked for and has no table; its command takes the first system's recipe."""
    for name in studies:
        if systems and not any(Path(name).stem in table.id for table in tables):
            first = systems[0]
            recipe = first.first.recipe_file or first.recipe_name
            line = command("ablate", dataset=first.dataset, study=name, recipe=recipe)
            yield f"Of study {name} fewer than two variants are there: it has no table. To run it: `{line}`."


def _about_folds(collection: Collection) -> Iterator[str]:
    """Tell of systems that lack a fold, and so stand in no table."""
    for one in on_folds(collection.folds):
        if not one.seeds:
            fold, system = one.fold, one.parts[0]
            yield (
                f"{system.recipe_name} {system.variant} has no seed with all {fold.folds} folds of {fold.dataset}, and "
                f"stands in no table. `{command('evaluate', dataset=fold.dataset, folds=fold.folds)}` tells which lack."
            )


def _about_tunings(tuned: Sequence[TunedRecipe]) -> Iterator[str]:
    """Say what is missing where there are tunings and no Optuna to draw them with."""
    if tuned and find_spec("optuna") is None:
        yield f"{plural(len(tuned), 'tuning')} without figures: Optuna is not installed. {INSTALL}"
