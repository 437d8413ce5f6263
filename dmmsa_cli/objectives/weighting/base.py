"""What an objective asks of a rule that weighs its tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dmmsa_cli.ranges import Range, Ranges

RATE = 0.025  # of trained weights: GradNorm's, and no other paper has one of its own


@dataclass(frozen=True)
class Task:
    """A task that is weighed."""

    name: str
    classes: bool = False
    """Whether its loss is a cross-entropy, the negative logarithm of a probability, and not a distance of scores."""


@dataclass(frozen=True)
class WeightingOptions:
    """What every rule can be told."""

    sum: float | None = 1.0
    """What the weights add up to: GDWG's 1, so that rules can be compared; null keeps the rule's own scale."""

    def __post_init__(self) -> None:
        if self.sum is not None and not self.sum > 0:
            raise ValueError(f"sum: {self.sum} is not above 0; null keeps the rule's own scale")

    @property
    def named(self) -> tuple[str, ...]:
        """Tasks that it names."""
        return ()


@dataclass(frozen=True)
class TrainedOptions(WeightingOptions):
    """What every rule can be told whose weights the optimiser trains."""

    learning_rate: float = RATE
    """Of the weights, at the end of the warm-up; it follows the schedule's course, without decay of the weights."""

    RANGES: ClassVar[Ranges] = {"learning_rate": Range(0.001, 0.1, log=True)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate: {self.learning_rate} is not above 0")


class Weighting(nn.Module, ABC):
    """A rule that gives each of K tasks a weight.

    The network is trained on sum_k w_k L_k with w detached: for every rule here that is the very gradient of what its
    paper minimises, and where `sum` is fixed, w is scaled to it first. What a rule trains itself has the gradient of
    the rule's own loss, which looks at detached losses and knows no `sum`.

    Args:
        tasks: the K tasks; at least one.
        options: an instance of the class's `Options`.
    """

    title: ClassVar[str]
    """What papers call it."""

    Options: ClassVar[type[WeightingOptions]]
    """The frozen dataclass of its options, which a recipe may set."""

    needs: ClassVar[frozenset[str]] = frozenset()
    """What it wants of a model, by the names of `gives`."""

    changes: ClassVar[bool] = True
    """Whether the weights change during training."""

    def __init__(self, tasks: Sequence[Task], options: Any) -> None:  # noqa: ANN401  (each has a type of its own)
        super().__init__()
        self.tasks = tuple(tasks)
        self.options = options

    def forward(self, losses: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Return what is minimised: sum_k w_k L_k, and what trains the rule itself.

        Args:
            losses: (K,), in the order of the tasks.
            features: those that all tasks pass through; empty unless the rule needs them.
        """
        weights = self.weights_of(losses, features)
        own = self.own_loss(losses.detach())
        weighted: Tensor = (losses * weights).sum()
        return weighted if own is None else weighted + own

    @abstractmethod
    def weights_of(self, losses: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Return the weights of a step, (K,), without gradient, scaled to `sum`."""

    def own_loss(self, losses: Tensor) -> Tensor | None:
        """Return what trains the rule's parameters, a scalar; none where it has none."""
        return None

    @abstractmethod
    def current(self) -> Tensor:
        """Return the weights for the log, (K,): those in force, or the mean over the epoch's steps."""

    def epoch_end(self, losses: Tensor) -> None:  # noqa: B027  (most have nothing to remember)
        """Take an epoch's mean losses, (K,)."""

    def check(self) -> None:  # noqa: B027  (most need nothing that may be missing)
        """See that what it needs is installed.

        Raises:
            InvalidRecipe: it is not.
        """

    def scaled(self, weights: Tensor, own_sum: float | None = None) -> Tensor:
        """Scale weights, (K,), to `sum`; where all are 0, they stay so.

        Args:
            weights: at the rule's own scale.
            own_sum: what they add up to but for rounding, where that is known: what is equal stays equal bit by bit.
        """
        wanted: float | None = self.options.sum
        if wanted is None:
            return weights
        if own_sum is not None:
            return weights * (wanted / own_sum)
        total = weights.sum()
        return torch.where(total > 0, weights * (wanted / total), weights)


class EpochWeighting(Weighting):
    """A rule whose weights stay for an epoch; they are a buffer, so a checkpoint holds them."""

    weights: Tensor

    def __init__(self, tasks: Sequence[Task], options: Any) -> None:  # noqa: ANN401
        super().__init__(tasks, options)
        self.register_buffer("weights", self.first_weights())

    @abstractmethod
    def first_weights(self) -> Tensor:
        """Return the weights of the first epoch, (K,)."""

    def weights_of(self, losses: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Return the weights in force."""
        return self.weights

    def current(self) -> Tensor:
        """Return the weights in force."""
        return self.weights


class StepWeighting(Weighting):
    """A rule whose weights change at every step; the log has their mean over the epoch."""

    sums: Tensor
    steps: Tensor

    def __init__(self, tasks: Sequence[Task], options: Any) -> None:  # noqa: ANN401
        super().__init__(tasks, options)
        self.register_buffer("sums", torch.zeros(len(tasks)))
        self.register_buffer("steps", torch.zeros(()))

    @abstractmethod
    def weigh(self, losses: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Return the weights of a step at the rule's own scale, (K,)."""

    def weights_of(self, losses: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Return the weights of a step, and take note of them."""
        weights = self.scaled(self.weigh(losses, features).detach())
        self.sums += weights
        self.steps += 1
        return weights

    def current(self) -> Tensor:
        """Return the mean over the epoch's steps so far; before the first, NaN."""
        return self.sums / self.steps

    def epoch_end(self, losses: Tensor) -> None:
        """Begin the mean anew."""
        self.sums.zero_()
        self.steps.zero_()


def by_name(tasks: Sequence[Task], values: Mapping[str, float]) -> Tensor:
    """Return the values of some tasks, (K,) in float32; what is not named has 1."""
    return torch.tensor([values.get(task.name, 1.0) for task in tasks], dtype=torch.float32)
