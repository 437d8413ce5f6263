"""MISA's objective: regression, and the losses that keep its representations apart (Hazarika et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from dmmsa_cli.data.views import Batch
from dmmsa_cli.models.base import SPACES, Outputs
from dmmsa_cli.objectives.base import Objective
from dmmsa_cli.ranges import Range, Ranges

TASK = "regression"


@dataclass(frozen=True)
class MisaObjectiveOptions:
    """Weights of the model's own losses; the defaults are MMSA's for CMU-MOSI."""

    similarity: float = 0.3
    difference: float = 0.1
    reconstruction: float = 1.0

    RANGES: ClassVar[Ranges] = {
        "similarity": Range(0.01, 1.0, log=True),
        "difference": Range(0.01, 1.0, log=True),
        "reconstruction": Range(0.01, 2.0, log=True),
    }

    def __post_init__(self) -> None:
        for name in ("similarity", "difference", "reconstruction"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} is below 0")


class MisaObjective(Objective):
    """L = MSE(y*, y) + a L_sim + b L_diff + c L_recon, the last three the model's own (equation 5).

    Args:
        capabilities: which modalities and labels there are.
        options: the weights a, b and c.
    """

    Options = MisaObjectiveOptions

    @classmethod
    def needs(cls, options: MisaObjectiveOptions) -> frozenset[str]:
        """The model's own losses."""
        return frozenset({SPACES})

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the squared error and the model's own losses, none of them weighted."""
        return {TASK: F.mse_loss(outputs.prediction.float(), batch.labels["y"]), **outputs.losses}

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Equation 5."""
        weighted = [getattr(self.options, name) * loss for name, loss in losses.items() if name != TASK]
        return sum(weighted, losses[TASK])
