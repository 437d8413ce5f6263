"""LMF, TFN's product by low-rank factors, never made (Liu et al., ACL 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from dmmsa_cli.data.views import Batch
from dmmsa_cli.layers.heads import Head, fusion_heads
from dmmsa_cli.layers.subnets import SubnetOptions, Subnets
from dmmsa_cli.models.base import SEQUENCES, Model, Outputs, Reading, sequences
from dmmsa_cli.models.tfn import with_one
from dmmsa_cli.ranges import Range, Ranges


@dataclass(frozen=True)
class LmfOptions(SubnetOptions):
    """Options of LMF; the defaults are MMSA's for CMU-MOSI."""

    audio_dropout: float = 0.3
    vision_dropout: float = 0.3
    rank: int = 3
    """R: how many products are summed."""
    frozen_weights: bool = False
    """Leave the sum's weights and bias as they were drawn, as MMSA does: its optimiser is not given them."""

    RANGES: ClassVar[Ranges] = {"rank": Range(2, 8)}


class Lmf(Model):
    """A weighted sum over R of products over the modalities, each linear in what its subnet gives.

        y* = sum_r w_r  prod_m  W_m^r [1; h_m]  +  b                              (equations 6 and 7)

    The text's subnet gives half as many numbers as its LSTM holds. Any subset of the modalities works: an absent one's
    factor is left out of the product.

    Args:
        encoders: by modality; each gives a block (B, T, w).
        widths: w of every modality, in the order t, v, a.
        heads: what the objective asks for over the fusion, which here is the R products; this model has no features
            to look at singly.
        options: fields of `LmfOptions`.

    Raises:
        InvalidRecipe: the objective wants a head over each feature.
    """

    title = "LMF"
    Options = LmfOptions
    reads: ClassVar[Mapping[str, Reading]] = SEQUENCES

    def __init__(
        self, encoders: Mapping[str, nn.Module], widths: Mapping[str, int], heads: Mapping[str, Head], **options: object
    ) -> None:
        super().__init__(encoders, widths, heads)
        chosen = LmfOptions(**options)  # type: ignore[arg-type]
        self.encoders = nn.ModuleDict(encoders)
        self.subnets = Subnets(widths, chosen, text_width=max(1, chosen.text_hidden // 2))
        self.factors = nn.ParameterDict(
            {m: nn.init.xavier_normal_(torch.empty(chosen.rank, 1 + w, 1)) for m, w in self.subnets.widths.items()}
        )
        trained = not chosen.frozen_weights
        self.fusion_weights = nn.Parameter(nn.init.xavier_normal_(torch.empty(1, chosen.rank)), requires_grad=trained)
        self.fusion_bias = nn.Parameter(torch.zeros(1, 1), requires_grad=trained)
        self.heads = fusion_heads(chosen.rank, heads, type(self).__name__)

    def forward(self, batch: Batch) -> Outputs:
        """Map a batch of B clips to predictions (B,)."""
        found = self.subnets(sequences(self.encoders, batch))
        parts = [torch.einsum("bi,rio->bro", with_one(h), self.factors[m]) for m, h in found.items()]
        x: Tensor = torch.stack(parts).prod(0).squeeze(-1)  # (B, R)
        score = x @ self.fusion_weights.T + self.fusion_bias
        return Outputs(prediction=score.squeeze(-1), heads={name: head(x) for name, head in self.heads.items()})
