"""Groups of like length: next to nothing is padding."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.data.ragged import Padded, alike, cut


@given(lengths=st.lists(st.integers(0, 60), min_size=1, max_size=50), waste=st.floats(0, 1))
def test_what_is_alike_wastes_no_more_than_it_may(lengths, waste):
    lengths = np.array(lengths)
    groups = alike(lengths, waste)
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(lengths)))
    for group in groups:
        own = lengths[group]
        assert own[0] == own.max()
        assert own.max() * len(own) <= (1 + waste) * own.sum()
        if waste == 0:
            assert len(set(own)) == 1
    assert len(groups) <= len(set(lengths.tolist()))


def test_equal_lengths_are_one_group_in_their_order():
    assert [group.tolist() for group in alike(np.array([4, 2, 4, 2, 4]), 0.0)] == [[0, 2, 4], [1, 3]]


@given(
    lengths=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 30)), min_size=1, max_size=12),
    waste=st.sampled_from([0.0, 0.3, torch.inf]),
)
def test_a_batch_is_cut_into_parts_that_hold_every_clip_once_and_no_more_padding_than_they_need(lengths, waste):
    both = torch.tensor(lengths)
    blocks = {
        m: Padded(torch.arange(len(both) * 40.0).view(-1, 40, 1), both[:, column]) for column, m in enumerate("at")
    }
    parts, places = cut(blocks, waste)
    assert sorted(places.tolist()) == list(range(len(both)))
    split = torch.argsort(places).split([len(part["t"].lengths) for part in parts])
    for rows, part in zip(split, parts, strict=True):
        for m, block in part.items():
            longest = max(1, int(blocks[m].lengths[rows].max()))
            assert torch.equal(block.lengths, blocks[m].lengths[rows])
            assert torch.equal(block.values, blocks[m].values[rows, :longest])
    assert len(parts) == 1 or waste < torch.inf


def test_where_a_batch_is_done_at_once_it_stays_whole():
    blocks = {"t": Padded(torch.empty(3, 40, 1, device="meta"), torch.empty(3, dtype=torch.int64, device="meta"))}
    parts, places = cut(blocks, 0.0)
    assert parts == [blocks]
    assert places.shape == (3,)
