"""Self-MM's objective: each modality learns labels that training itself makes (Yu et al., AAAI 2021, section 3.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.views import Batch
from dmmsa_cli.models.base import UNIMODAL, Outputs
from dmmsa_cli.objectives.base import Objective, TrainingRows
from dmmsa_cli.objectives.unimodal_labels import UnimodalLabels


@dataclass(frozen=True)
class SelfMmObjectiveOptions:
    """Self-MM's objective has none: what its losses weigh follows from the labels."""


class SelfMmObjective(Objective):
    """L = mean |y_m - y| + sum over s of mean tanh(|y_s - y|) |y^_s - y_s|, s in {t, a, v}     (equations 17 and 18).

    y_s are the labels that ULGM makes (`unimodal_labels.py`), on every dataset, whether it has such of its own or
    not. In the first epoch they are y, so the tasks of single modalities weigh nothing.

    Args:
        capabilities: which modalities there are, and the range of scores.
        options: none.
    """

    Options = SelfMmObjectiveOptions

    @classmethod
    def needs(cls, options: SelfMmObjectiveOptions) -> frozenset[str]:
        """Predictions of single modalities."""
        return frozenset({UNIMODAL})

    def __init__(self, capabilities: Capabilities, options: SelfMmObjectiveOptions) -> None:
        super().__init__(capabilities, options)
        self.made = UnimodalLabels(capabilities.modalities, limit=capabilities.score_range)

    def begin_epoch(self, epoch: int, training: TrainingRows) -> None:
        """Before the first epoch, give every modality the score for a label."""
        self.made.begin_epoch(epoch, training.labels["y"], torch.from_numpy(training.rows))

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the mean loss of each task, those of single modalities weighted; then the labels of the rows move."""
        y = batch.labels["y"]
        losses = {"fusion": (outputs.prediction.float() - y).abs().mean()}
        losses |= self.made.losses(outputs.unimodal, batch.rows, y)
        self.made.update(batch.rows, outputs.features)
        return losses

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Add them up."""
        return torch.stack(list(losses.values())).sum()
