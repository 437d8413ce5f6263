"""From rows of a split to the tensors that a model takes.

A `View` is a split as one training stage sees it: which modalities, which rows, which labels, and for each modality
either its sequences or, where an encoder is frozen, the embeddings that it gave once and for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmmsa_cli.data.ragged import Ragged
from dmmsa_cli.data.sequences import Sequences

Input = Ragged | Tensor  # sequences, or embeddings (B, width) from an encoder that is frozen


@dataclass(frozen=True)
class Batch:
    """B clips."""

    rows: Tensor
    """Which rows of the split they are, (B,)."""
    inputs: Mapping[str, Input]
    """By modality."""
    labels: Mapping[str, Tensor]
    """`y`, and `t`, `v`, `a` where a dataset has them, (B,) each; `emotions` (B, C) likewise, NaN where not known."""
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
            rows=self.rows.to(device),
            inputs={name: value.to(device) for name, value in self.inputs.items()},
            labels={name: label.to(device) for name, label in self.labels.items()},
            companions=self.companions,
        )


@dataclass(frozen=True)
class View:
    """A split as one training stage sees it."""

    inputs: Mapping[str, Sequences | Tensor]
    """By modality: sequences, or finished embeddings (N, width)."""
    labels: Mapping[str, Tensor]
    """As a batch has them, of N clips; empty where a file to predict from has none."""
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
