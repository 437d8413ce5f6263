"""Attention within sequences that lie one after the other, in tiles of few different sizes.

On a CPU, in bfloat16, oneDNN compiles a kernel for every new shape of a product, which takes 0.3 ms: fifteen times as
long as the product of a clip's queries and keys. Clips have ever other lengths, so nearly every product would be
compiled anew. Here sequences of about one length are filled up to one of a few, and lie together in a tile, which is
multiplied in parts of one or two sizes. What is no product is done for all tiles at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
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

    bias: Tensor
    """Of the products of queries and keys: 0 at what may be looked at, -inf elsewhere, (n, T)."""
    count: int
    """Sequences that a product takes at a time; divides n."""

    @property
    def length(self) -> int:
        """T."""
        return self.bias.shape[1]

    @property
    def positions(self) -> int:
        """All of them, n T."""
        return self.bias.numel()

    def hide(self, logits: Tensor) -> Tensor:
        """Take what may not be looked at out of products of queries and keys, (n heads, T, T), in place."""
        of_heads = logits.view(len(self.bias), -1, self.length, self.length)
        of_heads.add_(self.bias[:, None, None].to(logits.dtype))
        return logits


@dataclass(frozen=True)
class Tiling:
    """How the positions of a row, S of them, are laid out in tiles, which have P in all.

    Of each position there is a piece for each head. In the row they lie (S, heads), in a tile (n, heads, T).
    """

    tiles: list[Tile]
    heads: int
    places: Tensor
    """Where in the tiles, one behind the other, each piece of the row stands, (S, heads)."""
    rows: Tensor
    """Which position of the row stands at each place, (heads P,); the first where there is none."""
    of_head: Tensor
    """And which of its pieces, (heads P,)."""
    real: Tensor
    """1 where there is one, 0 elsewhere, (heads P,)."""

    def take(self, row: Tensor, parts: int) -> Tensor:
        """Bring a row (S', parts heads w) into the tiles, (parts, heads P, w)."""
        each = parts * self.heads
        taken = self.rows * each + self.of_head + torch.arange(0, each, self.heads).unsqueeze(1)  # (parts, heads P)
        return row.view(len(row) * each, -1).index_select(0, taken.flatten()).view(*taken.shape, -1)

    def in_a_row(self, tiled: Tensor, rows: int) -> Tensor:
        """Bring what the tiles hold, (parts, heads P, w), back into a row (rows, parts heads w); zeros beyond S."""
        parts, places, width = tiled.shape
        taken = self.places.unsqueeze(1) + torch.arange(0, parts * places, places).unsqueeze(1)  # (S, parts, heads)
        row, real = tiled.new_empty(rows, parts * self.heads * width), len(self.places)
        torch.index_select(tiled.flatten(0, 1), 0, taken.flatten(), out=row[:real].view(-1, width))
        row[real:] = 0
        return row

    def split(self, tiled: Tensor) -> list[Tensor]:
        """View the part of each tile, (heads P, w) -> (n heads, T, w)."""
        parts = torch.split(tiled, [self.heads * tile.positions for tile in self.tiles])
        return [part.view(-1, tile.length, part.shape[1]) for tile, part in zip(self.tiles, parts, strict=True)]

    def room(self, like: Tensor) -> Tensor:
        """Return memory for a number for each two positions of a sequence and each head, in one piece."""
        return like.new_empty(sum(self._pairs))

    def squares(self, room: Tensor) -> list[Tensor]:
        """View the part of each tile in such a piece, (n heads, T, T)."""
        parts = zip(self.tiles, torch.split(room, self._pairs), strict=True)
        return [part.view(-1, tile.length, tile.length) for tile, part in parts]

    @property
    def _pairs(self) -> list[int]:
        return [self.heads * tile.positions * tile.length for tile in self.tiles]

    def multiply(self, a: Sequence[Tensor], b: Sequence[Tensor], out: Sequence[Tensor]) -> None:
        """Multiply the parts of each tile."""
        for tile, one, other, product in zip(self.tiles, a, b, out, strict=True):
            products(one, other, product, tile.count * self.heads)


def tiling(lengths: Sequence[int], valid: Sequence[int], heads: int) -> Tiling:
    """Lay sequences that lie one after the other out in tiles, on the CPU.

    Args:
        lengths: positions of each.
        valid: how many of them, from the first on, may be looked at; the first always may.
        heads: of the attention.
    """
    of_each, filled = torch.tensor(lengths), torch.tensor([_filled(length) for length in lengths])
    seen = torch.tensor(valid).clamp_min(1)
    begins = torch.empty_like(of_each)  # where the places of each sequence begin
    tiles: list[Tile] = []
    at = 0
    for length in sorted(set(filled.tolist())):
        members = torch.nonzero(filled == length).squeeze(1)
        tile = _tile(seen[members], length)
        begins[members] = at + torch.arange(len(members)) * (heads * length)
        at += heads * tile.positions
        tiles.append(tile)
    offsets = torch.cat([torch.arange(length) for length in lengths])
    first, step = (begins.repeat_interleave(of_each) + offsets).unsqueeze(1), filled.repeat_interleave(of_each)
    places = first + torch.arange(heads) * step.unsqueeze(1)
    rows, of_head, real = (torch.zeros(at, dtype=kind) for kind in (torch.int64, torch.int64, torch.int8))
    rows[places] = torch.arange(len(places)).unsqueeze(1)
    of_head[places] = torch.arange(heads)
    real[places] = 1
    return Tiling(tiles, heads, places, rows, of_head, real)


def _tile(seen: Tensor, length: int) -> Tile:
    """Return a tile for sequences of which so many positions may be looked at, with places for a few more."""
    count = max(1, POSITIONS // length)
    looked_at = F.pad(seen, (0, filling(len(seen), count)), value=1)  # no softmax over nothing, without a sequence
    hidden = torch.arange(length) >= looked_at.unsqueeze(1)
    return Tile(torch.zeros(hidden.shape).masked_fill_(hidden, -torch.inf), count)


def _filled(length: int) -> int:
    """The next of 16, 24, 32, 48, 64, 96, 128, ...: less than half as much again, but for the shortest."""
    power = max(16, 1 << (length - 1).bit_length())
    return power * 3 // 4 if power > 16 and length <= power * 3 // 4 else power


def attention_in_tiles(qkv: Tensor, layout: Tiling, drop: float) -> Tensor:
    """Scaled dot-product attention of each position to the valid ones of its own sequence, (S', 3 d) -> (S', d).

    Args:
        qkv: queries, keys and values, one behind the other; beyond the S positions of the layout there may be more,
            which attend to nothing: zeros come of them.
        layout: of the S positions.
        drop: share of the attention weights that is dropped.
    """
    out: Tensor = _AttentionInTiles.apply(qkv, layout, drop)  # type: ignore[no-untyped-call]
    return out


class _AttentionInTiles(torch.autograd.Function):
    """Written out: of the gradient of `index_select` torch makes a sum into zeros, where here it is a selection too."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, layout: Tiling, drop: float) -> Tensor:  # noqa: ANN401
        q, k, v = layout.take(qkv, 3)
        ctx.layout, ctx.scale, ctx.kept_scale, keep = layout, q.shape[1] ** -0.5, 1.0, None
        logits, weights = layout.squares(layout.room(q)), layout.room(q)
        layout.multiply(layout.split(q.mul_(ctx.scale)), _turned(layout.split(k)), logits)
        for tile, of_tile, out in zip(layout.tiles, logits, layout.squares(weights), strict=True):
            torch.softmax(tile.hide(of_tile), -1, out=out)
        if drop:
            keep, ctx.kept_scale = keep_some(weights, drop)
        mixed = torch.empty_like(v)
        layout.multiply(layout.squares(_kept(weights, keep, ctx.kept_scale)), layout.split(v), layout.split(mixed))
        ctx.save_for_backward(q, k, v, weights, keep)
        return layout.in_a_row(mixed.unsqueeze(0), len(qkv))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        layout = ctx.layout
        q, k, v, weights, keep = ctx.saved_tensors
        (of_mixed,) = layout.take(gradient.contiguous(), 1)
        of_outputs, of_kept = layout.split(of_mixed.mul_(layout.real.unsqueeze(1))), layout.room(q)
        layout.multiply(of_outputs, _turned(layout.split(v)), layout.squares(of_kept))
        of_weights = layout.squares(_kept(of_kept, keep, ctx.kept_scale))
        of_products = [
            torch.ops.aten._softmax_backward_data(a, b, -1, b.dtype)
            for a, b in zip(of_weights, layout.squares(weights), strict=True)
        ]
        of_qkv = gradient.new_empty(3, *q.shape)
        of_q, of_k, of_v = of_qkv
        layout.multiply(of_products, layout.split(k), layout.split(of_q))
        layout.multiply(_turned(of_products), layout.split(q), layout.split(of_k))
        layout.multiply(_turned(layout.squares(_kept(weights, keep, ctx.kept_scale))), of_outputs, layout.split(of_v))
        of_q.mul_(ctx.scale)
        return layout.in_a_row(of_qkv, len(gradient)), None, None


def _turned(parts: Sequence[Tensor]) -> list[Tensor]:
    return [part.mT for part in parts]


def _kept(weights: Tensor, keep: Tensor | None, scale: float) -> Tensor:
    return weights if keep is None else scaled(weights * keep, scale)


def products(a: Tensor, b: Tensor, out: Tensor, step: int) -> None:
    """Batched products, (m, T, w) by (m, w, u) to (m, T, u), of TIMES `step` of the m at a time, and then of `step`."""
    many = len(a) // (TIMES * step) * TIMES * step
    for end, size in ((many, TIMES * step), (len(a), step)):
        for begin in range(0 if size > step else many, end, size):
            part = slice(begin, begin + size)
            torch.bmm(a[part], b[part], out=out[part])
