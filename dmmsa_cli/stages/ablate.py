"""`dmmsa ablate`: every variant of a study with every seed; one failure is no reason to stop."""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as ready
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import torch

from dmmsa_cli.commands import to_go_on
from dmmsa_cli.data.folds import open_dataset
from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.errors import (
    EncoderUnavailable,
    Inapplicable,
    Interrupted,
    InvalidInput,
    InvalidRecipe,
    RecipeMissing,
    RunMismatch,
    as_dmmsa_error,
)
from dmmsa_cli.experiments.experiment import Experiment, open_experiment
from dmmsa_cli.experiments.studies import Study, Variant
from dmmsa_cli.runtime import DeviceName
from dmmsa_cli.stages.fuse import check, fuse
from dmmsa_cli.training.fit import Progress, Watch
from dmmsa_cli.training.loop import EpochEnd, StepEnd


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
class Job:
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

    def __str__(self) -> str:
        return f"{self.variant.title}, seed {self.seed}"


@dataclass(frozen=True)
class Step:
    """What a run is at."""

    job: Job
    what: str
    """`fusion`, or the encoder that has to be trained first."""
    done: float
    """Epochs."""
    epochs: int


@dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    job: Job
    state: Literal["trained", "was there", "failed", "stopped"]
    folder: Path | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    """Why it did not finish, and what to do about it."""


@dataclass(frozen=True)
class Plan:
    """The runs of a study on a dataset."""

    jobs: list[Job]
    """The first seed of every variant, then the second: at any moment what is there can be compared."""
    left_out: dict[str, str]
    """Variants that make no sense on this dataset, and why."""


Tell = Callable[[Step | Outcome], None]


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


def ablate(jobs: Sequence[Job], *, tell: Tell = lambda said: None, at_once: int = 1) -> list[Outcome]:
    """Train what is not there yet, go on with what is unfinished, and keep going where a run fails.

    Args:
        jobs: the runs, in their order.
        tell: hears, in this process, what each run is at and what became of it.
        at_once: how many run at a time; torch's threads are divided among them.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the same call goes on.
    """
    outcomes = []
    with closing(_side_by_side(jobs, tell, at_once) if at_once > 1 else _one_by_one(jobs, tell)) as coming:
        for outcome in coming:
            outcomes.append(outcome)
            tell(outcome)
            if outcome.state == "stopped":
                raise Interrupted(outcome.problem, to_go_on())
    return outcomes


def _one_by_one(jobs: Sequence[Job], tell: Tell) -> Generator[Outcome, None, None]:
    for job in jobs:
        yield run_job(job, tell)


def run_job(job: Job, tell: Tell) -> Outcome:
    """Train one run of a study, its missing encoders first."""
    try:
        experiment = job.open()
        report = fuse(
            experiment,
            job.variant.name,
            job.seed,
            watch=lambda: _watch(job, "fusion", experiment.recipe.fusion.epochs, tell),
            watch_pretraining=lambda m: _watch(
                job, f"{MODALITY_NAMES[m]} encoder", experiment.pretraining.schedule(m).epochs, tell
            ),
            resume=True,
        )
    except Interrupted as error:
        return Outcome(job, "stopped", problem=f"{job}, {error.what}")
    except KeyboardInterrupt:
        return Outcome(job, "stopped", problem=f"{job}; what was finished is kept.")
    except RunMismatch as error:
        remedy = "Give the variant another `name` in the study, or replace the run: delete its folder."
        return Outcome(job, "failed", problem=f"{error.what}\n{remedy}")
    except Exception as error:  # whatever it is, the other runs are not to blame
        known = as_dmmsa_error(error)
        if known is None:
            traceback.print_exc()
        return Outcome(job, "failed", problem=str(known or f"{type(error).__name__}: {error}"))
    return Outcome(job, "was there" if report.skipped else "trained", report.folder, report.summary)


def _watch(job: Job, what: str, epochs: int, tell: Tell) -> Watch:
    def watch(event: StepEnd | EpochEnd, progress: Progress) -> None:
        done = event.epoch if isinstance(event, EpochEnd) else event.epoch - 1 + event.step / event.steps
        tell(Step(job, what, done, epochs))

    return watch


# --- several at a time ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Running:
    job: Job
    process: BaseProcess
    pipe: Connection


def _side_by_side(jobs: Sequence[Job], tell: Tell, at_once: int) -> Generator[Outcome, None, None]:
    """Run each job in a process of its own, and yield outcomes as they come."""
    todo, running = list(jobs), dict[Connection, _Running]()
    threads = max(1, torch.get_num_threads() // at_once)
    try:
        while todo or running:
            while todo and len(running) < at_once:
                started = _start(todo.pop(0), threads)
                running[started.pipe] = started
            for pipe in ready(list(running)):
                assert isinstance(pipe, Connection)
                outcome = _hear(running[pipe], tell)
                if outcome is not None:
                    del running[pipe]
                    yield outcome
    except KeyboardInterrupt:
        under_way = "; ".join(str(each.job) for each in running.values()) or "before the first run"
        raise Interrupted(f"{under_way}; what was finished is kept.", to_go_on()) from None
    finally:  # stopped, failed or left by the caller: whatever still runs saves what it has
        _stop(list(running.values()))


def start_method(platform: str) -> str:
    """How a run's process begins: a server that has imported torch once forks it, which is safe on Linux alone."""
    return "forkserver" if platform == "linux" else "spawn"


def _start(job: Job, threads: int) -> _Running:
    context = multiprocessing.get_context(start_method(sys.platform))
    context.set_forkserver_preload([__name__])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run_alone, args=(job, threads, theirs))  # type: ignore[attr-defined]
    process.start()
    theirs.close()
    return _Running(job, process, ours)


def _run_alone(job: Job, threads: int, pipe: Connection) -> None:
    """What a process of its own does."""

    def tell(event: Step | Outcome) -> None:
        try:
            pipe.send(event)
        except OSError as error:
            raise Interrupted("the command that began the run is gone.") from error

    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C reaches the command alone, which then asks every run to stop, once
    torch.set_num_threads(threads)
    with suppress(Interrupted):
        tell(run_job(job, tell))


def _hear(running: _Running, tell: Tell) -> Outcome | None:
    """Take the next message of a run; an outcome is its last."""
    try:
        message = running.pipe.recv()
    except (EOFError, OSError):
        running.process.join()
        code = running.process.exitcode
        hint = " Where memory ran out, run fewer --jobs at a time." if code in (-9, 137) else ""
        return Outcome(running.job, "failed", problem=f"its process ended with status {code}.{hint}")
    if isinstance(message, Outcome):
        running.process.join()
        return message
    tell(message)
    return None


def _stop(running: Sequence[_Running]) -> None:
    """Ask every run to save what it has and to end, and wait for that; a further signal ends them at once."""
    left = {each.pipe: each.process for each in running}
    try:
        for process in left.values():
            process.terminate()
        while left:
            for pipe in ready(list(left)):
                assert isinstance(pipe, Connection)
                try:
                    pipe.recv()  # heard to the end: a full pipe would keep a run from saving
                except (EOFError, OSError):
                    left.pop(pipe).join()
    except KeyboardInterrupt:
        for process in left.values():
            process.kill()
