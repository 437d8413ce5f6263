"""Attention within sequences that lie one after the other, in tiles of few different sizes.

On a CPU, in bfloat16, oneDNN compiles a kernel for every new shape of a product, which takes 0.3 ms: fifteen times as
long as the product of a clip's queries and keys. Clips have ever other lengths, so nearly every product would be
compiled anew. Here sequences of about one length are filled up to one of a few, and lie together in a tile, which is
multiplied in parts of one or two sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from dmmsa_cli.layers.dropout import keep_some, scaled

# Positions that a product takes at a time, where no sequence alone has more; and so many times that, where there are
# enough: few calls are fast, and what is left over fills few places up.
POSITIONS, TIMES = 128, 4


def products_are_compiled(device: torch.device) -> bool:
    """Whether every shape of a product has to be compiled: in bfloat16 on a CPU."""
    return device.type == "cpu" and torch.is_autocast_enabled("cpu")


def filling(positions: int, multiple: int) -> int:
    """Return how many positions a row lacks to a multiple, so that rows have few different lengths."""
    return -positions % multiple


@dataclass(frozen=True)
class Tile:
    """n sequences, or places for some, filled up to a length T."""

    rows: Tensor
    """Where in the row each position stands, (n, T); 0 where there is none."""
    real: Tensor
    """1 where there is one, 0 elsewhere, (n, T)."""
    bias: Tensor
    """Of the products of queries and keys: 0 at what may be looked at, -inf elsewhere, (n, T)."""
    count: int
    """Sequences that a product takes at a time; divides n."""

    @classmethod
    def empty(cls, sequences: int, length: int) -> Tile:
        """Return a tile with places for that many sequences or a few more, none of which is taken yet."""
        count = max(1, POSITIONS // length)
        shape = (-(-sequences // count) * count, length)
        bias = torch.full(shape, -torch.inf)
        bias[:, 0] = 0  # what has nothing valid, or is no sequence, looks at something: no softmax without
        return cls(torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int8), bias, count)

    def fill(self, place: int, begin: int, length: int, valid: int) -> None:
        """Take a place for the sequence that begins there in the row."""
        self.rows[place, :length] = torch.arange(begin, begin + length)
        self.real[place, :length] = 1
        self.bias[place, :valid] = 0

    def per_head(self, x: Tensor) -> Tensor:
        """View what there is for each head of each sequence, (n heads, T, w) -> (n, heads, T, w)."""
        return x.view(len(self.rows), -1, *x.shape[1:])

    def take(self, row: Tensor, heads: int, parts: int) -> Tensor:
        """Return what a row (S, parts heads w) holds at the tile's positions, head by head, (parts, n heads, T, w)."""
        n, t = self.rows.shape
        each = parts * heads
        places = self.rows.view(n, 1, t) * each + torch.arange(each).view(parts, 1, heads, 1)  # (parts, n, heads, T)
        return row.view(len(row) * each, -1).index_select(0, places.flatten()).view(parts, n * heads, t, -1)


@dataclass(frozen=True)
class Tiling:
    """How the positions of a row, S of them, are laid out in tiles."""

    tiles: list[Tile]
    begins: Tensor
    """Where the sequence of each position begins among the positions of all tiles, (S,)."""
    offsets: Tensor
    """Where each position stands in its sequence, (S,)."""
    lengths: Tensor
    """To what the sequence of each position is filled up, (S,)."""

    @property
    def positions(self) -> int:
        """Of all tiles."""
        return sum(tile.rows.numel() for tile in self.tiles)

    def split(self, together: Tensor, heads: int) -> Iterator[tuple[Tile, Tensor]]:
        """Yield each tile and its part of what lies in a row, (parts, heads P, w) -> (parts, n heads, T, w)."""
        parts = torch.split(together, [tile.rows.numel() * heads for tile in self.tiles], dim=1)
        for tile, part in zip(self.tiles, parts, strict=True):
            yield tile, part.view(len(part), -1, tile.rows.shape[1], part.shape[-1])

    def in_a_row(self, together: Tensor, heads: int, rows: int) -> Tensor:
        """Bring what the tiles hold, (parts, heads P, w), back into a row (rows, parts heads w); zeros beyond S."""
        parts, positions, width = together.shape
        first = (self.begins * heads + self.offsets).view(-1, 1, 1)
        places = first + torch.arange(heads) * self.lengths.view(-1, 1, 1) + torch.arange(parts).view(-1, 1) * positions
        row = together.new_empty(rows, parts * heads * width)
        real = len(self.begins)
        out = row[:real].view(-1, width)
        torch.index_select(together.flatten(0, 1), 0, places.flatten(), out=out)
        row[real:] = 0
        return row


def tiling(lengths: Sequence[int], valid: Sequence[int]) -> Tiling:
    """Lay sequences that lie one after the other out in tiles, on the CPU.

    Args:
        lengths: positions of each.
        valid: how many of them, from the first on, may be looked at; the first always may.
    """
    starts = list(accumulate(lengths, initial=0))
    begins, filled = torch.empty(len(lengths), dtype=torch.int64), torch.tensor([_filled(n) for n in lengths])
    tiles: list[Tile] = []
    at = 0
    for size, members in _by_size(lengths):
        tile = Tile.empty(len(members), size)
        for place, number in enumerate(members):
            tile.fill(place, starts[number], lengths[number], valid[number])
            begins[number] = at + place * size
        tiles.append(tile)
        at += tile.rows.numel()
    each = torch.tensor(lengths)
    offsets = torch.cat([torch.arange(length) for length in lengths])
    return Tiling(tiles, begins.repeat_interleave(each), offsets, filled.repeat_interleave(each))


def _by_size(lengths: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Return the length of each tile, and which sequences it takes."""
    sizes: dict[int, list[int]] = {}
    for number, length in enumerate(lengths):
        sizes.setdefault(_filled(length), []).append(number)
    return sorted(sizes.items())


def _filled(length: int) -> int:
    """The next of 16, 24, 32, 48, 64, 96, 128, ...: less than half as much again, but for the shortest."""
    power = max(16, 1 << (length - 1).bit_length())
    return power * 3 // 4 if power > 16 and length <= power * 3 // 4 else power


def attention_in_tiles(qkv: Tensor, layout: Tiling, heads: int, drop: float) -> Tensor:
    """Scaled dot-product attention of each position to the valid ones of its own sequence, (S', 3 d) -> (S', d).

    Args:
        qkv: queries, keys and values, one behind the other; beyond the S positions of the layout there may be more,
            which attend to nothing: zeros come of them.
        layout: of the S positions.
        heads: h.
        drop: share of the attention weights that is dropped.
    """
    out: Tensor = _AttentionInTiles.apply(qkv, layout, heads, drop)  # type: ignore[no-untyped-call]
    return out


class _AttentionInTiles(torch.autograd.Function):
    """Written out: of the gradient of `index_select` torch makes a sum into zeros, where here it is a selection too."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, layout: Tiling, heads: int, drop: float) -> Tensor:  # noqa: ANN401
        width = qkv.shape[1] // 3 // heads
        ctx.layout, ctx.heads, ctx.scale, ctx.kept_scale = layout, heads, width**-0.5, 1.0
        mixed = qkv.new_empty(1, layout.positions * heads, width)
        saved = []
        for tile, (out,) in layout.split(mixed, heads):
            step = tile.count * heads
            q, k, v = tile.take(qkv, heads, 3)
            logits = products(q.mul_(ctx.scale), k.mT, step)
            tile.per_head(logits).add_(tile.bias[:, None, None].to(logits.dtype))
            weights, keep = logits.softmax(-1), None
            if drop:
                keep, ctx.kept_scale = keep_some(weights, drop)
            products(_kept(weights, keep, ctx.kept_scale), v, step, out)
            saved += [q, k, v, weights, keep]
        ctx.save_for_backward(*saved)
        return layout.in_a_row(mixed, heads, len(qkv))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        layout, heads, scale = ctx.layout, ctx.heads, ctx.kept_scale
        gradient = gradient.contiguous()
        of_qkv = gradient.new_empty(3, layout.positions * heads, gradient.shape[1] // heads)
        for number, (tile, (of_q, of_k, of_v)) in enumerate(layout.split(of_qkv, heads)):
            q, k, v, weights, keep = ctx.saved_tensors[5 * number : 5 * number + 5]
            step = tile.count * heads
            (of_mixed,) = tile.take(gradient, heads, 1)
            tile.per_head(of_mixed).mul_(tile.real[:, None, :, None])
            of_weights = _kept(products(of_mixed, v.mT, step), keep, scale)
            of_products = torch.ops.aten._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            products(of_products, k, step, of_q).mul_(ctx.scale)
            products(of_products.mT, q, step, of_k)
            products(_kept(weights, keep, scale).mT, of_mixed, step, of_v)
        return layout.in_a_row(of_qkv, heads, len(gradient)), None, None, None


def _kept(weights: Tensor, keep: Tensor | None, scale: float) -> Tensor:
    return weights if keep is None else scaled(weights * keep, scale)


def products(a: Tensor, b: Tensor, step: int, out: Tensor | None = None) -> Tensor:
    """Batched products, (m, T, w) by (m, w, u) to (m, T, u), of TIMES `step` of the m at a time, and then of `step`."""
    out = a.new_empty(*a.shape[:2], b.shape[2]) if out is None else out
    many = len(a) // (TIMES * step) * TIMES * step
    for end, size in ((many, TIMES * step), (len(a), step)):
        for begin in range(0 if size > step else many, end, size):
            part = slice(begin, begin + size)
            torch.bmm(a[part], b[part], out=out[part])
    return out
