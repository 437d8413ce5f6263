"""THE loop. It knows no loss, no model and no file: it yields what happened, and whoever listens acts on it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dmmsa_cli.data.views import Batch, EpochBatches
from dmmsa_cli.errors import TrainingDiverged
from dmmsa_cli.objectives.base import Objective
from dmmsa_cli.runtime import autocast, random_state, restore_random_state
from dmmsa_cli.training.inference import Survey
from dmmsa_cli.training.schedule import (
    Plateau,
    Schedule,
    clip_gradient,
    make_optimiser,
    numbered_parameters,
    set_learning_rate,
)


@dataclass(frozen=True)
class StepEnd:
    """One optimiser step is done."""

    epoch: int
    step: int
    steps: int


@dataclass(frozen=True)
class EpochEnd:
    """One epoch is done and evaluated."""

    epoch: int
    losses: dict[str, float]
    """Mean unweighted training loss of each task."""
    weights: dict[str, float]
    """Weights that were in force during the epoch; of a rule that moves them at every step, their mean."""
    tally: dict[str, int]
    """What else the objective counted."""
    validation: dict[str, float]
    """Metrics on the validation split."""
    learning_rate: float
    """Of its last step."""
    seconds: float


class Training:
    """Everything that changes during training, and so everything that a checkpoint holds.

    Args:
        model: what is trained; maps a `Batch` to `Outputs`.
        objective: what is minimised.
        schedule: learning rates and epochs.
        device: where it runs.
        precision: `float32`, or `bf16` for a forward pass under autocast; losses and optimiser stay float32.
    """

    def __init__(
        self, model: nn.Module, objective: Objective, schedule: Schedule, *, device: torch.device, precision: str
    ) -> None:
        self.model = model.to(device)
        self.objective = objective.to(device)
        self.schedule = schedule
        self.device = device
        self.precision = precision
        own = list(self.objective.parameters())
        self.optimiser = make_optimiser(self.model, schedule, own, self.objective.learning_rate)
        self.average = _average(self.model, schedule)
        self.plateau = Plateau()
        self.epoch = 0  # epochs completed
        self.step = 0  # batches done of the epoch under way
        self.pending = 0  # of them, those whose gradients wait for a step
        self.rows = 0  # rows seen in it
        self.sums: dict[str, Tensor] = {}  # sums of the tasks' losses over those rows, read once an epoch

    @property
    def evaluated(self) -> nn.Module:
        """The model that is validated and kept: the average where there is one."""
        return self.model if self.average is None else self.average.module

    def advance(self, batch: Batch, steps_per_epoch: int) -> None:
        """Take one batch's gradient, and a step where it is due."""
        batch = batch.to(self.device)
        with autocast(self.device, self.precision):
            outputs = self.model(batch)
        losses = self.objective(outputs, batch)
        if self.pending == 0:
            self.optimiser.zero_grad(set_to_none=True)
        self.objective.total(losses).backward()  # type: ignore[no-untyped-call]  # torch's own lack of a hint
        clip_gradient(self.optimiser, self.schedule)
        self.pending += 1
        whole, last = self.pending == self.schedule.accumulate, self.step + 1 == steps_per_epoch
        if whole or (last and self.schedule.leftover == "step"):
            set_learning_rate(self.optimiser, self.factor(self.epoch * steps_per_epoch + self.step, steps_per_epoch))
            self.optimiser.step()
            if self.average is not None:
                self.average.update_parameters(self.model)
        if whole or last:
            self.pending = 0
        self._note(losses, batch.own)

    def factor(self, step: int, steps_per_epoch: int) -> float:
        """Return the share of the learning rate that batch number `step`, counted from 0 over all epochs, gets."""
        return self.schedule.factor(step, steps_per_epoch) * self.plateau.scale

    @property
    def _sums_device(self) -> torch.device:
        return torch.device("cpu") if self.device.type == "mps" else self.device  # MPS has no float64

    def _note(self, losses: dict[str, Tensor], rows: int) -> None:
        for task, loss in losses.items():
            addend = loss.detach().to(self._sums_device, torch.float64) * rows
            self.sums[task] = self.sums[task] + addend if task in self.sums else addend
        self.rows += rows
        self.step += 1

    def finish_epoch(self) -> dict[str, float]:
        """Close the epoch and return each task's mean loss over its rows.

        Raises:
            TrainingDiverged: a loss is not a finite number.
        """
        losses = {task: float(total) / self.rows for task, total in self.sums.items()}
        self.epoch, self.step, self.rows, self.sums = self.epoch + 1, 0, 0, {}
        wrong = [task for task, loss in losses.items() if not math.isfinite(loss)]
        if wrong:
            raise TrainingDiverged(
                f"Epoch {self.epoch}: the loss of {', '.join(wrong)} is no longer a finite number.",
                "Lower the learning rate; or look at the features: `prepare` with --force warns of absurd values.",
            )
        self.objective.epoch_end(losses)
        return losses

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor of the state, under names that `load` understands."""
        state = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        state |= {f"objective/{k}": v for k, v in self.objective.state_dict().items()}
        state |= {f"sums/{task}": total for task, total in self.sums.items()}
        state |= {f"random/{k}": v for k, v in random_state(self.device).items()}
        if self.average is not None:
            state |= {f"average/{k}": v for k, v in self.average.state_dict().items()}
        for number, parameter in numbered_parameters(self.optimiser):
            for name, value in self.optimiser.state.get(parameter, {}).items():
                state[f"optimiser/{number}/{name}"] = value
            if self.pending and parameter.grad is not None:
                state[f"gradient/{number}"] = parameter.grad
        return state

    def counters(self) -> dict[str, Any]:
        """Return where in the schedule the training is, and the tasks in the order of the log."""
        places = {"epoch": self.epoch, "step": self.step, "pending": self.pending, "rows": self.rows}
        return {**places, "tasks": list(self.sums), "plateau": asdict(self.plateau)}

    def load(self, tensors: dict[str, Tensor], counters: dict[str, Any]) -> None:
        """Put the state back to where `tensors` and `counters` were taken."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            part, _, rest = name.partition("/")
            parts.setdefault(part, {})[rest] = value
        self.model.load_state_dict(parts["model"])
        self.objective.load_state_dict(parts.get("objective", {}))
        if self.average is not None:
            self.average.load_state_dict(parts["average"])
        self._load_optimiser(parts.get("optimiser", {}), parts.get("gradient", {}))
        sums = parts.get("sums", {})
        self.sums = {task: sums[task].to(self._sums_device) for task in counters["tasks"]}
        restore_random_state(parts["random"], self.device)
        self.epoch, self.step, self.rows = counters["epoch"], counters["step"], counters["rows"]
        self.pending, self.plateau = counters["pending"], Plateau(**counters["plateau"])

    def _load_optimiser(self, tensors: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
        parameters = dict(numbered_parameters(self.optimiser))
        for number, gradient in gradients.items():
            parameters[int(number)].grad = gradient.to(parameters[int(number)].device)
        for name, value in tensors.items():
            number, _, key = name.partition("/")
            parameter = parameters[int(number)]
            # A fused optimiser counts steps on the device, the others on the CPU.
            at_home = key == "step" and not self.optimiser.defaults["fused"]
            self.optimiser.state[parameter][key] = value if at_home else value.to(parameter.device)


def _average(model: nn.Module, schedule: Schedule) -> AveragedModel | None:
    decay = schedule.weight_averaging
    if decay is None:
        return None
    blend = _warmed(decay) if schedule.averaging_warmup else _blend(decay)
    # Of the parameters; buffers (statistics of the frames, what batch norm has seen) are kept those of the model.
    return AveragedModel(model, multi_avg_fn=blend)


_Weights = tuple[Tensor, ...] | list[Tensor]
_Blend = Callable[[_Weights, _Weights, Tensor | int], None]


def _blend(decay: float) -> _Blend:
    blend: _Blend = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return blend


def _warmed(decay: float) -> _Blend:
    """A decay that grows from 2/11, after the first step, to `decay`."""

    def blend(average: _Weights, current: _Weights, steps: Tensor | int) -> None:
        _blend(min(decay, (1 + int(steps)) / (10 + int(steps))))(average, current, steps)

    return blend


def train(
    state: Training,
    *,
    batches: Callable[[int], EpochBatches],
    evaluate: Callable[[nn.Module], dict[str, float]],
) -> Iterator[StepEnd | EpochEnd]:
    """Train from where `state` is to the end of its schedule, and yield every step and every epoch.

    Args:
        state: advanced in place; at every yield it is what a checkpoint should hold.
        batches: an epoch's batches, a function of the epoch's number alone (counted from 1).
        evaluate: metrics of a model on the validation split.
    """
    while state.epoch < state.schedule.epochs:
        epoch, started = state.epoch + 1, time.perf_counter()
        planned = batches(epoch)
        if state.step == 0:
            state.objective.begin_epoch(epoch, Survey(state.model, planned.view, state.device, state.precision))
        state.model.train()
        for batch in planned.starting_at(state.step, state.objective.companions):
            state.advance(batch, len(planned))
            yield StepEnd(epoch, state.step, len(planned))
        weights, tally = state.objective.weights(), state.objective.tally()
        losses = state.finish_epoch()
        validation = evaluate(state.evaluated.eval())
        rate = state.schedule.learning_rate * state.factor(epoch * len(planned) - 1, len(planned))  # of its last step
        if state.schedule.decay == "plateau":
            state.plateau.note(validation["mae"], state.schedule.plateau_patience)
        yield EpochEnd(epoch, losses, weights, tally, validation, rate, time.perf_counter() - started)
