"""One modality alone: an encoder with a regression head, as `pretrain-unimodal` trains it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from dmmsa_cli.data.views import Batch
from dmmsa_cli.layers.heads import regression_head
from dmmsa_cli.models.base import Outputs, embed


class Unimodal(nn.Module):
    """encoder -> d -> d/2 -> d/4 -> d/8 -> 1 (SPEC section 5).

    Args:
        encoders: one encoder, by its modality.
        widths: its embedding width.
    """

    def __init__(self, encoders: Mapping[str, nn.Module], widths: Mapping[str, int]) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        (width,) = widths.values()
        self.head = regression_head(width)

    def forward(self, batch: Batch) -> Outputs:
        """Map a batch of B clips to predictions (B,)."""
        (embedding,) = embed(self.encoders, batch).values()
        return Outputs(prediction=self.head(embedding).squeeze(-1))
