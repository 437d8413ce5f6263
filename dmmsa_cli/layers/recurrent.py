"""LSTMs and GRUs over sequences of different lengths."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dmmsa_cli.data.ragged import Padded
from dmmsa_cli.layers.sequence import masked_mean

PIECE = 32  # sequences: fewer at a time take no less time a step


def last_state(rnn: nn.LSTM, block: Padded) -> Tensor:
    """Return an LSTM's hidden state behind the last valid position of each sequence, (B, T, w) -> (B, hidden).

    A sequence without any has the state of one position of zeros.
    """
    pieces = in_pieces(block.lengths)
    states = torch.cat([_last_state(rnn, block.select(rows)) for rows in pieces])
    return states.index_select(0, torch.argsort(torch.cat(pieces)))


def in_pieces(lengths: Tensor) -> list[Tensor]:
    """Cut a batch into pieces of sequences of like length, longest first: which they are; a GPU takes it whole.

    Step by step a batch goes on until its longest sequence has ended.
    """
    if lengths.device.type != "cpu" or len(lengths) <= PIECE:
        return [torch.arange(len(lengths), device=lengths.device)]
    return list(torch.split(torch.argsort(lengths, descending=True, stable=True), PIECE))


def _last_state(rnn: nn.LSTM, block: Padded) -> Tensor:
    outputs: Tensor = rnn(block.values)[0]
    return at_end(outputs, block.lengths.clamp_min(1))


def at_end(outputs: Tensor, lengths: Tensor) -> Tensor:
    """Return what stands at the last valid position of each sequence, (B, T, w) -> (B, w)."""
    return outputs[torch.arange(len(outputs), device=outputs.device), lengths - 1]


def states(rnn: nn.LSTM, block: Padded) -> Padded:
    """Return an LSTM's hidden state at every valid position, (B, T, w) -> (B, T, hidden), and zeros behind.

    A sequence without any has the state of one position of zeros.
    """
    found = Padded(rnn(block.values)[0], block.lengths.clamp_min(1))
    return Padded(found.values * found.mask().unsqueeze(-1), found.lengths)


def mean_both_ways(rnn: nn.GRU, block: Padded) -> Tensor:
    """Return the mean of a GRU's states over valid positions and both directions, (B, T, w) -> (B, hidden).

    Args:
        rnn: bidirectional, of one layer, batch first.
        block: sequences of one position at least.
    """
    found = both_ways(rnn, block.values, block.lengths)
    mean = masked_mean(found, block.mask()[:, : found.shape[1]])
    return mean.view(-1, 2, rnn.hidden_size).mean(1)


def both_ways(rnn: nn.LSTM | nn.GRU, values: Tensor, lengths: Tensor) -> Tensor:
    """Run an LSTM or GRU of one layer through sequences from their first position on, and from their last one back.

    Args:
        rnn: bidirectional, batch first.
        values: (B, T, w).
        lengths: valid positions of each sequence, (B,), at least 1.

    Returns:
        The hidden states at each position, (B, T', 2 hidden), forward ones first; T' >= the longest sequence, and
        what stands behind the end of one means nothing.
    """
    return (_one_after_the_other if values.device.type == "cpu" else _packed)(rnn, values, lengths)


def _packed(rnn: nn.LSTM | nn.GRU, values: Tensor, lengths: Tensor) -> Tensor:
    sequences = pack_padded_sequence(values, lengths.cpu(), batch_first=True, enforce_sorted=False)
    outputs: Tensor = pad_packed_sequence(rnn(sequences)[0], batch_first=True)[0]
    return outputs


def _one_after_the_other(rnn: nn.LSTM | nn.GRU, values: Tensor, lengths: Tensor) -> Tensor:
    """The same on a CPU, whose fused LSTM takes no packed sequences: without it a step takes up to twelve times longer.

    Turned round within its own length, a sequence is read backwards by one that goes forwards.
    """
    turned = (lengths.unsqueeze(1) - 1 - torch.arange(values.shape[1])).clamp_min(0)
    weights: list[Tensor] = list(rnn.parameters())
    half = len(weights) // 2  # forward ones first
    forward = _run(rnn, values, weights[:half])
    backward = _run(rnn, _take(values, turned), weights[half:])
    return torch.cat([forward, _take(backward, turned)], dim=-1)


def _run(rnn: nn.LSTM | nn.GRU, values: Tensor, weights: list[Tensor]) -> Tensor:
    """One direction of it, (B, T, w) -> (B, T, hidden)."""
    start = values.new_zeros(1, len(values), rnn.hidden_size)
    biases, layers, drop, both, batch_first = True, 1, 0.0, False, True
    more = (weights, biases, layers, drop, rnn.training, both, batch_first)
    outputs: Tensor = (
        torch.lstm(values, [start, start], *more) if isinstance(rnn, nn.LSTM) else torch.gru(values, start, *more)
    )[0]
    return outputs


def _take(x: Tensor, places: Tensor) -> Tensor:
    """Take the positions (B, T) of each sequence, (B, T, w) -> (B, T, w)."""
    return x.gather(1, places.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
