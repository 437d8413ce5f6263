"""From rows to batches: nothing lost, nothing twice, nothing left to chance."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.data.options import DataOptions
from dmmsa_cli.data.ragged import Padded, Ragged, alike
from dmmsa_cli.data.sequences import Frames, Tokens, frame_statistics
from dmmsa_cli.data.views import Batch, View, fraction_of


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

# --- collating -------------------------------------------------------------------------------------------------------


def sequences_of(ragged):
    """The sequences of a batch, one by one in the batch's order, cut at their lengths."""
    each = [row[:n] for group in ragged.groups for row, n in zip(group.values, group.lengths.tolist(), strict=True)]
    return [each[place].numpy() for place in ragged.places]


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


def test_clips_without_a_frame_keep_one_position_that_no_one_looks_at():
    (group,) = Frames(split_of([0, 0]), "a", 3).collate(np.array([0, 1])).groups
    assert group.values.shape == (2, 1, 3)
    assert not group.full
    assert not group.mask().any()


def test_sequences_are_cut_at_the_longest_that_a_model_has_positions_for():
    split = split_of([2, 7])
    frames = Frames(split, "a", 3, longest=4)
    assert frames.lengths().tolist() == [2, 4]
    first, second = sequences_of(frames.collate(np.array([1, 0])))
    np.testing.assert_array_equal(first, split.rows[1][:4])
    np.testing.assert_array_equal(second, split.rows[0])


def test_a_batch_holds_inputs_and_labels_of_its_own_rows():
    view = view_of([3, 1, 4, 1, 5]).with_inputs(v=torch.arange(10.0).view(5, 2))
    batch = view.batch(np.array([4, 0]))
    assert len(batch) == 2
    assert batch.labels["y"].tolist() == [4, 0]
    assert batch.labels["t"].tolist() == [-4, 0]
    assert batch.inputs["v"].tolist() == [[8, 9], [0, 1]]
    assert [len(sequence) for sequence in sequences_of(batch.inputs["a"])] == [5, 3]


def test_a_batch_that_is_there_stays_there():
    batch = view_of([3, 1]).batch(np.array([0]))
    assert batch.to(torch.device("cpu")) is batch


def test_a_batch_moves_every_part_to_another_device():
    """`meta` stands in for a device that is not there."""
    ragged = Ragged((Padded(torch.zeros(2, 3, 4), torch.tensor([3, 3]), full=True),), torch.arange(2))
    batch = Batch(torch.arange(2), {"a": ragged, "v": torch.zeros(2, 5)}, {"y": torch.zeros(2)})
    moved = batch.to(torch.device("meta"))
    (group,) = moved.inputs["a"].groups
    parts = [moved.rows, moved.labels["y"], moved.inputs["v"], moved.inputs["a"].places, group.values, group.lengths]
    assert {part.device.type for part in parts} == {"meta"}
    assert group.full


# --- order -----------------------------------------------------------------------------------------------------------


@given(lengths=LENGTHS, size=st.integers(1, 7), window=st.integers(1, 4), epoch=st.integers(1, 5))
def test_every_row_comes_exactly_once(lengths, size, window, epoch):
    epochs = view_of(lengths).shuffled(size, seed=3, epoch=epoch, window=window)
    batches = rows_of(epochs.starting_at(0))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert len(batches) == len(epochs)
    assert all(1 <= len(batch) <= size for batch in batches)
    if window == 1:
        assert len(batches) == -(-len(lengths) // size)


@pytest.mark.parametrize("window", [1, 3])
def test_the_order_is_a_function_of_seed_and_epoch(window):
    view = view_of([3, 1, 4, 1, 5, 9, 2, 6] * 4)

    def order(seed, epoch):
        return rows_of(view.shuffled(4, seed=seed, epoch=epoch, window=window).starting_at(0))

    first = order(1, 1)
    torch.rand(5)
    assert order(1, 1) == first
    assert len({str(order(seed, epoch)) for seed in (1, 12) for epoch in (1, 2, 3)}) == 6


def test_no_generator_of_anybody_else_is_drawn_from():
    before, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    list(view_of([3, 1, 4] * 5).shuffled(4, seed=1, epoch=1, window=2).starting_at(0))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002


def test_a_length_window_makes_batches_of_similar_length():
    lengths = np.random.default_rng(0).integers(1, 100, 400).tolist()
    view = view_of(lengths).only("a")

    def padding(window):
        batches = view.shuffled(8, seed=1, epoch=1, window=window).starting_at(0)
        return sum(int(n.max() * len(n) - n.sum()) for n in (np.array(lengths)[batch.rows] for batch in batches))

    assert padding(8) < padding(1) / 3


def test_a_length_window_over_embeddings_alone_still_gives_every_row():
    view = View({"t": torch.zeros(10, 2)}, {"y": torch.zeros(10)}, np.arange(10))
    batches = rows_of(view.shuffled(3, seed=1, epoch=1, window=2).starting_at(0))
    assert sorted(row for batch in batches for row in batch) == list(range(10))


@pytest.mark.parametrize("window", [1, 2])
def test_starting_at_a_step_gives_the_rest_of_the_same_epoch(window):
    epoch = view_of([3, 1, 4, 1, 5, 9, 2]).shuffled(2, seed=1, epoch=2, window=window)
    whole = rows_of(epoch.starting_at(0))
    for step in range(len(whole) + 1):
        assert rows_of(epoch.starting_at(step)) == whole[step:]


@given(lengths=LENGTHS, size=st.integers(1, 9))
def test_in_order_keeps_the_order_of_the_split(lengths, size):
    batches = rows_of(view_of(lengths).in_order(size))
    assert [row for batch in batches for row in batch] == list(range(len(lengths)))
    assert all(len(batch) == size for batch in batches[:-1])


# --- views -----------------------------------------------------------------------------------------------------------


def test_only_keeps_one_modality_and_the_rows():
    view = View(view_of([3, 1, 4]).inputs, view_of([3, 1, 4]).labels, np.array([0, 2]))
    alone = view.only("t")
    assert list(alone.inputs) == ["t"]
    assert alone.rows.tolist() == [0, 2]
    assert len(alone) == 2


def test_whole_takes_every_row_again():
    view = view_of([3, 1, 4, 2])
    part = View(view.inputs, view.labels, np.array([1, 3]))
    assert part.whole().rows.tolist() == [0, 1, 2, 3]
    assert part.rows.tolist() == [1, 3]


def test_with_inputs_replaces_and_adds_and_leaves_the_old_view_alone():
    view = view_of([3, 1])
    other = view.with_inputs(t=torch.ones(2, 4), v=torch.zeros(2, 4))
    assert set(other.inputs) == {"t", "a", "v"}
    assert isinstance(other.inputs["t"], torch.Tensor)
    assert isinstance(view.inputs["t"], Tokens)
    assert other.inputs["a"] is view.inputs["a"]


def test_unlabelled_rows_make_batches_without_labels():
    batch = next(View.unlabelled({"t": torch.zeros(4, 2)}, 4).in_order(3))
    assert batch.rows.tolist() == [0, 1, 2]
    assert batch.labels == {}


@pytest.mark.parametrize("window", [1, 2])
def test_a_view_of_some_rows_never_gives_others(window):
    view = view_of(list(range(12)))
    part = View(view.inputs, view.labels, np.array([1, 5, 7, 8, 11]))
    batches = rows_of(part.shuffled(2, seed=1, epoch=1, window=window).starting_at(0))
    assert sorted(row for batch in batches for row in batch) == [1, 5, 7, 8, 11]
    assert [row for batch in rows_of(part.in_order(2)) for row in batch] == [1, 5, 7, 8, 11]


# --- fractions -------------------------------------------------------------------------------------------------------


@given(rows=st.integers(1, 300), seed=st.integers(0, 99), pair=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)))
def test_fractions_are_nested_for_a_seed(rows, seed, pair):
    small, large = (fraction_of(rows, fraction, seed).tolist() for fraction in sorted(pair))
    assert set(small) <= set(large) <= set(range(rows))
    assert small == sorted(set(small))
    assert len(small) == max(1, rows if min(pair) == 1 else round(rows * min(pair)))


def test_fractions_of_two_seeds_differ():
    assert fraction_of(100, 0.5, 1).tolist() != fraction_of(100, 0.5, 12).tolist()


def test_the_whole_is_every_row():
    assert fraction_of(7, 1.0, 1).tolist() == list(range(7))


@pytest.mark.parametrize("options", [{"fraction": 0.0}, {"fraction": 1.1}, {"modalities": ()}, {"modalities": ("x",)}])
def test_impossible_data_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        DataOptions(**options)


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


@pytest.mark.parametrize("lengths", [[], [0, 0]])
def test_without_a_frame_nothing_is_scaled(lengths):
    mean, deviation = frame_statistics(Frames(split_of(lengths), "a", 3), np.arange(len(lengths)))
    assert mean.tolist() == [0, 0, 0]
    assert deviation.tolist() == [1, 1, 1]
