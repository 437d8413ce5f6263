"""Rules that look at a step's losses or at nothing: random weights, the geometric mean, weights that are trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dmmsa_cli.objectives.weighting.base import StepWeighting, Task, TrainedOptions, WeightingOptions

LEAST_LOSS = 1e-8  # of which there is a logarithm


@dataclass(frozen=True)
class RlwOptions(WeightingOptions):
    """Options of RLW."""


class RandomWeights(StepWeighting):
    """Random Loss Weighting, RLW (Lin et al., TMLR 2022): the softmax of N(0, 1), drawn anew at every step.

    The control: a rule that does not beat it weighs no better than chance. It draws from torch's generator, whose state
    a checkpoint holds. The weights' own sum is 1.
    """

    title = "RLW"
    Options = RlwOptions

    def weigh(self, losses: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Draw the step's weights; on the CPU, so that a run draws the same on every device."""
        return torch.softmax(torch.randn(len(self.tasks)), dim=0).to(losses.device)


@dataclass(frozen=True)
class GlsOptions(WeightingOptions):
    """Options of GLS."""


class GeometricMean(StepWeighting):
    """Geometric Loss Strategy, GLS (Chennupati et al., CVPR workshops 2019): L = (prod_k L_k)^(1/K).

    Its gradient is that of sum_k w_k L_k with w_k = L / (K L_k): the smaller a loss, the more it weighs.
    """

    title = "GLS"
    Options = GlsOptions

    def weigh(self, losses: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Return the derivative of the geometric mean by each loss."""
        losses = losses.detach().clamp(min=LEAST_LOSS)
        return losses.log().mean().exp() / (len(losses) * losses)


@dataclass(frozen=True)
class UwOptions(TrainedOptions):
    """Options of UW."""


class UncertaintyWeights(StepWeighting):
    """Uncertainty weighting, UW (Kendall et al., CVPR 2018, equations 7 and 10).

        L = sum_k c_k L_k / s_k^2 + log s_k,   c_k = 1/2 for a distance of scores, 1 for a cross-entropy

    so w_k = c_k / s_k^2. Trained is eta_k = log s_k^2, which begins at 0. With a fixed sum the network sees the scaled
    w, while eta is trained on the equation as it stands.

    Args:
        tasks: the K weighted tasks, and whether each is a cross-entropy.
        options: the rate of eta.
    """

    title = "UW"
    Options = UwOptions
    factors: Tensor

    def __init__(self, tasks: Sequence[Task], options: UwOptions) -> None:
        super().__init__(tasks, options)
        self.log_variances = nn.Parameter(torch.zeros(len(tasks)))
        factors = torch.tensor([1.0 if task.classes else 0.5 for task in tasks])
        self.register_buffer("factors", factors, persistent=False)

    def weigh(self, losses: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Return c / s^2."""
        return self.factors * torch.exp(-self.log_variances)

    def own_loss(self, losses: Tensor) -> Tensor:
        """Return the paper's sum, of which eta has the gradient."""
        return (self.factors * torch.exp(-self.log_variances) * losses + 0.5 * self.log_variances).sum()


@dataclass(frozen=True)
class ImtlLOptions(TrainedOptions):
    """Options of IMTL-L."""


class ImtlL(StepWeighting):
    """IMTL-L, the loss balance of Impartial Multi-Task Learning (Liu et al., ICLR 2021, equation 9).

        L = sum_k exp(s_k) L_k - s_k

    so w_k = exp(s_k), which makes every exp(s_k) L_k tend to 1. s begins at 0. With a fixed sum the network sees the
    scaled w, while s is trained on the equation as it stands.

    Args:
        tasks: the K weighted tasks.
        options: the rate of s.
    """

    title = "IMTL-L"
    Options = ImtlLOptions

    def __init__(self, tasks: Sequence[Task], options: ImtlLOptions) -> None:
        super().__init__(tasks, options)
        self.log_scales = nn.Parameter(torch.zeros(len(tasks)))

    def weigh(self, losses: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Return exp(s)."""
        return torch.exp(self.log_scales)

    def own_loss(self, losses: Tensor) -> Tensor:
        """Return the paper's sum, of which s has the gradient."""
        return (torch.exp(self.log_scales) * losses - self.log_scales).sum()
