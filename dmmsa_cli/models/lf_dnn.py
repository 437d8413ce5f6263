"""LF-DNN, late fusion by concatenation: the plainest of the papers' systems (Cambria et al., CICLing 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmmsa_cli.data.views import Batch
from dmmsa_cli.layers.dropout import Dropout
from dmmsa_cli.layers.heads import Head, fusion_heads
from dmmsa_cli.layers.subnets import SubnetOptions, Subnets
from dmmsa_cli.models.base import SEQUENCES, Model, Outputs, Reading, sequences
from dmmsa_cli.ranges import Range, Ranges


@dataclass(frozen=True)
class LfDnnOptions(SubnetOptions):
    """Options of LF-DNN; the defaults are MMSA's for CMU-MOSI."""

    text_width: int = 256
    """Of what the text's subnet gives."""
    fusion_width: int = 128
    """Of the two layers before the prediction."""
    fusion_dropout: float = 0.2
    """On the concatenation."""

    RANGES: ClassVar[Ranges] = {
        "text_width": Range(16, 256, log=True),
        "fusion_width": Range(16, 256, log=True),
        "fusion_dropout": Range(0.0, 0.6),
    }


class LfDnn(Model):
    """Features of each modality, concatenated, through three linear layers.

        h_t = W LSTM(X_t),  h_m = three linear layers over the mean of X_m's frames, m in {a, v}
        y*  = MLP([h_a; h_v; h_t])

    Any subset of the modalities works: an absent one is left out of the concatenation.

    Args:
        encoders: by modality; each gives a block (B, T, w).
        widths: w of every modality, in the order t, v, a.
        heads: what the objective asks for over the fusion; this model has no features to look at singly.
        options: fields of `LfDnnOptions`.

    Raises:
        InvalidRecipe: the objective wants a head over each feature.
    """

    title = "LF-DNN"
    Options = LfDnnOptions
    reads: ClassVar[Mapping[str, Reading]] = SEQUENCES

    def __init__(
        self, encoders: Mapping[str, nn.Module], widths: Mapping[str, int], heads: Mapping[str, Head], **options: object
    ) -> None:
        super().__init__(encoders, widths, heads)
        chosen = LfDnnOptions(**options)  # type: ignore[arg-type]
        self.encoders = nn.ModuleDict(encoders)
        self.subnets = Subnets(widths, chosen, text_width=chosen.text_width)
        width = chosen.fusion_width
        self.dropout = Dropout(chosen.fusion_dropout)
        self.post_fusion_layer_1 = nn.Linear(sum(self.subnets.widths.values()), width)
        self.post_fusion_layer_2 = nn.Linear(width, width)
        self.post_fusion_layer_3 = nn.Linear(width, 1)
        self.heads = fusion_heads(width, heads, type(self).__name__)

    def forward(self, batch: Batch) -> Outputs:
        """Map a batch of B clips to predictions (B,)."""
        found = self.subnets(sequences(self.encoders, batch))
        x: Tensor = self.dropout(torch.cat(list(found.values()), dim=-1))
        x = F.relu(self.post_fusion_layer_2(F.relu(self.post_fusion_layer_1(x))))
        return Outputs(
            prediction=self.post_fusion_layer_3(x).squeeze(-1), heads={name: h(x) for name, h in self.heads.items()}
        )
