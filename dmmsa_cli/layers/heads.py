"""Projectors and heads: what turns embeddings into features, and features into predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import nn

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
    over_the_fusion(heads, model)
    return nn.ModuleDict({name: nn.Linear(width, head.outputs) for name, head in heads.items()})


def over_the_fusion(heads: Mapping[str, Head], model: str) -> None:
    """See that no head looks at features singly, for a model that has none.

    Raises:
        InvalidRecipe: one does.
    """
    singly = [name for name, head in heads.items() if head.over == "feature"]
    if singly:
        raise InvalidRecipe(
            f"The objective looks at each feature by itself ({', '.join(singly)}); {model} has one for all modalities.",
            "Choose another objective, --set objective.name=regression, or leave that task out.",
        )


def projector(width: int, outputs: int, dropout: float) -> nn.Sequential:
    """Layer norm, linear, tanh, dropout: one of the six maps of the feature decomposition."""
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs), nn.Tanh(), Dropout(dropout))
