"""Crossmodal Transformers: one modality asks, another answers (Tsai et al., ACL 2019, section 3.2)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmmsa_cli.data.ragged import Padded
from dmmsa_cli.layers.attention import multihead
from dmmsa_cli.layers.dropout import dropout


class Crossmodal(nn.Module):
    """A stack of pre-norm layers whose queries are one modality's and whose keys and values another's; or its own.

        x = x + attention(norm(x), norm(z));  x = x + W_2 ReLU(W_1 norm(x))              (equations 3 and 4)

    z is the other modality as it came in, for every layer. Inputs are scaled by the root of their width and have no
    positions, as in the code. A position sees no more than what lies before its own end: position i of L sees j of L'
    where j <= i + |L - L'|.

    Args:
        width: d.
        heads: attention heads; must divide `width`.
        layers: how many.
        attention_dropout: on attention weights.
        input_dropout: on both inputs.
        relu_dropout: behind the ReLU.
        residual_dropout: on both residual branches.
    """

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        layers: int,
        attention_dropout: float,
        input_dropout: float,
        relu_dropout: float,
        residual_dropout: float,
    ) -> None:
        super().__init__()
        self.input_dropout = input_dropout
        self.layers = nn.ModuleList(
            _Layer(width, heads, attention_dropout, relu_dropout, residual_dropout) for _ in range(layers)
        )
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, x: Padded, source: Padded | None = None) -> Padded:
        """Map a block (B, T, d), and one (B, T', d) that it looks at, to a block (B, T, d); it may look at itself."""
        other = x if source is None else source
        seen = visible(x, other)
        values = self._scaled(x.values)
        answers = None if source is None else self._scaled(source.values)
        for layer in self.layers:
            values = layer(values, answers, seen)
        return Padded(self.layer_norm(values), x.lengths, x.full)

    def _scaled(self, values: Tensor) -> Tensor:
        return dropout(math.sqrt(values.shape[-1]) * values, self.input_dropout, self.training)


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, attention: float, relu: float, residual: float) -> None:
        super().__init__()
        self.heads = heads
        self.drops = attention, relu, residual
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.feedforward_norm = nn.LayerNorm(width)
        for layer in (self.qkv, self.out, self.up, self.down):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, source: Tensor | None, seen: Tensor) -> Tensor:
        """Map (B, T, d), looking at (B, T', d) where `seen` (B, T, T') says so, to (B, T, d); none looks at itself."""
        attention, relu, residual = self.drops
        asks = self.attention_norm(x)
        x = x + self._drop(self._attend(asks, asks if source is None else self.attention_norm(source), seen), residual)
        hidden = self._drop(F.relu(self.up(self.feedforward_norm(x))), relu)
        return x + self._drop(self.down(hidden), residual)

    def _attend(self, asks: Tensor, answers: Tensor, seen: Tensor) -> Tensor:
        drop = self.drops[0] if self.training else 0.0
        return multihead(asks, answers, seen, qkv=self.qkv, out=self.out, heads=self.heads, drop=drop)

    def _drop(self, x: Tensor, p: float) -> Tensor:
        return dropout(x, p, self.training)


def visible(x: Padded, source: Padded) -> Tensor:
    """Which positions of another block each position of a block may look at, (B, T, T')."""
    ahead = (x.lengths - source.lengths).abs()
    place = torch.arange(x.values.shape[1], device=ahead.device).unsqueeze(1)
    other = torch.arange(source.values.shape[1], device=ahead.device)
    before = other <= place + ahead.view(-1, 1, 1)
    inside = other < source.lengths.clamp_min(1).view(-1, 1, 1)
    return before & inside
