"""Frames and token ids as batches take them: nothing lost, nothing twice; statistics of just the rows."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.data.sequences import Frames, Tokens, frame_statistics
from tests.data.splits import LENGTHS, sequences_of, split_of


@given(lengths=LENGTHS, waste=st.sampled_from([0.0, 0.1, 0.5]))
def test_frames_come_in_groups_and_nothing_is_lost(lengths, waste):
    split = split_of(lengths)
    rows = np.arange(len(lengths))[::-1].copy()
    ragged = Frames(split, "a", 3, waste=waste).collate(rows)
    for found, row in zip(sequences_of(ragged), rows, strict=True):
        np.testing.assert_array_equal(found, split.rows[row])
    for group in ragged.groups:
        assert group.values.dtype == torch.float32
        assert not group.values[~group.mask()].any()
        assert group.full == bool(group.mask().all())
        assert group.values.shape[1] == max(1, int(group.lengths.max()))
    assert ragged.real == sum(lengths)
    empty = lengths.count(0)  # a clip without a frame has one that no one looks at
    assert ragged.real <= ragged.slots <= (1 + waste) * sum(lengths) + empty


def test_tokens_are_padded_with_the_padding_token():
    ids = [np.array(row, np.int64) for row in ([5, 6, 7], [8], [], [1, 2, 3])]
    ragged = Tokens(ids, padding=9, waste=0.5).collate(np.array([1, 0, 2, 3]))
    assert [group.values.tolist() for group in ragged.groups] == [[[5, 6, 7], [1, 2, 3], [8, 9, 9]], [[9]]]
    assert [group.lengths.tolist() for group in ragged.groups] == [[3, 3, 1], [0]]
    assert ragged.places.tolist() == [2, 0, 3, 1]
    assert ragged.groups[0].values.dtype == torch.int64
    assert (ragged.real, ragged.slots) == (7, 10)


def test_clips_without_a_frame_keep_one_position_that_no_one_looks_at():
    (group,) = Frames(split_of([0, 0]), "a", 3).collate(np.array([0, 1])).groups
    assert group.values.shape == (2, 1, 3)
    assert not group.full
    assert not group.mask().any()


def test_of_no_rows_there_is_a_group_of_none():
    for source in (Frames(split_of([2, 3]), "a", 3), Tokens([np.array([1, 2])], padding=0)):
        ragged = source.collate(np.zeros(0, np.int64))
        assert [len(group.values) for group in ragged.groups] == [0]
        assert (ragged.places.tolist(), ragged.real, ragged.slots) == ([], 0, 0)


def test_without_an_allowance_for_padding_frames_have_none():
    ragged = Frames(split_of([3, 2, 3, 1]), "a", 3).collate(np.arange(4))
    assert [group.full for group in ragged.groups] == [True, True, True]
    assert ragged.real == ragged.slots == 9


def test_sequences_are_cut_at_the_longest_that_a_model_has_positions_for():
    split = split_of([2, 7])
    frames = Frames(split, "a", 3, longest=4)
    assert frames.lengths().tolist() == [2, 4]
    first, second = sequences_of(frames.collate(np.array([1, 0])))
    np.testing.assert_array_equal(first, split.rows[1][:4])
    np.testing.assert_array_equal(second, split.rows[0])


# --- statistics ------------------------------------------------------------------------------------------------------


def slow_statistics(split, rows, width):
    frames = [[float(v) for v in frame] for row in rows for frame in split.rows[row]]
    means, deviations = [], []
    for feature in range(width):
        column = [frame[feature] for frame in frames]
        mean = sum(column) / len(column)
        variance = sum((v - mean) ** 2 for v in column) / len(column)
        means.append(mean)
        deviations.append(variance**0.5 or 1.0)
    return means, deviations


@pytest.mark.parametrize("offset", [0.0, -3.0, 1e4])
@given(lengths=st.lists(st.integers(0, 6), min_size=2, max_size=8).filter(lambda n: sum(n[:-1]) > 3))
def test_statistics_are_those_of_the_real_frames_of_the_rows(lengths, offset):
    split, rows = split_of(lengths, offset=offset), np.arange(len(lengths) - 1)
    mean, deviation = frame_statistics(Frames(split, "a", 3), rows)
    means, deviations = slow_statistics(split, rows, 3)
    np.testing.assert_allclose(mean, means, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(deviation, deviations, rtol=1e-5)
    assert mean.dtype == deviation.dtype == torch.float32


@pytest.mark.parametrize("constant", [0.0, 5.0, -1e8, 0.1])
def test_a_constant_feature_gets_a_deviation_of_one(constant):
    split = split_of([3, 4, 2])
    for row in split.rows:
        row[:, 1] = constant
    mean, deviation = frame_statistics(Frames(split, "a", 3), np.arange(3))
    assert deviation[1] == 1.0
    assert mean[1] == np.float32(constant)
    assert (deviation[[0, 2]] != 1.0).all()


@pytest.mark.parametrize(("offset", "spread", "scaled"), [(1e6, 0.3, False), (1e6, 3.0, True), (1e-3, 1e-4, True)])
def test_what_is_constant_but_for_rounding_depends_on_how_large_it_is(offset, spread, scaled):
    """A millionth of its size and of 1: float32 has no more digits."""
    split = split_of([3, 4, 2])
    for row in split.rows:
        row[:, 1] = offset + spread * np.array([-1, 1, -1, 1])[: len(row)]
    _, deviation = frame_statistics(Frames(split, "a", 3), np.arange(3))
    assert (deviation[1] != 1.0) == scaled


@pytest.mark.parametrize("lengths", [[], [0, 0]])
def test_without_a_frame_nothing_is_scaled(lengths):
    mean, deviation = frame_statistics(Frames(split_of(lengths), "a", 3), np.arange(len(lengths)))
    assert mean.tolist() == [0, 0, 0]
    assert deviation.tolist() == [1, 1, 1]
