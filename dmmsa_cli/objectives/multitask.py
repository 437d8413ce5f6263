"""The score, and tasks beside it that any model can learn: polarity and intensity (Tian et al., 2018), emotions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.views import Batch
from dmmsa_cli.models.base import Outputs
from dmmsa_cli.objectives.auxiliary import AUXILIARY, Enabled
from dmmsa_cli.objectives.emotions import EmotionOptions
from dmmsa_cli.objectives.regression import RegressionOptions, distance
from dmmsa_cli.objectives.weighted import Weighted, WeightedObjective, WeightedTasks, check_named
from dmmsa_cli.objectives.weighting.base import Task
from dmmsa_cli.objectives.weighting.by_epoch import FixedOptions
from dmmsa_cli.recipe import Choice, choice

MAIN = "msr"
HALF = Choice("fixed", FixedOptions(weights={"polarity": 0.5, "intensity": 0.5}))


@dataclass(frozen=True)
class MultitaskOptions(RegressionOptions):
    """Options of the score with auxiliary tasks."""

    loss: Literal["mse", "l1", "smooth_l1"] = "l1"
    """Of the score: absolute error, squared error, or smooth L1 with `beta`."""
    polarity: Enabled = Enabled()
    """Whether y is at least 0."""
    intensity: Enabled = Enabled()
    """|y|."""
    emotions: EmotionOptions = EmotionOptions()
    """Which emotions are present (MMoLRE, equation 6), where the clips are labelled with some."""
    weighting: Choice = choice("weightings", HALF)
    """The rule that weighs the tasks (`weighting/`); by default Tian et al.'s weights: 1/2 each, the score has 1."""
    weighted: Weighted = "auxiliary"
    """Which tasks it weighs: all but the score, which keeps 1; or all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_named(self.weighting, [*([MAIN] if self.weighted == "all" else []), *AUXILIARY])


class Multitask(WeightedObjective):
    """L = L_MSR + sum_k w_k L_k over the auxiliary tasks k that are enabled (`auxiliary.py`).

    - MSR: the distance between the prediction and y.
    - w: of a rule, fixed by default; with `weighted: all` it weighs MSR too.

    With emotions alone, which weigh 1, it is MMoLRE's objective (its equations 5 and 6).

    Args:
        capabilities: which modalities and labels there are.
        options: which tasks, and the rule.
    """

    Options = MultitaskOptions

    def __init__(self, capabilities: Capabilities, options: MultitaskOptions) -> None:
        super().__init__(capabilities, options)
        main = [Task(MAIN)] if options.weighted == "all" else []
        self.weighting = WeightedTasks([*main, *self.auxiliary.tasks], options.weighting)
        self.heads = self.auxiliary.heads

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the unweighted mean loss of each task."""
        self.weighting.look_at(outputs)
        score = distance(outputs.prediction, batch.labels["y"], self.options)
        return {MAIN: score} | self.auxiliary.losses(outputs, batch.labels)
