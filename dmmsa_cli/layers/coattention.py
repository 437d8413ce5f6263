"""Modalities that look at each other and at themselves, layer by layer, each with a [CLS] (MMoLRE, section III-C).

The layers are those of MMML (Wu et al., NAACL 2024), whose fusion the paper takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmmsa_cli.data.ragged import Padded
from dmmsa_cli.layers.attention import multihead
from dmmsa_cli.layers.dropout import Dropout

EPSILON = 1e-12  # of the layer norms


class Coattention(nn.Module):
    """A [CLS] before each modality's sequence, L layers, and the [CLS] states side by side.

        x_m = norm(x_m + Attention(x_m, x_n)), n the other modality as it came into the layer      (equations 2, 3)
        x_m = norm(x_m + Attention(x_m, x_m));  x_m = norm(x_m + W_2 ReLU(W_1 x_m))                 (equation 4)

    Modalities share nothing, and there are no positions. One modality alone looks at itself only.

    Args:
        modalities: one or two.
        width: d.
        heads: attention heads; must divide `width`.
        layers: L.
        feedforward: width between the two linear maps.
        dropout: on attention weights and on every residual branch.
    """

    def __init__(
        self, modalities: Sequence[str], *, width: int, heads: int, layers: int, feedforward: int, dropout: float
    ) -> None:
        super().__init__()
        self.cls = nn.ParameterDict({m: nn.Parameter(torch.randn(width)) for m in modalities})
        self.layers = nn.ModuleList(
            nn.ModuleDict({m: _Layer(width, heads, feedforward, dropout, len(modalities) > 1) for m in modalities})
            for _ in range(layers)
        )

    def forward(self, blocks: Mapping[str, Padded]) -> Tensor:
        """Map one block (B, T, d) a modality to (B, d modalities)."""
        found = {m: _with_first(cls, blocks[m].values) for m, cls in self.cls.items()}
        seen = {m: F.pad(blocks[m].mask(), (1, 0), value=True).unsqueeze(1) for m in found}  # (B, 1, 1 + T)
        others = dict(zip(found, reversed(found), strict=True)) if len(found) > 1 else {}
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleDict)
            found = {
                m: each(found[m], seen[m], found[others[m]] if others else None, seen[others[m]] if others else None)
                for m, each in layer.items()
            }
        return torch.cat([x[:, 0] for x in found.values()], dim=-1)


def _with_first(cls: Tensor, values: Tensor) -> Tensor:
    first = cls.to(values.dtype).expand(len(values), 1, -1)
    return torch.cat([first, values], dim=1)


class _Layer(nn.Module):
    """What one modality passes in one layer."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float, crosses: bool) -> None:
        super().__init__()
        self.cross = _Attention(width, heads, dropout) if crosses else None
        self.within = _Attention(width, heads, dropout)
        self.up, self.down = nn.Linear(width, feedforward), nn.Linear(feedforward, width)
        self.drop, self.norm = Dropout(dropout), nn.LayerNorm(width, eps=EPSILON)

    def forward(self, x: Tensor, seen: Tensor, other: Tensor | None, other_seen: Tensor | None) -> Tensor:
        """Map (B, T, d) to (B, T, d); `seen` is True where a sequence may be looked at, (B, 1, T)."""
        if self.cross is not None and other is not None and other_seen is not None:
            x = self.cross(x, other, other_seen)
        x = self.within(x, x, seen)
        out: Tensor = self.norm(x + self.drop(self.down(F.relu(self.up(x)))))
        return out


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.drop, self.norm = Dropout(dropout), nn.LayerNorm(width, eps=EPSILON)

    def forward(self, x: Tensor, source: Tensor, seen: Tensor) -> Tensor:
        """Let (B, T, d) look at (B, T', d) where `seen`, (B, 1, T'), says so."""
        share = self.dropout if self.training else 0.0
        found = multihead(x, source, seen, qkv=self.qkv, out=self.out, heads=self.heads, drop=share)
        moved: Tensor = self.norm(x + self.drop(found))
        return moved
