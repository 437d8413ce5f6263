"""The tasks of an objective: those that always weigh 1, and those that a rule weighs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.models.base import Outputs
from dmmsa_cli.objectives.auxiliary import AuxiliaryTasks, labels_of
from dmmsa_cli.objectives.base import Objective
from dmmsa_cli.objectives.weighting import WEIGHTINGS
from dmmsa_cli.objectives.weighting.base import Task
from dmmsa_cli.recipe import Choice

Weighted = Literal["auxiliary", "all"]
"""Which tasks a rule weighs: those beside the main ones, which keep 1, as in DMMSA; or all."""


class WeightedTasks(nn.Module):
    """L = sum of the tasks that weigh 1 + what a rule makes of the others.

    Args:
        tasks: those that the rule weighs, K; with none there is nothing to weigh.
        chosen: the rule and its options.
    """

    def __init__(self, tasks: Sequence[Task], chosen: Choice) -> None:
        super().__init__()
        self.names = tuple(task.name for task in tasks)
        self.rule = WEIGHTINGS[chosen.name](tasks, chosen.options) if tasks else None
        self._features: tuple[Tensor, ...] = ()

    def look_at(self, outputs: Outputs) -> None:
        """Keep a step's features until its total is taken, where the rule needs them."""
        if self.rule is not None and self.rule.needs:
            self._features = tuple(outputs.features.values())

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return what is minimised, a scalar; the step's features are let go of."""
        parts = [loss for task, loss in losses.items() if task not in self.names]
        features, self._features = self._features, ()
        if self.rule is not None:
            parts.append(self.rule(torch.stack([losses[task] for task in self.names]), features))
        return reduce(torch.add, parts)

    def current(self) -> dict[str, float]:
        """Return the weights for the log, by task."""
        return {} if self.rule is None else dict(zip(self.names, self.rule.current().tolist(), strict=True))

    def epoch_end(self, losses: Mapping[str, float]) -> None:
        """Let the rule take note of an epoch's mean losses."""
        if self.rule is not None:
            device = next(self.rule.buffers()).device
            self.rule.epoch_end(torch.tensor([losses[task] for task in self.names], device=device))

    @property
    def learning_rate(self) -> float:
        """Peak rate of the rule's parameters, where it has any."""
        return float(getattr(self.rule and self.rule.options, "learning_rate", 0.0))

    def check(self) -> None:
        """See that what the rule needs is installed.

        Raises:
            InvalidRecipe: it is not.
        """
        if self.rule is not None:
            self.rule.check()


class WeightedObjective(Objective):
    """An objective with a rule that weighs some of its tasks, auxiliary ones among them.

    Its options have `weighting`, and a field for each auxiliary task that it can have (`auxiliary.py`).

    Args:
        capabilities: which modalities and labels there are.
        options: an instance of the class's `Options`.
    """

    weighting: WeightedTasks

    @classmethod
    def needs(cls, options: Any) -> frozenset[str]:  # noqa: ANN401  (each has a type of its own)
        """Return what the rule wants of a model, by the names of `gives`."""
        return WEIGHTINGS[options.weighting.name].needs

    @classmethod
    def labels(cls, options: Any) -> frozenset[str]:  # noqa: ANN401
        """Return what its auxiliary tasks learn beside the scores."""
        return labels_of(options)

    def __init__(self, capabilities: Capabilities, options: Any) -> None:  # noqa: ANN401
        super().__init__(capabilities, options)
        self.auxiliary = AuxiliaryTasks(options, capabilities)

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Add up the tasks under their weights."""
        return self.weighting.total(losses)

    def weights(self) -> dict[str, float]:
        """Return the weight of each weighted task."""
        return self.weighting.current()

    def epoch_end(self, losses: Mapping[str, float]) -> None:
        """Let the rule set the next epoch's weights."""
        self.weighting.epoch_end(losses)

    @property
    def learning_rate(self) -> float:
        """Of weights that are trained."""
        return self.weighting.learning_rate

    def check(self) -> None:
        """See that what the rule needs is installed."""
        self.weighting.check()

    def remarks(self) -> list[str]:
        """Say which tasks are wanted and can't be had."""
        return self.auxiliary.remarks()


def check_named(chosen: Choice, tasks: Sequence[str]) -> None:
    """See that a rule names only tasks that it may be given.

    Raises:
        ValueError: it names another.
    """
    unknown = [name for name in chosen.options.named if name not in tasks]
    if unknown:
        raise ValueError(f"weighting.weights: {unknown[0]} is none of the weighted tasks, {', '.join(tasks)}")
