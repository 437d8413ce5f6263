"""What the runs of a system predict, clip by clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dmmsa_cli.commands import evaluate_run
from dmmsa_cli.data.prediction_table import alone_column
from dmmsa_cli.data.videos import videos_of
from dmmsa_cli.errors import RunMismatch
from dmmsa_cli.reporting.runs import Run, System
from dmmsa_cli.reporting.series.scale import scale


def predictions(system: System, seeds: Sequence[int] | None = None, alone: str | None = None) -> pd.DataFrame:
    """Return every run's predictions on the test split.

    Args:
        system: whose.
        seeds: which of its seeds; all by default.
        alone: what the pretrained encoder of this modality (`text`) says alone, in the place of the fused model.

    Returns:
        Columns seed, id, video, text, y_true, y_pred (float32, not clipped); by seed, then by id, so that the rows of
        every seed are the same clips in the same order.

    Raises:
        RunMissing: a predictions.csv is gone.
        RunMismatch: one is damaged, or its clips or labels are not those of the other seeds.
    """
    runs = [run for run in system.runs if seeds is None or run.seed in seeds]
    tables = [_clips_of(run, alone) for run in runs]
    for run, table in zip(runs[1:], tables[1:], strict=True):
        if not same_clips(tables[0], table):
            raise RunMismatch(
                f"{run.folder / 'predictions.csv'} holds other clips or labels than that of seed {runs[0].seed}.",
                f"Measure both again: `{evaluate_run(run.folder.parent)}`.",
            )
    return pd.concat(tables, ignore_index=True)


def knows_alone(system: System, modality: str) -> bool:
    """Say whether all runs keep what the pretrained encoder of a modality says alone.

    Raises:
        RunMissing, RunMismatch: as `predictions`.
    """
    return all(modality in run.alone and alone_column(modality) in run.predictions for run in system.runs)


def _clips_of(run: Run, alone: str | None) -> pd.DataFrame:
    table = run.predictions.sort_values("id", kind="stable", ignore_index=True)
    if alone:
        table = table.assign(y_pred=table[alone_column(alone)])
    return table.assign(seed=run.seed, video=videos_of(table["id"]))[
        ["seed", "id", "video", "text", "y_true", "y_pred"]
    ]


def same_clips(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Say whether two tables, each sorted by id, hold the same clips with the same labels."""
    ids = list(first["id"]) == list(second["id"])
    return ids and bool(np.array_equal(first["y_true"].to_numpy(), second["y_true"].to_numpy()))


def clips(system: System) -> pd.DataFrame:
    """Return each test clip once.

    Returns:
        Columns id, video, text, y_true, y_pred (mean over the seeds, not clipped), error (mean over the seeds of the
        absolute error, clipped first where the metric set clips: its mean is the table's MAE).

    Raises:
        RunMissing: a predictions.csv is gone.
        RunMismatch: one is damaged, or seeds have different clips.
    """
    table = predictions(system)
    by_clip = table.assign(error=absolute_errors(system, table)).groupby("id", sort=False)
    return by_clip.agg(
        {"video": "first", "text": "first", "y_true": "first", "y_pred": "mean", "error": "mean"}
    ).reset_index()


def absolute_errors(system: System, table: pd.DataFrame) -> NDArray[np.float64]:
    """Return the absolute error of each row of `predictions`, clipped first where the metric set clips."""
    clip = scale(system).clip
    errors: NDArray[np.float64] = np.abs(clip(table["y_true"].to_numpy()) - clip(table["y_pred"].to_numpy())).astype(
        np.float64
    )
    return errors
