"""DMMSA's objective: four tasks at once (Liang et al., Applied Sciences 2025, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from dmmsa_cli.data.classes import class_edges
from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.views import Batch
from dmmsa_cli.layers.heads import Head
from dmmsa_cli.models.base import DECOMPOSITION, Outputs
from dmmsa_cli.objectives.auxiliary import Enabled, enabled
from dmmsa_cli.objectives.contrastive import multi_nt_xent
from dmmsa_cli.objectives.emotions import EmotionOptions
from dmmsa_cli.objectives.unimodal import unimodal_targets
from dmmsa_cli.objectives.weighted import Weighted, WeightedObjective, WeightedTasks, check_named
from dmmsa_cli.objectives.weighting.base import Task
from dmmsa_cli.objectives.weighting.gdwg import GdwgOptions
from dmmsa_cli.ranges import Choices, Range, Ranges
from dmmsa_cli.recipe import Choice, choice


@dataclass(frozen=True)
class ClassificationOptions:
    """Coarse classification, MSC (equations 8 and 9)."""

    enabled: bool = True
    """False: without MSC."""
    classes: int | tuple[int, ...] = 3
    """C, one of 2, 3, 5, 7 (7 not with CH-SIMS's metrics), or a list whose losses are averaged."""

    RANGES: ClassVar[Ranges] = {"classes": Choices((2, 3, 5))}
    """7 is left out, which not every dataset has."""

    def __post_init__(self) -> None:
        wrong = [c for c in self.counts if c not in (2, 3, 5, 7)]
        if wrong or not self.counts or len(set(self.counts)) < len(self.counts):
            raise ValueError(f"classes: {list(self.counts)} is not a choice of 2, 3, 5, 7")

    @property
    def counts(self) -> tuple[int, ...]:
        """Every C."""
        return (self.classes,) if isinstance(self.classes, int) else self.classes


@dataclass(frozen=True)
class UnimodalOptions:
    """Unimodal regression (equation 10)."""

    enabled: bool = True
    """False: without the unimodal task."""
    each: bool = False
    """Each feature's loss is a task of its own, with a weight of its own, instead of their mean."""


@dataclass(frozen=True)
class ContrastOptions:
    """Contrast between the features of a clip (equations 3, 11, 12)."""

    enabled: bool = True
    """False: without contrastive learning."""
    temperature: float = 0.5
    """tau_m; the papers give none, 0.5 is ConFEDE's."""

    RANGES: ClassVar[Ranges] = {"temperature": Range(0.05, 1.0, log=True)}

    def __post_init__(self) -> None:
        _positive(temperature=self.temperature)


@dataclass(frozen=True)
class DmmsaOptions:
    """Options of DMMSA's objective."""

    beta: float = 1.0
    """phi of the smooth L1 losses; as printed, equation 7 is continuous only for 1."""
    msc: ClassificationOptions = field(default_factory=ClassificationOptions)
    uni: UnimodalOptions = field(default_factory=UnimodalOptions)
    cl: ContrastOptions = field(default_factory=ContrastOptions)
    polarity: Enabled = Enabled(False)
    """Whether y is at least 0, as a further weighted task (`auxiliary.py`); not in the paper."""
    intensity: Enabled = Enabled(False)
    """|y|, as a further weighted task; not in the paper."""
    emotions: EmotionOptions = EmotionOptions()
    """Which emotions are present, as a further weighted task where clips are labelled with some; not in the paper."""
    weighting: Choice = choice("weightings", Choice("gdwg", GdwgOptions()))
    """The rule that weighs the tasks (`weighting/`): GDWG, or one of its rivals."""
    weighted: Weighted = "auxiliary"
    """Which tasks it weighs: all but MSR and MSC, which keep 1 as in equation 5; or all."""

    RENAMED: ClassVar[Mapping[str, str]] = {
        "gdwg": "it is `weighting: {name: gdwg, temperature: 1}` now, and without GDWG `weighting: {name: equal}`"
    }

    RANGES: ClassVar[Ranges] = {"beta": Range(0.1, 2.0, log=True)}

    def __post_init__(self) -> None:
        _positive(beta=self.beta)
        check_named(self.weighting, self._possible())

    def _possible(self) -> list[str]:
        """Return the tasks that the rule may be given, on one dataset or another."""
        main = ["msr", *(["msc"] if self.msc.enabled else [])] if self.weighted == "all" else []
        each = [f"uni_{m}_{kind}" for kind in "sd" for m in "TVA"]
        unimodal = (each if self.uni.each else ["uni"]) if self.uni.enabled else []
        return [*main, *unimodal, *(["cl"] if self.cl.enabled else []), *enabled(self)]


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name}: {value} is not above 0")


class Dmmsa(WeightedObjective):
    r"""L = L_MSR + L_MSC + lambda_Uni L_Uni + lambda_CL L_CL (equation 5).

    - MSR: smooth L1 between the prediction and y (6, 7; torch's definition is meant).
    - MSC: cross-entropy over C classes of y (8, 9), averaged over the C asked for.
    - Uni: the mean smooth L1 of one shared head over the features (10): similarity features predict y, dissimilarity
      features their modality's own label, or y where a dataset has none. With `uni.each`, each feature's is a task.
    - CL: Multi NT-Xent (3) with text as the anchor: P = (T_s,V_s), (T_s,A_s); N = (T_s,T_d), (T_s,V_d), (T_s,A_d)
      (11, 12). Without text, or with text alone, P or N is empty and the task is inactive.
    - lambda: GDWG (13, 14), or another rule, over the active ones of Uni and CL, and of polarity, intensity and
      emotions, which the paper does not have; with `weighted: all` over MSR and MSC too.

    Args:
        capabilities: which modalities and labels there are.
        options: which tasks, with which parameters.

    Raises:
        InvalidRecipe: the dataset's metric set has no such number of classes.
    """

    Options = DmmsaOptions

    @classmethod
    def needs(cls, options: DmmsaOptions) -> frozenset[str]:
        """Return the features that the unimodal task and contrast look at, and what the rule of the weights wants."""
        features = {DECOMPOSITION} if options.uni.enabled or options.cl.enabled else set()
        return super().needs(options) | features

    def __init__(self, capabilities: Capabilities, options: DmmsaOptions) -> None:
        super().__init__(capabilities, options)
        self.modalities = [m.upper() for m in capabilities.modalities]
        others = [m for m in self.modalities if m != "T"]
        anchored = bool(others) and "T" in self.modalities
        self.positives = [("T_s", f"{m}_s") for m in others] if anchored else []
        self.negatives = [("T_s", f"{m}_d") for m in self.modalities] if anchored else []
        self.contrasts = options.cl.enabled and anchored
        self.counts = options.msc.counts if options.msc.enabled else ()
        for c in self.counts:
            edges = class_edges(c, capabilities.metrics, capabilities.score_range)
            self.register_buffer(f"edges_{c}", torch.from_numpy(edges), persistent=False)
        self.weighting = WeightedTasks(self._weighted(), options.weighting)
        self.heads = {f"msc_{c}": Head(c, "fusion") for c in self.counts} | self.auxiliary.heads
        if options.uni.enabled:
            self.heads |= {"unimodal": Head(1, "feature")}

    def _weighted(self) -> list[Task]:
        """Return the tasks that the rule weighs."""
        options = self.options
        main = [Task("msr"), *([Task("msc", classes=True)] if self.counts else [])]
        each = [Task(f"uni_{m}_{kind}") for kind in "sd" for m in self.modalities]
        unimodal = (each if options.uni.each else [Task("uni")]) if options.uni.enabled else []
        contrast = [Task("cl", classes=True)] if self.contrasts else []  # over pairs, of which some are the right ones
        return [*(main if options.weighted == "all" else []), *unimodal, *contrast, *self.auxiliary.tasks]

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the unweighted mean loss of each active task."""
        labels = batch.labels
        losses = {"msr": self._smooth_l1(outputs.prediction, labels["y"])}
        if self.counts:
            losses["msc"] = self._classification(outputs, labels["y"])
        if self.options.uni.enabled:
            losses |= self._unimodal(outputs, labels)
        if self.contrasts:
            losses["cl"] = multi_nt_xent(
                outputs.features, self.positives, self.negatives, temperature=self.options.cl.temperature
            ).mean()
        self.weighting.look_at(outputs)
        return losses | self.auxiliary.losses(outputs, labels)

    def remarks(self) -> list[str]:
        """Say it where contrast was asked for and can't be had."""
        if self.options.cl.enabled and not self.contrasts:
            first = "Contrastive learning is inactive: it needs text and at least one other modality."
            return [first, *super().remarks()]
        return super().remarks()

    def _classification(self, outputs: Outputs, y: Tensor) -> Tensor:
        losses = [
            F.cross_entropy(outputs.heads[f"msc_{c}"].float(), torch.bucketize(y, self.get_buffer(f"edges_{c}")))
            for c in self.counts
        ]
        return torch.stack(losses).mean()

    def _unimodal(self, outputs: Outputs, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Equation 10, or each of the losses that it is the mean of."""
        predicted = outputs.heads["unimodal"].squeeze(-1)  # (B, features)
        targets = unimodal_targets(outputs.features, labels)
        if not self.options.uni.each:
            return {"uni": self._smooth_l1(predicted, targets)}
        columns = zip(outputs.features, predicted.unbind(1), targets.unbind(1), strict=True)
        return {f"uni_{name}": self._smooth_l1(column, target) for name, column, target in columns}

    def _smooth_l1(self, prediction: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(prediction.float(), target, beta=self.options.beta)
