"""MMILN's objective: the score, labels that training makes for audio and vision, and two regularisers (CCL 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.views import Batch
from dmmsa_cli.models.base import NONVERBAL, SPACES, Outputs
from dmmsa_cli.objectives.base import Objective, TrainingRows
from dmmsa_cli.objectives.unimodal_labels import Distance, UnimodalLabels
from dmmsa_cli.ranges import Range, Ranges

REGULARISERS = ("similarity", "difference")


@dataclass(frozen=True)
class MmilnObjectiveOptions:
    """Weights of the regularisers, which the paper does not give (here MISA's on CMU-MOSI), and how ULGM measures."""

    similarity: float = 0.3
    """alpha."""
    difference: float = 0.1
    """beta."""
    distance: Distance = "squared"
    """To the centres: the square over the root of the width, as the paper prints it; or the norm, as Self-MM's code."""

    RANGES: ClassVar[Ranges] = {
        "similarity": Range(0.01, 1.0, log=True),
        "difference": Range(0.01, 1.0, log=True),
    }

    def __post_init__(self) -> None:
        for name in REGULARISERS:
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: {getattr(self, name)} is below 0")


class MmilnObjective(Objective):
    """L = mean (y_m - y)^2 + sum over n of mean tanh(|y_n - y|) |y^_n - y_n| + alpha L_sim + beta L_diff.

    (Equations 35 and 36.) y_n, n in {a, v}, are the labels that ULGM makes with the fusion for its anchor (29 to 34,
    `unimodal_labels.py`); in the first epoch they are y, so the tasks of audio and vision weigh nothing. L_sim and
    L_diff are the model's own. Text has no task of its own.

    Args:
        capabilities: which modalities there are, and the range of scores.
        options: alpha, beta, and the distance of ULGM.
    """

    Options = MmilnObjectiveOptions

    @classmethod
    def needs(cls, options: MmilnObjectiveOptions) -> frozenset[str]:
        """Predictions of audio and vision, and the regularisers that weigh anything."""
        return frozenset({NONVERBAL} | ({SPACES} if options.similarity or options.difference else set()))

    def __init__(self, capabilities: Capabilities, options: MmilnObjectiveOptions) -> None:
        super().__init__(capabilities, options)
        names = [m for m in capabilities.modalities if m != "t"]
        self.made = UnimodalLabels(names, limit=capabilities.score_range, distance=options.distance)

    def begin_epoch(self, epoch: int, training: TrainingRows) -> None:
        """Before the first epoch, give audio and vision the score for a label."""
        self.made.begin_epoch(epoch, training.labels["y"], torch.from_numpy(training.rows))

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the mean loss of each task, and the regularisers, not weighted; then the labels of the rows move."""
        y = batch.labels["y"]
        losses = {"fusion": F.mse_loss(outputs.prediction.float(), y)}
        losses |= self.made.losses(outputs.unimodal, batch.rows, y)
        self.made.update(batch.rows, outputs.features)
        return losses | dict(outputs.losses)

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Equation 36."""
        tasks = [loss for name, loss in losses.items() if name not in REGULARISERS]
        weighted = [getattr(self.options, name) * losses[name] for name in REGULARISERS if name in losses]
        return torch.stack([*tasks, *weighted]).sum()
