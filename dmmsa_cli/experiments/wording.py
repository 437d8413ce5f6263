"""What a model says of clips in words: the columns of `predict`'s table, for people who have not read the papers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.data.classes import class_edges, class_names
from dmmsa_cli.data.specs import MODALITY_NAMES, DatasetSpec
from dmmsa_cli.experiments.columns import HeadValues
from dmmsa_cli.metrics import Scores

_CLASSES = re.compile(r"msc_(\d+)")
_FEATURE = re.compile(r"uni_([TVA])_([sd])")
_KINDS = {"s": "similar", "d": "dissimilar"}


def in_words(
    scores: Scores, values: Mapping[str, HeadValues], spec: DatasetSpec, *, probabilities: bool
) -> dict[str, NDArray[Any]]:
    """Return the columns that tell what a model says of N clips beside their scores.

    Args:
        scores: predicted, (N,).
        values: what the model's heads say.
        spec: the dataset that the model was trained on: its range and metric set say which classes there are.
        probabilities: whether each class has a column.

    Returns:
        Columns (N,) by name, text or float32: `polarity` of the score; for C classes `class_C`, the likeliest by name,
        and `class_C_of_score`, the one that the score itself lies in; `text_similar`, the score of that feature alone,
        and so on; of other heads what `columns` names.
    """
    found: dict[str, NDArray[Any]] = {"polarity": _polarity(scores)}
    for name, head in values.items():
        if (classes := _CLASSES.fullmatch(name)) and head.classes:
            count = int(classes[1])
            names = np.array(class_names(count, spec.metrics), object)
            edges = class_edges(count, spec.metrics, spec.score_range)
            found[f"class_{count}"] = names[head.values.argmax(axis=1)]
            found[f"class_{count}_of_score"] = names[np.searchsorted(edges, scores)]
        if probabilities or not head.classes:
            called = [_called(column, name, spec) for column in head.names]
            found |= dict(zip(called, head.values.astype(np.float32).T, strict=True))
    return found


def probability_columns(values: Mapping[str, HeadValues], spec: DatasetSpec) -> tuple[str, ...]:
    """Return the names of the columns of `in_words` that hold probabilities of classes."""
    return tuple(_called(column, name, spec) for name, head in values.items() if head.classes for column in head.names)


def _polarity(scores: Scores) -> NDArray[Any]:
    return np.array(["negative", "neutral", "positive"], object)[np.sign(scores).astype(np.int64) + 1]


def _called(column: str, head: str, spec: DatasetSpec) -> str:
    if classes := _CLASSES.fullmatch(head):
        count, place = int(classes[1]), int(column.removeprefix(f"{head}_"))
        return f"class_{count}_{class_names(count, spec.metrics)[place].replace(' ', '_')}"
    if feature := _FEATURE.fullmatch(column):
        return f"{MODALITY_NAMES[feature[1].lower()]}_{_KINDS[feature[2]]}"
    return column
