"""Listens to the loop: keeps the best epoch, writes log and checkpoint, stops when told to."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from types import FrameType
from typing import Any

from torch import Tensor, nn

from dmmsa_cli.commands import to_go_on
from dmmsa_cli.data.views import EpochBatches
from dmmsa_cli.errors import Interrupted, RunMismatch, TrainingDiverged, is_out_of_memory
from dmmsa_cli.metrics import without_nan
from dmmsa_cli.training.loop import EpochEnd, StepEnd, Training, train
from dmmsa_cli.training.run import RunFolder

WORTH = 20  # seconds of training that a second spent on writing their checkpoint is worth

Watch = Callable[[StepEnd | EpochEnd, "Progress"], None]


def unwatched(event: StepEnd | EpochEnd, progress: Progress) -> None:
    """Tell nobody; the log in the run's folder has all of it."""


@dataclass
class Progress:
    """What is known about a run beyond the state of the loop; it travels in the checkpoint."""

    best_epoch: int = 0
    best_mae: float = math.inf
    log: list[dict[str, Any]] = field(default_factory=list)

    def note(self, event: EpochEnd, first_candidate: int) -> bool:
        """Add an epoch to the log, and say whether it is the best so far; a tie goes to the earlier epoch."""
        better = event.epoch >= first_candidate and event.validation["mae"] < self.best_mae
        if better:
            self.best_epoch, self.best_mae = event.epoch, event.validation["mae"]
        self.log.append({**asdict(event), "validation": without_nan(event.validation), "best": better})
        return better

    def waited(self, first_candidate: int) -> int:
        """Epochs since the best one, counted from where candidates begin."""
        return len(self.log) - max(self.best_epoch, first_candidate - 1)

    def summary(self) -> dict[str, Any]:
        """Return what summary.json holds."""
        return {
            "best_epoch": self.best_epoch,
            "epochs": len(self.log),
            "seconds": round(sum(line["seconds"] for line in self.log), 3),
            "validation": self.log[self.best_epoch - 1]["validation"],
        }


def fit(
    state: Training,
    run: RunFolder,
    *,
    identity: str,
    batches: Callable[[int], EpochBatches],
    evaluate: Callable[[nn.Module], dict[str, float]],
    watch: Watch,
    first_candidate: int = 1,
) -> dict[str, Any]:
    """Train to the end of the schedule, from the folder's checkpoint where there is one.

    Args:
        state: a training that has not begun.
        run: where everything goes.
        identity: stands for all that decides what the run computes; a checkpoint made under another one is refused.
        batches: an epoch's batches by its number.
        evaluate: metrics of a model on the validation split; the lowest `mae` is the best.
        watch: hears of every step and epoch.
        first_candidate: the first epoch that may be the best; patience counts from there.

    Returns:
        The summary of the run.

    Raises:
        Interrupted: Ctrl-C or SIGTERM came; everything is saved.
        TrainingDiverged: a loss or a prediction is no finite number any more; the folder says so.
        RunMismatch: the checkpoint does not fit.
    """
    progress, checkpoints = _resume(state, run, identity), _Checkpoints(run, identity)
    exhausted = _out_of_patience(state, progress, first_candidate)  # killed right after its last epoch
    with stop_requests() as stop, _divergence_kept(state, run):
        for event in () if exhausted else train(state, batches=batches, evaluate=evaluate):
            if isinstance(event, EpochEnd):
                if progress.note(event, first_candidate):
                    checkpoints.keep(state.evaluated)
                run.write_log(progress.log)
                if state.epoch < state.schedule.epochs and checkpoints.due:  # the last one's would be removed at once
                    checkpoints.write(state, progress)
            watch(event, progress)
            if stop.requested:
                checkpoints.write(state, progress)
                raise Interrupted(
                    f"epoch {event.epoch} of {state.schedule.epochs}; everything up to here is saved in {run.path}.",
                    to_go_on(),
                )
            if isinstance(event, EpochEnd) and _out_of_patience(state, progress, first_candidate):
                break
        summary = progress.summary()
        checkpoints.write_weights()
        run.finish(summary)
        if stop.requested:
            raise Interrupted(f"{run.path} has just finished.", to_go_on())
    return summary


@contextmanager
def _divergence_kept(state: Training, run: RunFolder) -> Iterator[None]:
    """Leave in the run's folder why it ended, where its training diverged."""
    try:
        yield
    except TrainingDiverged as error:
        run.note_divergence(state.epoch, error.what)
        raise


def _out_of_patience(state: Training, progress: Progress, first_candidate: int) -> bool:
    patience = state.schedule.patience
    return patience is not None and progress.waited(first_candidate) >= patience


class _Checkpoints:
    """Writes best weights and the state of the loop where that costs little beside the training since the last time.

    With 110 M parameters, AdamW's state and an average it is 1.8 GB: written every epoch it can cost more than a kill
    would. A run that was killed goes on from an older one, and trains the same epochs again. The best weights wait in
    memory until the checkpoint that knows of them is written: what lies in the folder is of one moment, also where the
    run goes on with other threads, whose bits are others.
    """

    def __init__(self, run: RunFolder, identity: str) -> None:
        self.run, self.identity = run, identity
        self.cost, self.written = 0.0, time.monotonic()
        self.best: dict[str, Tensor] | None = None  # not written yet

    @property
    def due(self) -> bool:
        """Whether what would be lost is worth the writing; the first time nobody knows what that takes."""
        return time.monotonic() - self.written >= WORTH * self.cost

    def keep(self, model: nn.Module) -> None:
        """Keep the weights of the best epoch so far."""
        self.best = {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}

    def write_weights(self) -> None:
        """Write the best weights, if they have not been."""
        if self.best is not None:
            self.run.save_weights(self.best)
            self.best = None

    def write(self, state: Training, progress: Progress) -> None:
        """Write weights and state, now."""
        begun = time.monotonic()
        self.write_weights()
        facts = {"identity": self.identity, "counters": state.counters(), "progress": asdict(progress)}
        self.run.save_checkpoint(state.tensors(), facts)
        self.written = time.monotonic()
        self.cost = self.written - begun


def _resume(state: Training, run: RunFolder, identity: str) -> Progress:
    checkpoint = run.load_checkpoint()
    if checkpoint is None:
        return Progress()
    if checkpoint.facts.get("identity") != identity:
        raise RunMismatch(
            f"The checkpoint in {run.path} is of another run than the one requested, or of another version of dmmsa.",
            "Give the new run a --name of its own, or replace the old one with --force.",
        )
    try:
        state.load(checkpoint.tensors, checkpoint.facts["counters"])
        progress = Progress(**checkpoint.facts["progress"])
    except (KeyError, RuntimeError, TypeError) as error:
        if is_out_of_memory(error):
            raise
        raise RunMismatch(
            f"The checkpoint in {run.path} does not fit its recipe: {error}", "Replace the run with --force."
        ) from error
    run.write_log(progress.log)
    return progress


@dataclass
class StopRequest:
    """Whether Ctrl-C or SIGTERM has come."""

    requested: bool = False


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn the first Ctrl-C or SIGTERM into a request to stop after the step under way; a second one stops at once."""
    stop = StopRequest()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, ask)
    except ValueError:  # not in the main thread: whoever runs us there handles signals
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
