"""LSTMs over padded blocks: what they give does not know the padding, the other clips, or the way it was computed."""

import pytest
import torch
from torch import nn

from dmmsa_cli.data.ragged import Padded
from dmmsa_cli.layers import recurrent
from dmmsa_cli.layers.recurrent import PIECE, both_ways, last_state, mean_both_ways, states

LENGTHS = [5, 1, 9, 3, 9, 2]


def block(lengths, features=4, seed=0):
    """Sequences with noise behind their ends."""
    lengths = torch.as_tensor(lengths)
    values = torch.randn(len(lengths), int(lengths.max()), features, generator=torch.Generator().manual_seed(seed))
    return Padded(values, lengths)


def lstm(**more):
    torch.manual_seed(0)
    return nn.LSTM(4, 3, batch_first=True, **more)


def gradients(module, loss):
    module.zero_grad()
    loss.backward()
    return [parameter.grad.clone() for parameter in module.parameters()]


def test_both_ways_is_what_torch_gives_for_each_sequence_alone():
    rnn, given = lstm(bidirectional=True), block(LENGTHS)
    found = both_ways(rnn, given.values, given.lengths)
    for row, length in enumerate(LENGTHS):
        own = rnn(given.values[row : row + 1, :length])[0][0]
        torch.testing.assert_close(found[row, :length], own, atol=1e-6, rtol=0)


def test_both_ways_is_the_same_on_the_way_of_a_gpu_gradients_too():
    rnn, given = lstm(bidirectional=True), block(LENGTHS)
    weights = torch.randn(len(LENGTHS), max(LENGTHS), 6) * given.mask().unsqueeze(-1)
    ways = [way(rnn, given.values, given.lengths) for way in (recurrent._packed, recurrent._one_after_the_other)]
    packed, ours = (gradients(rnn, (states * weights).sum()) for states in ways)
    for one, other in zip(packed, ours, strict=True):
        torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("count", [1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5])
def test_the_last_state_is_that_of_each_sequence_alone_however_many_there_are(count):
    rnn = lstm()
    lengths = torch.randint(0, 12, (count,), generator=torch.Generator().manual_seed(count))
    lengths[0] = 12
    given = block(lengths)
    given = Padded(given.values * given.mask().unsqueeze(-1), lengths)  # one without any has one position of zeros
    found = last_state(rnn, given)
    for row, length in enumerate(lengths.clamp_min(1).tolist()):
        own = rnn(given.values[row : row + 1, :length])[0][0, -1]
        torch.testing.assert_close(found[row], own, atol=1e-6, rtol=0)


def gru():
    torch.manual_seed(0)
    return nn.GRU(4, 3, batch_first=True, bidirectional=True)


def test_a_gru_goes_both_ways_as_torch_lets_it_go_through_each_sequence_alone():
    rnn, given = gru(), block(LENGTHS)
    found, means = both_ways(rnn, given.values, given.lengths), mean_both_ways(rnn, given)
    for row, length in enumerate(LENGTHS):
        own = rnn(given.values[row : row + 1, :length])[0][0]
        torch.testing.assert_close(found[row, :length], own, atol=1e-6, rtol=0)
        torch.testing.assert_close(means[row], (own.mean(0)[:3] + own.mean(0)[3:]) / 2, atol=1e-6, rtol=0)


def test_a_gru_goes_both_ways_alike_on_the_way_of_a_gpu_gradients_too():
    rnn, given = gru(), block(LENGTHS)
    weights = torch.randn(len(LENGTHS), max(LENGTHS), 6) * given.mask().unsqueeze(-1)
    ways = [way(rnn, given.values, given.lengths) for way in (recurrent._packed, recurrent._one_after_the_other)]
    packed, ours = (gradients(rnn, (states * weights).sum()) for states in ways)
    for one, other in zip(packed, ours, strict=True):
        torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-4)


def test_the_mean_both_ways_is_the_same_where_a_block_is_longer_than_its_longest_sequence(monkeypatch):
    rnn, given = gru(), block(LENGTHS)
    longer = Padded(torch.cat([given.values, torch.randn(len(LENGTHS), 4, 4)], dim=1), given.lengths)
    expected = mean_both_ways(rnn, given)
    for way in (recurrent._packed, recurrent._one_after_the_other):
        monkeypatch.setattr(recurrent, "both_ways", way)
        torch.testing.assert_close(mean_both_ways(rnn, longer), expected, atol=1e-6, rtol=0)


def test_states_are_those_of_each_sequence_alone_and_zeros_behind():
    rnn, given = lstm(), block(LENGTHS)
    found = states(rnn, given)
    for row, length in enumerate(LENGTHS):
        own = rnn(given.values[row : row + 1, :length])[0][0]
        torch.testing.assert_close(found.values[row, :length], own, atol=1e-6, rtol=0)
        assert not found.values[row, length:].any()
    assert states(rnn, Padded(given.values, torch.zeros(6, dtype=torch.int64))).lengths.tolist() == [1] * 6
