"""Optuna's study in a file of JSON lines, which several processes read and write.

A trial is one line when it begins, with all that it tries, so that a kill leaves it whole or not at all; what is tried
follows from the seed, the trial's number and the trials before it. A lock of the system's goes with the process that
holds it, where Optuna's own would keep the others waiting; a last line that a crash cut off is taken away.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from dmmsa_cli.errors import PackageMissing, RunMismatch
from dmmsa_cli.experiments.spaces import Space
from dmmsa_cli.files import exclusive
from dmmsa_cli.ranges import Choices, Range
from dmmsa_cli.stages.tuning.names import INSTALL, JOURNAL
from dmmsa_cli.stages.tuning.plan import Tuning

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.storages.journal import JournalFileOpenLock
    from optuna.trial import FrozenTrial

STUDY = "tuning"
ENDED = "ended"  # attribute of a trial: why, where that was before its time
SCORES = "scores"  # attribute of a trial that was scored: by seed
STARTUP = 5  # trials that are trained to their end before any is measured by them


def check_installed() -> None:
    """See that Optuna is there.

    Raises:
        PackageMissing: it is not; the message says how to get it.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise PackageMissing("Tuning needs Optuna, which is not installed.", INSTALL) from error


def open_journal(folder: Path, pruner: optuna.pruners.BasePruner | None = None) -> optuna.Study:
    """Open the study in a folder to go on with it; a new one where there is none.

    Raises:
        RunMismatch: its journal is damaged.
    """
    from optuna.storages.journal import JournalFileOpenLock

    class Lock(JournalFileOpenLock):
        """The system's own lock, in the place of one that outlives its process."""

        def __init__(self, path: Path) -> None:
            self._own = FileLock(f"{path}.lock")

        def acquire(self) -> bool:
            self._own.acquire()
            return True

        def release(self) -> None:
            self._own.release()

    path = folder / JOURNAL
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(path)
    lock.acquire()
    try:
        _mend(path)
    finally:
        lock.release()
    return _study(path, lock, pruner)


def read_journal(folder: Path) -> optuna.Study:
    """Open the study in a folder to look at it: nothing is written, so that it may be an archive.

    Raises:
        RunMismatch: its journal is damaged, or has not begun.
    """
    return _study(folder / JOURNAL, None, None)


def _study(path: Path, lock: JournalFileOpenLock | None, pruner: optuna.pruners.BasePruner | None) -> optuna.Study:
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
        if lock is None or storage.get_all_studies():
            return optuna.load_study(study_name=STUDY, storage=storage, pruner=pruner)
        return optuna.create_study(
            study_name=STUDY, storage=storage, pruner=pruner, direction="minimize", load_if_exists=True
        )
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise RunMismatch(
            f"{path} is damaged: {error}", "Tune anew: delete the folder, or give another --name."
        ) from error


def _mend(path: Path) -> None:
    """Take away a last line without an end: what was being written when the machine went down."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)


# --- what is tried ---------------------------------------------------------------------------------------------------


def begin_trial(tuning: Tuning, wanted: int) -> int | None:
    """Begin the next trial and return its number; none where as many as wanted have begun.

    The first is the starting recipe, where it lies in the space.
    """
    from optuna.trial import TrialState, create_trial

    with exclusive(tuning.folder, wait=True):
        study = open_journal(tuning.folder)
        trials = study.get_trials(deepcopy=False)
        number = len(trials)
        if number >= wanted:
            return None
        start = tuning.start() if number == 0 else None
        params = _sampled(tuning, trials) if start is None else start
        study.add_trial(
            create_trial(state=TrialState.RUNNING, params=params, distributions=distributions(tuning.space))
        )
        return number


def _sampled(tuning: Tuning, trials: Iterable[FrozenTrial]) -> dict[str, Any]:
    """Draw what the next trial tries: of the trials so far, the seed and its number alone."""
    import numpy as np
    import optuna

    earlier = list(trials)
    seed = np.random.SeedSequence([tuning.seed, len(earlier)]).generate_state(1)[0]
    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=int(seed)))
    study.add_trials(earlier)
    return study.ask(distributions(tuning.space)).params


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return a space as Optuna knows it; choices go by their text."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    def of(what: Range | Choices) -> BaseDistribution:
        if isinstance(what, Choices):
            return CategoricalDistribution(what.names)
        if isinstance(what.low, int) and isinstance(what.high, int):
            return IntDistribution(what.low, what.high, log=what.log, step=int(what.step or 1))
        return FloatDistribution(what.low, what.high, log=what.log, step=what.step)

    return {key: of(what) for key, what in space.items()}


# --- what is made of it ----------------------------------------------------------------------------------------------


def pruner_of(tuning: Tuning) -> optuna.pruners.BasePruner:
    """Return what ends a trial early: worse than half of those that were trained to their end, at the same step.

    Before half of the first run nobody is judged: the rate is still warming up then.
    """
    import optuna

    return optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=math.ceil(tuning.longest() / 2))


def unfinished(study: optuna.Study) -> list[int]:
    """Return the numbers of trials that have begun and not ended."""
    return [trial.number for trial in study.get_trials(deepcopy=False) if not trial.state.is_finished()]


class Course:
    """The course of one trial: the mean over its runs of the lowest validation MAE, step by step.

    A run that is over stands for its best epoch, the one under way for the best so far. Steps are epochs of the longest
    run that a trial may have: a run of fewer takes more of them at a time, so that at a step all trials have gone
    through the same runs and the same share of a schedule. What a trial is measured by is its value at the step, not
    the lowest it ever had, which is the first run's where that was a lucky one.

    Args:
        study: where the steps are kept, with its pruner.
        number: of the trial.
        epochs: of each of its runs.
        longest: epochs of the longest run that a trial may have.
    """

    def __init__(self, study: optuna.Study, number: int, epochs: int, longest: int) -> None:
        from optuna.trial import Trial

        self.study, self.number, self.epochs, self.longest = study, number, epochs, longest
        frozen = study.get_trials(deepcopy=False)[number]
        self._trial, self._kept = Trial(study, frozen._trial_id), set(frozen.intermediate_values)
        self._judged = max(self._kept, default=0) - 1  # a kill may have come between the last step and its judgement
        self._over: list[float] = []  # the best of each run that is over

    def follow(self, maes: Sequence[float], *, over: bool = False) -> bool:
        """Take note of the run under way, and say whether the trial is to end here.

        Args:
            maes: validation MAE of its epochs so far.
            over: whether there come no more.
        """
        ends = any(self._reaches(*step) for step in self._steps(maes, over))
        if over:
            self._over.append(min(maes))
        return ends

    def _steps(self, maes: Sequence[float], over: bool) -> Iterator[tuple[int, float, bool]]:
        """Yield step, value, and whether it is an epoch's own; steps between two epochs are where the earlier was."""
        begin = before = len(self._over) * self.longest
        best = math.inf
        for epoch, mae in enumerate(maes, 1):
            step = begin + self.longest * epoch // self.epochs
            yield from ((passed, self._mean(best), False) for passed in range(before + 1, step))
            best, before = min(best, mae), step
            yield step, self._mean(best), True
        if over and before < begin + self.longest:
            yield from ((passed, self._mean(best), True) for passed in range(before + 1, begin + self.longest + 1))

    def _mean(self, best: float) -> float:
        return (sum(self._over) + best) / (len(self._over) + 1)

    def _reaches(self, step: int, value: float, judged: bool) -> bool:
        if step <= self._judged or not math.isfinite(value):
            return False
        if step not in self._kept:
            self._trial.report(value, step)
            self._kept.add(step)
        self._judged = step
        return judged and self._is_worse(step)

    def _is_worse(self, step: int) -> bool:
        frozen = self.study.get_trials()[self.number]
        frozen.intermediate_values = {step: frozen.intermediate_values[step]}
        return self.study.pruner.prune(self.study, frozen)
