"""`dmmsa evaluate`: metrics and predictions of finished runs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dmmsa_cli.data.prediction_table import write_predictions
from dmmsa_cli.data.specs import MODALITY_NAMES, DatasetSpec
from dmmsa_cli.data.store import Store, check_name
from dmmsa_cli.data.validation import EMOTIONS
from dmmsa_cli.errors import DmmsaError, InvalidInput, RunMismatch, RunMissing
from dmmsa_cli.experiments.build import Fused
from dmmsa_cli.experiments.encoders import load_unimodal
from dmmsa_cli.experiments.identity import Identity, check_place, identity_in
from dmmsa_cli.experiments.measure import metrics_of_predictions, predictions_of
from dmmsa_cli.experiments.reopen import reopen
from dmmsa_cli.experiments.systems import Named, by_system, system_titles
from dmmsa_cli.files import exclusive, write_json
from dmmsa_cli.layers.heads import Head
from dmmsa_cli.metrics import Metrics, Summary, summarise, without_nan
from dmmsa_cli.objectives.emotions import emotion_head
from dmmsa_cli.plain import read_json
from dmmsa_cli.runtime import DeviceName
from dmmsa_cli.training.inference import Predictions, presence
from dmmsa_cli.training.run import MADE_FROM, RunFolder, by_seed

FUSION_ONLY = "the fusion only: encoders are shared by the seeds"
ALL_TRAINING = "all training"
PLAINEST = "training mean"
MAJORITY = "majority class"  # what the plainest predictor says of emotions


@dataclass(frozen=True)
class Row:
    """One row of a table: a system, and its metrics in each of its runs."""

    title: str
    runs: list[Metrics] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    covers: str = ALL_TRAINING
    """What the standard deviation over the runs covers."""

    @property
    def summary(self) -> Summary:
        """Mean and spread over the runs."""
        return summarise(self.runs)


@dataclass(frozen=True)
class Evaluation:
    """Every system over the same rows of the same data."""

    spec: DatasetSpec
    split: str
    rows: int
    data_hash: str
    source: dict[str, Any]
    notes: dict[str, Any]
    systems: list[Row]
    emotions: tuple[str, ...] = ()
    """Those that the clips are labelled with, in the order of their columns."""

    def to_json(self) -> dict[str, Any]:
        """Return fractions, unrounded, under the column names of the published tables."""
        return {
            "dataset": self.spec.name,
            "synthetic": self.spec.synthetic,
            "split": self.split,
            "rows": self.rows,
            "data_hash": self.data_hash,
            "systems": [
                {
                    "system": system.title,
                    "seeds": system.seeds,
                    "sd_covers": system.covers,
                    "mean": without_nan(system.summary.mean),
                    "sd": without_nan(system.summary.sd),
                    "runs": [without_nan(run) for run in system.runs],
                }
                for system in self.systems
            ],
        }


@dataclass(frozen=True)
class Evaluated:
    """What came of evaluating runs."""

    tables: list[Evaluation]
    """One for each dataset: what stands in one table has the same rows and the same data."""
    left_out: list[DmmsaError]
    """Why runs could not be evaluated; none of them stopped the others."""


# --- which runs -----------------------------------------------------------------------------------------------------


def find_runs(places: Sequence[Path], dataset: str | None, runs_dir: Path) -> list[RunFolder]:
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
    folders = {
        path.parent.resolve(): path.parent  # a folder that two places lead to is one
        for root in roots
        for depth in range(5)  # from a run's own folder to one of runs of many datasets; links on the way are followed
        for path in root.glob("*/" * depth + "summary.json")
        if path.parent.name.startswith("seed-")  # the encoders' folders, which have summaries too, do not
    }
    if not folders:
        raise RunMissing(
            f"There is no finished run in {', '.join(map(str, roots))}.",
            f"Train one: dmmsa fuse --dataset {dataset or 'NAME'}. An unfinished one goes on with --resume.",
        )
    return [RunFolder(folder) for folder in sorted(folders.values(), key=by_seed)]


# --- evaluating -----------------------------------------------------------------------------------------------------


def evaluate(runs: Sequence[RunFolder], *, split: str, data_dir: Path, device: DeviceName = "auto") -> Evaluated:
    """Evaluate finished runs one at a time, and write metrics.json and predictions into each.

    A run that can't be evaluated (trained on other data than the store now holds, on encoders that have been retrained
    since; a copy of another run) is left out, and so is a second run of one system and seed.

    Args:
        runs: finished runs, of any datasets, recipes and variants.
        split: `train`, `valid` or `test`.
        data_dir: where stores lie.
        device: where to run.
    """
    left_out: list[DmmsaError] = []
    tables: dict[str, _Table] = {}
    for run in runs:
        try:
            check_place(run)
            with exclusive(run.path):  # no `fuse --force` replaces the weights meanwhile
                fused = reopen(run, data_dir=data_dir, device=device)
                table = tables.setdefault(fused.experiment.dataset, _Table(fused.experiment.store, split))
                table.measure(fused)
        except DmmsaError as error:
            left_out.append(error)
    return Evaluated([table.evaluation() for table in tables.values() if table.measured], left_out)


@dataclass(frozen=True)
class _Measured:
    """What is kept of a run once its model is gone."""

    identity: Identity
    name: str
    """Of recipe and variant."""
    metrics: Metrics
    encoders: Mapping[str, Path]
    """Folders of its pretrained encoders, by modality."""

    @property
    def covers(self) -> str:
        """What the spread over its seeds covers."""
        shared = self.encoders and not self.identity.per_seed
        return FUSION_ONLY if shared else ALL_TRAINING


class _Table:
    """The systems of one dataset, as they are measured.

    Args:
        store: the dataset.
        split: of it.
    """

    def __init__(self, store: Store, split: str) -> None:
        self.store, self.split = store, split
        self.measured: list[_Measured] = []
        self.alone: dict[tuple[str, Path], Metrics] = {}  # shared encoders are run once

    def measure(self, fused: Fused) -> None:
        """Measure a run and its encoders alone, and write what was found into its folder.

        Raises:
            RunMismatch: a run of the same system and seed has been measured before.
        """
        run, pretrained = fused.encoders.run, fused.encoders.pretrained
        name, identity = check_once(run, self.measured)
        for modality, folder in pretrained.items():
            if (modality, folder.path) not in self.alone:
                self.alone[modality, folder.path] = self._score(_alone(fused, modality, folder, self.split))
        predictions = predictions_of(fused.experiment, fused.finished(), fused.inputs.split(self.split).whole())
        metrics = self._score(predictions, fused.objective.heads)
        beside = {MODALITY_NAMES[m]: self.alone[m, folder.path] for m, folder in pretrained.items()}
        _write_run(fused, self.split, {"fused": metrics} | beside, predictions)
        self.measured.append(_Measured(identity, name, metrics, {m: f.path for m, f in pretrained.items()}))

    def evaluation(self) -> Evaluation:
        """Put the table together."""
        manifest = self.store.manifest
        systems = by_system(self.measured, lambda one: one.identity, lambda one: one.name)
        return Evaluation(
            spec=self.store.spec,
            split=self.split,
            rows=manifest.rows[self.split],
            data_hash=manifest.data_hash,
            source=manifest.source,
            notes=manifest.notes,
            emotions=manifest.emotions,
            systems=[self._training_mean(), *self._encoders_alone(systems), *_fused_rows(systems)],
        )

    def _score(self, predictions: Predictions, heads: Mapping[str, Head] | None = None) -> Metrics:
        rows = self.store.split(self.split)
        emotions = {} if rows.emotions is None else {EMOTIONS: rows.emotions}
        return metrics_of_predictions(self.store, predictions, {"y": rows.labels["y"], **emotions}, heads)

    def _training_mean(self) -> Row:
        """The plainest predictor there is: always the training labels' mean; of emotions what most clips have."""
        train, rows = self.store.split("train"), len(self.store.split(self.split))
        constant = np.full(rows, train.labels["y"].mean(dtype=np.float64), np.float32)
        logits: dict[str, NDArray[np.float32]] = {}
        if train.emotions is not None:
            share = np.nansum(train.emotions, axis=0) / np.maximum(1, (~np.isnan(train.emotions)).sum(axis=0))
            logits[EMOTIONS] = np.tile((share - 0.5).astype(np.float32), (rows, 1))
        heads = {EMOTIONS: emotion_head(self.store.manifest.emotions)} if logits else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a constant has no Corr is no news here; the table prints a dash
            return Row(PLAINEST, [self._score(Predictions(constant, [], logits), heads)])

    def _encoders_alone(self, systems: Sequence[Sequence[_Measured]]) -> Iterator[Row]:
        """Give a row for each modality's encoders; where systems have encoders of their own, for each."""
        titles = system_titles(systems)
        for modality, name in MODALITY_NAMES.items():
            rows: dict[tuple[Path, ...], Row] = {}
            for title, runs in zip(titles, systems, strict=True):
                seeds: dict[Path, int] = {}
                for run in runs:
                    if modality in run.encoders:
                        seeds.setdefault(run.encoders[modality], run.identity.seed)
                metrics = [self.alone[modality, path] for path in seeds]
                if seeds:
                    row = Row(f"{name} alone ({title})", metrics, list(seeds.values()))
                    rows.setdefault(tuple(sorted(seeds)), row)
            only = len(rows) == 1
            yield from (Row(f"{name} alone", row.runs, row.seeds) if only else row for row in rows.values())


def check_once(run: RunFolder, measured: Sequence[Named]) -> tuple[str, Identity]:
    """Return a run's name, of recipe and variant, and its identity.

    Raises:
        RunMismatch: a run of the same system and seed has been measured before.
    """
    facts, identity = run.environment, identity_in(run)
    name = f"{facts['recipe']} {facts['variant']}"
    same = name, identity.system, identity.seed
    if any((one.name, one.identity.system, one.identity.seed) == same for one in measured):
        raise RunMismatch(f"{run.path} is a second run of {name}, seed {identity.seed}.", "Name one of the two.")
    return name, identity


def _fused_rows(systems: Sequence[Sequence[_Measured]]) -> Iterator[Row]:
    for title, runs in zip(system_titles(systems), systems, strict=True):
        yield Row(title, [run.metrics for run in runs], [run.identity.seed for run in runs], runs[0].covers)


def _alone(fused: Fused, modality: str, folder: RunFolder, split: str) -> Predictions:
    model = load_unimodal(fused.experiment, modality, folder)
    return predictions_of(fused.experiment, model, fused.inputs.split(split).whole().only(modality))


# --- what a run's folder gets ---------------------------------------------------------------------------------------


def predictions_table(fused: Fused, split: str, predictions: Predictions) -> pd.DataFrame:
    """Return id, text, y_true, y_pred, the unimodal head's predictions and the MSC classes of a split's rows."""
    rows = fused.experiment.store.split(split)
    return pd.DataFrame(
        {"id": rows.ids, "text": rows.texts, "y_true": rows.labels["y"], "y_pred": predictions.scores}
        | head_columns(fused, predictions)
    )


def head_columns(fused: Fused, predictions: Predictions) -> dict[str, NDArray[Any]]:
    """Return the columns that a model's heads give.

    `uni_T_s` ... are the unimodal head's scores; `msc_3` is the likeliest of three classes, 0 the most negative;
    `emotions_joy` ..., `polarity_nonnegative` are probabilities; a head of one output (`intensity`, a score) is as it
    is.
    """
    columns: dict[str, NDArray[Any]] = {}
    for name, head in fused.objective.heads.items():
        values = predictions.heads[name]
        if head.over == "feature":
            columns |= {f"{name[:3]}_{feature}": values[:, i, 0] for i, feature in enumerate(predictions.features)}
        elif head.present:
            probabilities = presence(values, head)
            columns |= {f"{name}_{what}": probabilities[:, i] for i, what in enumerate(head.present)}
        else:
            columns[name] = values[:, 0] if head.outputs == 1 else values.argmax(axis=1)
    return columns


def _write_run(fused: Fused, split: str, metrics: dict[str, Metrics], predictions: Predictions) -> None:
    """Write what was found, and the hashes of the weights and data that it was found with; the caller holds the run."""
    run = fused.encoders.run
    made_from = {"weights": run.weights_hash(), "data": fused.experiment.store.manifest.data_hash}
    name = "predictions.csv" if split == "test" else f"predictions-{split}.csv"
    write_predictions(run.path / name, predictions_table(fused, split, predictions).assign(**made_from))
    if predictions.cosine is not None:
        cosine = predictions.cosine.round(6).tolist()
        add_to(run.path / "features.json", {split: {"names": predictions.features, "cosine": cosine}})
    found = {name: without_nan(values) for name, values in metrics.items()}
    add_to(run.path / "metrics.json", {split: found}, {split: made_from})


def add_to(path: Path, found: dict[str, Any], made_from: dict[str, Any] | None = None) -> None:
    """Write what was found on a split beside what the file knows of the others."""
    try:
        known = read_json(path)
    except (FileNotFoundError, ValueError):
        known = {}  # none yet, or damaged: it only holds what evaluation can find again
    known = known if isinstance(known, dict) else {}
    if made_from is not None:
        before = known.get(MADE_FROM)
        found = found | {MADE_FROM: (before if isinstance(before, dict) else {}) | made_from}
    write_json(path, known | found)
