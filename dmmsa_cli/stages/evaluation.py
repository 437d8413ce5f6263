"""What evaluation finds: systems over the same rows of the same data, and why runs are left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dmmsa_cli.data.specs import DatasetSpec
from dmmsa_cli.errors import DmmsaError
from dmmsa_cli.metrics import Metrics, Scores, Summary, summarise, without_nan
from dmmsa_cli.training.run import RunFolder

FUSION_ONLY = "the fusion only: encoders are shared by the seeds"
ALL_TRAINING = "all training"
PLAINEST = "training mean"
MEAN_OF_PREDICTIONS = "mean of predictions"
MAJORITY = "majority class"  # what the plainest predictor says of emotions


@dataclass(frozen=True)
class Predicted:
    """What the S runs of a row predict: each run's own predictions, or the mean over several as if it were one."""

    scores: Scores
    """Of the N clips of the split, (S, N)."""
    validation: Scores
    """Of the M clips of the validation split, (S, M)."""
    classes: Mapping[str, NDArray[np.floating]]
    """Probabilities of C classes, (S, N, C), by the name of the head; empty without such a head."""


@dataclass(frozen=True)
class Row:
    """One row of a table: a system, and its metrics in each of its runs."""

    title: str
    runs: list[Metrics] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    covers: str = ALL_TRAINING
    """What the standard deviation over the runs covers."""
    predicted: Predicted | None = None
    """What its runs predict, of fused models."""
    together: int = 0
    """How many runs' mean of predictions its one set of metrics is of; 0 where each run has its own."""
    alone: bool = False
    """Whether it is of encoders alone, which several seeds may share."""

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
    ids: list[str]
    """Of the N clips."""
    labels: Scores
    """Of the same, (N,)."""
    validation_labels: Scores
    """Of the M clips of the validation split, (M,)."""
    emotions: tuple[str, ...] = ()
    """Those that the clips are labelled with, in the order of their columns."""
    folds: int | None = None
    """Where its rows are those that the folds of a dataset test on: how many folds. None of the dataset's test split
    is among them."""

    remarks: tuple[str, ...] = ()
    """What decides how these numbers have to be read (`data/inspection.py`)."""

    @property
    def where(self) -> str:
        """Name the rows."""
        if self.folds is None:
            return f"{self.split} split"
        return f"{self.folds} folds by video of train and valid"

    def to_json(self) -> dict[str, Any]:
        """Return fractions, unrounded, under the column names of the published tables.

        Runs together are no system with a mean over runs, and stand under `together`; the key is not there without any.
        """
        together = [_together_json(row) for row in self.systems if row.together]
        return {
            "dataset": self.spec.name,
            "synthetic": self.spec.synthetic,
            "split": self.split if self.folds is None else f"{self.folds} folds of train and valid",
            "rows": self.rows,
            "data_hash": self.data_hash,
            "remarks": list(self.remarks),
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
                if not system.together
            ],
        } | ({"together": together} if together else {})


def _together_json(row: Row) -> dict[str, Any]:
    return {
        "system": row.title,
        "seeds": row.seeds,
        "of": MEAN_OF_PREDICTIONS,
        "runs": row.together,
        "metrics": without_nan(row.runs[0]),
    }


@dataclass(frozen=True)
class Evaluated:
    """What came of evaluating runs."""

    tables: list[Evaluation]
    """One for each dataset: what stands in one table has the same rows and the same data."""
    left_out: list[DmmsaError]
    """Why runs could not be evaluated; none of them stopped the others."""
    runs: list[RunFolder] = field(default_factory=list)
    """Those that could."""
    tables_of_runs: dict[Path, pd.DataFrame] = field(default_factory=dict)
    """y_true and y_pred of every clip, by the folder of the run."""
    read_only: list[Path] = field(default_factory=list)
    """Folders of runs that could not be written, so that nothing of what was found is kept there."""
