"""Weights of the tasks of a multi-task objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class GlobalDynamicWeights(nn.Module):
    """Global Dynamic Weight Generation, GDWG (DMMSA, equations 13 and 14); a stage is one epoch.

        w_k = L_k(e - 1) / L_k(1);   lambda = softmax(w / tau)

    L_k(e) is task k's mean unweighted training loss over epoch e. Epoch 1 has equal weights, and so has epoch 2, since
    w_k(1) = 1: the first unequal weights are epoch 3's. L_k(1) = 0 gives w_k = 1. The weights carry no gradient; the
    history they come from is a buffer, so a checkpoint holds it.

    Args:
        tasks: names of the K weighted tasks; one task always weighs 1.
        temperature: tau; smaller values let the weights differ more.
        dynamic: False keeps 1/K throughout (w/o GDWG).
    """

    first: Tensor
    weights: Tensor

    def __init__(self, tasks: Sequence[str], *, temperature: float, dynamic: bool = True) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.temperature = temperature
        self.dynamic = dynamic
        self.register_buffer("first", torch.full((len(tasks),), torch.nan))  # L_k(1), not yet known
        self.register_buffer("weights", torch.full((len(tasks),), 1.0 / max(1, len(tasks))))

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return sum_k lambda_k L_k, a scalar."""
        return (torch.stack([losses[task] for task in self.tasks]) * self.weights).sum()

    def epoch_end(self, losses: Mapping[str, float]) -> None:
        """Take the epoch's mean losses and set the weights of the next epoch."""
        if not (self.dynamic and self.tasks):
            return
        last = torch.tensor([losses[task] for task in self.tasks], device=self.first.device)
        if self.first.isnan().any():
            self.first.copy_(last)
        decay = torch.where(self.first == 0, 1.0, last / self.first)
        self.weights.copy_(torch.softmax(decay / self.temperature, dim=0))

    def current(self) -> dict[str, float]:
        """The weights in force, by task."""
        return dict(zip(self.tasks, self.weights.tolist(), strict=True))
