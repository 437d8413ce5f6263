"""The systems of one dataset as they are measured: their rows, their encoders' alone, and the plainest predictor's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dmmsa_cli.data.inspection import Remark, decisive
from dmmsa_cli.data.specs import MODALITY_NAMES, SPLITS
from dmmsa_cli.data.store import Store
from dmmsa_cli.data.validation import EMOTIONS
from dmmsa_cli.data.validation.faults import some
from dmmsa_cli.errors import RunMismatch
from dmmsa_cli.experiments.build import Fused
from dmmsa_cli.experiments.columns import HeadValues, head_values, mean_scores, mean_values
from dmmsa_cli.experiments.encoders import load_unimodal
from dmmsa_cli.experiments.identity import Identity, identity_in
from dmmsa_cli.experiments.measure import metrics_of_predictions, metrics_of_scores, predictions_of
from dmmsa_cli.experiments.systems import Named, by_system, system_titles
from dmmsa_cli.layers.heads import Head
from dmmsa_cli.metrics import Metrics, Scores, collapsed, undefined
from dmmsa_cli.objectives.emotions import emotion_head
from dmmsa_cli.stages.evaluation import (
    ALL_TRAINING,
    FUSION_ONLY,
    MEAN_OF_PREDICTIONS,
    PLAINEST,
    Evaluation,
    Predicted,
    Row,
)
from dmmsa_cli.stages.keeping import VALIDATION, keep_validation, write_run
from dmmsa_cli.training.inference import Predictions
from dmmsa_cli.training.run import RunFolder, trains_again


@dataclass(frozen=True)
class Measured:
    """What is kept of a run once its model is gone."""

    identity: Identity
    name: str
    """Of recipe and variant."""
    metrics: Metrics
    encoders: Mapping[str, Path]
    """Folders of its pretrained encoders, by modality."""
    scores: Scores
    """Its predictions, (N,)."""
    validation: Scores
    """Those of the validation split, (M,)."""
    said: Mapping[str, HeadValues]
    """What its heads say of the N clips."""
    heads: Mapping[str, Head]

    @property
    def covers(self) -> str:
        """What the spread over its seeds covers."""
        shared = self.encoders and not self.identity.per_seed
        return FUSION_ONLY if shared else ALL_TRAINING


class Systems:
    """The systems of one dataset, as they are measured.

    Args:
        store: the dataset.
        split: of it.
        ensemble: whether several runs of a system get a row together.
    """

    def __init__(self, store: Store, split: str, ensemble: bool = False) -> None:
        self.store, self.split, self.ensemble = store, split, ensemble
        self.measured: list[Measured] = []
        self.undefined: list[str] = []  # whose Corr is
        self.alone: dict[tuple[str, Path], tuple[Metrics, Scores]] = {}  # shared encoders are run once

    def measure(self, fused: Fused) -> None:
        """Measure a run and its encoders alone, and write what was found into its folder.

        Raises:
            RunMismatch: a run of the same system and seed has been measured before.
        """
        run, pretrained = fused.encoders.run, fused.encoders.pretrained
        name, identity = check_once(run, self.measured)
        for modality, folder in pretrained.items():
            if (modality, folder.path) not in self.alone:
                found = _alone(fused, modality, folder, self.split)
                of = f"{MODALITY_NAMES[modality]} alone ({name}, seed {identity.seed})"
                self.alone[modality, folder.path] = self._score(found, of=of), found.scores
        model = fused.finished()
        predictions = predictions_of(fused.experiment, model, fused.inputs.split(self.split).whole())
        if not np.isfinite(predictions.scores).all():
            raise RunMismatch(f"The predictions of {run.path} are no finite numbers.", trains_again(run.path))
        heads = fused.objective.heads
        metrics = self._score(predictions, heads, of=f"{name}, seed {identity.seed}")
        beside = {MODALITY_NAMES[m]: self.alone[m, folder.path] for m, folder in pretrained.items()}
        measured = {"fused": metrics} | {name: own for name, (own, _) in beside.items()}
        write_run(fused, self.split, measured, predictions, {name: said for name, (_, said) in beside.items()})
        self.measured.append(
            Measured(
                identity=identity,
                name=name,
                metrics=metrics,
                encoders={m: f.path for m, f in pretrained.items()},
                scores=predictions.scores,
                validation=keep_validation(fused, model),
                said=head_values(heads, predictions),
                heads=heads,
            )
        )

    def predictions_of_last(self) -> pd.DataFrame:
        """Return labels and predictions, y_true and y_pred, of the run that was measured last."""
        labels = self.store.split(self.split).labels["y"]
        return pd.DataFrame({"y_true": labels, "y_pred": self.measured[-1].scores})

    def evaluation(self) -> Evaluation:
        """Put the table together."""
        if self.undefined:  # of many runs in one line
            count = f" ({len(self.undefined)} in all)" if len(self.undefined) > 1 else ""
            warnings.warn(undefined(f"{some(self.undefined)}{count} on the {self.split} split"), stacklevel=2)
        manifest = self.store.manifest
        systems = by_system(self.measured, lambda one: one.identity, lambda one: one.name)
        return Evaluation(
            spec=self.store.spec,
            split=self.split,
            rows=manifest.rows[self.split],
            data_hash=manifest.data_hash,
            source=manifest.source,
            notes=manifest.notes,
            ids=self.store.split(self.split).ids,
            labels=self.store.split(self.split).labels["y"],
            validation_labels=self.store.split(VALIDATION).labels["y"],
            emotions=manifest.emotions,
            remarks=(
                *self._another_file(),
                *(remark.text for remark in self._remarks() if remark.decides),
                *self._collapsed(),
            ),
            systems=[self._training_mean(), *self._in_order(systems)],
        )

    def _another_file(self) -> list[str]:
        """Say that a dataset of the field is not its published file, and how many of its clips there are."""
        manifest, spec = self.store.manifest, self.store.spec
        if spec.source is None or manifest.source.get("published"):
            return []
        published = (spec.split_sizes or {}).get(self.split)
        rows = manifest.rows[self.split]
        count = f": {rows:,} clips where that has {published:,}" if published not in (None, rows) else ""
        return [f"Not the published file of {spec.name}{count}."]

    def _collapsed(self) -> list[str]:
        """Say which runs have learned next to nothing, which no single metric shows plainly."""
        labels = self.store.split(self.split).labels["y"]
        names = [f"{one.name}, seed {one.identity.seed}" for one in self.measured if collapsed(labels, one.scores)]
        count = f" ({len(names)} in all)" if len(names) > 1 else ""
        what = "predictions hardly vary, nearly the same is said of every clip: more --epochs, or another recipe"
        return [f"{some(names)}{count}: {what}."] if names else []

    def _remarks(self) -> list[Remark]:
        store = self.store
        splits = {name: store.split(name) for name in SPLITS}
        return decisive(splits, store.spec, transcripts=store.manifest.transcripts)

    def _in_order(self, systems: Sequence[Sequence[Measured]]) -> list[Row]:
        """Return the rows of encoders alone before those of the systems; behind them where they are many."""
        alone, fused = list(self._encoders_alone(systems)), list(self._fused(systems))
        return [*alone, *fused] if len(alone) <= len(MODALITY_NAMES) else [*fused, *alone]

    def _score(self, predictions: Predictions, heads: Mapping[str, Head] | None = None, *, of: str = "") -> Metrics:
        """Return the metrics of predictions; where they have no Corr, note whose they are, if anybody's."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = metrics_of_predictions(self.store, predictions, self._labels, heads)
        self.undefined += [of] if of and math.isnan(found["corr"]) else []
        return found

    @property
    def _labels(self) -> dict[str, NDArray[np.float32]]:
        rows = self.store.split(self.split)
        emotions = {} if rows.emotions is None else {EMOTIONS: rows.emotions}
        return {"y": rows.labels["y"], **emotions}

    def _training_mean(self) -> Row:
        """The plainest predictor there is: always the training labels' mean; of emotions what most clips have."""
        train, rows = self.store.split("train"), len(self.store.split(self.split))
        constant = np.full(rows, train.labels["y"].mean(dtype=np.float64), np.float32)
        logits: dict[str, NDArray[np.float32]] = {}
        if train.emotions is not None:
            share = np.nansum(train.emotions, axis=0) / np.maximum(1, (~np.isnan(train.emotions)).sum(axis=0))
            logits[EMOTIONS] = np.tile((share - 0.5).astype(np.float32), (rows, 1))
        heads = {EMOTIONS: emotion_head(self.store.manifest.emotions)} if logits else {}
        return Row(PLAINEST, [self._score(Predictions(constant, [], logits), heads)])  # no Corr: that is no news

    def _encoders_alone(self, systems: Sequence[Sequence[Measured]]) -> Iterator[Row]:
        """Give a row for each modality's encoders; where systems have encoders of their own, for each."""
        titles = system_titles(systems)
        for modality, name in MODALITY_NAMES.items():
            rows: dict[tuple[Path, ...], Row] = {}
            for title, runs in zip(titles, systems, strict=True):
                seeds: dict[Path, int] = {}
                for run in runs:
                    if modality in run.encoders:
                        seeds.setdefault(run.encoders[modality], run.identity.seed)
                metrics = [self.alone[modality, path][0] for path in seeds]
                if seeds:
                    row = Row(f"{name} alone ({title})", metrics, list(seeds.values()), alone=True)
                    rows.setdefault(tuple(sorted(seeds)), row)
            only = len(rows) == 1
            yield from (replace(row, title=f"{name} alone") if only else row for row in rows.values())

    def _fused(self, systems: Sequence[Sequence[Measured]]) -> Iterator[Row]:
        """Give a row for each system; beside one of several runs, where that is wanted, one of all of them together."""
        for title, runs in zip(system_titles(systems), systems, strict=True):
            seeds = [run.identity.seed for run in runs]
            yield Row(title, [run.metrics for run in runs], seeds, runs[0].covers, _predicted(runs))
            if self.ensemble and len(runs) > 1:
                yield self._together(title, runs, seeds)

    def _together(self, title: str, runs: Sequence[Measured], seeds: list[int]) -> Row:
        """Measure the mean of several runs' predictions."""
        one = _mean_of(runs)
        emotions = one.said.get(EMOTIONS)
        found = metrics_of_scores(
            self.store,
            one.scores,
            self._labels,
            None if emotions is None else emotions.values.astype(np.float32),
            even=one.heads[EMOTIONS].even if emotions else 0.5,
            of=f"{title}, {len(runs)} runs together, on the {self.split} split",
        )
        name = f"{title}: {len(runs)} runs together ({MEAN_OF_PREDICTIONS})"
        return Row(name, [found], seeds, one.covers, _predicted([one]), together=len(runs))


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


def _mean_of(runs: Sequence[Measured]) -> Measured:
    """Return the mean of several runs of one system as if it were a run, of the metrics of none."""
    return replace(
        runs[0],
        metrics={},
        scores=mean_scores([run.scores for run in runs]),
        validation=mean_scores([run.validation for run in runs]),
        said=mean_values([run.said for run in runs]),
    )


def _predicted(runs: Sequence[Measured]) -> Predicted:
    probabilities = [
        {name: head.values for name, head in run.said.items() if head.classes} for run in runs
    ]  # all of one system, so all have the same heads
    return Predicted(
        scores=np.stack([run.scores for run in runs]),
        validation=np.stack([run.validation for run in runs]),
        classes={name: np.stack([own[name] for own in probabilities]) for name in probabilities[0]},
    )


def _alone(fused: Fused, modality: str, folder: RunFolder, split: str) -> Predictions:
    model = load_unimodal(fused.experiment, modality, folder)
    return predictions_of(fused.experiment, model, fused.inputs.split(split).whole().only(modality))
