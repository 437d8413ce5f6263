"""Sequences of different lengths, in groups of like length, so that next to nothing is padding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Padded:
    """n sequences of one modality, filled up to the longest of them."""

    values: Tensor
    """Frames (n, T, F), or token ids (n, T)."""
    lengths: Tensor
    """Valid positions of each sequence, (n,)."""
    full: bool = False
    """Whether all positions are known to be valid: then nobody needs a mask."""
    own: Tensor | None = None
    """How many positions of each sequence are its own, from the first on, (n,); the valid ones behind these are its
    context, there for the own ones to look at and for nothing else. None: all are its own."""
    segment: int = 0
    """The token type of context, where the text encoder tells two apart."""

    @property
    def own_lengths(self) -> Tensor:
        """Positions of each sequence that are its own, (n,)."""
        return self.lengths if self.own is None else self.own

    def mask(self) -> Tensor:
        """True at valid positions, (n, T)."""
        return self._first(self.lengths)

    def own_mask(self) -> Tensor:
        """True at valid positions that are no context, (n, T)."""
        return self._first(self.own_lengths)

    def types(self) -> Tensor:
        """Token types, (n, T): 0 of what is a sequence's own, `segment` of what stands behind it."""
        return self.segment * (~self.own_mask()).long()

    def _first(self, lengths: Tensor) -> Tensor:
        positions = torch.arange(self.values.shape[1], device=self.values.device)
        return positions < lengths.unsqueeze(1)

    def without_context(self) -> Padded:
        """Return the sequences without their context, filled up to the longest of what is left."""
        if self.own is None:
            return self
        return Padded(self.values[:, : max(1, int(self.own.max()))], self.own)

    def select(self, rows: Tensor) -> Padded:
        """Return some of the sequences, filled up to the longest of these; one position at least."""
        lengths = self.lengths[rows]
        own = None if self.own is None else self.own[rows]
        return replace(self, values=self.values[rows, : max(1, int(lengths.max()))], lengths=lengths, own=own)

    def to(self, device: torch.device) -> Padded:
        """Return the sequences on `device`."""
        own = None if self.own is None else self.own.to(device)
        return replace(self, values=self.values.to(device), lengths=self.lengths.to(device), own=own)


@dataclass(frozen=True)
class Ragged:
    """Sequences of one modality of B clips, in groups of like length, so that next to nothing is padding.

    Real clips are short and their lengths differ: filled up to the longest of a batch, four positions in five would be
    padding. An encoder works on all groups at once where positions do not meet (its linear maps), and group by group
    where they do (attention).
    """

    groups: tuple[Padded, ...]
    """One alone has its sequences in the order of the batch."""
    places: Tensor
    """Where the sequence of each clip stands among those of the groups, (B,)."""

    def clips(self) -> list[Tensor]:
        """Which clips of the batch each group holds, by the order of its sequences, (n,) each."""
        order = torch.argsort(self.places)
        return list(torch.split(order, [len(group.lengths) for group in self.groups]))

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
        return Ragged(groups, self.places.to(device))


def block(ragged: Ragged, values: Sequence[Tensor]) -> Padded:
    """Put the sequences of all groups into one padded block, in the order of the batch.

    Args:
        ragged: sequences of B clips.
        values: what became of each group's, (n, T, w).

    Returns:
        The block, (B, T, w); zeros behind the end of each sequence.
    """
    filled = [
        part if group.full else part * group.mask().unsqueeze(-1)
        for part, group in zip(values, ragged.groups, strict=True)
    ]
    if len(filled) == 1:
        return Padded(filled[0], ragged.groups[0].lengths)
    longest = max(part.shape[1] for part in filled)
    together = torch.cat([F.pad(part, (0, 0, 0, longest - part.shape[1])) for part in filled])
    lengths = torch.cat([group.lengths for group in ragged.groups])
    return Padded(together.index_select(0, ragged.places), lengths.index_select(0, ragged.places))


def cut(blocks: Mapping[str, Padded], waste: float) -> tuple[list[dict[str, Padded]], Tensor]:
    """Cut the blocks of a batch, whose sequences are of one clip across them, into parts of clips of like length.

    For attention, which costs and keeps the square of a length, where clips of a batch differ tenfold in theirs. On a
    GPU the batch stays whole: it does all clips at once sooner than one part after the other.

    Args:
        blocks: by modality, (B, T, w) each.
        waste: as for `alike`, of the lengths of all modalities together.

    Returns:
        The blocks of each part, and where each clip stands among the clips of all parts, (B,).
    """
    together = torch.stack([block.lengths for block in blocks.values()]).sum(0)
    if together.device.type != "cpu":
        return [dict(blocks)], torch.arange(len(together), device=together.device)
    parts = [torch.from_numpy(rows) for rows in alike(together.numpy(), waste)]
    return [{m: block.select(rows) for m, block in blocks.items()} for rows in parts], torch.argsort(torch.cat(parts))


def gather(
    lengths: NDArray[np.int64], waste: float, fill: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[Any]]
) -> Ragged:
    """Collate sequences in groups of like length.

    Args:
        lengths: of the sequences, (B,).
        waste: as for `alike`.
        fill: gives the padded values of some of them, by their places and lengths.
    """
    groups = alike(lengths, waste)
    if len(groups) == 1:
        groups = [np.arange(len(lengths))]
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
