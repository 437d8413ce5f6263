"""What a prediction is worth: intervals around scores, how often they hold the label, and probabilities of classes.

Split conformal intervals (Papadopoulos et al. 2002; Lei et al., JASA 2018, section 2.2): of n clips that were not
trained on, the k-th smallest absolute error, k = ceil((n + 1) level), is how far an interval of that level reaches to
either side. A label lies within with at least that probability where its clip is exchangeable with the n. Clips of one
video are not exchangeable with those of others, and the best epoch was chosen on the same n, so nothing is guaranteed
here: how often it does has to be measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.errors import InvalidInput
from dmmsa_cli.metrics import Scores

LEVEL = 0.9
WORST = 0.1  # of the videos: the share of them that `Coverage.worst` is the best of
PROBABILITY_BINS = 10  # of equal width, from 0 to 1

Floats = NDArray[np.float64]


# --- intervals ------------------------------------------------------------------------------------------------------


def check_level(level: float) -> float:
    """Return a level that intervals can have.

    Raises:
        InvalidInput: it is not between 0 and 1.
    """
    if not 0 < level < 1:  # nor NaN
        raise InvalidInput(f"--level {level:g} is not between 0 and 1.", "0.9 asks for intervals that hold 90 %.")
    return level


def errors(labels: Scores, predictions: Scores, score_range: float) -> Floats:
    """Return absolute errors in float64, predictions held to the range first: no label lies beyond it.

    Args:
        labels: (N,).
        predictions: (..., N).
        score_range: R; scores lie in [-R, R].
    """
    found: Floats = np.abs(labels.astype(np.float64) - _held(predictions, score_range))
    return found


def fewest(level: float) -> int:
    """Return how many clips intervals of a level need at least: the smallest n with ceil((n + 1) level) <= n.

    Example:
        >>> fewest(0.9), fewest(0.95), fewest(0.5)
        (9, 19, 1)
    """
    return math.ceil(round(level / (1 - level), 9))


def reach(absolute_errors: Floats, level: float) -> float:
    """Return how far an interval reaches to either side of a prediction.

    Args:
        absolute_errors: of n clips that were not trained on, (n,).
        level: between 0 and 1.

    Raises:
        InvalidInput: there are too few clips for the level.

    Example:
        >>> reach(np.array([0.4, 0.1, 0.3, 0.2]), 0.5)  # ceil(5 * 0.5) = 3
        0.3
    """
    n = len(absolute_errors)
    if n < fewest(level):
        raise InvalidInput(
            f"The validation split has {n} clip{'s' * (n != 1)}; intervals of {percent(level)} need at least "
            f"{fewest(level)}.",
            "Ask for a lower --level.",
        )
    # Rounded: 0.55 * 100 is a last bit above 55. Not numpy's quantile, whose method "higher" is a rank too high here.
    rank = math.ceil(round((n + 1) * level, 9))
    return float(np.sort(absolute_errors)[rank - 1])


def interval(predictions: Scores, distance: float, score_range: float) -> tuple[Floats, Floats]:
    """Return the lower and upper ends around predictions, both within [-R, R].

    Args:
        predictions: of any shape.
        distance: to either side, as `reach` gives it.
        score_range: R.
    """
    centre = _held(predictions, score_range)
    return np.maximum(centre - distance, -score_range), np.minimum(centre + distance, score_range)


def percent(level: float) -> str:
    """Write a level for people.

    Example:
        >>> percent(0.9), percent(0.995)
        ('90 %', '99.5 %')
    """
    return f"{100 * level:.6g} %"


def _held(predictions: Scores, score_range: float) -> Floats:
    return np.clip(predictions.astype(np.float64), -score_range, score_range)


# --- how often they hold the label ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Coverage:
    """How often intervals hold the label, and how wide they are; a mean over runs where there are several."""

    level: float
    """The share of labels that they were made to hold."""
    share: float
    """Of all clips: the share whose label lies within."""
    width: float
    """Mean width."""
    videos: float
    """Mean over the videos of the share within each, so that a long video counts no more than a short one; NaN, as the
    next, where clips name no videos."""
    worst: float
    """The tenth percentile over the videos of that share: a tenth of them have no more than this."""
    by_label: tuple[float, ...]
    """The share in each bin of the label; NaN where there are no clips."""
    clips: tuple[int, ...]
    """How many there are in each bin."""


def coverage(
    labels: Scores,
    ends: tuple[Floats, Floats],
    *,
    videos: NDArray[np.int64],
    bins: NDArray[np.int64],
    count: int,
    level: float,
) -> Coverage:
    """Measure intervals of N clips.

    Args:
        labels: (N,).
        ends: lower and upper, (N,) each.
        videos: which video each clip is of, from 0 on, (N,).
        bins: which bin of the label each clip is in, from 0 on, (N,).
        count: how many bins there are.
        level: that the intervals were made for.
    """
    low, high = ends
    within = (low <= labels) & (labels <= high)
    by_video = _shares(within, videos, int(videos.max()) + 1)
    return Coverage(
        level=level,
        share=float(within.mean()),
        width=float((high - low).mean()),
        videos=float(np.nanmean(by_video)),
        worst=float(np.nanquantile(by_video, WORST)),
        by_label=tuple(_shares(within, bins, count).tolist()),
        clips=tuple(np.bincount(bins, minlength=count).tolist()),
    )


def mean_coverage(of_runs: Sequence[Coverage]) -> Coverage:
    """Average what was measured of the same clips under several runs."""

    def mean(name: str) -> float:
        return float(np.mean([getattr(one, name) for one in of_runs]))

    first = of_runs[0]
    by_label = np.mean([one.by_label for one in of_runs], axis=0)
    return Coverage(
        level=first.level,
        share=mean("share"),
        width=mean("width"),
        videos=mean("videos"),
        worst=mean("worst"),
        by_label=tuple(by_label.tolist()),
        clips=first.clips,
    )


def _shares(within: NDArray[np.bool_], groups: NDArray[np.int64], count: int) -> Floats:
    totals = np.bincount(groups, minlength=count)
    hits = np.bincount(groups, weights=within, minlength=count)
    shares: Floats = np.divide(hits, totals, out=np.full(count, np.nan), where=totals > 0)
    return shares


# --- probabilities of classes ---------------------------------------------------------------------------------------

ECE = (
    "mean over clips of |share that is right - mean probability| of the likeliest class, in ten bins of equal width by "
    "that probability"
)


@dataclass(frozen=True)
class Reliability:
    """How often the likeliest class is the right one, by how probable it is said to be: ten bins, (10,) each."""

    probability: Floats
    """Mean probability of the likeliest class; NaN where a bin is empty."""
    frequency: Floats
    """Share of the clips whose class it is; NaN where a bin is empty."""
    clips: NDArray[np.int64]
    """How many there are."""

    @property
    def calibration_error(self) -> float:
        """The expected calibration error (Guo et al., ICML 2017, equation 3), `ECE` in words."""
        gaps = np.abs(self.frequency - self.probability)
        return float(np.nansum(self.clips * gaps) / self.clips.sum())


def reliability(probabilities: NDArray[np.floating], classes: NDArray[np.int64]) -> Reliability:
    """Hold the probability of the likeliest class against how often it is the right one.

    Args:
        probabilities: of C classes for each of N clips, (N, C).
        classes: the right ones, (N,).

    Example:
        >>> round(reliability(np.array([[0.8, 0.2], [0.3, 0.7]]), np.array([0, 0])).calibration_error, 6)
        0.45
    """
    likeliest = probabilities.argmax(axis=1)
    highest = probabilities.max(axis=1).astype(np.float64)
    bins = np.minimum((highest * PROBABILITY_BINS).astype(np.int64), PROBABILITY_BINS - 1)
    clips = np.bincount(bins, minlength=PROBABILITY_BINS)
    sums = np.bincount(bins, weights=highest, minlength=PROBABILITY_BINS)
    mean = np.divide(sums, clips, out=np.full(PROBABILITY_BINS, np.nan), where=clips > 0)
    return Reliability(mean, _shares(likeliest == classes, bins, PROBABILITY_BINS), clips.astype(np.int64))
