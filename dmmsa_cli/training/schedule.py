"""Learning rates, epochs and the optimiser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Schedule:
    """How one stage is trained: AdamW, linear warm-up, linear decay, the best epoch by validation MAE."""

    learning_rate: float
    """At the end of the warm-up."""
    batch_size: int
    """Rows a step."""
    epochs: int
    """At most; the decay reaches 0 here."""
    warmup_epochs: float = 1.0
    """Epochs of linear warm-up."""
    weight_decay: float = 1e-3
    """On everything but biases and norms."""
    patience: int | None = None
    """Stop after this many epochs without a better validation MAE; null never stops early."""
    weight_averaging: float | None = None
    """Evaluate and keep an exponential average of the weights with this decay a step; null keeps the last."""
    length_window: int = 1
    """Sort by length within this many batches' worth of shuffled rows: a batch is alike in length. 1 does not sort."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "batch_size", "epochs", "length_window"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not above 0")
        for name in ("warmup_epochs", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} is below 0")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience: {self.patience} is not a number of epochs; null never stops early")
        if self.weight_averaging is not None and not 0 < self.weight_averaging < 1:
            raise ValueError(f"weight_averaging: {self.weight_averaging} is not in (0, 1)")

    def factor(self, step: int, steps_per_epoch: int) -> float:
        """Return the share of the learning rate that step number `step`, counted from 0 over all epochs, gets."""
        warmup, total = self.warmup_epochs * steps_per_epoch, self.epochs * steps_per_epoch
        if step < warmup:
            return min(1.0, (step + 1) / max(1.0, warmup))
        return max(0.0, (total - step) / max(1.0, total - warmup))


@dataclass(frozen=True)
class TextSchedule(Schedule):
    """A stage that may train the text encoder too."""

    text_learning_rate: float | None = None
    """The text encoder's own; null gives it `learning_rate`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text_learning_rate is not None and self.text_learning_rate < 0:
            raise ValueError(f"text_learning_rate: {self.text_learning_rate} is below 0")


@dataclass(frozen=True)
class TextPretraining(TextSchedule):
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


def make_optimiser(model: nn.Module, schedule: Schedule) -> torch.optim.AdamW:
    """Return AdamW over the model's parameters, in groups that remember their peak learning rate."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    text_rate = getattr(schedule, "text_learning_rate", None)
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    for name, parameter in trained:
        rate = text_rate if text_rate is not None and name.startswith("encoders.t.") else schedule.learning_rate
        decay = schedule.weight_decay if parameter.ndim >= 2 else 0.0  # biases and norms are vectors
        groups.setdefault((rate, decay), []).append(parameter)
    # Fused: one pass over memory instead of ten, on the devices that have it.
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": rate, "peak": rate, "weight_decay": decay}
            for (rate, decay), parameters in groups.items()
        ],
        fused=all(parameter.device.type in ("cpu", "cuda") for _, parameter in trained),
    )


def set_learning_rate(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Scale every group's peak learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor


def numbered_parameters(optimiser: torch.optim.Optimizer) -> Iterator[tuple[int, nn.Parameter]]:
    """Yield the optimiser's parameters in the order in which its state numbers them."""
    return enumerate(p for group in optimiser.param_groups for p in group["params"])
