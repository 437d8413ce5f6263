"""`dmmsa ablate`: every variant of a study with every seed; one failure is no reason to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmmsa_cli.data.folds import open_dataset
from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.errors import (
    DmmsaError,
    EncoderUnavailable,
    Inapplicable,
    InvalidInput,
    InvalidRecipe,
    RecipeMissing,
    RunMismatch,
)
from dmmsa_cli.experiments.experiment import Experiment, open_experiment
from dmmsa_cli.experiments.studies import Study, Variant
from dmmsa_cli.runtime import DeviceName
from dmmsa_cli.stages.engines import Engine, InTurn, Outcome, Step, Task, Tell
from dmmsa_cli.stages.fuse import check, fuse, missing_encoders, run_folder
from dmmsa_cli.stages.pretrain import pretrain_unimodal
from dmmsa_cli.training.fit import Progress, Watch
from dmmsa_cli.training.loop import EpochEnd, StepEnd

ANOTHER_RUN = "Give the variant another `name` in the study, or replace the run: delete its folder."


@dataclass(frozen=True)
class Place:
    """Where a study's runs find their data, where they go, and what they run on."""

    dataset: str
    data_dir: Path
    runs_dir: Path
    device: DeviceName = "auto"
    precision: str | None = None
    """Another than the recipe's."""


@dataclass(frozen=True)
class Job(Task):
    """One run of a study."""

    place: Place
    variant: Variant
    recipe: str | None
    seed: int

    def open(self) -> Experiment:
        """Open dataset and recipe, changed as the variant says."""
        precision = {"precision": self.place.precision} if self.place.precision else {}
        return open_experiment(
            self.place.dataset,
            data_dir=self.place.data_dir,
            runs_dir=self.place.runs_dir,
            recipe=self.recipe,
            changes=self.variant.set | precision,
            device=self.place.device,
        )

    def run(self, tell: Tell) -> Outcome[Job]:
        """Train it, or go on with it, or find that it was there; encoders that are missing come first.

        Raises:
            RunMismatch: its folder holds another run.
        """
        experiment = self.open()
        epochs = experiment.recipe.fusion.epochs
        try:
            report = fuse(
                experiment,
                self.variant.name,
                self.seed,
                watch=lambda: watch(self, "fusion", epochs, tell),
                watch_pretraining=lambda m: watch_encoder(self, experiment, m, tell),
                resume=True,
            )
        except RunMismatch as error:
            raise RunMismatch(error.what, ANOTHER_RUN) from error
        return Outcome(self, "was there" if report.skipped else "trained", report.folder, report.summary)

    def needs(self) -> list[EncoderJob]:
        """Return the encoders that have to be trained before it; none where it has finished, or can't be opened."""
        try:
            experiment = self.open()
            folder = run_folder(experiment, self.variant.name, self.seed)
            missing = {} if folder.finished else missing_encoders(experiment, self.seed)
        except DmmsaError:  # which its run meets, and tells
            return []
        return [EncoderJob(self, modality, folder.path) for modality, folder in missing.items()]

    def __str__(self) -> str:
        return f"{self.variant.title}, seed {self.seed}"


@dataclass(frozen=True)
class EncoderJob(Task):
    """An encoder that runs of a study share; its folder is named for all that decides it."""

    job: Job = field(compare=False)
    """The first run that needs it."""
    modality: str
    folder: Path

    def run(self, tell: Tell) -> Outcome[EncoderJob]:
        """Train it, or go on with it, or find that it was there."""
        experiment = self.job.open()
        report = pretrain_unimodal(
            experiment, self.modality, self.job.seed, watch=watch_encoder(self.job, experiment, self.modality, tell)
        )
        return Outcome(self, "was there" if report.skipped else "trained", report.folder, report.summary)

    def __str__(self) -> str:
        return str(self.job)


def watch_encoder(task: Task, experiment: Experiment, modality: str, tell: Tell) -> Watch:
    """Return a listener to the training of an encoder that a task needs."""
    epochs = experiment.pretraining.schedule(modality).epochs
    return watch(task, f"{MODALITY_NAMES[modality]} encoder", epochs, tell)


def watch(task: Task, what: str, epochs: int, tell: Tell) -> Watch:
    """Return a listener to a training that tells how far it is."""

    def listen(event: StepEnd | EpochEnd, progress: Progress) -> None:
        done = event.epoch if isinstance(event, EpochEnd) else event.epoch - 1 + event.step / event.steps
        tell(Step(task, what, done, epochs))

    return listen


@dataclass(frozen=True)
class Plan:
    """The runs of a study on a dataset."""

    jobs: list[Job]
    """The first seed of every variant, then the second: at any moment what is there can be compared."""
    left_out: dict[str, str]
    """Variants that make no sense on this dataset, and why."""


def plan(study: Study, place: Place, *, recipe: str | None = None, seeds: Sequence[int] = ()) -> Plan:
    """Say which runs a study needs; what can be known to be wrong is told before any of them begins.

    Args:
        study: its variants.
        place: dataset and folders.
        recipe: name or file of the recipe that the variants change; none takes the dataset's `dmmsa`.
        seeds: none takes the recipe's.

    Raises:
        DatasetMissing, InvalidRecipe, InvalidInput: in words for the user.
    """
    store = open_dataset(place.data_dir, place.dataset)
    left_out = {v.title: reason for v in study.variants if (reason := v.missing_on(store))}
    turns: dict[tuple[str, str, int], tuple[int, Job]] = {}  # by folder
    for variant in study.variants:
        if variant.title in left_out:
            continue
        try:
            chosen = recipe if variant.recipe is None else variant.recipe_beside(recipe or "dmmsa")
            experiment = _checked(Job(place, variant, chosen, seeds[0] if seeds else 0))
        except Inapplicable as error:
            left_out[variant.title] = error.what.removesuffix(".")
            continue
        for turn, seed in enumerate(seeds or experiment.recipe.seeds):
            folder = experiment.name, variant.name, seed
            if folder in turns:
                name = f"{experiment.name}/{variant.name}/seed-{seed}"
                raise InvalidInput(f"{name} would be run twice.", "Name each seed once, and each variant differently.")
            turns[folder] = turn, Job(place, variant, chosen, seed)
    if not turns:
        raise InvalidInput(f"No variant of the study makes sense on {place.dataset}.", "Choose another --study.")
    return Plan([job for _, job in sorted(turns.values(), key=lambda entry: entry[0])], left_out)


def _checked(job: Job) -> Experiment:
    try:
        experiment = job.open()
        check(experiment, job.variant.name, job.seed)
    except Inapplicable:
        raise
    except RecipeMissing as error:
        if isinstance(job.variant.recipe, dict):  # a partner that is not shipped for the dataset, of a variant of many
            raise Inapplicable(error.what, error.remedy) from error
        raise RecipeMissing(f"Variant {job.variant.title}: {error.what}", error.remedy) from error
    except InvalidRecipe as error:
        raise InvalidRecipe(f"Variant {job.variant.title}: {error.what}", error.remedy) from error
    except EncoderUnavailable as error:
        raise EncoderUnavailable(f"Variant {job.variant.title}: {error.what}", error.remedy) from error
    except InvalidInput as error:
        raise InvalidInput(f"Variant {job.variant.title}: {error.what}", "Give the variant another `name`.") from error
    return experiment


def ablate(
    jobs: Iterable[Job], *, tell: Callable[[Any], None] = lambda event: None, engine: Engine | None = None
) -> list[Outcome[Job]]:
    """Train what is not there yet, go on with what is unfinished, and keep going where a run fails.

    Args:
        jobs: the runs, in their order.
        tell: hears, in this process, what each run is at (`Step`, `Postponed`) and what became of it (`Outcome`).
        engine: what runs them; none runs one after the other, in this process.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the same call goes on.
    """
    outcomes = []
    with closing((engine or InTurn()).run(jobs, tell)) as coming:
        for outcome in coming:
            outcomes.append(outcome)
            tell(outcome)
    return outcomes
