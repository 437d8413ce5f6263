"""Auxiliary tasks that fit on any model: each on a head of its own over the fusion, each on what the labels say anyway.

Another one is a function (what it minimises) and a line in `AUXILIARY`; then a field of the same name in the options of
the objectives that shall have it (`multitask.py`, `dmmsa.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from dmmsa_cli.layers.heads import Head
from dmmsa_cli.models.base import Outputs
from dmmsa_cli.objectives.weighting.base import Task

Labels = Mapping[str, Tensor]
"""By name, (B,) each: `y`, and what else a dataset has."""


@dataclass(frozen=True)
class Enabled:
    """A task without further options."""

    enabled: bool = True
    """False: without this task."""


@dataclass(frozen=True)
class Auxiliary:
    """A task beside the score."""

    outputs: int
    """Of its head."""
    loss: Callable[[Tensor, Labels], Tensor]
    """From what the head gives, (B, outputs) in float32, and the labels to the mean loss, a scalar."""
    classes: bool = False
    """Whether that is a cross-entropy."""


def polarity(logits: Tensor, labels: Labels) -> Tensor:
    """Return the binary cross-entropy of y >= 0 against y < 0 (Tian et al., 2018; Sequential-MTL)."""
    return F.binary_cross_entropy_with_logits(logits.squeeze(-1), (labels["y"] >= 0).float())


def intensity(predicted: Tensor, labels: Labels) -> Tensor:
    """Return the mean absolute error of |y| (Sequential-MTL, which makes a regression of Tian et al.'s classes)."""
    return F.l1_loss(predicted.squeeze(-1), labels["y"].abs())


AUXILIARY: dict[str, Auxiliary] = {
    "polarity": Auxiliary(1, polarity, classes=True),
    "intensity": Auxiliary(1, intensity),
}


def enabled(options: Any) -> list[str]:  # noqa: ANN401  (of any objective that has some of them)
    """Return the tasks that an objective's options turn on, in the order of the table."""
    return [name for name in AUXILIARY if (own := getattr(options, name, None)) is not None and own.enabled]


def auxiliary_tasks(options: Any) -> list[Task]:  # noqa: ANN401
    """Return them as a rule weighs them."""
    return [Task(name, classes=AUXILIARY[name].classes) for name in enabled(options)]


def auxiliary_heads(options: Any) -> dict[str, Head]:  # noqa: ANN401
    """Return the heads that they need of a model."""
    return {name: Head(AUXILIARY[name].outputs, "fusion") for name in enabled(options)}


def auxiliary_losses(options: Any, outputs: Outputs, labels: Labels) -> dict[str, Tensor]:  # noqa: ANN401
    """Return their unweighted losses, scalars in float32."""
    return {name: AUXILIARY[name].loss(outputs.heads[name].float(), labels) for name in enabled(options)}
