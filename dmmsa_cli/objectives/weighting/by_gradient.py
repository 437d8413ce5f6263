"""Rules that look at each task's gradient at the features that all of them pass through.

With features Z fixed, no loss changes with anything before them (`SHARED`, which a model declares). So the gradient of
a weighted sum at Z tells what every encoder gets, and K small backward passes, from the losses to Z alone, stand in for
K whole ones: MGDA-UB (Sener and Koltun, NeurIPS 2018), LibMTL's `rep_grad`. Given the weights, the network gets the
ordinary gradient of the weighted sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.models.base import SHARED
from dmmsa_cli.objectives.weighting.base import StepWeighting, Task, TrainedOptions, WeightingOptions
from dmmsa_cli.ranges import Range, Ranges


def jacobian(losses: Tensor, features: Sequence[Tensor]) -> Tensor:
    """Return each task's gradient at all features side by side, (K, B x widths) in float32; the graph stays."""
    rows = []
    for loss in losses:
        found = torch.autograd.grad(loss, features, retain_graph=True, allow_unused=True)
        parts = [torch.zeros_like(x) if g is None else g for g, x in zip(found, features, strict=True)]
        rows.append(torch.cat([part.float().flatten() for part in parts]))
    return torch.stack(rows)


def gramian(losses: Tensor, features: Sequence[Tensor]) -> Tensor:
    """Return the inner products of the tasks' gradients, (K, K) on the CPU in float64, of trace 1.

    Every rule that takes it is blind to its scale, but not so what keeps their solvers from dividing by zero: the
    gradient of a batch's mean at one clip's features is small, its square smaller than their epsilon.
    """
    rows = jacobian(losses, features)
    products = (rows @ rows.T).cpu().double()
    return products / products.trace().clamp(min=torch.finfo(torch.float64).tiny)


# --- GradNorm ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GradnormOptions(TrainedOptions):
    """Options of GradNorm."""

    alpha: float = 1.5
    """How strongly tasks that learn slowly are pulled along; 1.5 in the paper (NYUv2)."""

    RANGES: ClassVar[Ranges] = {"alpha": Range(0.0, 3.0)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha < 0:
            raise ValueError(f"alpha: {self.alpha} is below 0")


class GradNorm(StepWeighting):
    """GradNorm (Chen et al., ICML 2018, equations 1 and 2, algorithm 1).

        G_k = || w_k grad L_k ||;   r_k = (L_k / L_k(0)) / mean_j (L_j / L_j(0))
        L_grad = sum_k | G_k - mean_j G_j r_k^alpha |,   the second term held fixed

    L_k(0) is the loss of the first step. The weights add up to K: the paper scales them back to that after every step;
    here they are K softmax(s), which also keeps them above 0, and s, from 0 on, is what L_grad trains. With a fixed sum
    the network sees the scaled w, while L_grad is as it stands.

    Args:
        tasks: the K weighted tasks.
        options: alpha, and the rate of s.
    """

    title = "GradNorm"
    Options = GradnormOptions
    needs = frozenset({SHARED})
    first: Tensor

    def __init__(self, tasks: Sequence[Task], options: GradnormOptions) -> None:
        super().__init__(tasks, options)
        self.logits = nn.Parameter(torch.zeros(len(tasks)))
        self.register_buffer("first", torch.full((len(tasks),), torch.nan))  # L_k(0), not yet known
        self._norms: Tensor | None = None

    def weigh(self, losses: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Return K softmax(s), and keep the norms of the gradients for `own_loss`."""
        if self.first.isnan().any():
            self.first.copy_(losses.detach())
        self._norms = jacobian(losses, features).norm(dim=1)
        return self._weights()

    def own_loss(self, losses: Tensor) -> Tensor:
        """Return L_grad, of which s has the gradient."""
        assert self._norms is not None, "weights are asked for first"
        alpha: float = self.options.alpha
        norms, self._norms = self._weights() * self._norms, None
        pace = torch.where(self.first == 0, 1.0, losses / self.first)
        target = norms.mean() * (pace / pace.mean()) ** alpha
        return (norms - target.detach()).abs().sum()

    def _weights(self) -> Tensor:
        shares: Tensor = torch.softmax(self.logits, dim=0)
        return len(self.tasks) * shares


# --- rules of torchjd -------------------------------------------------------------------------------------------------

INSTALL = "pip install 'dmmsa[weighting]', which brings torchjd; or choose another --set objective.weighting.name."


class Solved(StepWeighting):
    """A rule whose weights torchjd finds from the Gramian of the tasks' gradients."""

    needs = frozenset({SHARED})
    solver: ClassVar[str]
    """Name of its class in `torchjd.aggregation`."""

    def __init__(self, tasks: Sequence[Task], options: WeightingOptions) -> None:
        super().__init__(tasks, options)
        self._solve: Any = None

    def weigh(self, losses: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Return what the solver finds."""
        if self._solve is None:
            self._solve = self._made()
        products = gramian(losses, features)
        if not products.isfinite().all():  # training has diverged, which the loop tells; a solver would only break
            return torch.full_like(losses, torch.nan)
        weights: Tensor = self._solve(products)
        return weights.to(losses.device, torch.float32)

    def check(self) -> None:
        """See that torchjd is installed, with the solver that the rule needs.

        Raises:
            InvalidRecipe: it is not.
        """
        self._made()

    def _made(self) -> Any:  # noqa: ANN401  (torchjd may not be there, and so its types)
        try:
            return getattr(import_module("torchjd.aggregation"), self.solver)(**self._arguments())
        except (ImportError, AttributeError) as error:
            raise InvalidRecipe(
                f"The weighting {self.title} needs a package that is not here: {error}", INSTALL
            ) from error

    def _arguments(self) -> dict[str, float]:
        return {}


@dataclass(frozen=True)
class UpgradOptions(WeightingOptions):
    """Options of UPGrad."""


class UpGrad(Solved):
    """UPGrad (Quinton and Rey, Jacobian Descent, 2024, equation 4): the mean of the gradients, each projected first.

    Each task's gradient is projected onto the cone of directions that no task's gradient opposes. Without conflict all
    weights are 1/K.
    """

    title = "UPGrad"
    Options = UpgradOptions
    solver = "UPGradWeighting"


@dataclass(frozen=True)
class PcgradOptions(WeightingOptions):
    """Options of PCGrad."""


class PcGrad(Solved):
    """PCGrad, gradient surgery (Yu et al., NeurIPS 2020, algorithm 1).

    From each task's gradient goes what opposes another's, one by one in an order drawn from torch's generator, then all
    are added up. Without conflict all weights are 1.
    """

    title = "PCGrad"
    Options = PcgradOptions
    solver = "PCGradWeighting"


@dataclass(frozen=True)
class MgdaOptions(WeightingOptions):
    """Options of MGDA."""


class Mgda(Solved):
    """MGDA (Sener and Koltun, NeurIPS 2018, equation 3): the shortest vector in the convex hull of the gradients."""

    title = "MGDA"
    Options = MgdaOptions
    solver = "MGDAWeighting"


@dataclass(frozen=True)
class CagradOptions(WeightingOptions):
    """Options of CAGrad."""

    c: float = 0.5
    """How far from the mean gradient, as a share of its length, a step may go; the paper has 0.2 to 0.5."""

    RANGES: ClassVar[Ranges] = {"c": Range(0.1, 0.9)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.c < 0:
            raise ValueError(f"c: {self.c} is below 0")


class CaGrad(Solved):
    """CAGrad (Liu et al., NeurIPS 2021, algorithm 1): near the mean gradient, what helps the worst task most.

    With g_0 the mean and w the point of the simplex where g_w . g_0 + c ||g_0|| ||g_w|| is least, weights are
    1/K + c ||g_0|| / ||g_w|| w. Where g_w vanishes no direction helps all tasks, and every weight is 0.
    """

    title = "CAGrad"
    Options = CagradOptions
    solver = "CAGradWeighting"

    def _arguments(self) -> dict[str, float]:
        return {"c": self.options.c}
