"""Runs as tasks of an engine: what is sent where a run goes on, what it tells, and what it needs first."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.errors import DmmsaError
from dmmsa_cli.experiments.experiment import Experiment, open_experiment
from dmmsa_cli.runtime import DeviceName
from dmmsa_cli.stages.engines import Engine, InTurn, Outcome, Remark, Step, Task, Tell
from dmmsa_cli.stages.fuse import fuse, missing_encoders, refuse, run_folder
from dmmsa_cli.stages.pretrain import pretrain_unimodal, wanted_encoders
from dmmsa_cli.training.fit import Progress, Watch
from dmmsa_cli.training.loop import EpochEnd, StepEnd


@dataclass(frozen=True)
class Opening:
    """What an experiment is opened with, wherever a run goes on; see `open_experiment`."""

    dataset: str
    data_dir: Path
    runs_dir: Path
    recipe: str | None = None
    settings: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    device: DeviceName = "auto"

    def open(self) -> Experiment:
        """Open dataset and recipe.

        Raises:
            DatasetMissing, StoreMismatch, InvalidRecipe, DeviceUnavailable: in words for the user.
        """
        return open_experiment(
            self.dataset,
            data_dir=self.data_dir,
            runs_dir=self.runs_dir,
            recipe=self.recipe,
            settings=self.settings,
            changes=self.changes,
            device=self.device,
        )


@dataclass(frozen=True)
class Run(Task):
    """A training that has a folder of its own."""

    opening: Opening
    title: str
    """What stands before its row in a table."""
    seed: int

    @abstractmethod
    def run(self, tell: Tell) -> Outcome[Run]:
        """Train it, or go on with it, or find that it was there."""

    def __str__(self) -> str:
        return f"{self.title}, seed {self.seed}"


R = TypeVar("R", bound=Run)


@dataclass(frozen=True)
class FusionRun(Run):
    """A run of the fused model; one that was begun goes on."""

    variant: str
    """Name of the folder between recipe and seed."""
    from_scratch: bool = False
    force: bool = False
    """Replace what is there."""

    def run(self, tell: Tell) -> Outcome[FusionRun]:
        """Train it, or go on with it, or find that it was there; encoders that are missing come first.

        Raises:
            RunMismatch: its folder holds another run.
        """
        experiment = self.opening.open()
        report = fuse(
            experiment,
            self.variant,
            self.seed,
            watch=lambda: watch(self, "fusion", experiment.recipe.fusion.epochs, tell),
            watch_pretraining=lambda m: watch_encoder(self, experiment, m, tell),
            remark=lambda line: tell(Remark(self, line)),
            from_scratch=self.from_scratch,
            resume=not self.force,
            force=self.force,
        )
        return Outcome(self, "was there" if report.skipped else "trained", report.folder, report.summary)

    def needs(self) -> list[NeededEncoder]:
        """Return the encoders that have to be trained before it; none where it has finished, or can't be opened."""
        if self.from_scratch or (self._finished() and not self.force):
            return []
        return needed_encoders(self, self.opening, self.seed)

    def _finished(self) -> bool:
        with suppress(DmmsaError):  # which its run meets, and tells
            return run_folder(self.opening.open(), self.variant, self.seed).finished
        return False


@dataclass(frozen=True)
class NeededEncoder(Task):
    """An encoder that several tasks share; its folder is named for all that decides it."""

    job: Task = field(compare=False)
    """The first that needs it, which tells of it."""
    opening: Opening = field(compare=False)
    seed: int = field(compare=False)
    modality: str
    folder: Path

    def run(self, tell: Tell) -> Outcome[NeededEncoder]:
        """Train it, or go on with it, or find that it was there."""
        state, folder, summary = _pretrain(self.job, self.opening, self.modality, self.seed, tell)
        return Outcome(self, state, folder, summary)

    def __str__(self) -> str:
        return str(self.job)


def needed_encoders(job: Task, opening: Opening, seed: int) -> list[NeededEncoder]:
    """Return the encoders that a run of this seed lacks; none where the experiment can't be opened, as its run tells.

    Args:
        job: the task that the run is part of.
        opening: dataset and recipe.
        seed: of the run.
    """
    try:
        missing = missing_encoders(opening.open(), seed)
    except DmmsaError:
        return []
    return [NeededEncoder(job, opening, seed, modality, folder.path) for modality, folder in missing.items()]


@dataclass(frozen=True)
class EncoderRun(Run):
    """An encoder that was asked for; one that was begun goes on."""

    modality: str
    force: bool = False
    """Train it anew."""

    def run(self, tell: Tell) -> Outcome[EncoderRun]:
        """Train it, or go on with it, or find that it was there."""
        state, folder, summary = _pretrain(self, self.opening, self.modality, self.seed, tell, force=self.force)
        return Outcome(self, state, folder, summary)


def _pretrain(
    job: Task, opening: Opening, modality: str, seed: int, tell: Tell, *, force: bool = False
) -> tuple[Literal["trained", "was there"], Path, dict[str, Any]]:
    experiment = opening.open()
    listener = watch_encoder(job, experiment, modality, tell)
    report = pretrain_unimodal(experiment, modality, seed, watch=listener, force=force)
    return "was there" if report.skipped else "trained", report.folder, report.summary


# --- what they tell -------------------------------------------------------------------------------------------------


def encoder_title(modality: str) -> str:
    """Return what an encoder is called: `text encoder`."""
    return f"{MODALITY_NAMES[modality]} encoder"


def watch_encoder(task: Task, experiment: Experiment, modality: str, tell: Tell) -> Watch:
    """Return a listener to the training of an encoder that a task needs."""
    return watch(task, encoder_title(modality), experiment.pretraining.schedule(modality).epochs, tell)


def watch(task: Task, what: str, epochs: int, tell: Tell) -> Watch:
    """Return a listener to a training that tells how far it is."""

    def listen(event: StepEnd | EpochEnd, progress: Progress) -> None:
        done = event.epoch if isinstance(event, EpochEnd) else event.epoch - 1 + event.step / event.steps
        tell(Step(task, what, done, epochs))

    return listen


# --- several of them ------------------------------------------------------------------------------------------------


def plan_fusion(
    openings: Sequence[Opening],
    variant: str,
    seeds: Sequence[int],
    *,
    from_scratch: bool = False,
    resume: bool = False,
    force: bool = False,
) -> list[FusionRun]:
    """Return the runs of a variant with every seed; what can be known to be wrong is told before any of them begins.

    Args:
        openings: of a dataset, or of each of its folds.
        variant: name of the folder between recipe and seed.
        seeds: none takes the recipe's.
        from_scratch: start from untrained encoders.
        resume: go on with unfinished runs.
        force: replace what is there.

    Raises:
        RunMismatch: a folder holds another run, or an unfinished one and neither `resume` nor `force`.
        InvalidInput, InvalidRecipe, EncoderUnavailable, FolderBusy: as `fuse` does.
    """
    experiments = {opening.dataset: opening.open() for opening in openings}
    runs = [
        FusionRun(opening, opening.dataset if len(openings) > 1 else variant, seed, variant, from_scratch, force)
        for opening in openings
        for seed in dict.fromkeys(seeds or experiments[opening.dataset].recipe.seeds)
    ]
    for run in runs:
        experiment = experiments[run.opening.dataset]
        refuse(experiment, variant, run.seed, from_scratch=from_scratch, resume=resume, force=force)
    return runs


def plan_encoders(
    opening: Opening, modalities: Sequence[str], seeds: Sequence[int], *, force: bool = False
) -> list[EncoderRun]:
    """Return the trainings of single encoders; see `wanted_encoders`.

    Raises:
        InvalidInput: a modality that the dataset or the recipe does not have, or nothing to train.
    """
    experiment = opening.open()
    return [
        EncoderRun(opening, encoder_title(modality), experiment.encoder_seed(seed), modality, force)
        for modality, seed in dict.fromkeys(wanted_encoders(experiment, modalities, seeds))
    ]


def carry_out(
    runs: Iterable[R], *, tell: Callable[[Any], None] = lambda event: None, engine: Engine | None = None
) -> list[Outcome[R]]:
    """Train what is not there yet, go on with what is unfinished, and keep going where a run fails.

    Args:
        runs: in their order.
        tell: hears, in this process, what each run is at (`Step`, `Remark`, `Postponed`) and what became of it
            (`Outcome`).
        engine: what runs them; none runs one after the other, in this process.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the same call goes on.
    """
    outcomes = []
    with closing((engine or InTurn()).run(runs, tell)) as coming:
        for outcome in coming:
            outcomes.append(outcome)
            tell(outcome)
    return outcomes
