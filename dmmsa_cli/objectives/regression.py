"""Plain regression: the objective that pretrains one encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from dmmsa_cli.data.views import Batch
from dmmsa_cli.models.base import Outputs
from dmmsa_cli.objectives.base import Objective


@dataclass(frozen=True)
class RegressionOptions:
    """Options of plain regression."""

    loss: Literal["mse", "l1", "smooth_l1"] = "mse"
    """Squared error, absolute error, or smooth L1 with `beta`."""
    beta: float = 1.0
    """phi, where `loss` is smooth_l1."""

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"beta: {self.beta} is not above 0")


class Regression(Objective):
    """Distance between the prediction and y, nothing else (SPEC section 5, `pretrain-unimodal`)."""

    Options = RegressionOptions

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the one loss there is."""
        prediction, target = outputs.prediction.float(), batch.labels["y"]
        if self.options.loss == "mse":
            return {"regression": F.mse_loss(prediction, target)}
        if self.options.loss == "l1":
            return {"regression": F.l1_loss(prediction, target)}
        return {"regression": F.smooth_l1_loss(prediction, target, beta=self.options.beta)}

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the one loss there is."""
        return losses["regression"]
