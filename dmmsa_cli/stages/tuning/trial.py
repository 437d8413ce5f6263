"""One trial of a tuning: its runs one after the other, their course, and what they are scored by."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmmsa_cli.errors import InvalidRecipe, RunMismatch, TrainingDiverged
from dmmsa_cli.experiments.build import Fused
from dmmsa_cli.experiments.encoders import Encoders, encoder_folder
from dmmsa_cli.experiments.experiment import Experiment
from dmmsa_cli.experiments.measure import metrics_of
from dmmsa_cli.experiments.spaces import changes_of
from dmmsa_cli.files import exclusive, remove_partial, write_json
from dmmsa_cli.plain import from_json, read_json
from dmmsa_cli.stages.engines import Outcome, Task, Tell
from dmmsa_cli.stages.fuse import fuse
from dmmsa_cli.stages.runs import NeededEncoder, needed_encoders, watch, watch_encoder
from dmmsa_cli.stages.tuning.journal import ENDED, SCORES, Course, open_journal, pruner_of
from dmmsa_cli.stages.tuning.plan import Part, Tuning
from dmmsa_cli.training.fit import Progress
from dmmsa_cli.training.loop import EpochEnd, StepEnd
from dmmsa_cli.training.run import RunFolder

if TYPE_CHECKING:
    import optuna

TRIALS = "trials"  # folder of their runs
SCORE = "score.json"  # of a run: what it counts for
LARGE = ("weights.safetensors", "checkpoint.safetensors")  # of a run: what nobody needs once it has been scored

WHY_PRUNED = "stopped early"
WHY_DIVERGED = "diverged"
WHY_IMPOSSIBLE = "impossible"


@dataclass(frozen=True)
class Score:
    """What one run counts for."""

    mae: float
    """Of the validation split; with folds, of the clips of the videos that this fold keeps out."""
    clips: int
    """How many they are."""
    course: tuple[float, ...]
    """Validation MAE of every epoch."""


class _Pruned(Exception):  # noqa: N818  (it ends a training that went well)
    """A trial ends here."""


@dataclass(frozen=True)
class Trial(Task):
    """One trial; the same again goes on with it, and leaves alone one that has ended."""

    tuning: Tuning
    number: int
    wait: bool = False
    """For another process that is at it, and may be killed; otherwise it is that one's."""

    def __str__(self) -> str:
        return f"trial {self.number}"

    def run(self, tell: Tell) -> Outcome[Trial]:
        """Run what is left of it, and write in the journal how it ended.

        Raises:
            FolderBusy: another process is at it.
            Interrupted: stopped; the same again goes on.
            DmmsaError: what is no fault of what it tries, as a full disk; the same again goes on.
        """
        folder = self.tuning.folder / TRIALS / f"{self.number:04}"
        with exclusive(folder, wait=self.wait):
            study = open_journal(self.tuning.folder, pruner_of(self.tuning))
            if study.get_trials(deepcopy=False)[self.number].state.is_finished():
                return outcome_of(study, self, "was there")
            self._try(study, folder, tell)
            return outcome_of(study, self, "trained")

    def needs(self) -> list[NeededEncoder]:
        """Return the encoders that have to be trained before it; none where what it tries does not go together."""
        params = open_journal(self.tuning.folder).get_trials(deepcopy=False)[self.number].params
        changes = changes_of(self.tuning.space, params)
        parts = self.tuning.parts(self.tuning.seeds)
        needed = [needed_encoders(self, self.tuning.opening(part.dataset, changes), part.seed) for part in parts]
        return list(dict.fromkeys(chain.from_iterable(needed)))

    def _try(self, study: optuna.Study, folder: Path, tell: Tell) -> None:
        try:
            scores = self._scores(study, folder, tell)
        except _Pruned:
            _end(study, self.number, folder, WHY_PRUNED)
        except TrainingDiverged as error:
            _end(study, self.number, folder, WHY_DIVERGED, error.what)
        except InvalidRecipe as error:  # its parts are sound, but do not go together
            _end(study, self.number, folder, WHY_IMPOSSIBLE, error.what)
        else:
            _set(study, self.number, SCORES, scores)
            study.tell(self.number, float(np.mean(scores)))

    def _scores(self, study: optuna.Study, folder: Path, tell: Tell) -> list[float]:
        """Return the score of every seed."""
        params = study.get_trials(deepcopy=False)[self.number].params
        changes = changes_of(self.tuning.space, params)
        epochs = self.tuning.open(self.tuning.datasets[0], changes).recipe.fusion.epochs
        course = Course(study, self.number, epochs, self.tuning.longest())
        parts, found = self.tuning.parts(self.tuning.seeds), list[Score]()
        for place, part in enumerate(parts, 1):
            what = f"run {place} of {len(parts)}"

            def follow(maes: Sequence[float]) -> None:
                if course.follow(maes):
                    raise _Pruned

            found.append(run_part(self.tuning, changes, part, folder / f"run-{place}", self, what, tell, follow))
            if course.follow(found[-1].course, over=True) and place < len(parts):
                raise _Pruned
        return by_seed(parts, found)


def outcome_of(study: optuna.Study, trial: Trial, state: Any) -> Outcome[Trial]:  # noqa: ANN401  (one of Outcome's)
    """Return what became of a trial that has ended: `value`, `scores` by seed, `params`; `ended`, if that was early."""
    found = study.get_trials(deepcopy=False)[trial.number]
    ended, scores = found.user_attrs.get(ENDED, {}), found.user_attrs.get(SCORES, [])
    value = found.value if scores else None
    return Outcome(
        trial, state, summary={"value": value, "params": found.params, SCORES: scores, ENDED: ended.get("why", "")}
    )


def end_trial(tuning: Tuning, number: int, why: str, problem: str) -> None:
    """Write in the journal that a trial came to an end before its time; one that has ended stays as it did."""
    folder, study = tuning.folder / TRIALS / f"{number:04}", open_journal(tuning.folder)
    with exclusive(folder, wait=True):
        if not study.get_trials(deepcopy=False)[number].state.is_finished():
            _end(study, number, folder, why, problem)


def _end(study: optuna.Study, number: int, folder: Path, why: str, problem: str = "") -> None:
    from optuna.trial import TrialState

    _set(study, number, ENDED, {"why": why, "problem": problem})
    for run in folder.glob("run-*"):
        _drop_large(run)
    study.tell(number, state=TrialState.PRUNED)


@dataclass(frozen=True)
class Check(Task):
    """A run of the best trial's recipe, or of the starting one, beside the trials."""

    tuning: Tuning
    number: int | None
    """Of the trial; none for the starting recipe."""
    params: tuple[tuple[str, Any], ...]
    part: Part

    def __str__(self) -> str:
        return f"{'the starting recipe' if self.number is None else f'trial {self.number}'} with seed {self.part.seed}"

    @property
    def folder(self) -> Path:
        """Where it lies."""
        whose = "start" if self.number is None else f"trial-{self.number:04}"
        return self.tuning.folder / "checks" / whose / f"{self.part.dataset}-{self.part.seed}"

    def run(self, tell: Tell) -> Outcome[Check]:
        """Run it, or what is left of it; another process that is at it is waited for."""
        changes = changes_of(self.tuning.space, dict(self.params))
        with exclusive(self.folder, wait=True):
            was_there = (self.folder / "run" / SCORE).exists()
            score = run_part(self.tuning, changes, self.part, self.folder / "run", self, "fusion", tell)
        state: Any = "was there" if was_there else "trained"
        return Outcome(self, state, summary={"mae": score.mae, "clips": score.clips})


# --- one run ---------------------------------------------------------------------------------------------------------


def run_part(
    tuning: Tuning,
    changes: Mapping[str, Any],
    part: Part,
    folder: Path,
    job: Task,
    what: str,
    tell: Tell,
    follow: Callable[[Sequence[float]], None] = lambda maes: None,
) -> Score:
    """Train one run, score it, and keep nothing large of it; one that has been scored is not trained again.

    Args:
        tuning: whose it is.
        changes: to the starting recipe, by dotted path.
        part: dataset or fold, and seed.
        folder: of the run.
        job: what is told of it.
        what: what it is called there.
        tell: hears of every step.
        follow: hears the validation MAE of the epochs so far, after each of them.
    """
    if (score := _kept(folder)) is None:
        experiment = tuning.open(part.dataset, changes)
        told = watch(job, what, experiment.recipe.fusion.epochs, tell)

        def listen(event: StepEnd | EpochEnd, progress: Progress) -> None:
            told(event, progress)
            if isinstance(event, EpochEnd):
                follow(_maes(progress.log))

        follow(_logged(folder))  # a kill may have come between an epoch and its judgement
        fuse(
            experiment,
            folder.parent.name,
            part.seed,
            watch=lambda: listen,
            watch_pretraining=lambda m: watch_encoder(job, experiment, m, tell),
            resume=True,
            folder=folder,
        )
        score = _scored(experiment, part, RunFolder(folder), held_out=tuning.folds is not None)
        write_json(folder / SCORE, vars(score))
    _drop_large(folder)
    return score


def by_seed(parts: Sequence[Part], scores: Sequence[Score]) -> list[float]:
    """Return the MAE of every seed over the clips of all its runs together."""
    seeds = list(dict.fromkeys(part.seed for part in parts))
    own = [[score for part, score in zip(parts, scores, strict=True) if part.seed == seed] for seed in seeds]
    return [sum(one.mae * one.clips for one in runs) / sum(one.clips for one in runs) for runs in own]


def _scored(experiment: Experiment, part: Part, run: RunFolder, *, held_out: bool) -> Score:
    """Score a finished run; what a fold keeps out are videos of the training and validation splits."""
    course = tuple(_logged(run.path))
    if not held_out:
        return Score(min(course), experiment.store.manifest.rows["valid"], course)
    encoders = {m: encoder_folder(experiment, m, part.seed) for m in experiment.pretrained}
    fused = Fused(Encoders(experiment, run, part.seed, encoders))
    mae = metrics_of(experiment, fused.finished(), fused.inputs.split("test"), of=str(run.path))["mae"]
    return Score(float(mae), experiment.store.manifest.rows["test"], course)


def _logged(folder: Path) -> list[float]:
    """Return the validation MAE of every epoch in a run's log; none where it has not begun."""
    path = folder / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return _maes([from_json(line) for line in lines])


def _maes(log: Sequence[Mapping[str, Any]]) -> list[float]:
    maes = [line["validation"]["mae"] for line in log]
    return [math.inf if mae is None else float(mae) for mae in maes]


def _kept(folder: Path) -> Score | None:
    path = folder / SCORE
    if not path.exists():
        return None
    try:
        values = read_json(path)
        return Score(float(values["mae"]), int(values["clips"]), tuple(map(float, values["course"])))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RunMismatch(
            f"{path} is damaged: {error}", "Delete it and its folder, and the run is trained anew."
        ) from error


def _set(study: optuna.Study, number: int, name: str, value: Any) -> None:  # noqa: ANN401
    from optuna.trial import Trial as Asked

    Asked(study, study.get_trials(deepcopy=False)[number]._trial_id).set_user_attr(name, value)


def _drop_large(run: Path) -> None:
    """Keep nothing large of a run, nor what kills have left of it: nobody writes there again; the caller holds it."""
    remove_partial(run)
    for name in LARGE:
        (run / name).unlink(missing_ok=True)
    shutil.rmtree(run / "text", ignore_errors=True)
