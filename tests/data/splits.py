"""Splits and views in memory, for the tests of what reads them."""

from dataclasses import dataclass, field

import numpy as np
import torch
from hypothesis import strategies as st

from dmmsa_cli.data.sequences import Frames, Tokens
from dmmsa_cli.data.views import View


@dataclass(frozen=True)
class Split:
    """A stored split, in memory."""

    rows: list = field(default_factory=list)

    def lengths(self, modality):
        return np.array([len(row) for row in self.rows], np.int64)

    def sequence(self, modality, row):
        return self.rows[row]


def split_of(lengths, width=3, offset=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return Split([(rng.normal(size=(n, width)) + offset).astype(np.float32) for n in lengths])


def view_of(lengths, **more):
    split = split_of(lengths, **more)
    labels = {"y": torch.arange(len(lengths), dtype=torch.float32), "t": -torch.arange(len(lengths)).float()}
    words = Tokens([np.arange(1, n % 5 + 2) for n in lengths], padding=0)
    inputs = {"t": words, "a": Frames(split, "a", 3)}
    return View(inputs, labels, np.arange(len(lengths)))


def rows_of(batches):
    return [batch.rows.tolist() for batch in batches]


LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=40)


def sequences_of(ragged):
    """The sequences of a batch, one by one in the batch's order, cut at their lengths."""
    each = [row[:n] for group in ragged.groups for row, n in zip(group.values, group.lengths.tolist(), strict=True)]
    return [each[place].numpy() for place in ragged.places]
