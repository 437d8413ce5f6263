"""Auxiliary tasks that fit on any model, each on a head of its own over the fusion.

Another one is a function (what it minimises) and a line in `AUXILIARY`; then a field of the same name in the options of
the objectives that shall have it (`multitask.py`, `dmmsa.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.validation import EMOTIONS
from dmmsa_cli.layers.heads import Head
from dmmsa_cli.models.base import Outputs
from dmmsa_cli.objectives.emotions import emotion_head, emotion_loss
from dmmsa_cli.objectives.weighting.base import Task

Labels = Mapping[str, Tensor]
"""By name: `y` (B,), and what else a dataset has, `emotions` (B, C) among it."""


@dataclass(frozen=True)
class Enabled:
    """A task without further options."""

    enabled: bool = True
    """False: without this task."""


@dataclass(frozen=True)
class Auxiliary:
    """A task beside the score."""

    head: Callable[[Capabilities, Any], Head | None]
    """What it needs of a model under its options; none where the clips lack the labels that it learns."""
    loss: Callable[[Tensor, Labels, Any], Tensor]
    """From what the head gives, (B, outputs) in float32, the labels and its options to the mean loss, a scalar."""
    classes: bool = False
    """Whether that is a cross-entropy."""
    labels: frozenset[str] = frozenset()
    """What it learns beside the scores, by the names that batches have."""


def polarity(logits: Tensor, labels: Labels, options: Enabled) -> Tensor:
    """Return the binary cross-entropy of y >= 0 against y < 0 (Tian et al., 2018; Sequential-MTL)."""
    return F.binary_cross_entropy_with_logits(logits.squeeze(-1), (labels["y"] >= 0).float())


def intensity(predicted: Tensor, labels: Labels, options: Enabled) -> Tensor:
    """Return the mean absolute error of |y| (Sequential-MTL, which makes a regression of Tian et al.'s classes)."""
    return F.l1_loss(predicted.squeeze(-1), labels["y"].abs())


AUXILIARY: dict[str, Auxiliary] = {
    "polarity": Auxiliary(lambda data, options: Head(1, "fusion", present=("nonnegative",)), polarity, classes=True),
    "intensity": Auxiliary(lambda data, options: Head(1, "fusion"), intensity),
    EMOTIONS: Auxiliary(
        lambda data, options: (
            emotion_head(data.emotions, exclusive=options.loss == "softmax") if data.emotions else None
        ),
        lambda logits, labels, options: emotion_loss(logits, labels[EMOTIONS], options.loss),
        classes=True,
        labels=frozenset({EMOTIONS}),
    ),
}


@dataclass(frozen=True)
class AuxiliaryTasks:
    """The auxiliary tasks of one objective on one dataset.

    Args:
        options: of the objective; a field for each task that it can have.
        data: what there is to learn from.
    """

    options: Any
    data: Capabilities

    @property
    def heads(self) -> dict[str, Head]:
        """Return the heads that they need of a model, in the order of the table; those without labels need none."""
        wanted = {name: AUXILIARY[name].head(self.data, getattr(self.options, name)) for name in enabled(self.options)}
        return {name: head for name, head in wanted.items() if head is not None}

    @property
    def tasks(self) -> list[Task]:
        """Return them as a rule weighs them."""
        return [Task(name, classes=AUXILIARY[name].classes) for name in self.heads]

    def losses(self, outputs: Outputs, labels: Labels) -> dict[str, Tensor]:
        """Return their unweighted losses, scalars in float32."""
        return {
            name: AUXILIARY[name].loss(outputs.heads[name].float(), labels, getattr(self.options, name))
            for name in self.heads
        }

    def remarks(self) -> list[str]:
        """Say which are wanted and can't be had."""
        idle = [name for name in enabled(self.options) if name not in self.heads]
        return [f"The task {name} is inactive: the clips are not labelled with any." for name in idle]


def enabled(options: Any) -> list[str]:  # noqa: ANN401  (of any objective that has some of them)
    """Return the tasks that an objective's options turn on, in the order of the table."""
    return [name for name in AUXILIARY if (own := getattr(options, name, None)) is not None and own.enabled]


def labels_of(options: Any) -> frozenset[str]:  # noqa: ANN401
    """Return what they learn beside the scores."""
    return frozenset().union(*(AUXILIARY[name].labels for name in enabled(options)))
