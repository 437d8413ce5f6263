"""`dmmsa evaluate`: metrics and predictions of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dmmsa_cli.commands import DATA, RUNS, command
from dmmsa_cli.data.store import check_name
from dmmsa_cli.errors import DmmsaError, InvalidInput, RunMissing, why_left_out
from dmmsa_cli.experiments.identity import check_place
from dmmsa_cli.experiments.reopen import reopen
from dmmsa_cli.files import exclusive, writable
from dmmsa_cli.runtime import DeviceName
from dmmsa_cli.stages.evaluation import Evaluated
from dmmsa_cli.stages.systems import Systems
from dmmsa_cli.training.run import RunFolder, finished_runs, unfinished_runs

# --- which runs -----------------------------------------------------------------------------------------------------


def find_runs(places: Sequence[Path] = (), dataset: str | None = None, runs_dir: Path = RUNS) -> list[RunFolder]:
    """Return the finished runs of fused models at or below `places`, or all of a dataset.

    Raises:
        InvalidInput: neither is given.
        RunMissing: there is none.
    """
    if dataset is not None:
        check_name(dataset)
    roots = list(places) or ([runs_dir / dataset] if dataset else [])
    if not roots:
        raise InvalidInput("Neither a run nor a dataset is named.", "Give run folders, or --dataset NAME.")
    found = finished_runs(roots)
    meant = [place for place in places if not place.exists() and (runs_dir / place).is_dir()]
    if meant and not found:
        raise RunMissing(
            f"There is no folder {meant[0]}; {meant[0]} is a dataset that has runs.",
            f"Name it as one: `{command('evaluate', dataset=str(meant[0]))}`.",
        )
    if not found:
        raise RunMissing(
            f"There is no finished run in {', '.join(map(str, roots))}.",
            f"Train one: `{command('fuse', dataset=dataset or 'NAME')}`. An unfinished one goes on with --resume.",
        )
    return found


def left_unfinished(places: Sequence[Path] = (), dataset: str | None = None, runs_dir: Path = RUNS) -> str:
    """Say how many runs `find_runs` passes over since they have not finished; nothing where there are none."""
    unfinished = unfinished_runs(list(places) or ([runs_dir / dataset] if dataset else []))
    diverged = [run for run in unfinished if run.diverged]
    begun = [run for run in unfinished if not run.diverged]
    parts = []
    if begun:
        parts.append(f"{_runs(begun)} begun and not finished (`{command('list', 'runs', dataset=dataset)}`)")
    if diverged:
        parts.append(f"{_runs(diverged)} diverged (train with a lower rate, under another --name)")
    return f"Left out: {'; '.join(parts)}." if parts else ""


def _runs(runs: Sequence[RunFolder]) -> str:
    """Count runs, and name the only one, as the beginning of a sentence that goes on with a participle."""
    return f"{runs[0].path} has" if len(runs) == 1 else f"{len(runs)} runs have"


# --- evaluating -----------------------------------------------------------------------------------------------------


def evaluate(
    runs: Sequence[RunFolder],
    *,
    split: str = "test",
    data_dir: Path = DATA,
    device: DeviceName = "auto",
    ensemble: bool = False,
) -> Evaluated:
    """Evaluate finished runs one at a time, and write metrics.json and predictions into each that can be written.

    Predictions of the validation split are written too, where they are not there yet: intervals are made from them.

    A run that can't be evaluated (trained on other data than the store now holds, on encoders that have been retrained
    since; a copy of another run) is left out, and so is a second run of one system and seed.

    Args:
        runs: finished runs, of any datasets, recipes and variants.
        split: `train`, `valid` or `test`.
        data_dir: where stores lie.
        device: where to run.
        ensemble: add a row for each system of several runs: the metrics of the mean of their predictions.
    """
    left_out: list[DmmsaError] = []
    measured: list[RunFolder] = []
    tables: dict[str, Systems] = {}
    found_by_run: dict[Path, pd.DataFrame] = {}
    for run in runs:
        try:
            check_place(run)
            with exclusive(run.path, reading=True):  # no `fuse --force` replaces the weights meanwhile
                fused = reopen(run, data_dir=data_dir, device=device)
                table = tables.setdefault(fused.experiment.dataset, Systems(fused.experiment.store, split, ensemble))
                table.measure(fused)
                measured.append(run)
                found_by_run[run.path] = table.predictions_of_last()
        except Exception as error:  # not only ours: a disk that is full, a file that may not be read
            left_out.append(why_left_out(error))
    read_only = [run.path for run in measured if not writable(run.path)]
    found = [table.evaluation() for table in tables.values() if table.measured]
    return Evaluated(found, left_out, measured, found_by_run, read_only)
