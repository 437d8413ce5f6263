"""The plainest network there is: the mean of each modality's sequence, and a small head for each task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from dmmsa_cli.data.views import Batch
from dmmsa_cli.layers.dropout import Dropout
from dmmsa_cli.layers.heads import Head, check_over_fusion
from dmmsa_cli.layers.sequence import masked_mean
from dmmsa_cli.layers.sizes import Sizes
from dmmsa_cli.models.base import SEQUENCES, Model, Outputs, Reading, sequences
from dmmsa_cli.ranges import Range, Ranges


@dataclass(frozen=True)
class MeanPoolingOptions(Sizes):
    """Options of the plainest network."""

    hidden: int = 384
    """Width of the hidden layer of each head."""
    dropout: float = 0.1
    """Before each head."""

    RANGES: ClassVar[Ranges] = {"hidden": Range(32, 512, log=True), "dropout": Range(0.0, 0.6)}


class MeanPooling(Model):
    """What any other network has to beat: with text alone, an encoder fine-tuned as everybody does it.

        z = [mean_i x_t,i; mean_i x_v,i; mean_i x_a,i];  y^tau = W_2 GELU(W_1 z), for the score and for each head

    Means run over real positions. Any subset of the modalities works.

    Args:
        encoders: by modality; each gives a block (B, T, w).
        widths: w of every modality, in the order t, v, a.
        heads: what the objective asks for over the fusion; this model has no features to look at singly.
        options: fields of `MeanPoolingOptions`.

    Raises:
        InvalidRecipe: the objective wants a head over each feature.
    """

    title = "Mean pooling"
    Options = MeanPoolingOptions
    reads: ClassVar[Mapping[str, Reading]] = SEQUENCES

    def __init__(
        self, encoders: Mapping[str, nn.Module], widths: Mapping[str, int], heads: Mapping[str, Head], **options: object
    ) -> None:
        super().__init__(encoders, widths, heads)
        chosen = MeanPoolingOptions(**options)  # type: ignore[arg-type]
        check_over_fusion(heads, type(self).__name__)
        width = sum(widths.values())
        self.encoders = nn.ModuleDict(encoders)
        self.score = _head(width, chosen, 1)
        self.heads = nn.ModuleDict({name: _head(width, chosen, head.outputs) for name, head in heads.items()})

    def forward(self, batch: Batch) -> Outputs:
        """Map a batch of B clips to predictions (B,) and head outputs (B, outputs)."""
        blocks = sequences(self.encoders, batch).values()
        z = torch.cat([masked_mean(block.values, block.mask()) for block in blocks], dim=-1)
        return Outputs(prediction=self.score(z).squeeze(-1), heads={name: head(z) for name, head in self.heads.items()})


def _head(width: int, options: MeanPoolingOptions, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        Dropout(options.dropout), nn.Linear(width, options.hidden), nn.GELU(), nn.Linear(options.hidden, outputs)
    )
