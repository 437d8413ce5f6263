"""What training looks like: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dmmsa_cli.cli.console import in_parts, say
from dmmsa_cli.cli.drawing import Drawing
from dmmsa_cli.experiments.experiment import Experiment
from dmmsa_cli.experiments.rows import used_rows
from dmmsa_cli.plain import plural
from dmmsa_cli.stages.runs import encoder_title
from dmmsa_cli.training.fit import Progress, Watch
from dmmsa_cli.training.loop import EpochEnd, StepEnd

SHOWN_EPOCHS = 8
KEPT_EPOCHS = 10  # of a training that is over


class TrainingView(Drawing):
    """Shows trainings one after the other; a context manager.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console, per_second=8)
        self._started = 0.0
        self._log: list[dict[str, Any]] = []  # of the training that was shown last
        self._first = 0.0  # epochs done when this process began, so that a resumed run's time left is right

    def say(self, line: str) -> None:
        """Print a line that stays."""
        say(self.console, line)

    def report(self, folder: Path, summary: dict[str, Any], *, skipped: bool) -> None:
        """Print what became of one training."""
        if self.live and not skipped and self._log:
            course = _table(_course(self._log, summary["best_epoch"]), summary["best_epoch"])
            self.console.print(*in_parts(course, self.console.width), sep="\n")
        how = "was there already" if skipped else f"trained in {clock(summary['seconds'])}"
        self.say(
            f"{folder}: {how}; best of {plural(summary['epochs'], 'epoch')} is {summary['best_epoch']}, "
            f"validation MAE {summary['validation']['mae']:.4f}"
        )

    def training(self, title: str, epochs: int) -> Watch:
        """Return the listener for one training."""
        self._started, self._first = time.monotonic(), -1.0

        def watch(event: StepEnd | EpochEnd, progress: Progress) -> None:
            done = event.epoch if isinstance(event, EpochEnd) else event.epoch - 1 + event.step / event.steps
            if self._first < 0:
                self._first = len(progress.log) - isinstance(event, EpochEnd)
            self._log = progress.log
            if self.live:
                self._show(self._draw(title, done, epochs, progress))
            elif isinstance(event, EpochEnd):
                self.console.print(self._line(title, event, epochs, progress), soft_wrap=True)

        return watch

    def _left(self, done: float, epochs: int) -> str:
        elapsed, gained = time.monotonic() - self._started, done - self._first
        return clock(elapsed / gained * (epochs - done)) if gained > 0 else "?"

    def _line(self, title: str, event: EpochEnd, epochs: int, progress: Progress) -> str:
        parts = [f"{title}  epoch {event.epoch}/{epochs}"]
        parts += [f"{task} {loss:.4f}" for task, loss in event.losses.items()]
        parts += [f"λ_{task} {weight:.3f}" for task, weight in event.weights.items()]
        parts.append(f"val MAE {event.validation['mae']:.4f} ({_best(progress)})")
        parts.append(f"{event.seconds:.1f} s, {self._left(event.epoch, epochs)} left")
        return "  ".join(parts)

    def _draw(self, title: str, done: float, epochs: int, progress: Progress) -> Group:
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(title, style="bold"),
            ProgressBar(total=epochs, completed=done, width=24),
            Text(f"epoch {min(int(done) + 1, epochs)}/{epochs}"),
            Text(f"{self._left(done, epochs)} left", style="dim"),
        )
        return (
            Group(
                head,
                *in_parts(_table(progress.log[-SHOWN_EPOCHS:], progress.best_epoch), self.console.width),
                Text(_best(progress), style="green"),
            )
            if progress.log
            else Group(head)
        )


def _table(epochs: list[dict[str, Any]], best: int) -> Table:
    """Some epochs, a row each."""
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("epoch", justify="right")
    for task in epochs[-1]["losses"]:
        table.add_column(task, justify="right")
    for task in epochs[-1]["weights"]:
        table.add_column(f"λ {task}", justify="right")
    for name in ("val MAE", "Corr", "s"):
        table.add_column(name, justify="right")
    for line in epochs:
        table.add_row(*_cells(line), style="green" if line["epoch"] == best else "")
    return table


def _course(log: list[dict[str, Any]], best: int) -> list[dict[str, Any]]:
    """Return the epochs that tell how a training went: the first, the last, the best, and some between."""
    count = min(KEPT_EPOCHS, len(log))
    chosen = {round(place * (len(log) - 1) / max(1, count - 1)) for place in range(count)}
    return [line for place, line in enumerate(log) if place in chosen or line["epoch"] == best]


def data_note(experiment: Experiment) -> str:
    """Say which data, which recipe and which machine the numbers that follow come from."""
    manifest = experiment.store.manifest
    source = manifest.source.get("path") or manifest.source.get("url") or "a generator"
    modalities, context = " ".join(experiment.modalities), experiment.context.in_words()
    inputs = f"modalities {modalities}, {context} as context" if context else f"modalities {modalities}"
    kind = "SYNTHETIC data" if experiment.store.spec.synthetic else f"data from {Path(str(source)).name}"
    used, rows = len(used_rows(experiment, "train", experiment.recipe.base_seed)), manifest.rows["train"]
    clips = f"{rows:,} training clips" if used == rows else f"{used:,} of {rows:,} training clips"
    return (
        f"{experiment.store.spec.name}: {kind} ({manifest.data_hash[:12]}), {clips}, {inputs}; "
        f"recipe {experiment.name}; "
        f"{experiment.device.type}, {experiment.precision}"
    )


def pretraining_title(experiment: Experiment, modality: str) -> tuple[str, int]:
    """Return the title of an encoder's training, and its epochs."""
    return encoder_title(modality), experiment.pretraining.schedule(modality).epochs


def _cells(line: dict[str, Any]) -> list[str]:
    cells = [str(line["epoch"])]
    cells += [f"{loss:.4f}" for loss in line["losses"].values()]
    cells += [f"{weight:.3f}" for weight in line["weights"].values()]
    mae, corr = line["validation"]["mae"], line["validation"]["corr"]
    return [*cells, f"{mae:.4f}", "-" if corr is None else f"{corr:.4f}", f"{line['seconds']:.1f}"]


def _best(progress: Progress) -> str:
    return (
        f"best {progress.best_mae:.4f} at epoch {progress.best_epoch}" if progress.best_epoch else "no best epoch yet"
    )


def clock(seconds: float) -> str:
    """Return a duration as `4:10` or `1:04:10`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
