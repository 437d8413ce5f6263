"""Groups of like length: next to nothing is padding."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.data.ragged import alike


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
