"""What a person wants to see of a prepared dataset: how its scores, lengths and emotions lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.data.specs import SPLITS
from dmmsa_cli.data.split import Split
from dmmsa_cli.data.store import Store

BARS = 11  # of the histogram of scores, centred on multiples of R / 5


@dataclass(frozen=True)
class LengthSummary:
    """Lengths of one modality over all splits, in frames."""

    median: float
    p95: float
    longest: int


@dataclass(frozen=True)
class Bar:
    """One bar of the label histogram: its centre, and how many scores lie around it."""

    centre: float
    count: int


@dataclass(frozen=True)
class EmotionSummary:
    """What the clips of one split are labelled with, beside their scores."""

    present: dict[str, int]
    """Clips by emotion."""
    none: int
    """Clips of which all emotions are known, and none is present."""
    unknown: int
    """Clips of which an emotion is not known."""


def histogram_of(store: Store) -> tuple[Bar, ...]:
    """Count the scores of all splits."""
    limit = store.spec.score_range
    scores = np.concatenate([split.labels["y"] for split in _splits(store)])
    centres = np.linspace(-limit, limit, BARS)
    nearest = np.rint((np.clip(scores / limit, -1, 1) + 1) / 2 * (BARS - 1)).astype(np.int64)
    counts = np.bincount(nearest, minlength=BARS)
    return tuple(Bar(float(centre), int(count)) for centre, count in zip(centres, counts, strict=True))


def lengths_of(store: Store) -> dict[str, LengthSummary]:
    """Return how long the sequences of all splits are, by modality."""
    found = {m: np.concatenate([split.lengths(m) for split in _splits(store)]) for m in store.manifest.widths}
    return {m: _summary(lengths) for m, lengths in found.items()}


def emotions_of(store: Store) -> dict[str, EmotionSummary]:
    """Count emotions, by split, of those whose clips are labelled with some."""
    given = {split.name: split.emotions for split in _splits(store)}
    return {name: _emotions(values, store.manifest.emotions) for name, values in given.items() if values is not None}


def _splits(store: Store) -> Iterator[Split]:
    return (store.split(name) for name in SPLITS)


def _summary(lengths: NDArray[np.int64]) -> LengthSummary:
    return LengthSummary(float(np.median(lengths)), float(np.percentile(lengths, 95)), int(lengths.max()))


def _emotions(values: NDArray[np.float32], names: tuple[str, ...]) -> EmotionSummary:
    unknown = np.isnan(values).any(axis=1)
    present = dict(zip(names, map(int, (values == 1).sum(axis=0)), strict=True))
    return EmotionSummary(present, int((~unknown & (values == 0).all(axis=1)).sum()), int(unknown.sum()))
