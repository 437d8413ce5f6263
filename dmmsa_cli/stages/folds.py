"""`dmmsa evaluate --folds`: what a recipe is worth on videos that it has not seen, over all folds together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from dmmsa_cli.commands import command
from dmmsa_cli.data.folds import deal, fold_named, folds_of, open_dataset
from dmmsa_cli.data.prediction_table import metrics_of_tables
from dmmsa_cli.data.store import Store
from dmmsa_cli.errors import DmmsaError, RunMissing
from dmmsa_cli.experiments.identity import Identity, identity_in
from dmmsa_cli.experiments.systems import system_titles
from dmmsa_cli.metrics import Metrics, score
from dmmsa_cli.runtime import DeviceName
from dmmsa_cli.stages.evaluate import evaluate
from dmmsa_cli.stages.evaluation import PLAINEST, Evaluated, Evaluation, Row
from dmmsa_cli.training.run import RunFolder, finished_runs, goes_on


def evaluate_folds(
    dataset: str, folds: int, *, data_dir: Path, runs_dir: Path, device: DeviceName = "auto"
) -> Evaluated:
    """Evaluate the runs on every fold of a dataset, and score each system over the clips of all folds together.

    Each clip of the dataset's training and validation splits is predicted once a seed, by the run of the fold that
    tests on its video. Metrics are those of all these predictions, not means over folds.

    Returns:
        One table, or none where no system has all folds; why runs are left out, and which systems lack a fold.

    Raises:
        RunMissing: there is no run on any fold.
        InvalidInput, DatasetMissing: as `open_dataset`.
    """
    everyone, base = folds_of(dataset, folds), open_dataset(data_dir, dataset)
    stores = [deal(base, fold) for fold in everyone]
    runs = finished_runs([runs_dir / str(fold) for fold in everyone])
    if not runs:
        raise RunMissing(
            f"There is no finished run on the {folds} folds of {dataset} in {runs_dir}.",
            f"Train them: `{command('fuse', dataset=dataset, folds=folds)}`.",
        )
    found = evaluate(runs, split="test", data_dir=data_dir, device=device)
    whole, lacking = _whole(found.runs, folds)
    if not whole:
        return Evaluated([], [*found.left_out, *lacking])
    table = Evaluation(
        spec=base.spec,
        split="test",
        folds=folds,
        rows=sum(len(store.split("test")) for store in stores),
        ids=[clip for store in stores for clip in store.split("test").ids],
        labels=np.concatenate([store.split("test").labels["y"] for store in stores]),
        validation_labels=np.empty(0, np.float32),  # each fold has its own
        data_hash=base.manifest.data_hash,
        source=base.manifest.source,
        notes={},
        systems=[_training_mean(stores), *_rows(base, whole, found.tables_of_runs)],
    )
    return Evaluated([table], [*found.left_out, *lacking], found.runs, read_only=found.read_only)


@dataclass
class _OnFolds:
    """The runs of one system and seed, by the number of their fold."""

    name: str
    identity: Identity
    runs: dict[int, RunFolder] = field(default_factory=dict)


def _whole(runs: Sequence[RunFolder], folds: int) -> tuple[list[_OnFolds], list[DmmsaError]]:
    """Put together the runs that differ in their fold alone; say of which there are not all."""
    found: dict[tuple[str, str, int], _OnFolds] = {}
    for run in runs:
        facts, identity = run.environment, identity_in(run)
        fold = fold_named(identity.dataset)
        assert fold is not None, "its data were opened as a fold"
        name = f"{facts['recipe']} {facts['variant']}"
        key = name, identity.across_folds, identity.seed
        found.setdefault(key, _OnFolds(name, identity)).runs[fold.number] = run
    lacking: list[DmmsaError] = [
        RunMissing(
            f"{one.name}, seed {one.identity.seed}, has {len(one.runs)} of {folds} folds.",
            goes_on(next(iter(one.runs.values())).path),
        )
        for one in found.values()
        if len(one.runs) < folds
    ]
    return [one for one in found.values() if len(one.runs) == folds], lacking


def _rows(store: Store, whole: Sequence[_OnFolds], tables: Mapping[Path, pd.DataFrame]) -> Iterator[Row]:
    systems: Mapping[tuple[str, str], list[_OnFolds]] = defaultdict(list)
    for one in whole:
        systems[one.name, one.identity.across_folds].append(one)
    for title, seeds in zip(system_titles(list(systems.values())), systems.values(), strict=True):
        by_seed = sorted(seeds, key=lambda one: one.identity.seed)
        yield Row(title, [_together(store, one, tables) for one in by_seed], [one.identity.seed for one in by_seed])


def _together(store: Store, one: _OnFolds, tables: Mapping[Path, pd.DataFrame]) -> Metrics:
    own = (tables[run.path] for run in one.runs.values())
    of = f"{one.name}, seed {one.identity.seed}, over all folds"
    return metrics_of_tables(own, metrics=store.spec.metrics, score_range=store.spec.score_range, of=of)


def _training_mean(stores: Sequence[Store]) -> Row:
    """The plainest predictor there is: of each fold the mean of the labels that it trains on."""
    spec, labels = stores[0].spec, [store.split("test").labels["y"] for store in stores]
    means = [store.split("train").labels["y"].mean(dtype=np.float64) for store in stores]
    predicted = [np.full(len(y), mean, np.float32) for y, mean in zip(labels, means, strict=True)]
    found = score(np.concatenate(labels), np.concatenate(predicted), metrics=spec.metrics, score_range=spec.score_range)
    return Row(PLAINEST, [found])
