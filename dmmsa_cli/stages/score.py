"""`dmmsa evaluate --predictions`: anybody's predictions under a dataset's metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dmmsa_cli.data.folds import open_dataset
from dmmsa_cli.data.specs import SPECS, DatasetSpec
from dmmsa_cli.errors import DatasetMissing, InvalidInput
from dmmsa_cli.metrics import Metrics, score


def evaluate_predictions(path: Path, dataset: str, *, data_dir: Path) -> tuple[DatasetSpec, int, Metrics]:
    """Score a CSV with the columns id, y_true, y_pred under a dataset's metrics.

    Returns:
        What is known of the dataset, the number of rows, and the metrics.

    Raises:
        InvalidInput: the file can't be read, a column is missing, or a value is no number.
    """
    spec = _spec_of(dataset, data_dir)
    try:
        table = pd.read_csv(path, dtype={"id": str})
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{path} can't be read as CSV: {error}", "Give a CSV with columns id, y_true, y_pred."
        ) from error
    missing = [name for name in ("id", "y_true", "y_pred") if name not in table]
    if missing:
        found = ", ".join(map(str, table.columns))
        raise InvalidInput(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has {found}.",
            "Needed are id, y_true and y_pred.",
        )
    _check_rows(path, table, spec)
    return (
        spec,
        len(table),
        score(
            table["y_true"].to_numpy(), table["y_pred"].to_numpy(), metrics=spec.metrics, score_range=spec.score_range
        ),
    )


def _check_rows(path: Path, table: pd.DataFrame, spec: DatasetSpec) -> None:
    if table.empty:
        raise InvalidInput(f"{path} has no rows.", "Give one row for each clip.")
    twice = table["id"][table["id"].duplicated()]
    if len(twice):
        raise InvalidInput(f"{path}: id {twice.iloc[0]} is in it twice.", "Give one row for each clip.")
    for name in ("y_true", "y_pred"):
        with np.errstate(over="ignore"):  # beyond float32 is not finite either
            numbers = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64).astype(np.float32)
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if len(wrong):
            raise InvalidInput(
                f"{path}, line {wrong[0] + 2}: {name} is {table[name].iloc[wrong[0]]!r}, not a finite number"
                f" ({len(wrong)} such rows).",
                "Every clip needs a label and a prediction.",
            )
    beyond = np.abs(table["y_true"].to_numpy(np.float32)) > np.float32(spec.score_range)
    if beyond.any():
        raise InvalidInput(
            f"{path}: y_true reaches {table['y_true'].abs().max():g}, beyond the range of {spec.name}, "
            f"{spec.score_range:g}.",
            "Is it the right --dataset?",
        )


def _spec_of(dataset: str, data_dir: Path) -> DatasetSpec:
    """What is known of a dataset; a user's own is known by its store."""
    if dataset in SPECS:
        return SPECS[dataset]
    try:
        return open_dataset(data_dir, dataset).spec
    except DatasetMissing as error:
        raise DatasetMissing(
            f"{dataset} is neither prepared nor one of {', '.join(SPECS)}.",
            f"Prepare it: dmmsa prepare {dataset} --from FILE --spec FILE",
        ) from error
