"""A run's predictions of the validation split, kept in its folder: what its intervals are made from."""

from __future__ import annotations

import pandas as pd

from dmmsa_cli.commands import evaluate_run
from dmmsa_cli.data.prediction_table import MADE_FROM, read_predictions
from dmmsa_cli.errors import InvalidInput, RunMismatch, RunMissing
from dmmsa_cli.training.run import RunFolder

KEPT_VALIDATION = "predictions-valid.csv"


def kept_validation(run: RunFolder, *, weights: str) -> pd.DataFrame:
    """Return id, text, y_true, y_pred and what the heads say of the validation split, as `evaluate` kept them.

    Args:
        run: the finished run.
        weights: hash of the weights that it has now.

    Raises:
        RunMissing: nothing has been kept.
        RunMismatch: the file is damaged, or of other weights or data than the run has.
    """
    path, again = run.path / KEPT_VALIDATION, f"Make it again: `{evaluate_run(run.path)}`."
    try:
        table = read_predictions(path)
    except FileNotFoundError as error:
        raise RunMissing(
            f"{run.path} does not hold its predictions of the validation split, which intervals are made from.",
            f"Make them: `{evaluate_run(run.path)}`.",
        ) from error
    except InvalidInput as error:
        raise RunMismatch(error.what, again) from error
    now = {"weights": weights, "data": run.environment["data_hash"]}
    if any(name not in table or (table[name] != now[name]).any() for name in MADE_FROM):
        raise RunMismatch(f"{path} was made from other weights or data than the run has now.", again)
    return table.drop(columns=list(MADE_FROM))
