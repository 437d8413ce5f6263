"""Sentiment classes: how a score becomes one of C classes (Tables 7 and 8 of the DMMSA paper).

The same classes serve the coarse classification task (MSC, equation 8) and the accuracies, so they stand in one
place. Scores, and the edges they are held against, are float32: 0.1 is float32(0.1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.errors import InvalidRecipe

Scores = NDArray[np.float32]

# CH-SIMS, Table 7: intervals open on the left, closed on the right, (a, b].
SIMS_EDGES: dict[int, tuple[float, ...]] = {2: (0.0,), 3: (-0.1, 0.1), 5: (-0.7, -0.1, 0.1, 0.7)}

# MOSI and MOSEI, Table 8 as the field's Acc-5 and Acc-7 compute it: clip to +-k, round half to even, 2k + 1 classes.
MOSI_LIMITS: dict[int, int] = {3: 1, 5: 2, 7: 3}

CLASS_COUNTS: dict[str, tuple[int, ...]] = {"mosi": (2, 3, 5, 7), "sims": (2, 3, 5)}

# The range R for which each metric set's edges are written; a dataset of another range is scaled to it.
NATIVE_RANGE: dict[str, float] = {"mosi": 3.0, "sims": 1.0}


def sentiment_class(scores: Scores, classes: int, metrics: str, score_range: float) -> NDArray[np.int64]:
    """Put each score into one of `classes` classes, 0 the most negative.

    Args:
        scores: sentiment intensities in [-R, R], (N,).
        classes: C, one of `CLASS_COUNTS[metrics]`.
        metrics: the dataset's metric set, `mosi` or `sims`.
        score_range: R of the dataset.

    Raises:
        InvalidRecipe: the metric set defines no such C.

    Example:
        >>> sentiment_class(np.float32([-0.1, 0.1, 0.11]), 3, "sims", 1.0).tolist()
        [0, 1, 2]
    """
    if classes not in CLASS_COUNTS[metrics]:
        known = ", ".join(map(str, CLASS_COUNTS[metrics]))
        raise InvalidRecipe(f"Metric set {metrics} has no {classes} classes.", f"Choose from {known}.")
    scaled = np.asarray(scores, np.float32) * np.float32(NATIVE_RANGE[metrics] / score_range)
    if metrics == "sims":
        edges = np.asarray(SIMS_EDGES[classes], np.float32)
        return np.searchsorted(edges, scaled, side="left").astype(np.int64)
    if classes == 2:
        return (scaled >= 0).astype(np.int64)
    limit = MOSI_LIMITS[classes]
    return np.rint(np.clip(scaled, -limit, limit)).astype(np.int64) + limit
