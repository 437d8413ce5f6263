"""From rows of a split to the tensors that a model takes.

A `View` is a split as one training stage sees it: which modalities, which rows, which labels, and for each modality
either its sequences or, where an encoder is frozen, the embeddings that it gave once and for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class DataOptions:
    """What of a dataset is used, and how its sequences are scaled."""

    standardise: bool = True
    """Scale audio and vision by the training rows' mean and standard deviation over real frames."""
    fraction: float = 1.0
    """The share of the training rows that is used; fractions are nested for a seed."""
    modalities: tuple[str, ...] | None = None
    """Which of t, v, a to use; null takes all that the dataset has."""

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction: {self.fraction} is not in (0, 1]")
        unknown = set(self.modalities or ()) - {"t", "v", "a"}
        if unknown or self.modalities == ():
            raise ValueError(f"modalities: {list(self.modalities or ())} is not a choice of t, v, a")


@dataclass(frozen=True)
class Capabilities:
    """All that a model or an objective may know of a dataset."""

    modalities: tuple[str, ...]
    """Which of t, v, a there are."""
    score_range: float
    """R: scores lie in [-R, R]."""
    metrics: str
    """The metric set, whose classes the coarse classification uses (`data/classes.py`)."""
    unimodal_labels: bool
    """Whether each modality has a label of its own."""


@dataclass(frozen=True)
class Padded:
    """n sequences of one modality, filled up to the longest of them."""

    values: Tensor
    """Frames (n, T, F), or token ids (n, T)."""
    lengths: Tensor
    """Valid positions of each sequence, (n,)."""
    full: bool = False
    """Whether all positions are known to be valid: then nobody needs a mask."""

    def mask(self) -> Tensor:
        """True at valid positions, (n, T)."""
        positions = torch.arange(self.values.shape[1], device=self.values.device)
        return positions < self.lengths.unsqueeze(1)

    def to(self, device: torch.device) -> Padded:
        """Return the sequences on `device`."""
        values, lengths = (x.to(device, non_blocking=True) for x in (self.values, self.lengths))
        return Padded(values, lengths, self.full)


@dataclass(frozen=True)
class Ragged:
    """Sequences of one modality of B clips, in groups of like length, so that next to nothing is padding.

    Real clips are short and their lengths differ: filled up to the longest of a batch, four positions in five would be
    padding. An encoder works on all groups at once where positions do not meet (its linear maps), and group by group
    where they do (attention).
    """

    groups: tuple[Padded, ...]
    places: Tensor
    """Where the sequence of each clip stands among those of the groups, (B,)."""

    @property
    def real(self) -> int:
        """Valid positions."""
        return sum(int(group.lengths.sum()) for group in self.groups)

    @property
    def slots(self) -> int:
        """Positions, padding included."""
        return sum(group.values.shape[0] * group.values.shape[1] for group in self.groups)

    def to(self, device: torch.device) -> Ragged:
        """Return the sequences on `device`."""
        groups = tuple(group.to(device) for group in self.groups)
        return Ragged(groups, self.places.to(device, non_blocking=True))


Input = Ragged | Tensor  # sequences, or embeddings (B, width) from an encoder that is frozen


@dataclass(frozen=True)
class Batch:
    """B clips: inputs by modality, labels by name (`y`, and `t`, `v`, `a` where a dataset has them), each (B,)."""

    rows: Tensor
    inputs: Mapping[str, Input]
    labels: Mapping[str, Tensor]
    companions: int = 0
    """How many of the B, at the end, are here only because the objective asked for them."""

    @property
    def own(self) -> int:
        """How many clips the step is about."""
        return len(self.rows) - self.companions

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`."""
        if device.type == "cpu":
            return self
        return Batch(
            rows=self.rows.to(device, non_blocking=True),
            inputs={name: _move(value, device) for name, value in self.inputs.items()},
            labels={name: label.to(device, non_blocking=True) for name, label in self.labels.items()},
            companions=self.companions,
        )


def _move(value: Input, device: torch.device) -> Input:
    return value.to(device) if isinstance(value, Ragged) else value.to(device, non_blocking=True)


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

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        lengths = self.split.lengths(self.modality)
        return lengths if self.longest is None else np.minimum(lengths, self.longest)

    def lengths(self) -> NDArray[np.int64]:
        """Length of every row, (N,)."""
        return self._lengths

    def collate(self, rows: NDArray[np.int64]) -> Ragged:
        """Return the given rows, each group (n, T, F)."""
        return _ragged(self._lengths[rows], self.waste, lambda places, lengths: self._fill(rows[places], lengths))

    def _fill(self, rows: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        values = np.zeros((len(rows), max(1, int(lengths.max(initial=0))), self.width), np.float32)
        for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            values[place, :length] = self.split.sequence(self.modality, int(row))[:length]
        return values


@dataclass(frozen=True)
class Tokens:
    """Transcripts as token ids."""

    ids: Sequence[NDArray[np.int64]]
    padding: int
    waste: float = 0.15
    """Padding to real tokens in a group at most; every group is a pass through all weights of the encoder."""

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        return np.array([len(row) for row in self.ids], np.int64)

    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of every row, (N,)."""
        return self._lengths

    def collate(self, rows: NDArray[np.int64]) -> Ragged:
        """Return the given rows, each group (n, T)."""
        return _ragged(self._lengths[rows], self.waste, lambda places, lengths: self._fill(rows[places], lengths))

    def _fill(self, rows: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        values = np.full((len(rows), max(1, int(lengths.max(initial=0)))), self.padding, np.int64)
        for place, row in enumerate(rows):
            values[place, : lengths[place]] = self.ids[row]
        return values


def _ragged(
    lengths: NDArray[np.int64], waste: float, fill: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[Any]]
) -> Ragged:
    """Group sequences by length; `fill` gives the values of some of them, by their places and lengths."""
    groups = alike(lengths, waste)
    places = np.empty(len(lengths), np.int64)
    places[np.concatenate(groups)] = np.arange(len(lengths))
    padded = [_padded(fill(group, lengths[group]), lengths[group]) for group in groups]
    return Ragged(tuple(padded), torch.from_numpy(places))


def _padded(values: NDArray[Any], lengths: NDArray[np.int64]) -> Padded:
    full = bool((lengths == values.shape[1]).all())
    return Padded(torch.from_numpy(values), torch.from_numpy(lengths), full)


def alike(lengths: NDArray[np.int64], waste: float) -> list[NDArray[np.int64]]:
    """Group sequences of like length, the longest first; equal lengths keep their order.

    Args:
        lengths: of the sequences, (B,).
        waste: a group has at most this much padding for its valid positions; with 0 all its lengths are equal.

    Returns:
        The places of each group's sequences.
    """
    order = np.argsort(-lengths, kind="stable")
    groups: list[NDArray[np.int64]] = []
    start, valid = 0, 0
    for end, length in enumerate(lengths[order]):
        slots = (end + 1 - start) * lengths[order[start]]
        if slots > (1 + waste) * (valid + length):
            groups.append(order[start:end])
            start, valid = end, 0
        valid += length
    return [*groups, order[start:]]


@dataclass(frozen=True)
class View:
    """A split as one training stage sees it."""

    inputs: Mapping[str, Sequences | Tensor]
    """By modality: sequences, or finished embeddings (N, width)."""
    labels: Mapping[str, Tensor]
    """Each (N,); empty where a file to predict from has none."""
    rows: NDArray[np.int64]
    """Which rows of the split are used."""

    @classmethod
    def unlabelled(cls, inputs: Mapping[str, Sequences | Tensor], rows: int) -> View:
        """Return a view of rows that are only to be predicted."""
        return cls(inputs, {}, np.arange(rows))

    def __len__(self) -> int:
        return len(self.rows)

    def with_inputs(self, **inputs: Sequences | Tensor) -> View:
        """Return the same rows with other inputs in the place of, or beside, these."""
        return replace(self, inputs={**self.inputs, **inputs})

    def only(self, modality: str) -> View:
        """Return the same rows with one modality alone."""
        return replace(self, inputs={modality: self.inputs[modality]})

    def whole(self) -> View:
        """Return every row of the split, whatever fraction this view is of."""
        return replace(self, rows=np.arange(len(next(iter(self.labels.values())))))

    def batch(self, rows: NDArray[np.int64], companions: int = 0) -> Batch:
        """Collate rows of the split (not positions in `self.rows`) into a batch; the last may be companions."""
        index = torch.from_numpy(rows)
        return Batch(
            rows=index,
            inputs={m: v[index] if isinstance(v, Tensor) else v.collate(rows) for m, v in self.inputs.items()},
            labels={name: label[index] for name, label in self.labels.items()},
            companions=companions,
        )

    def in_order(self, size: int) -> Iterator[Batch]:
        """Yield every row once, in the order of the split."""
        for start in range(0, len(self.rows), size):
            yield self.batch(self.rows[start : start + size])

    def shuffled(self, size: int, *, seed: int, epoch: int, window: int = 1) -> EpochBatches:
        """Return one epoch's batches, whose rows are a function of seed and epoch, and of nothing else.

        Args:
            size: rows a batch; the last one may be smaller.
            seed: the run's.
            epoch: counted from 1.
            window: sort by length within this many batches' worth of shuffled rows, so that a batch holds clips of
                similar length and little padding; 1 leaves the shuffle as it is.
        """
        generator = np.random.default_rng([seed, epoch])
        order = generator.permutation(self.rows)
        if window == 1:
            return EpochBatches(self, [order[start : start + size] for start in range(0, len(order), size)])
        batches: list[NDArray[np.int64]] = []
        lengths = self._cost()
        for start in range(0, len(order), size * window):
            chunk = order[start : start + size * window]
            chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
            batches += [chunk[at : at + size] for at in range(0, len(chunk), size)]
        return EpochBatches(self, [batches[i] for i in generator.permutation(len(batches))])

    def _cost(self) -> NDArray[np.int64]:
        """How long each row of the split is, over all modalities that still have sequences."""
        cost = np.zeros(int(self.rows.max(initial=0)) + 1, np.int64)
        for source in self.inputs.values():
            if not isinstance(source, Tensor):
                cost = cost + source.lengths()[: len(cost)]
        return cost


Companions = Callable[[NDArray[np.int64]], NDArray[np.int64] | None]


@dataclass(frozen=True)
class EpochBatches:
    """The batches of one epoch, collated as they are asked for."""

    view: View
    rows: list[NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.rows)

    def starting_at(self, step: int, companions: Companions = lambda rows: None) -> Iterator[Batch]:
        """Yield the batches from number `step`, counted from 0, on, each with the rows that it brings along."""
        for rows in self.rows[step:]:
            more = companions(rows)
            yield self.view.batch(rows) if more is None else self.view.batch(np.append(rows, more), len(more))


def fraction_of(rows: int, fraction: float, seed: int) -> NDArray[np.int64]:
    """Return the rows that a fraction of the training split keeps, in their order.

    Nested: for one seed a smaller fraction's rows are among a larger one's. At least one row is kept.
    """
    if fraction == 1.0:
        return np.arange(rows)
    kept = max(1, round(rows * fraction))
    return np.sort(np.random.default_rng([seed, rows]).permutation(rows)[:kept])


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
