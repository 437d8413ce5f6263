"""Learning rates, epochs and the optimiser."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.ranges import Around, Choices, Ranges

PLATEAU_FACTOR = 0.1
THRESHOLD = 1e-4  # of the best MAE, by which a lower one must be lower


@dataclass(frozen=True)
class Group:
    """What some of a model's parameters have of their own."""

    learning_rate: float | None = None
    """At the end of the warm-up; null takes the schedule's."""
    weight_decay: float | None = None
    """Null takes the schedule's."""
    decay_vectors: bool | None = None
    """Null takes the schedule's."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "weight_decay"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name}: {value} is below 0")


@dataclass(frozen=True)
class Schedule:
    """How one stage is trained: the optimiser, the course of the learning rate, the best epoch by validation MAE."""

    learning_rate: float
    """At the end of the warm-up."""
    batch_size: int
    """Rows a batch."""
    epochs: int
    """At most; a linear decay reaches 0 here."""
    warmup_epochs: float = 1.0
    """Epochs of linear warm-up."""
    decay: Literal["linear", "none", "plateau"] = "linear"
    """After the warm-up: linearly to 0; not at all; or a tenth wherever validation MAE stops falling."""
    plateau_patience: int = 10
    """Where `decay` is plateau: epochs without a better validation MAE before the rate falls."""
    optimiser: Literal["adamw", "adam"] = "adamw"
    """AdamW; or Adam, whose weight decay is an L2 term of the gradient."""
    weight_decay: float = 1e-3
    """On everything but biases and norms."""
    decay_vectors: bool = False
    """On biases and norms too."""
    groups: Mapping[str, Group] = field(default_factory=dict)
    """Rate and decay of their own for parts of the model: `text`, `vision`, `audio` for an encoder, or what the model
    calls a part."""
    accumulate: int = 1
    """Batches a step; their gradients are summed."""
    leftover: Literal["step", "drop"] = "step"
    """The batches at the end of an epoch that are too few for a step: a smaller step, or none."""
    clip_value: float | None = None
    """Every component of the gradient is held to this size, after each batch; null does not clip."""
    clip_norm: float | None = None
    """The gradient as a whole is held to this length, after each batch; null does not clip."""
    patience: int | None = None
    """Stop after this many epochs without a better validation MAE; null never stops early."""
    weight_averaging: float | None = None
    """Evaluate and keep an exponential average of the weights with this decay a step; null keeps the last."""
    averaging_warmup: bool = False
    """The average forgets its beginning: after n steps its decay is (1 + n) / (10 + n) where that is less. Without it a
    short training ends with an average that still holds much of the weights it began with."""
    length_window: int = 1
    """Sort by length within this many batches' worth of shuffled rows: a batch is alike in length. 1 does not sort."""

    RANGES: ClassVar[Ranges] = {
        "learning_rate": Around(10),
        "batch_size": Around(2),
        "epochs": Around(2),
        "weight_decay": Around(10),
        "weight_averaging": Choices((0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995)),
    }
    """What is a good rate, or a number of epochs, depends on what is trained: the recipe's own is in the middle."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "batch_size", "epochs", "length_window", "accumulate", "plateau_patience"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not above 0")
        for name in ("warmup_epochs", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} is below 0")
        for name in ("clip_value", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}: {value} is not above 0; null does not clip")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience: {self.patience} is not a number of epochs; null never stops early")
        if self.weight_averaging is not None and not 0 < self.weight_averaging < 1:
            raise ValueError(f"weight_averaging: {self.weight_averaging} is not in (0, 1)")
        if self.averaging_warmup and self.weight_averaging is None:
            raise ValueError("averaging_warmup: there is no average to warm up; weight_averaging makes one")

    def factor(self, step: int, steps_per_epoch: int) -> float:
        """Return the share of the learning rate that batch number `step`, counted from 0 over all epochs, gets.

        What a plateau takes off comes on top of it.
        """
        warmup, total = self.warmup_epochs * steps_per_epoch, self.epochs * steps_per_epoch
        if step < warmup:
            return min(1.0, (step + 1) / max(1.0, warmup))
        return max(0.0, (total - step) / max(1.0, total - warmup)) if self.decay == "linear" else 1.0


@dataclass(frozen=True)
class TextPretraining(Schedule):
    """Pretraining of the text encoder."""

    frozen_share: float = 1 / 3
    """The share of the epochs, at the start, in which only the head is trained."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.frozen_share < 1:
            raise ValueError(f"frozen_share: {self.frozen_share} is not in [0, 1)")

    @property
    def frozen_epochs(self) -> int:
        """Epochs before the encoder is trained too."""
        return min(round(self.frozen_share * self.epochs), self.epochs - 1)


@dataclass
class Plateau:
    """Lowers the learning rate wherever the validation MAE stops falling (torch's ReduceLROnPlateau, defaults)."""

    best: float = math.inf
    waited: int = 0
    scale: float = 1.0

    def note(self, mae: float, patience: int) -> None:
        """Take note of an epoch."""
        if mae < self.best * (1 - THRESHOLD):
            self.best, self.waited = mae, 0
            return
        self.waited += 1
        if self.waited > patience:
            self.scale, self.waited = self.scale * PLATEAU_FACTOR, 0


def make_optimiser(
    model: nn.Module, schedule: Schedule, of_objective: Sequence[nn.Parameter] = (), rate_of_objective: float = 0.0
) -> torch.optim.Optimizer:
    """Return the optimiser over the model's parameters, in groups that remember their peak learning rate.

    Args:
        model: what is trained.
        schedule: rates, decays and groups of the model.
        of_objective: parameters of its own: the last group, without decay, and out of the reach of `clip_gradient`.
        rate_of_objective: their peak learning rate.

    Raises:
        InvalidRecipe: the schedule names a group that the model has no parameters of.
    """
    check_groups(model, schedule)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    chosen = {name: _group(name, schedule.groups) for name, _ in model.named_parameters()}
    for name, parameter in trained:
        own = schedule.groups.get(chosen[name] or "", Group())
        rate = schedule.learning_rate if own.learning_rate is None else own.learning_rate
        decay = schedule.weight_decay if own.weight_decay is None else own.weight_decay
        vectors = schedule.decay_vectors if own.decay_vectors is None else own.decay_vectors
        decay = decay if vectors or parameter.ndim >= 2 else 0.0  # biases and norms are vectors
        groups.setdefault((rate, decay), []).append(parameter)
    found: list[dict[str, Any]] = [
        {"params": parameters, "lr": rate, "peak": rate, "weight_decay": decay, "of_model": True}
        for (rate, decay), parameters in groups.items()
    ]
    if of_objective:
        rates = {"lr": rate_of_objective, "peak": rate_of_objective, "weight_decay": 0.0}
        found.append({"params": [*of_objective], **rates, "of_model": False})
    # Fused: one pass over memory instead of ten, on the devices that have it.
    kind = torch.optim.AdamW if schedule.optimiser == "adamw" else torch.optim.Adam
    return kind(
        found,
        fused=all(parameter.device.type in ("cpu", "cuda") for _, parameter in trained),
    )


def _group(parameter: str, groups: Mapping[str, Group]) -> str | None:
    """Return which group a parameter belongs to: the encoder's of its modality, or a part's."""
    for modality, name in MODALITY_NAMES.items():
        if parameter.startswith(f"encoders.{modality}."):
            return name if name in groups else None
    part = parameter.partition(".")[0]
    return part if part in groups else None


def check_groups(model: nn.Module, schedule: Schedule) -> None:
    """See that every group names parameters of the model.

    Raises:
        InvalidRecipe: one names none; the message says what there is.
    """
    groups = schedule.groups
    found = {_group(name, groups) for name, _ in model.named_parameters()}
    encoders = [MODALITY_NAMES[m] for m, _ in getattr(model, "encoders", nn.Module()).named_children()]
    absent = set(MODALITY_NAMES.values()) - set(encoders)  # modalities that the data, or the recipe, go without
    unknown = [name for name in groups if name not in found | absent]
    if unknown:
        parts = [name.partition(".")[0] for name, _ in model.named_parameters()]
        known = dict.fromkeys([*encoders, *(part for part in parts if part != "encoders")])
        raise InvalidRecipe(
            f"groups.{unknown[0]}: there is nothing of that name to train.", f"Here these are: {', '.join(known)}."
        )


def set_learning_rate(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Scale every group's peak learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor


def clip_gradient(optimiser: torch.optim.Optimizer, schedule: Schedule) -> None:
    """Hold the model's gradient to the sizes that the schedule allows; with neither there is nothing to do."""
    if schedule.clip_value is None and schedule.clip_norm is None:
        return
    parameters = [parameter for group in optimiser.param_groups if group["of_model"] for parameter in group["params"]]
    if schedule.clip_value is not None:
        # Where torch has no kernel for many tensors at once, its way of doing so goes twice through memory.
        at_once = any(parameter.device.type != "cpu" for parameter in parameters)
        nn.utils.clip_grad_value_(parameters, schedule.clip_value, foreach=at_once)
    if schedule.clip_norm is not None:
        nn.utils.clip_grad_norm_(parameters, schedule.clip_norm)


def numbered_parameters(optimiser: torch.optim.Optimizer) -> Iterator[tuple[int, nn.Parameter]]:
    """Yield the optimiser's parameters in the order in which its state numbers them."""
    return enumerate(p for group in optimiser.param_groups for p in group["params"])
