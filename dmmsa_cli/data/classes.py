"""Sentiment classes: how a score becomes one of C classes (Tables 7 and 8 of the DMMSA paper).

The same classes serve the coarse classification task (MSC, equation 8) and the accuracies, so they stand in one
place, as data. Scores, and the edges they are held against, are float32: 0.1 is float32(0.1).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.errors import InvalidRecipe

# An edge between two neighbouring classes, and the one that a score right on it belongs to.
Edge = tuple[float, Literal["lower", "upper"]]

# CH-SIMS, Table 7: intervals open on the left and closed on the right, (a, b].
# MOSI and MOSEI: C = 3, 5, 7 as the field's accuracies have it, clipped and rounded half to even (Table 8 closes its
# intervals at both ends, so it decides nothing there); C = 2 is negative against non-negative.
_EDGES: dict[str, dict[int, tuple[Edge, ...]]] = {
    "sims": {
        2: ((0.0, "lower"),),
        3: ((-0.1, "lower"), (0.1, "lower")),
        5: ((-0.7, "lower"), (-0.1, "lower"), (0.1, "lower"), (0.7, "lower")),
    },
    "mosi": {
        2: ((0.0, "upper"),),
        3: ((-0.5, "upper"), (0.5, "lower")),
        5: ((-1.5, "lower"), (-0.5, "upper"), (0.5, "lower"), (1.5, "upper")),
        7: (
            *((-2.5, "upper"), (-1.5, "lower"), (-0.5, "upper")),
            *((0.5, "lower"), (1.5, "upper"), (2.5, "lower")),
        ),
    },
}

# The range R for which each metric set's edges are written; a dataset of another range has them scaled.
NATIVE_RANGE: dict[str, float] = {"mosi": 3.0, "sims": 1.0}

CLASS_COUNTS: dict[str, tuple[int, ...]] = {metrics: tuple(table) for metrics, table in _EDGES.items()}


# As those who label clips call them (CMU-MOSI's and CH-SIMS' annotations); two classes are named after their edge.
_NAMES: dict[int, tuple[str, ...]] = {
    3: ("negative", "neutral", "positive"),
    5: ("negative", "weakly negative", "neutral", "weakly positive", "positive"),
    7: (
        *("highly negative", "negative", "weakly negative", "neutral"),
        *("weakly positive", "positive", "highly positive"),
    ),
}
_TWO = {"mosi": ("negative", "not negative"), "sims": ("not positive", "positive")}


def class_names(classes: int, metrics: str) -> tuple[str, ...]:
    """Return the names of C classes, from the most negative on.

    Args:
        classes: C, one of `CLASS_COUNTS[metrics]`.
        metrics: the dataset's metric set, `mosi` or `sims`.
    """
    return _TWO[metrics] if classes == 2 else _NAMES[classes]


def class_edges(classes: int, metrics: str, score_range: float) -> NDArray[np.float32]:
    """Return the C - 1 float32 edges such that a score's class is the number of edges strictly below it.

    `np.searchsorted(edges, scores)` and `torch.bucketize(scores, edges)` both count just that.

    Args:
        classes: C, one of `CLASS_COUNTS[metrics]`.
        metrics: the dataset's metric set, `mosi` or `sims`.
        score_range: R of the dataset.

    Raises:
        InvalidRecipe: the metric set defines no such C.

    Example:
        >>> np.searchsorted(class_edges(3, "sims", 1.0), np.float32([-0.1, 0.1, 0.11])).tolist()
        [0, 1, 2]
    """
    if classes not in CLASS_COUNTS[metrics]:
        known = ", ".join(map(str, CLASS_COUNTS[metrics]))
        raise InvalidRecipe(f"Metric set {metrics} has no {classes} classes.", f"Choose from {known}.")
    table = _EDGES[metrics][classes]
    edges = np.array([edge for edge, _ in table], np.float32) * np.float32(score_range / NATIVE_RANGE[metrics])
    # A score equal to an 'upper' edge is above it: move the edge to the next float32 below.
    upper = np.array([side == "upper" for _, side in table])
    return np.where(upper, np.nextafter(edges, np.float32(-np.inf)), edges)
