"""What evaluation leaves in a run's folder: predictions, metrics, similarities of features, each with what made it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from dmmsa_cli.data.prediction_table import alone_column, write_predictions
from dmmsa_cli.errors import RunMismatch, RunMissing
from dmmsa_cli.experiments.build import Fused
from dmmsa_cli.experiments.columns import columns, head_values
from dmmsa_cli.experiments.measure import predictions_of
from dmmsa_cli.experiments.validation import kept_validation
from dmmsa_cli.files import writable, write_json
from dmmsa_cli.metrics import Metrics, Scores, without_nan
from dmmsa_cli.plain import read_json
from dmmsa_cli.training.inference import Predictions
from dmmsa_cli.training.run import MADE_FROM

VALIDATION = "valid"  # the split whose errors intervals are made from


def predictions_table(fused: Fused, split: str, predictions: Predictions) -> pd.DataFrame:
    """Return id, text, y_true, y_pred, and what the heads say of a split's rows."""
    rows = fused.experiment.store.split(split)
    return pd.DataFrame(
        {"id": rows.ids, "text": rows.texts, "y_true": rows.labels["y"], "y_pred": predictions.scores}
        | columns(head_values(fused.objective.heads, predictions))
    )


def keep_validation(fused: Fused, model: nn.Module) -> Scores:
    """Return a run's predictions of the validation split, (M,), as its folder keeps them; made where they are not.

    A folder that can't be written keeps nothing.
    """
    run, rows = fused.encoders.run, fused.experiment.store.split(VALIDATION)
    try:
        kept = kept_validation(run, weights=run.weights_hash())
        if list(kept["id"]) == rows.ids:
            return kept["y_pred"].to_numpy(np.float32)
    except (RunMissing, RunMismatch):
        pass
    predictions = predictions_of(fused.experiment, model, fused.inputs.split(VALIDATION).whole())
    if writable(run.path):
        _write_predictions(fused, VALIDATION, predictions)
    return predictions.scores


def write_run(
    fused: Fused, split: str, metrics: dict[str, Metrics], predictions: Predictions, alone: Mapping[str, Scores]
) -> None:
    """Write what was found, and the hashes of the weights and data that it was found with; the caller holds the run.

    Into a folder that can't be written nothing is.

    Args:
        fused: the run.
        split: whose rows they are.
        metrics: `fused`, and those of each pretrained encoder alone by the name of its modality.
        predictions: of the fused model.
        alone: of each pretrained encoder, (N,), by the same names.
    """
    run = fused.encoders.run
    if not writable(run.path):
        return
    made_from = _write_predictions(fused, split, predictions, alone)
    if predictions.cosine is not None:
        cosine = predictions.cosine.round(6).tolist()
        add_to(run.path / "features.json", {split: {"names": predictions.features, "cosine": cosine}})
    found = {name: without_nan(values) for name, values in metrics.items()}
    add_to(run.path / "metrics.json", {split: found}, {split: made_from})


def _write_predictions(
    fused: Fused, split: str, predictions: Predictions, alone: Mapping[str, Scores] | None = None
) -> dict[str, str]:
    """Write predictions of a split, and return the hashes that stand in every row."""
    run = fused.encoders.run
    made_from = {"weights": run.weights_hash(), "data": fused.experiment.store.manifest.data_hash}
    name = "predictions.csv" if split == "test" else f"predictions-{split}.csv"
    beside = {alone_column(modality): scores for modality, scores in (alone or {}).items()}
    write_predictions(run.path / name, predictions_table(fused, split, predictions).assign(**beside, **made_from))
    return made_from


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
