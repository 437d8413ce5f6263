"""`dmmsa predict`: scores for one's own features from a finished run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from dmmsa_cli.data.features import Features, read_features
from dmmsa_cli.data.prediction_table import write_predictions
from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.data.split import Split
from dmmsa_cli.errors import InvalidInput
from dmmsa_cli.experiments.build import Fused
from dmmsa_cli.experiments.context import context_remarks
from dmmsa_cli.experiments.experiment import Experiment
from dmmsa_cli.experiments.measure import predictions_of
from dmmsa_cli.experiments.reopen import reopen
from dmmsa_cli.runtime import DeviceName
from dmmsa_cli.stages.evaluate import head_columns
from dmmsa_cli.training.run import RunFolder


@dataclass(frozen=True)
class PredictReport:
    """What was predicted."""

    rows: dict[str, int]
    """Rows by split of the file; `all` for a file without splits."""
    repairs: dict[str, int]
    """What was repaired in the features, and how often."""
    cut: dict[str, int]
    """Sequences that were longer than the run has positions, by modality."""
    warnings: tuple[str, ...]
    """What the reader should know of the file: labels that can't be used, characters that were replaced, ids that do
    not tell which clips stand around one."""
    out: Path


def predict(
    run: RunFolder, source: Path, out: Path, *, data_dir: Path, device: DeviceName = "auto", split: str | None = None
) -> PredictReport:
    """Predict every clip of a pickle in the field's layout; labels are not needed.

    Features are scaled by the run's own statistics, which lie among its weights.

    Args:
        run: a finished run.
        source: the pickle, with any splits or none.
        out: the CSV to write: split, id, text, y_pred, and what the model's heads say.
        data_dir: where stores lie.
        device: where to run.
        split: only this one.

    Raises:
        InvalidInput: a modality is missing, has another width, or the split is not there.
        InvalidDataset, UnsafePickle, DamagedPickle: the file can't be used.
    """
    fused = reopen(run, data_dir=data_dir, device=device)
    features = read_features(source, replace(fused.experiment.store.spec, split_sizes=None))
    _check_modalities(fused.experiment, features, source, run)
    splits = _chosen(features, split, source)
    ids = [name for rows in splits.values() for name in rows.ids]
    tables = [_predict_split(fused, name, rows) for name, rows in splits.items()]
    write_predictions(out, pd.concat(tables, ignore_index=True))
    return PredictReport(
        rows={name: len(rows) for name, rows in splits.items()},
        repairs=features.repairs,
        cut=_cut(fused.experiment, splits),
        warnings=(*features.layout.warnings, *context_remarks(fused.experiment, ids)),
        out=out,
    )


def _predict_split(fused: Fused, name: str, rows: Split) -> pd.DataFrame:
    predictions = predictions_of(fused.experiment, fused.finished(), fused.inputs.features(rows))
    columns = {"split": [name] * len(rows), "id": rows.ids, "text": rows.texts, "y_pred": predictions.scores}
    if "y" in rows.labels:
        columns["y_true"] = rows.labels["y"]
    return pd.DataFrame(columns | head_columns(fused, predictions))


def _chosen(features: Features, split: str | None, source: Path) -> dict[str, Split]:
    if split is None:
        return features.splits
    if split not in features.splits:
        raise InvalidInput(f"{source} has no split {split}.", f"It has {', '.join(features.splits)}.")
    return {split: features.splits[split]}


def _check_modalities(experiment: Experiment, features: Features, source: Path, run: RunFolder) -> None:
    """Hold the file's modalities and widths against the run's, and name every difference."""
    layout, manifest = features.layout, experiment.store.manifest
    wrong = []
    for modality in experiment.modalities:
        name = MODALITY_NAMES[modality]
        words = modality == "t" and experiment.has_text_encoder
        available = layout.transcripts if words else modality in layout.widths
        if not available:
            what = "transcripts (raw_text)" if words else f"{name} features"
            wrong.append(f"{run.path} was trained with {what}; {source} has none")
        elif not words and layout.widths[modality] != manifest.widths[modality]:
            wrong.append(
                f"{name} is {layout.widths[modality]} wide in {source}, {manifest.widths[modality]} in {run.path}"
            )
    if wrong:
        raise InvalidInput(
            "; ".join(wrong) + ".", "Extract the features as the run's were, or train on these: dmmsa prepare."
        )


def _cut(experiment: Experiment, splits: dict[str, Split]) -> dict[str, int]:
    longest = experiment.store.manifest.longest
    counts = {
        m: sum(int(np.sum(rows.lengths(m) > max(1, longest[m]))) for rows in splits.values())
        for m in experiment.modalities
        if m != "t"
    }
    return {m: count for m, count in counts.items() if count}
