"""What a model's heads say beside the score, as columns of a table: of one run, or the mean over several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.layers.heads import Head
from dmmsa_cli.training.inference import Predictions, presence


@dataclass(frozen=True)
class HeadValues:
    """What one head says of N clips: scores, or probabilities."""

    names: tuple[str, ...]
    """Of the K columns."""
    values: NDArray[np.floating]
    """(N, K)."""
    classes: bool = False
    """Whether they are the probabilities of K classes of which a clip has one."""


def head_values(heads: Mapping[str, Head], predictions: Predictions) -> dict[str, HeadValues]:
    """Return what every head says, by its name.

    `uni_T_s` ... are the unimodal head's scores; `msc_3_0` ... probabilities of three classes, 0 the most negative;
    `emotions_joy` ..., `polarity_nonnegative` probabilities too; a head of one output (`intensity`, a score) has its
    own name.
    """
    return {name: _values(name, head, predictions) for name, head in heads.items()}


def _values(name: str, head: Head, predictions: Predictions) -> HeadValues:
    values = predictions.heads[name]
    if head.over == "feature":
        return HeadValues(tuple(f"{name[:3]}_{feature}" for feature in predictions.features), values[:, :, 0])
    if head.present:
        return HeadValues(tuple(f"{name}_{what}" for what in head.present), presence(values, head))
    if head.outputs == 1:
        return HeadValues((name,), values)
    return HeadValues(tuple(f"{name}_{place}" for place in range(head.outputs)), _softmax(values), classes=True)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities of classes in float64, where two logits that differ in float32 still do: the likeliest stays so."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def mean_scores(of_runs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the mean over runs of their predictions, (N,); of one run, bit for bit its own."""
    mean: NDArray[np.float64] = np.mean(np.stack(of_runs), axis=0, dtype=np.float64)
    return mean.astype(np.float32)


def mean_values(of_runs: Sequence[Mapping[str, HeadValues]]) -> dict[str, HeadValues]:
    """Return the mean over runs of what their heads say; heads that not all of them have alike are left out."""
    first, *others = of_runs
    alike = [
        name for name, own in first.items() if all(name in other and other[name].names == own.names for other in others)
    ]
    return {name: _mean([run[name] for run in of_runs]) for name in alike}


def _mean(heads: Sequence[HeadValues]) -> HeadValues:
    values: NDArray[np.float64] = np.mean(np.stack([head.values for head in heads]), axis=0, dtype=np.float64)
    return replace(heads[0], values=values.astype(heads[0].values.dtype))


def columns(values: Mapping[str, HeadValues]) -> dict[str, NDArray[Any]]:
    """Return the columns of a run's own table; of classes the likeliest (`msc_3`) and their probabilities."""
    found: dict[str, NDArray[Any]] = {}
    for name, head in values.items():
        if head.classes:
            found[name] = head.values.argmax(axis=1)
        found |= dict(zip(head.names, head.values.astype(np.float32).T, strict=True))
    return found
