"""A network that nobody needs, added as README.md says: this file, a line in the table (its last), and a recipe."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from dmmsa_cli.layers.dropout import Dropout
from dmmsa_cli.layers.heads import fusion_heads
from dmmsa_cli.layers.sequence import masked_mean
from dmmsa_cli.layers.sizes import Sizes
from dmmsa_cli.models import MODELS
from dmmsa_cli.models.base import SEQUENCES, Model, Outputs, sequences


@dataclass(frozen=True)
class MadeUpOptions(Sizes):
    width: int = 16
    dropout: float = 0.1


class MadeUp(Model):
    """y* = W dropout([mean X_t; mean X_v; mean X_a]) and a ReLU before it."""

    title = "Made-Up"
    Options = MadeUpOptions
    reads = SEQUENCES

    def __init__(self, encoders, widths, heads, **options):
        super().__init__(encoders, widths, heads)
        chosen = MadeUpOptions(**options)
        self.encoders = nn.ModuleDict(encoders)
        self.hidden = nn.Linear(sum(widths.values()), chosen.width)
        self.dropout = Dropout(chosen.dropout)
        self.output = nn.Linear(chosen.width, 1)
        self.heads = fusion_heads(chosen.width, heads, type(self).__name__)

    def forward(self, batch):
        means = [masked_mean(block.values, block.mask()) for block in sequences(self.encoders, batch).values()]
        x = self.dropout(torch.relu(self.hidden(torch.cat(means, dim=-1))))
        return Outputs(self.output(x).squeeze(-1), heads={name: head(x) for name, head in self.heads.items()})


MODELS["made_up"] = MadeUp
