"""How often intervals hold the label on the test split: over clips, within videos, and for each class of the label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from dmmsa_cli.data.videos import names_videos, videos_of
from dmmsa_cli.metrics import Scores
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.series.predictions import predictions
from dmmsa_cli.reporting.series.scale import Scale, scale
from dmmsa_cli.uncertainty import LEVEL, Coverage, coverage, errors, interval, mean_coverage, reach


@dataclass(frozen=True)
class Foretold:
    """Labels of a split's clips, and what one run, or the mean over several, predicts."""

    labels: Scores
    """(N,)."""
    predictions: Scores
    """(N,)."""


def measure(scores: Scale, ids: Sequence[str], test: Foretold, validation: Foretold, level: float) -> Coverage:
    """Measure on the test split the intervals that the validation split gives.

    Args:
        scores: how scores of the dataset are read.
        ids: of the N test clips; where none names a video, nothing is said of videos (NaN).
        test: the N clips.
        validation: the M clips that the reach of intervals is taken from.
        level: of the intervals.

    Raises:
        InvalidInput: the validation split has too few clips for the level.
    """
    whole = scores.score_range
    distance = reach(errors(validation.labels, validation.predictions, whole), level)
    found = coverage(
        test.labels,
        interval(test.predictions, distance, whole),
        videos=pd.factorize(np.array(videos_of(ids), object))[0],
        bins=scores.classes(test.labels, scores.finest),
        count=scores.finest,
        level=level,
    )
    return found if names_videos(ids) else replace(found, videos=math.nan, worst=math.nan)


def intervals_of(system: System, level: float = LEVEL) -> Coverage:
    """Measure the intervals of a system's runs, and average over them.

    Raises:
        InvalidInput: the validation split has too few clips for the level.
        RunMissing: a run does not hold its predictions of the validation split.
        RunMismatch: a file is damaged, or of other weights.
    """
    table, found = predictions(system), []
    for run in system.runs:
        test, kept = table[table["seed"] == run.seed], run.validation
        found.append(measure(scale(system), list(test["id"]), _foretold(test), _foretold(kept), level))
    return mean_coverage(found)


def _foretold(table: pd.DataFrame) -> Foretold:
    return Foretold(table["y_true"].to_numpy(np.float32), table["y_pred"].to_numpy(np.float32))
