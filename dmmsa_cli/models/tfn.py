"""TFN, fusion by the outer product of all modalities (Zadeh et al., EMNLP 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
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

RANGE = 3.0  # of the squashed output: MMSA has it for CH-SIMS too, whose scores end at 1


@dataclass(frozen=True)
class TfnOptions(SubnetOptions):
    """Options of TFN; the defaults are MMSA's for CMU-MOSI."""

    audio_hidden: int = 32
    text_width: int = 32
    """Of what the text's subnet gives."""
    fusion_width: int = 64
    """Of the two layers over the product."""
    audio_dropout: float = 0.3
    vision_dropout: float = 0.3
    fusion_dropout: float = 0.5
    """On the product."""

    RANGES: ClassVar[Ranges] = {
        "text_width": Range(16, 256, log=True),
        "fusion_width": Range(16, 128, log=True),
        "fusion_dropout": Range(0.0, 0.6),
    }


class Tfn(Model):
    """The outer product of what each modality's subnet gives, a 1 put before each, through three linear layers.

        z  = [1; h_a] x [1; h_v] x [1; h_t],   (B, (1 + a)(1 + v)(1 + t))         (equation 1 of its section 4.2)
        y* = 6 sigmoid(MLP(z)) - 3

    Any subset of the modalities works: an absent one's factor is left out of the product.

    Args:
        encoders: by modality; each gives a block (B, T, w).
        widths: w of every modality, in the order t, v, a.
        heads: what the objective asks for over the fusion; this model has no features to look at singly.
        options: fields of `TfnOptions`.

    Raises:
        InvalidRecipe: the objective wants a head over each feature.
    """

    title = "TFN"
    Options = TfnOptions
    reads: ClassVar[Mapping[str, Reading]] = SEQUENCES

    def __init__(
        self, encoders: Mapping[str, nn.Module], widths: Mapping[str, int], heads: Mapping[str, Head], **options: object
    ) -> None:
        super().__init__(encoders, widths, heads)
        chosen = TfnOptions(**options)  # type: ignore[arg-type]
        self.encoders = nn.ModuleDict(encoders)
        self.subnets = Subnets(widths, chosen, text_width=chosen.text_width)
        width = chosen.fusion_width
        self.dropout = Dropout(chosen.fusion_dropout)
        self.post_fusion_layer_1 = nn.Linear(prod(1 + width for width in self.subnets.widths.values()), width)
        self.post_fusion_layer_2 = nn.Linear(width, width)
        self.post_fusion_layer_3 = nn.Linear(width, 1)
        self.heads = fusion_heads(width, heads, type(self).__name__)

    def forward(self, batch: Batch) -> Outputs:
        """Map a batch of B clips to predictions (B,), in (-3, 3)."""
        found = self.subnets(sequences(self.encoders, batch))
        x: Tensor = self.dropout(outer_product([with_one(h) for h in found.values()]))
        x = F.relu(self.post_fusion_layer_2(F.relu(self.post_fusion_layer_1(x))))
        score = 2 * RANGE * torch.sigmoid(self.post_fusion_layer_3(x)) - RANGE
        return Outputs(prediction=score.squeeze(-1), heads={name: head(x) for name, head in self.heads.items()})


def with_one(x: Tensor) -> Tensor:
    """Put a 1 before each vector, (B, w) -> (B, 1 + w)."""
    return F.pad(x, (1, 0), value=1.0)


def outer_product(parts: list[Tensor]) -> Tensor:
    """Flatten the outer product of vectors (B, w_i) to (B, product of w_i), the last one's index running fastest."""
    x = parts[0]
    for part in parts[1:]:
        x = torch.einsum("bi,bj->bij", x, part).flatten(1)
    return x
