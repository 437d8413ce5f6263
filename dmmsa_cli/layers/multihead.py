"""Multi-head attention between padded blocks, with padding left out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmmsa_cli.data.ragged import Padded, cut
from dmmsa_cli.layers.attention import multihead

WASTE = 0.3  # padding of a part of a batch, at most, of clips that are attended to together


class MultiheadAttention(nn.Module):
    """Every position of a block looks at the valid ones of another, or of its own (Vaswani et al., 2017).

    Args:
        width: d.
        heads: attention heads; must divide `width`.
        dropout: on attention weights.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        for layer in (self.qkv, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Padded, source: Padded | None = None) -> Tensor:
        """Map a block (B, T, d), and one (B, T', d) that it looks at, to (B, T, d); without the other, at itself.

        What stands behind the end of a sequence means nothing.
        """
        blocks = {"x": x} if source is None else {"x": x, "source": source}
        parts, places = cut(blocks, WASTE)
        longest = x.values.shape[1]
        found = [F.pad(y, (0, 0, 0, longest - y.shape[1])) for y in map(self._attend, parts)]
        return torch.cat(found).index_select(0, places)

    def _attend(self, blocks: dict[str, Padded]) -> Tensor:
        asks, answers = blocks["x"], blocks.get("source", blocks["x"])
        seen = Padded(answers.values, answers.lengths.clamp_min(1)).mask().unsqueeze(1)
        drop = self.dropout if self.training else 0.0
        return multihead(asks.values, answers.values, seen, qkv=self.qkv, out=self.out, heads=self.heads, drop=drop)
