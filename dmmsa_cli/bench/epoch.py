"""One epoch of fusion through the real loop, its parts apart, and how much of it is work on real frames."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from dmmsa_cli.bench.flops import FlopCount, Work, evenly, matrix_rate
from dmmsa_cli.bench.place import Place
from dmmsa_cli.bench.process import AnonymousPeak, Facts, peak_memory
from dmmsa_cli.bench.watching import Seen, Watched, now
from dmmsa_cli.data.views import Batch, EpochBatches
from dmmsa_cli.experiments.build import Fused
from dmmsa_cli.experiments.experiment import Experiment
from dmmsa_cli.experiments.measure import metrics_of
from dmmsa_cli.runtime import autocast, seed_everything
from dmmsa_cli.training.loop import EpochEnd, Training, train
from dmmsa_cli.training.run import RunFolder

SEED = 1
WARM_UP = 2  # steps that are left out where not all of an epoch is measured
TIMED = 512  # clips, at least, in the passes that are held against the machine's matrix products


def epoch(place: Place, recipe: str, steps: int | None) -> Facts:
    """Measure one epoch from untrained encoders, as `dmmsa fuse --from-scratch` would run it.

    Steps, validation and the objective's look at the training split before the epoch (ConFEDE's retrieval) are timed
    apart, and so is a checkpoint with the best weights. Memory is looked at before anything large is done that
    a run would not do.

    Args:
        place: where the data lie.
        recipe: its name.
        steps: measure this many, after two that warm up, and tell from them what the epoch takes; None runs them all.
    """
    with TemporaryDirectory(dir=place.folder) as scratch:
        fused = place.fused(recipe, RunFolder(Path(scratch)), SEED)
        experiment = fused.experiment
        before = matrix_rate(experiment.device, experiment.precision)
        with AnonymousPeak() as anonymous:
            measured = _Epoch(fused, steps)
            facts = measured.run() | measured.save()
        facts |= _memory(anonymous, experiment.device)
    if _countable(experiment):
        work = measured.work()
        facts |= work.facts(max(before, matrix_rate(experiment.device, experiment.precision)))
    return facts | {"precision": experiment.precision, "threads": torch.get_num_threads()}


def _countable(experiment: Experiment) -> bool:
    """Whether FLOPs can be counted on tensors that have no content: not where recurrence or a mask looks at lengths."""
    return not experiment.trains_text and all(experiment.reading(m) == "embedding" for m in experiment.modalities)


def _memory(anonymous: AnonymousPeak, device: torch.device) -> Facts:
    facts: Facts = {"peak_rss_bytes": peak_memory(), "peak_anonymous_bytes": anonymous.bytes}
    if device.type == "cuda":
        facts["peak_device_bytes"] = torch.cuda.max_memory_allocated(device)
    return facts


class _Epoch:
    """An epoch that is about to be measured.

    Args:
        fused: the model of a run, into whose folder its checkpoint goes.
        steps: as for `epoch`.
    """

    def __init__(self, fused: Fused, steps: int | None) -> None:
        self.experiment, self.run_folder = fused.experiment, fused.encoders.run
        experiment, schedule = fused.experiment, fused.experiment.recipe.fusion
        self.valid = fused.inputs.split("valid")
        view = fused.inputs.split("train")
        self.planned = view.shuffled(schedule.batch_size, seed=SEED, epoch=1, window=schedule.length_window)
        self.steps = None if steps is None or steps + WARM_UP >= len(self.planned) else steps
        seed_everything(SEED)
        model = fused.at_start()
        self.state = Training(
            model, fused.objective, schedule, device=experiment.device, precision=experiment.precision
        )
        self.seen = Seen(experiment.device)

    def run(self) -> Facts:
        """Run the epoch, or its first steps, through the loop, with retrieval before and validation after it."""
        for event in train(self.state, batches=self._batches, evaluate=self._evaluate):
            if isinstance(event, EpochEnd):
                break
            self.seen.stopwatch.mark()
        seconds, total = self.seen.stopwatch.seconds(), len(self.planned)
        timed = seconds if self.steps is None else seconds[WARM_UP:]
        parts = {
            "refresh_seconds": self.seen.refreshed - self.seen.requested,
            "steps_seconds": fmean(timed) * total,
            "validation_seconds": self.seen.validation,
        }
        return {
            "seconds": sum(parts.values()),
            **parts,
            "step_seconds": median(timed),
            "steps": total,
            "measured_steps": len(timed),
            "extrapolated": self.steps is not None,
            "clips": self.clips,
            "padded_over_real": self.seen.slots / max(1, self.seen.real),
        }

    @property
    def clips(self) -> int:
        """Clips that pass through the model in the epoch, those that the objective brings along included."""
        own = sum(len(rows) for rows in self.planned.rows[: len(self.seen.rows)])
        passed = sum(len(rows) for rows in self.seen.rows)
        return round(passed / own * len(self.planned.view))

    def _batches(self, epoch: int) -> EpochBatches:
        rows = self.planned.rows if self.steps is None else self.planned.rows[: WARM_UP + self.steps]
        self.seen.requested = now(self.experiment.device)
        return Watched(self.planned.view, rows, seen=self.seen)

    def _evaluate(self, model: nn.Module) -> dict[str, float]:
        began = now(self.experiment.device)
        metrics = metrics_of(self.experiment, model, self.valid)
        self.seen.validation = now(self.experiment.device) - began
        return metrics

    def save(self) -> Facts:
        """Write what a run writes after its best epoch so far."""
        began = now(self.experiment.device)
        self.run_folder.save_weights(self.state.evaluated.state_dict())
        self.run_folder.save_checkpoint(self.state.tensors(), {})
        return {
            "checkpoint_seconds": now(self.experiment.device) - began,
            "checkpoint_bytes": (self.run_folder.path / "checkpoint.safetensors").stat().st_size,
            "weights_bytes": (self.run_folder.path / "weights.safetensors").stat().st_size,
        }

    def work(self) -> Work:
        """Count the epoch's FLOPs, and time forward plus backward of some of its batches."""
        batches = self._some_batches()
        seconds = self._pass_seconds(batches)
        counter = FlopCount(self.state.model, self.planned.view)
        rows, passed = np.concatenate([batch.rows for batch in batches]), np.concatenate(self.seen.rows)
        passes = counter.total(rows)
        return Work(
            epoch=counter.total(passed) / len(passed) * self.clips,
            passes=passes,
            pass_seconds=seconds,
            work_over_real=sum(map(counter.of, batches)) / passes,
        )

    def _some_batches(self) -> list[Batch]:
        """Collate batches that are evenly spaced over the epoch."""
        enough = max(4, -(-TIMED // len(self.seen.rows[0])))
        chosen = evenly(len(self.planned), enough if self.steps is None else min(enough, self.steps))
        rows = [self.planned.rows[place] for place in chosen]
        return list(EpochBatches(self.planned.view, rows).starting_at(0, self.state.objective.companions))

    def _pass_seconds(self, batches: list[Batch]) -> float:
        """Time forward, losses and backward; not collating, the optimiser, or moving inputs to the device."""
        self.state.model.train()
        moved = [batch.to(self.experiment.device) for batch in batches]
        self._pass(moved[0])  # warms up
        began = now(self.experiment.device)
        for batch in moved:
            self._pass(batch)
        return now(self.experiment.device) - began

    def _pass(self, batch: Batch) -> None:
        with autocast(self.experiment.device, self.experiment.precision):
            outputs = self.state.model(batch)
        losses = self.state.objective(outputs, batch)
        self.state.optimiser.zero_grad(set_to_none=True)
        self.state.objective.total(losses).backward()  # type: ignore[no-untyped-call]  # torch's own lack of a hint
