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


def distance(prediction: Tensor, target: Tensor, options: RegressionOptions) -> Tensor:
    """Return the mean distance of predictions from scores, (B,) both, a scalar in float32."""
    if options.loss == "mse":
        return F.mse_loss(prediction.float(), target)
    if options.loss == "l1":
        return F.l1_loss(prediction.float(), target)
    return F.smooth_l1_loss(prediction.float(), target, beta=options.beta)


class Regression(Objective):
    """Distance between the prediction and y, nothing else (SPEC section 5, `pretrain-unimodal`)."""

    Options = RegressionOptions

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the one loss there is."""
        return {"regression": distance(outputs.prediction, batch.labels["y"], self.options)}

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the one loss there is."""
        return losses["regression"]
