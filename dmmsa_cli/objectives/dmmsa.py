"""DMMSA's objective: four tasks at once (Liang et al., Applied Sciences 2025, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from dmmsa_cli.data.classes import class_edges
from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.views import Batch
from dmmsa_cli.layers.heads import Head
from dmmsa_cli.models.base import DECOMPOSITION, Outputs
from dmmsa_cli.objectives.base import Objective
from dmmsa_cli.objectives.contrastive import multi_nt_xent
from dmmsa_cli.objectives.task_weighting import GlobalDynamicWeights
from dmmsa_cli.objectives.unimodal import unimodal_targets


@dataclass(frozen=True)
class ClassificationOptions:
    """Coarse classification, MSC (equations 8 and 9)."""

    enabled: bool = True
    """False: without MSC."""
    classes: int | tuple[int, ...] = 3
    """C, one of 2, 3, 5, 7 (7 not with CH-SIMS's metrics), or a list whose losses are averaged."""

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


@dataclass(frozen=True)
class ContrastOptions:
    """Contrast between the features of a clip (equations 3, 11, 12)."""

    enabled: bool = True
    """False: without contrastive learning."""
    temperature: float = 0.5
    """tau_m; the papers give none, 0.5 is ConFEDE's."""

    def __post_init__(self) -> None:
        _positive(temperature=self.temperature)


@dataclass(frozen=True)
class WeightingOptions:
    """Global Dynamic Weight Generation (equations 13 and 14)."""

    enabled: bool = True
    """False: every weighted task keeps 1/K."""
    temperature: float = 1.0
    """tau; the papers give none."""

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
    gdwg: WeightingOptions = field(default_factory=WeightingOptions)

    def __post_init__(self) -> None:
        _positive(beta=self.beta)


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name}: {value} is not above 0")


class Dmmsa(Objective):
    r"""L = L_MSR + L_MSC + lambda_Uni L_Uni + lambda_CL L_CL (equation 5).

    - MSR: smooth L1 between the prediction and y (6, 7; torch's definition is meant).
    - MSC: cross-entropy over C classes of y (8, 9), averaged over the C asked for.
    - Uni: the mean smooth L1 of one shared head over the features (10): similarity features predict y, dissimilarity
      features their modality's own label, or y where a dataset has none.
    - CL: Multi NT-Xent (3) with text as the anchor: P = (T_s,V_s), (T_s,A_s); N = (T_s,T_d), (T_s,V_d), (T_s,A_d)
      (11, 12). Without text, or with text alone, P or N is empty and the task is inactive.
    - lambda: GDWG over the active ones of Uni and CL (13, 14).

    Args:
        capabilities: which modalities and labels there are.
        options: which tasks, with which parameters.

    Raises:
        InvalidRecipe: the dataset's metric set has no such number of classes.
    """

    Options = DmmsaOptions

    @classmethod
    def needs(cls, options: DmmsaOptions) -> frozenset[str]:
        """Return the features that the unimodal task and contrast look at."""
        return frozenset({DECOMPOSITION}) if options.uni.enabled or options.cl.enabled else frozenset()

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
        weighted = ["uni"] * options.uni.enabled + ["cl"] * self.contrasts
        self.gdwg = GlobalDynamicWeights(weighted, temperature=options.gdwg.temperature, dynamic=options.gdwg.enabled)
        self.heads = {f"msc_{c}": Head(c, "fusion") for c in self.counts}
        if options.uni.enabled:
            self.heads |= {"unimodal": Head(1, "feature")}

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the unweighted mean loss of each active task."""
        labels = batch.labels
        losses = {"msr": self._smooth_l1(outputs.prediction, labels["y"])}
        if self.counts:
            losses["msc"] = self._classification(outputs, labels["y"])
        if self.options.uni.enabled:
            losses["uni"] = self._unimodal(outputs, labels)
        if self.contrasts:
            losses["cl"] = multi_nt_xent(
                outputs.features, self.positives, self.negatives, temperature=self.options.cl.temperature
            ).mean()
        return losses

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Equation 5."""
        fixed = losses["msr"] + losses["msc"] if self.counts else losses["msr"]
        return fixed + self.gdwg(losses) if self.gdwg.tasks else fixed

    def weights(self) -> dict[str, float]:
        """Return lambda of each weighted task."""
        return self.gdwg.current()

    def epoch_end(self, losses: Mapping[str, float]) -> None:
        """Let GDWG set the next epoch's lambda."""
        self.gdwg.epoch_end(losses)

    def remarks(self) -> list[str]:
        """Say it where contrast was asked for and can't be had."""
        if self.options.cl.enabled and not self.contrasts:
            return ["Contrastive learning is inactive: it needs text and at least one other modality."]
        return []

    def _classification(self, outputs: Outputs, y: Tensor) -> Tensor:
        losses = [
            F.cross_entropy(outputs.heads[f"msc_{c}"].float(), torch.bucketize(y, self.get_buffer(f"edges_{c}")))
            for c in self.counts
        ]
        return torch.stack(losses).mean()

    def _unimodal(self, outputs: Outputs, labels: Mapping[str, Tensor]) -> Tensor:
        """Equation 10."""
        return self._smooth_l1(outputs.heads["unimodal"].squeeze(-1), unimodal_targets(outputs.features, labels))

    def _smooth_l1(self, prediction: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(prediction.float(), target, beta=self.options.beta)
