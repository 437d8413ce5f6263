"""The encoder of audio and vision sequences."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmmsa_cli.data.batches import Padded
from dmmsa_cli.layers.attention import TransformerLayer


@dataclass(frozen=True)
class SequenceOptions:
    """Shape and dropout of the Transformer encoder of one modality."""

    layers: int = 1
    """Transformer layers, L."""
    heads: int = 8
    """Attention heads; must divide the model's width."""
    position_dropout: float = 0.5
    """After the position embeddings."""
    layer_dropout: float = 0.5
    """Inside the Transformer layers."""

    def __post_init__(self) -> None:
        if self.layers < 1 or self.heads < 1:
            raise ValueError(f"layers and heads must be at least 1, found {self.layers} and {self.heads}")
        for name in ("position_dropout", "layer_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is not in [0, 1)")


class SequenceEncoder(nn.Module):
    """ConFEDE's encoder of a frame sequence, with padding left out (SPEC section 3).

    standardise -> linear F -> d -> [CLS] in front -> + positions -> dropout -> L Transformer layers -> layer norm ->
    mean over the valid positions, [CLS] included. The released code averages over padding too; at full length both
    agree.

    Args:
        features: F, width of a frame.
        longest: frames of the longest sequence; there is one position for each, plus one for [CLS].
        width: d.
        layers: L.
        heads: attention heads; must divide `width`.
        position_dropout: after the position embeddings.
        layer_dropout: inside the Transformer layers.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        *,
        features: int,
        longest: int,
        width: int,
        layers: int,
        heads: int,
        position_dropout: float,
        layer_dropout: float,
    ) -> None:
        super().__init__()
        self.width = width
        self.position_dropout = position_dropout
        # The training rows' statistics travel with the weights: whoever loads them scales new data alike.
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.project = nn.Linear(features, width)
        self.cls = nn.Parameter(torch.ones(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(longest + 1, width))
        self.layers = nn.ModuleList(
            TransformerLayer(width=width, heads=heads, feedforward=width, dropout=layer_dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def standardise_by(self, mean: Tensor, deviation: Tensor) -> None:
        """Scale frames by these statistics from now on, (F,) each."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def forward(self, frames: Padded) -> Tensor:
        """Map frames (B, T, F) to embeddings (B, d).

        Raises:
            ValueError: frames of another width, or sequences longer than there are positions.
        """
        self._check(frames)
        b, t, _ = frames.values.shape
        x = self.project((frames.values - self.mean) / self.deviation)
        x = torch.cat([self.cls.expand(b, -1, -1).to(x.dtype), x], dim=1)  # (B, 1 + T, d)
        x = F.dropout(x + self.positions[: t + 1], self.position_dropout, self.training)
        mask = F.pad(frames.mask(), (1, 0), value=True)  # (B, 1 + T); [CLS] is always there
        for layer in self.layers:
            x = layer(x, mask)
        return masked_mean(self.norm(x), mask)

    def _check(self, frames: Padded) -> None:
        features, longest = len(self.mean), len(self.positions) - 1
        if frames.values.shape[-1] != features:
            raise ValueError(f"frames are {frames.values.shape[-1]} wide, this encoder was made for {features}")
        if frames.values.shape[1] > max(longest, 1):
            raise ValueError(f"a sequence has {frames.values.shape[1]} frames, this encoder has {longest} positions")


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of x (B, T, d) over the positions where `mask` (B, T) is True, (B, d); zeros where there is none."""
    weights = mask.unsqueeze(-1).to(x.dtype)
    return (x * weights).sum(1) / weights.sum(1).clamp_min(1)
