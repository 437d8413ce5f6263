"""One modality of one split as variable-length rows: frames from the mapped store, or token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmmsa_cli.data.ragged import Ragged, gather

ONE_GROUP = 1e9  # padding to real frames that is never reached: all sequences of a batch are one group


class Sequences(Protocol):
    """One modality of one split: variable-length rows."""

    def lengths(self) -> NDArray[np.int64]:
        """Length of every row, (N,)."""
        ...

    def collate(self, rows: NDArray[np.int64]) -> Ragged:
        """Return the given rows, in groups of like length."""
        ...


class SplitFrames(Protocol):
    """The part of a stored split that frames are read through (see `data/store.py`)."""

    def lengths(self, modality: str) -> NDArray[np.int64]:
        """Length of every row of a modality, (N,)."""
        ...

    def sequence(self, modality: str, row: int) -> NDArray[np.float32]:
        """One row of a modality, (n, F)."""
        ...


@dataclass(frozen=True)
class Frames:
    """Audio or vision frames, read from the mapped store as they are asked for."""

    split: SplitFrames
    modality: str
    width: int
    longest: int | None = None
    """Sequences are cut here: a model has positions for no more."""
    waste: float = 0.0
    """Padding to real frames in a group at most; 0 groups sequences of one length only, which makes many groups."""
    padded: bool = False
    """Every sequence is `longest` long, and zeros are frames like others."""

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        lengths = self.split.lengths(self.modality)
        if self.longest is None:
            return lengths
        return np.full_like(lengths, self.longest) if self.padded else np.minimum(lengths, self.longest)

    def lengths(self) -> NDArray[np.int64]:
        """Length of every row, (N,)."""
        return self._lengths

    def collate(self, rows: NDArray[np.int64]) -> Ragged:
        """Return the given rows, each group (n, T, F)."""
        return gather(self._lengths[rows], self.waste, lambda places, lengths: self._fill(rows[places], lengths))

    def _fill(self, rows: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        values = np.zeros((len(rows), max(1, int(lengths.max(initial=0))), self.width), np.float32)
        for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            real = self.split.sequence(self.modality, int(row))[:length]
            values[place, : len(real)] = real
        return values


@dataclass(frozen=True)
class Tokens:
    """Transcripts as token ids."""

    ids: Sequence[NDArray[np.int64]]
    padding: int
    waste: float = 0.15
    """Padding to real tokens in a group at most; for most encoders every group is a pass through all their weights."""
    filled: int | None = None
    """Fill every group up to this many positions; none fills it up to its longest row."""
    own: NDArray[np.int64] | None = None
    """How many tokens of every row are its own, from the first on, (N,), where context stands behind them."""
    segment: int = 0
    """The token type of context."""
    unknown: int | None = None
    """Id of [UNK]; none where a tokenizer has no such token."""
    special: frozenset[int] = frozenset()
    """Ids of what a tokenizer puts around the words: [CLS], [SEP], padding, and whatever else it keeps for itself."""
    cut: int = 0
    """How many transcripts had more tokens than are kept."""

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        return np.array([len(row) for row in self.ids], np.int64)

    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of every row, its context included, (N,)."""
        return self._lengths

    def own_lengths(self) -> NDArray[np.int64]:
        """Number of tokens of every row that are its own, (N,)."""
        return self._lengths if self.own is None else self.own

    def collate(self, rows: NDArray[np.int64]) -> Ragged:
        """Return the given rows, each group (n, T), of like length with their context."""
        found = gather(self._lengths[rows], self.waste, lambda places, lengths: self._fill(rows[places], lengths))
        if self.own is None:
            return found
        own = [torch.from_numpy(self.own[rows[clips.numpy()]]) for clips in found.clips()]
        marked = [replace(group, own=n, segment=self.segment) for group, n in zip(found.groups, own, strict=True)]
        return replace(found, groups=tuple(marked))

    def _fill(self, rows: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        values = np.full((len(rows), self.filled or max(1, int(lengths.max(initial=0)))), self.padding, np.int64)
        for place, row in enumerate(rows):
            values[place, : lengths[place]] = self.ids[row]
        return values


def frame_statistics(frames: Frames, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each feature over the rows' real frames, (F,) each, in float32.

    Summed in float64, shifted by the first frame so that large offsets cost no precision. A constant feature gets a
    deviation of 1, and so does everything where there is no frame at all.
    """
    count, shift = 0, None
    total, squares = np.zeros(frames.width), np.zeros(frames.width)
    for row in rows:
        values = frames.split.sequence(frames.modality, int(row)).astype(np.float64)
        if len(values) == 0:
            continue
        shift = values[0] if shift is None else shift
        values = values - shift
        count += len(values)
        total += values.sum(0)
        squares += np.square(values).sum(0)
    if shift is None:
        return torch.zeros(frames.width), torch.ones(frames.width)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    deviation[deviation < 1e-6 * (1 + np.abs(shift + mean))] = 1.0
    return torch.from_numpy((shift + mean).astype(np.float32)), torch.from_numpy(deviation.astype(np.float32))
