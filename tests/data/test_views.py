"""From rows to batches: nothing lost, nothing twice, nothing left to chance."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.data.options import DataOptions
from dmmsa_cli.data.ragged import Padded, Ragged
from dmmsa_cli.data.sequences import Tokens
from dmmsa_cli.data.views import Batch, View, fraction_of
from tests.data.splits import LENGTHS, rows_of, sequences_of, view_of


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
    labels = {"y": torch.zeros(2), "t": torch.zeros(2, dtype=torch.float64)}
    batch = Batch(torch.arange(2), {"a": ragged, "v": torch.zeros(2, 5)}, labels, companions=1)
    moved = batch.to(torch.device("meta"))
    assert {name: label.dtype for name, label in moved.labels.items()} == {"y": torch.float32, "t": torch.float64}
    assert (list(moved.inputs), moved.inputs["v"].shape, moved.companions) == (["a", "v"], (2, 5), 1)
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
