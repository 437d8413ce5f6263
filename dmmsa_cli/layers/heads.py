"""Projectors and heads: what turns embeddings into features, and features into predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.layers.dropout import Dropout

NARROWEST = 8  # of the encoders that a regression head fits on


@dataclass(frozen=True)
class Head:
    """A head that an objective asks a model for."""

    outputs: int
    """Width of what it gives."""
    over: Literal["fusion", "feature"]
    """One look at all features together, or one at each feature with shared weights."""
    present: tuple[str, ...] = ()
    """What each output is about, where it is a logit that this is present; none where outputs are classes."""
    exclusive: bool = False
    """Whether what is `present` shares one probability, a softmax over all outputs; otherwise each has its own."""

    @property
    def even(self) -> float:
        """The probability above which something is said to be present: a half, or more than an even share."""
        return 1 / self.outputs if self.exclusive else 0.5


def mlp(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers through `widths`, GELU between, none after the last.

    Raises:
        ValueError: a layer would have no units; what follows it would be a constant.
    """
    if min(widths) < 1:
        raise ValueError(f"one of the widths {', '.join(map(str, widths))} leaves a layer without units")
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.GELU()]
    return nn.Sequential(*layers[:-1])


def regression_head(width: int, outputs: int = 1) -> nn.Sequential:
    """D -> d/2 -> d/4 -> d/8 -> outputs, as every head of the method is shaped (SPEC sections 3 and 5).

    Raises:
        InvalidRecipe: the encoder is narrower than `NARROWEST`.
    """
    if width < NARROWEST:
        raise InvalidRecipe(
            f"The encoder is {width} wide; its head narrows to an eighth of that, which leaves no units.",
            f"Choose an encoder that is at least {NARROWEST} wide.",
        )
    return mlp([width, width // 2, width // 4, width // 8, outputs])


def fusion_heads(width: int, heads: Mapping[str, Head], model: str) -> nn.ModuleDict:
    """Linear heads over a model's last hidden layer, for a model that has no features to look at singly.

    Raises:
        InvalidRecipe: one is wanted over each feature.
    """
    check_over_fusion(heads, model)
    return nn.ModuleDict({name: nn.Linear(width, head.outputs) for name, head in heads.items()})


def check_over_fusion(heads: Mapping[str, Head], model: str) -> None:
    """See that no head is wanted over each feature, of a model whose features nobody looks at singly.

    Raises:
        InvalidRecipe: one is.
    """
    singly = [name for name, head in heads.items() if head.over == "feature"]
    if singly:
        raise InvalidRecipe(
            f"The objective looks at each feature by itself ({', '.join(singly)}); {model} has one for all modalities.",
            "Choose another objective, --set objective.name=regression, or leave that task out.",
        )


class ScoreHead(nn.Module):
    """Dropout -> linear, ReLU: the feature -> linear, ReLU -> linear: the score (Self-MM, equations 3 to 6).

    Args:
        features: width of what goes in.
        width: of both layers, and so of the feature.
        dropout: before them.
    """

    def __init__(self, features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.layer_1 = nn.Linear(features, width)
        self.layer_2 = nn.Linear(width, width)
        self.layer_3 = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, F) to the feature (B, width) and the score (B,)."""
        feature = F.relu(self.layer_1(self.dropout(x)))
        return feature, self.layer_3(F.relu(self.layer_2(feature))).squeeze(-1)


def projector(width: int, outputs: int, dropout: float) -> nn.Sequential:
    """Layer norm, linear, tanh, dropout: one of the six maps of the feature decomposition."""
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs), nn.Tanh(), Dropout(dropout))
