"""Attention within sequences that lie one after the other, in tiles of few different sizes.

On a CPU, in bfloat16, oneDNN compiles a kernel for every new shape of a product, which takes 0.3 ms: fifteen times as
long as the product of a clip's queries and keys. Clips have ever other lengths, so nearly every product would be
compiled anew. Here sequences of about one length are filled up to one of a few, as many as a tile of that length holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from dmmsa_cli.layers.dropout import keep_some

POSITIONS = 128  # of a tile, where no sequence alone has more


@dataclass(frozen=True)
class Tile:
    """n sequences, or places for some, filled up to a length T."""

    rows: Tensor
    """Where in the row each position stands, (n, T); 0 where there is none."""
    real: Tensor
    """True where there is one, (n, T)."""
    seen: Tensor
    """True at those that may be looked at, (n, T)."""

    @classmethod
    def empty(cls, count: int, length: int) -> Tile:
        """Return a tile with places for n sequences, none of which is taken yet."""
        seen = torch.zeros(count, length, dtype=torch.bool)
        seen[:, 0] = True  # a place without a sequence looks at something too: there would be no softmax
        return cls(torch.zeros(count, length, dtype=torch.int64), torch.zeros(count, length, dtype=torch.bool), seen)

    def fill(self, place: int, begin: int, length: int, valid: int) -> None:
        """Take a place for the sequence that begins there in the row."""
        self.rows[place, :length] = torch.arange(begin, begin + length)
        self.real[place, :length] = True
        self.seen[place, :valid] = True

    def take(self, row: Tensor) -> Tensor:
        """Return what a row (S, w) holds at the tile's positions, (n, T, w)."""
        return row.index_select(0, self.rows.flatten()).view(*self.rows.shape, -1)


@dataclass(frozen=True)
class Tiling:
    """How the positions of a row, S of them, are laid out in tiles."""

    tiles: list[Tile]
    places: Tensor
    """Where each position of the row stands among those of all tiles, (S,)."""


def tiling(lengths: Sequence[int], valid: Sequence[int]) -> Tiling:
    """Lay sequences that lie one after the other out in tiles, on the CPU.

    Args:
        lengths: positions of each.
        valid: how many of them, from the first on, may be looked at; one at least.
    """
    begins = list(accumulate(lengths, initial=0))
    places = torch.empty(begins[-1], dtype=torch.int64)
    tiles: list[Tile] = []
    at = 0
    for size, members in _by_size(lengths):
        tile = Tile.empty(max(1, POSITIONS // size), size)
        for place, number in enumerate(members):
            begin, length, first = begins[number], lengths[number], at + place * size
            tile.fill(place, begin, length, valid[number])
            places[begin : begin + length] = torch.arange(first, first + length)
        tiles.append(tile)
        at += tile.rows.numel()
    return Tiling(tiles, places)


def _by_size(lengths: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Yield the length of each tile, and which sequences it takes."""
    sizes: dict[int, list[int]] = {}
    for number, length in enumerate(lengths):
        sizes.setdefault(_filled(length), []).append(number)
    for size, numbers in sorted(sizes.items()):
        count = max(1, POSITIONS // size)
        for first in range(0, len(numbers), count):
            yield size, numbers[first : first + count]


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
        ctx.layout, ctx.heads, ctx.scale = layout, heads, (qkv.shape[1] // 3 // heads) ** -0.5
        mixed, saved = [], []
        for tile in layout.tiles:
            n, t = tile.rows.shape
            q, k, v = tile.take(qkv).view(n, t, 3, heads, -1).permute(2, 0, 3, 1, 4).reshape(3, n * heads, t, -1)
            products = torch.bmm(q.mul_(ctx.scale), k.mT)
            products.view(n, heads, t, t).masked_fill_(~tile.seen[:, None, None], -torch.inf)
            weights = products.softmax(-1)
            keep, ctx.kept_scale = keep_some(weights, drop) if drop else (None, 1.0)
            mixed.append(_beside(torch.bmm(_kept(weights, keep, ctx.kept_scale), v), n))
            saved += [q, k, v, weights, keep]
        ctx.save_for_backward(*saved)
        return _in_a_row(mixed, layout, len(qkv))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        parts = []
        for number, tile in enumerate(ctx.layout.tiles):
            q, k, v, weights, keep = ctx.saved_tensors[5 * number : 5 * number + 5]
            n, t = tile.rows.shape
            of_mixed = (tile.take(gradient) * tile.real.unsqueeze(-1)).view(n, t, ctx.heads, -1)
            of_mixed = of_mixed.transpose(1, 2).reshape(v.shape)
            of_weights = _kept(torch.bmm(of_mixed, v.mT), keep, ctx.kept_scale)
            of_products = torch.ops.aten._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            of_q, of_k = torch.bmm(of_products, k).mul_(ctx.scale), torch.bmm(of_products.mT, q)
            of_v = torch.bmm(_kept(weights, keep, ctx.kept_scale).mT, of_mixed)
            parts.append(torch.cat([_beside(part, n) for part in (of_q, of_k, of_v)], -1))
        return _in_a_row(parts, ctx.layout, len(gradient)), None, None, None


def _kept(weights: Tensor, keep: Tensor | None, scale: float) -> Tensor:
    return weights if keep is None else (weights * keep).mul_(scale)


def _beside(x: Tensor, count: int) -> Tensor:
    """Put the heads of n sequences side by side, (n heads, T, w) -> (n T, heads w)."""
    return x.view(count, -1, *x.shape[1:]).transpose(1, 2).flatten(2).flatten(0, 1)


def _in_a_row(parts: Sequence[Tensor], layout: Tiling, rows: int) -> Tensor:
    """Bring what the tiles hold, (n T, w) each, back into a row, (rows, w); zeros beyond the layout's positions."""
    together = torch.cat(list(parts))
    row = together.new_empty(rows, together.shape[1])
    real = len(layout.places)
    torch.index_select(together, 0, layout.places, out=row[:real])
    row[real:] = 0
    return row
