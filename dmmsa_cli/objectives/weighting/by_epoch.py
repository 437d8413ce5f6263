"""Rules whose weights stay for an epoch, or for good: equal and fixed weights, and DWA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from dmmsa_cli.objectives.weighting.base import EpochWeighting, Task, WeightingOptions, by_name
from dmmsa_cli.ranges import Range, Ranges


@dataclass(frozen=True)
class EqualOptions(WeightingOptions):
    """Options of equal weights."""


class EqualWeights(EpochWeighting):
    """The same weight for each task, 1/K of the sum: DMMSA without GDWG. Its own scale is 1 each."""

    title = "equal weights"
    Options = EqualOptions
    changes = False

    def first_weights(self) -> Tensor:
        """1/K of the sum each."""
        own = len(self.tasks)
        return torch.full((own,), 1.0 if self.options.sum is None else self.options.sum / own)


@dataclass(frozen=True)
class FixedOptions(WeightingOptions):
    """Options of fixed weights."""

    sum: float | None = None
    """What the weights are scaled to; null takes them as they stand."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """By task; one that is absent weighs 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for task, weight in self.weights.items():
            if not weight >= 0:
                raise ValueError(f"weights.{task}: {weight} is below 0")
        if self.sum is not None and self.weights and not any(self.weights.values()):
            raise ValueError(f"sum: weights that are all 0 do not add up to {self.sum}")

    @property
    def named(self) -> tuple[str, ...]:
        """Tasks that have a weight here."""
        return tuple(self.weights)


class FixedWeights(EpochWeighting):
    """Weights that a recipe names and nothing changes; a task that it does not name weighs 1."""

    title = "fixed weights"
    Options = FixedOptions
    changes = False

    def first_weights(self) -> Tensor:
        """Those of the recipe."""
        return self.scaled(by_name(self.tasks, self.options.weights))


@dataclass(frozen=True)
class DwaOptions(WeightingOptions):
    """Options of DWA."""

    temperature: float = 2.0
    """T; 2 in the paper."""

    RANGES: ClassVar[Ranges] = {"temperature": Range(0.5, 5.0, log=True)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperature > 0:
            raise ValueError(f"temperature: {self.temperature} is not above 0")


class DynamicWeightAverage(EpochWeighting):
    """Dynamic Weight Average, DWA (Liu et al., CVPR 2019, equation 7).

        w_k = L_k(e - 1) / L_k(e - 2);   lambda = K softmax(w / T)

    The first two epochs have equal weights. GDWG with the loss of the epoch before the last in the place of the first
    one's. L_k(e - 2) = 0 gives w_k = 1. The weights' own sum is K.

    Args:
        tasks: the K weighted tasks.
        options: T.
    """

    title = "DWA"
    Options = DwaOptions
    before: Tensor

    def __init__(self, tasks: Sequence[Task], options: DwaOptions) -> None:
        super().__init__(tasks, options)
        self.register_buffer("before", torch.full((len(tasks),), torch.nan))  # L_k of the last epoch, not yet known

    def first_weights(self) -> Tensor:
        """Equal ones."""
        return self.scaled(torch.ones(len(self.tasks)), len(self.tasks))

    def epoch_end(self, losses: Tensor) -> None:
        """Set the next epoch's weights, from the second epoch on."""
        if not self.before.isnan().any():
            pace = torch.where(self.before == 0, 1.0, losses / self.before)
            shares = torch.softmax(pace / self.options.temperature, dim=0)
            self.weights.copy_(self.scaled(len(self.tasks) * shares, len(self.tasks)))
        self.before.copy_(losses)
