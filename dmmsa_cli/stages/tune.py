"""`dmmsa tune`: look for a better recipe by its validation score, and say how much of the gain is luck."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmmsa_cli.commands import to_go_on
from dmmsa_cli.errors import DmmsaError, FolderBusy, Interrupted, OutOfMemory, RunMissing
from dmmsa_cli.files import exclusive, write_json
from dmmsa_cli.stages.engines import Engine, InTurn, Outcome, Tell
from dmmsa_cli.stages.tuning.journal import (
    ENDED,
    SCORES,
    begin_trial,
    check_installed,
    open_journal,
    unfinished,
)
from dmmsa_cli.stages.tuning.luck import Luck
from dmmsa_cli.stages.tuning.names import JOURNAL, RESULT
from dmmsa_cli.stages.tuning.plan import Tuning, settle
from dmmsa_cli.stages.tuning.recipe_file import Found, target_of, write_recipe
from dmmsa_cli.stages.tuning.trial import Check, Score, Trial, by_seed, end_trial, outcome_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

SCORED = "scored"
FAILED = "failed"


@dataclass(frozen=True)
class Tuned:
    """What came of a tuning."""

    found: Found
    recipe_file: Path
    problems: list[str] = field(default_factory=list)
    """Of trials that failed, each in words."""


def tune(
    tuning: Tuning,
    trials: int,
    *,
    out: Path | None = None,
    engine: Engine | None = None,
    tell: Tell = lambda event: None,
) -> Tuned:
    """Try as many settings as wanted, check the best with fresh seeds, and write its recipe.

    What is there already counts; another process that tunes the same shares the work.

    Args:
        tuning: what is tuned.
        trials: how many are wanted in all.
        out: file of the recipe; none puts it beside the journal.
        engine: what runs the trials; none runs one after the other, here.
        tell: hears, in this process, what each trial is at and what became of it.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the same call goes on.
        RunMismatch: the folder holds another tuning.
        RunMissing: no trial could be scored.
        PackageMissing: Optuna is not installed.
        InvalidInput: the file of the recipe is another one.
    """
    check_installed()
    path, engine = target_of(tuning, out), engine or InTurn()
    with exclusive(tuning.folder, wait=True):
        known = settle(tuning)
    problems = _run_trials(tuning, trials, engine, tell)
    best = _best(tuning)
    found = Found(
        number=best.number,
        params=best.params,
        counts=_counts(tuning),
        luck=_luck(tuning, best, engine, tell),
        fresh_seeds=tuning.fresh_seeds,
    )
    write_recipe(tuning, known, found, path)
    write_json(tuning.folder / RESULT, {**asdict(found), "recipe_file": str(path.resolve())})
    return Tuned(found, path, problems)


def so_far(tuning: Tuning) -> list[Outcome[Trial]]:
    """Return what has become of the trials that have ended; none where there is no such tuning yet."""
    if not (tuning.folder / JOURNAL).exists():
        return []
    study = open_journal(tuning.folder)
    ended = [trial.number for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    return [outcome_of(study, Trial(tuning, number), "was there") for number in ended]


# --- trials ----------------------------------------------------------------------------------------------------------


def _run_trials(tuning: Tuning, wanted: int, engine: Engine, tell: Tell) -> list[str]:
    """Run trials until as many as wanted have ended; return what is to be said of those that failed.

    First those that a kill left, then new ones; at last those of other processes, which may be killed too, and once
    more those that failed for what may have been the machine's doing.
    """
    _all(engine, _coming(tuning, wanted), tell)
    failed = _all(engine, (Trial(tuning, number, wait=True) for number in _left(tuning)), tell)
    for outcome in failed:
        end_trial(tuning, outcome.job.number, FAILED, outcome.problem)
    return [f"{outcome.job}: {outcome.problem}" for outcome in failed]


def _left(tuning: Tuning) -> list[int]:
    return unfinished(open_journal(tuning.folder))


def _coming(tuning: Tuning, wanted: int) -> Iterator[Trial]:
    for number in _left(tuning):
        yield Trial(tuning, number)
    while (begun := begin_trial(tuning, wanted)) is not None:
        yield Trial(tuning, begun)


def _all(engine: Engine, tasks: Iterable[Any], tell: Tell) -> list[Outcome[Any]]:
    """Run tasks to their end, and return those that failed but for another process that is at it.

    Raises:
        Interrupted: stopped.
        DmmsaError: what the other tasks would meet too, as a full disk.
    """
    failed = []
    with closing(engine.run(tasks, tell)) as coming:
        for outcome in coming:
            if outcome.state == "stopped":
                raise Interrupted(outcome.problem, to_go_on())
            if outcome.state == "failed" and outcome.cause is not FolderBusy:
                if outcome.cause is not None and not issubclass(outcome.cause, OutOfMemory):
                    raise DmmsaError(f"{outcome.job}: {outcome.problem}", to_go_on())
                failed.append(outcome)
            tell(outcome)
    return failed


def _trials(tuning: Tuning) -> list[FrozenTrial]:
    return open_journal(tuning.folder).get_trials(deepcopy=False)


def _counts(tuning: Tuning) -> dict[str, int]:
    ended = Counter(trial.user_attrs.get(ENDED, {}).get("why", SCORED) for trial in _trials(tuning))
    return {SCORED: ended.pop(SCORED, 0), **ended}


def _best(tuning: Tuning) -> FrozenTrial:
    scored = [trial for trial in _trials(tuning) if SCORES in trial.user_attrs and trial.value is not None]
    if not scored:
        problems = {trial.user_attrs.get(ENDED, {}).get("problem", "") for trial in _trials(tuning)}
        raise RunMissing(
            f"None of {len(_trials(tuning))} trials could be scored. {' '.join(sorted(filter(None, problems))[:3])}",
            "Give a narrower --space, and another --name.",
        )
    return min(scored, key=lambda trial: (trial.value, trial.number))


# --- how much of it is luck ------------------------------------------------------------------------------------------


def _luck(tuning: Tuning, best: FrozenTrial, engine: Engine, tell: Tell) -> Luck:
    """Score the best trial's recipe and the starting one with fresh seeds, the latter with the trials' own too."""
    start, first = tuning.start(), _trials(tuning)[0]
    start_own = first.user_attrs.get(SCORES) if first.params == start else None
    found = _Recipe(None if best.params == start else best.number, best.params)
    shipped, fresh = _Recipe(None, {}), tuning.fresh_seeds
    wanted = [*found.checks(tuning, fresh), *shipped.checks(tuning, fresh)]
    wanted += [] if start_own else shipped.checks(tuning, tuning.seeds)
    scores = _checked(list(dict.fromkeys(wanted)), engine, tell)

    def of(recipe: _Recipe, seeds: Sequence[int]) -> tuple[float, ...]:
        return tuple(by_seed(tuning.parts(seeds), [scores[check] for check in recipe.checks(tuning, seeds)]))

    own = tuple(best.user_attrs[SCORES])
    return Luck(own, tuple(start_own or of(shipped, tuning.seeds)), of(found, fresh), of(shipped, fresh))


@dataclass(frozen=True)
class _Recipe:
    number: int | None
    """Of its trial; none for the starting recipe."""
    params: Mapping[str, Any]

    def checks(self, tuning: Tuning, seeds: Sequence[int]) -> list[Check]:
        params = () if self.number is None else tuple(self.params.items())
        return [Check(tuning, self.number, params, part) for part in tuning.parts(seeds)]


def _checked(checks: Sequence[Check], engine: Engine, tell: Tell) -> dict[Check, Score]:
    """Run the checks, and return what each counts for.

    Raises:
        DmmsaError: one failed, so that nothing can be said.
    """
    scores: dict[Check, Score] = {}

    def hear(event: object) -> None:
        if isinstance(event, Outcome) and event.summary:
            scores[event.job] = Score(event.summary["mae"], event.summary["clips"], ())
        tell(event)

    for failed in _all(engine, checks, hear):
        raise DmmsaError(f"{failed.job}: {failed.problem}", to_go_on())
    return scores
