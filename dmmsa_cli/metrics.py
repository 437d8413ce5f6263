"""The field's metrics as pure functions, fractions and unrounded (SPEC section 6).

Labels, predictions and bin edges are float32 when compared; sums run in float64. Names are those of the published
tables: `has0` is negative / non-negative over all clips, `non0` negative / positive over the clips with y != 0.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmmsa_cli.data.classes import class_edges

Scores = NDArray[np.float32]
Metrics = dict[str, float]

ALL_EMOTIONS = "emotions"  # in the names of the means over all of them


def mae(labels: Scores, predictions: Scores) -> float:
    """Mean absolute error.

    Example:
        >>> mae(np.float32([1, -1]), np.float32([0, -1]))
        0.5
    """
    return float(np.mean(np.abs(labels - predictions), dtype=np.float64))


def corr(labels: Scores, predictions: Scores) -> float:
    """Pearson correlation; NaN where either side is constant.

    Example:
        >>> round(corr(np.float32([1, 2, 3]), np.float32([2, 4, 6])), 6)
        1.0
    """
    if len(labels) < 2 or np.all(labels == labels[0]) or np.all(predictions == predictions[0]):
        return float("nan")
    return float(np.corrcoef(labels.astype(np.float64), predictions.astype(np.float64))[0, 1])


def accuracy(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> float:
    """Share of equal classes; NaN where there is nothing to compare.

    Example:
        >>> accuracy(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]))
        0.75
    """
    return float(np.mean(labels == predictions)) if len(labels) else float("nan")


def weighted_f1(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> float:
    """F1 of every class that occurs in the labels, weighted by how often it does; 0 for a class never hit.

    Example:
        >>> round(weighted_f1(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0])), 6)
        0.733333
    """
    if not len(labels):
        return float("nan")
    score = 0.0
    for one, support in zip(*np.unique(labels, return_counts=True), strict=True):
        hits = np.sum((labels == one) & (predictions == one))
        score += support * 2 * hits / (support + np.sum(predictions == one))
    return float(score / len(labels))


COLLAPSED = 0.05  # of the labels' standard deviation; predictions that vary less are nearly one number


def collapsed(labels: ArrayLike, predictions: ArrayLike) -> bool:
    """Whether predictions hardly vary beside the labels: the model says nearly the same of every clip."""
    return bool(np.std(np.asarray(predictions, np.float64)) < COLLAPSED * np.std(np.asarray(labels, np.float64)))


def undefined(of: str) -> str:
    """Say that there is no Corr, and of what.

    Args:
        of: whose predictions, of which split.
    """
    return f"Corr{f' of {of}' if of else ''} is undefined: labels or predictions are constant."


def score(labels: ArrayLike, predictions: ArrayLike, *, metrics: str, score_range: float, of: str = "") -> Metrics:
    """Compute a metric set; a warning tells where Corr is undefined.

    Args:
        labels: (N,).
        predictions: (N,).
        metrics: `mosi` (MOSI and MOSEI) or `sims` (CH-SIMS).
        score_range: R of the dataset.
        of: whose predictions these are, for that warning.

    Returns:
        `acc2_has0, f1_has0, acc2_non0, f1_non0, acc5, acc7, mae, corr` or `acc2, f1, acc3, acc5, mae, corr`.

    Raises:
        ValueError: lengths differ, nothing to score, or a value is not finite.
    """
    y, p = np.asarray(labels, np.float32), np.asarray(predictions, np.float32)
    if y.shape != p.shape or y.ndim != 1 or len(y) == 0:
        raise ValueError(f"{y.shape} labels and {p.shape} predictions can't be scored against each other")
    if not (np.isfinite(y).all() and np.isfinite(p).all()):
        raise ValueError("a label or prediction is not a finite number")
    found = METRIC_SETS[metrics](y, p, score_range)
    if math.isnan(found["corr"]):
        warnings.warn(undefined(of), stacklevel=2)
    return found


def _mosi(y: Scores, p: Scores, score_range: float) -> Metrics:
    def multiclass(classes: int) -> float:
        edges = class_edges(classes, "mosi", score_range)
        return accuracy(np.searchsorted(edges, y), np.searchsorted(edges, p))

    has0 = (y >= 0).astype(np.int64), (p >= 0).astype(np.int64)
    nonzero = y != 0
    non0 = (y[nonzero] > 0).astype(np.int64), (p[nonzero] > 0).astype(np.int64)
    return {
        "acc2_has0": accuracy(*has0),
        "f1_has0": weighted_f1(*has0),
        "acc2_non0": accuracy(*non0),
        "f1_non0": weighted_f1(*non0),
        "acc5": multiclass(5),
        "acc7": multiclass(7),
        "mae": mae(y, p),
        "corr": corr(y, p),
    }


def _sims(y: Scores, p: Scores, score_range: float) -> Metrics:
    limit = np.float32(score_range)
    y, p = np.clip(y, -limit, limit), np.clip(p, -limit, limit)  # the field's code clips for every metric

    def classes(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        edges = class_edges(count, "sims", score_range)
        return np.searchsorted(edges, y), np.searchsorted(edges, p)

    return {
        "acc2": accuracy(*classes(2)),
        "f1": weighted_f1(*classes(2)),
        "acc3": accuracy(*classes(3)),
        "acc5": accuracy(*classes(5)),
        "mae": mae(y, p),
        "corr": corr(y, p),
    }


def emotion_metrics(labels: ArrayLike, probabilities: ArrayLike, names: Sequence[str], *, even: float = 0.5) -> Metrics:
    """Accuracy and weighted F1 of each emotion, present against absent, over the clips of which it is known.

    Args:
        labels: 1 where present, 0 where absent, NaN where not known, (N, C).
        probabilities: (N, C).
        names: of the C emotions.
        even: the probability above which an emotion is said to be present.

    Returns:
        `acc_NAME` and `wf1_NAME` of each, NaN where none of its labels is known, and their means over the others,
        `acc_emotions` and `wf1_emotions`.

    Raises:
        ValueError: shapes differ, a probability is not finite, or no label is known.

    Example:
        >>> emotion_metrics([[1, 0], [0, np.nan]], [[0.9, 0.8], [0.2, 0.8]], ("joy", "fear"))["acc_emotions"]
        0.5
    """
    y, p = np.asarray(labels, np.float32), np.asarray(probabilities, np.float32)
    if y.shape != p.shape or y.shape[1:] != (len(names),):
        raise ValueError(f"{y.shape} labels and {p.shape} probabilities of {len(names)} emotions can't be scored")
    if not np.isfinite(p).all() or np.isnan(y).all():
        raise ValueError("a probability is not a finite number, or nothing is known")
    found: Metrics = {}
    for name, own, predicted in zip(names, y.T, p.T, strict=True):
        known = ~np.isnan(own)
        pair = own[known].astype(np.int64), (predicted[known] > np.float32(even)).astype(np.int64)
        found |= {f"acc_{name}": accuracy(*pair), f"wf1_{name}": weighted_f1(*pair)}
    for kind in ("acc", "wf1"):
        found[f"{kind}_{ALL_EMOTIONS}"] = float(np.nanmean([found[f"{kind}_{name}"] for name in names]))
    return found


METRIC_SETS: dict[str, Callable[[Scores, Scores, float], Metrics]] = {"mosi": _mosi, "sims": _sims}


@dataclass(frozen=True)
class Summary:
    """A metric set over several runs of one system."""

    mean: Metrics
    sd: Metrics
    """Sample standard deviation; NaN for a single run."""
    runs: int


def summarise(runs: Sequence[Metrics]) -> Summary:
    """Average unrounded metrics over runs.

    Example:
        >>> summarise([{"mae": 1.0}, {"mae": 3.0}]).mean
        {'mae': 2.0}
    """
    names = runs[0]
    mean = {name: float(np.mean([run[name] for run in runs])) for name in names}
    spread = {name: float(np.std([run[name] for run in runs], ddof=1)) if len(runs) > 1 else math.nan for name in names}
    return Summary(mean, spread, len(runs))


def without_nan(values: Metrics) -> dict[str, float | None]:
    """Replace NaN, which JSON does not have, by null."""
    return {name: None if math.isnan(value) else value for name, value in values.items()}
