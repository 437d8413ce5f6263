"""How far the probabilities of classes (MSC) can be believed, from the predictions of the test split."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from dmmsa_cli.errors import RunMissing
from dmmsa_cli.reporting.runs import Run, System, evaluate_again
from dmmsa_cli.reporting.series.scale import scale
from dmmsa_cli.uncertainty import Floats, Reliability, reliability

_LIKELIEST = re.compile(r"msc_(\d+)")


def reliabilities(system: System) -> dict[int, list[Reliability]]:
    """Return, for each number of classes that a system tells apart, the reliability of each of its runs.

    Raises:
        RunMissing: predictions are gone, or an older dmmsa has written no probabilities of classes beside them.
        RunMismatch: they are damaged.
    """
    counts = [int(found[1]) for name in system.first.predictions if (found := _LIKELIEST.fullmatch(str(name)))]
    return {count: [_of(run, system, count) for run in system.runs] for count in counts}


def _of(run: Run, system: System, count: int) -> Reliability:
    table = run.predictions
    names = [f"msc_{count}_{place}" for place in range(count)]
    if not set(names) <= set(table):
        raise RunMissing(
            f"{run.folder / 'predictions.csv'} has no probabilities of classes.", evaluate_again(run.folder)
        )
    return reliability(table[names].to_numpy(), scale(system).classes(table["y_true"].to_numpy(np.float32), count))


def curve(of_runs: list[Reliability]) -> pd.DataFrame:
    """Put the bins of several runs together.

    Returns:
        Columns probability, frequency (NaN where a bin is empty) and clips (summed over the runs), ten rows.
    """
    clips = np.stack([one.clips for one in of_runs])
    total = clips.sum(axis=0)

    def pooled(name: str) -> Floats:
        sums = np.nansum(clips * np.stack([getattr(one, name) for one in of_runs]), axis=0)
        mean: Floats = np.divide(sums, total, out=np.full(len(total), np.nan), where=total > 0)
        return mean

    return pd.DataFrame({"probability": pooled("probability"), "frequency": pooled("frequency"), "clips": total})


def calibration_errors(found: Mapping[int, list[Reliability]]) -> dict[int, float]:
    """Return the expected calibration error for each number of classes, a mean over the runs."""
    return {count: float(np.mean([one.calibration_error for one in runs])) for count, runs in found.items()}
