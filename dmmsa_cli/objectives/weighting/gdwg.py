"""Global Dynamic Weight Generation: the weights of DMMSA's tasks (Liang et al., Applied Sciences 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dmmsa_cli.objectives.weighting.base import EpochWeighting, Task, WeightingOptions
from dmmsa_cli.ranges import Range, Ranges


@dataclass(frozen=True)
class GdwgOptions(WeightingOptions):
    """Options of GDWG."""

    temperature: float = 1.0
    """tau; the papers give none. Smaller values let the weights differ more."""

    RANGES: ClassVar[Ranges] = {"temperature": Range(0.1, 5.0, log=True)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperature > 0:
            raise ValueError(f"temperature: {self.temperature} is not above 0")


class GlobalDynamicWeights(EpochWeighting):
    """Global Dynamic Weight Generation, GDWG (DMMSA, equations 13 and 14); a stage is one epoch.

        w_k = L_k(e - 1) / L_k(1);   lambda = softmax(w / tau)

    L_k(e) is task k's mean unweighted training loss over epoch e. Epoch 1 has equal weights, and so has epoch 2, since
    w_k(1) = 1: the first unequal weights are epoch 3's. L_k(1) = 0 gives w_k = 1. The weights carry no gradient; the
    history they come from is a buffer, so a checkpoint holds it. Their own sum is 1; one task always weighs 1.

    Args:
        tasks: the K weighted tasks.
        options: tau.
    """

    title = "GDWG"
    Options = GdwgOptions
    first: Tensor

    def __init__(self, tasks: Sequence[Task], options: GdwgOptions) -> None:
        super().__init__(tasks, options)
        self.register_buffer("first", torch.full((len(tasks),), torch.nan))  # L_k(1), not yet known

    def first_weights(self) -> Tensor:
        """Equal ones."""
        return self.scaled(torch.full((len(self.tasks),), 1.0 / len(self.tasks)), 1.0)

    def epoch_end(self, losses: Tensor) -> None:
        """Take the epoch's mean losses and set the weights of the next epoch."""
        if self.first.isnan().any():
            self.first.copy_(losses)
        decay = torch.where(self.first == 0, 1.0, losses / self.first)
        self.weights.copy_(self.scaled(torch.softmax(decay / self.options.temperature, dim=0), 1.0))
