"""Transformer encoder layers over sequences that lie one after the other, with no padding between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmmsa_cli.layers.dropout import dropout
from dmmsa_cli.layers.tiles import Tiling, attention_in_tiles


@dataclass(frozen=True)
class Block:
    """n sequences of T positions each, as they lie in a tensor (S, d) of the positions of several blocks."""

    count: int
    """n."""
    length: int
    """T."""
    mask: Tensor | None = None
    """True at valid positions, (n, T); none where all are."""

    @property
    def positions(self) -> int:
        """N T: how many of the S are this block's."""
        return self.count * self.length


class TransformerLayer(nn.Module):
    """One post-norm Transformer encoder layer (Vaswani et al., 2017) with GELU.

    x = norm(x + attention(x)); x = norm(x + feedforward(x))

    Args:
        width: d.
        heads: attention heads; must divide `width`.
        feedforward: width between the two linear maps of the feed-forward part.
        dropout: on attention weights and on both residual branches.

    Raises:
        ValueError: `heads` does not divide `width`.
    """

    def __init__(self, *, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} attention heads do not divide a width of {width}; choose a divisor")
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, feedforward)
        self.down = nn.Linear(feedforward, width)
        self.feedforward_norm = nn.LayerNorm(width)
        # The released ConFEDE starts its attention as torch's own layer does.
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, layout: Sequence[Block] | Tiling) -> Tensor:
        """Map (S, d) to (S, d); a position attends to the valid ones of its own sequence alone."""
        x = self.attention_norm(x + self._drop(self.out(self._attend(self.qkv(x), layout))))
        hidden = self._drop(F.gelu(self.up(x)))
        out: Tensor = self.feedforward_norm(x + self._drop(self.down(hidden)))
        return out

    def _attend(self, qkv: Tensor, layout: Sequence[Block] | Tiling) -> Tensor:
        if isinstance(layout, Tiling):
            return attention_in_tiles(qkv, layout, self.dropout if self.training else 0.0)
        # `split`, not slices: its gradient is one concatenation, theirs a tensor as large as x for each.
        parts = torch.split(qkv, [block.positions for block in layout])
        return torch.cat([self._mix(*pair) for pair in zip(parts, layout, strict=True)])

    def _mix(self, qkv: Tensor, block: Block) -> Tensor:
        """Attention within each sequence of a block, (n T, 3 d) -> (n T, d)."""
        n, t, width = block.count, block.length, qkv.shape[1] // 3
        parts = qkv.view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = attention(parts, block.mask, self.dropout if self.training else 0.0)
        return mixed.transpose(1, 2).reshape(n * t, width)

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)


def attention(qkv: Tensor, mask: Tensor | None, drop: float) -> Tensor:
    """Scaled dot-product attention within n sequences, (3, n, heads, T, w) -> (n, heads, T, w).

    Args:
        qkv: queries, keys and values.
        mask: True at the positions that may be attended to, (n, T); none for all.
        drop: share of the attention weights that is dropped.
    """
    if drop and qkv.device.type == "cpu":
        return _attention_with_cheap_dropout(qkv, mask, drop)
    q, k, v = qkv
    return F.scaled_dot_product_attention(q, k, v, None if mask is None else mask[:, None, None, :], drop)


def _attention_with_cheap_dropout(qkv: Tensor, mask: Tensor | None, drop: float) -> Tensor:
    """The same, written out: torch has no fused kernel with dropout on a CPU, and its dropout takes ten times ours."""
    _, n, heads, t, w = qkv.shape
    q, k, v = qkv.reshape(3, n * heads, t, w)  # one copy here spares `@` one of each of the three
    seen = None if mask is None else mask.repeat_interleave(heads, 0).unsqueeze(1)
    return _written_out(q, k, v, seen, drop).view(n, heads, t, w)


def _written_out(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None, drop: float) -> Tensor:
    """Attention of (m, T, w) to (m, T', w), with our dropout on its weights; `seen` is (m, 1 or T, T')."""
    weights = torch.bmm(q, k.mT) * q.shape[-1] ** -0.5
    if seen is not None:
        weights = weights.masked_fill(~seen, -torch.inf)
    return torch.bmm(dropout(weights.softmax(-1), drop, training=True), v)


def cross_attention(q: Tensor, k: Tensor, v: Tensor, seen: Tensor, drop: float) -> Tensor:
    """Scaled dot-product attention of n sequences to n others, (n, heads, T, w) -> (n, heads, T, w).

    Args:
        q: queries.
        k: keys, (n, heads, T', w).
        v: values, likewise.
        seen: True where a query may look, (n, T or 1, T'); every query sees something.
        drop: share of the attention weights that is dropped.
    """
    if drop and q.device.type == "cpu":
        each = seen.repeat_interleave(q.shape[1], 0)
        return _written_out(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), each, drop).view(q.shape)
    return F.scaled_dot_product_attention(q, k, v, seen.unsqueeze(1), drop)


def multihead(
    asks: Tensor, answers: Tensor, seen: Tensor, *, qkv: nn.Linear, out: nn.Linear, heads: int, drop: float
) -> Tensor:
    """Multi-head attention of n sequences to n others, (n, T, d) and (n, T', d) -> (n, T, d).

    Args:
        asks: what queries are made of.
        answers: what keys and values are made of.
        seen: True where a query may look, (n, T or 1, T'); every query sees something.
        qkv: d -> 3 d, in the order queries, keys, values.
        out: d -> d, over the heads side by side.
        heads: how many.
        drop: share of the attention weights that is dropped.
    """
    width = asks.shape[-1]
    q = F.linear(asks, qkv.weight[:width], qkv.bias[:width])
    k, v = F.linear(answers, qkv.weight[width:], qkv.bias[width:]).chunk(2, dim=-1)
    q, k, v = (x.view(*x.shape[:2], heads, -1).transpose(1, 2) for x in (q, k, v))
    found: Tensor = out(cross_attention(q, k, v, seen, drop).transpose(1, 2).flatten(2))
    return found


def biased_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, drop: float) -> Tensor:
    """Scaled dot-product attention with something added to its products, (heads, T, w) -> (heads, T, w).

    Args:
        q: queries.
        k: keys, likewise.
        v: values, likewise.
        bias: what is added, (T, T); -inf where a query may not look.
        drop: share of the attention weights that is dropped.
    """
    if drop and q.device.type == "cpu":
        weights = torch.baddbmm(bias.to(q.dtype), q, k.mT, alpha=q.shape[-1] ** -0.5)
        return torch.bmm(dropout(weights.softmax(-1), drop, training=True), v)
    return F.scaled_dot_product_attention(q, k, v, bias.to(q.dtype), drop)
