"""What systems say of videos that they have not seen: their runs on all folds of a dataset (`--folds`) together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from dmmsa_cli.data.folds import Fold, fold_named
from dmmsa_cli.data.prediction_table import metrics_of_tables
from dmmsa_cli.metrics import Metrics, Summary, summarise
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.series.scale import scale

ABOUT = (
    "Each clip of the training and validation splits is predicted by a run that has seen none of its video, and "
    "metrics are of all these predictions; no clip of the test split is among them. For choosing settings, not for "
    "comparing with published rows."
)


@dataclass(frozen=True)
class OnFolds:
    """A system trained on folds of a dataset: its runs differ in fold and seed alone."""

    parts: tuple[System, ...]
    """One for each fold that has been run, by its number; at least one."""

    @property
    def fold(self) -> Fold:
        """Any of them, for the dataset and how many there are."""
        return _fold(self.parts[0])

    @property
    def system(self) -> System:
        """All its runs, whatever their fold, as the notes under a table ask for them."""
        return System(tuple(run for part in self.parts for run in part.runs))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those that have all folds."""
        if len(self.parts) < self.fold.folds:
            return ()
        common = set.intersection(*(set(part.seeds) for part in self.parts))
        return tuple(sorted(common))

    @cached_property
    def summary(self) -> Summary:
        """Mean and sample standard deviation over the seeds, of metrics of all clips together."""
        return summarise([self._together(seed) for seed in self.seeds])

    def _together(self, seed: int) -> Metrics:
        runs = [run for part in self.parts for run in part.runs if run.seed == seed]
        tables, scores = (run.predictions for run in runs), scale(self.parts[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an undefined Corr is a dash
            return metrics_of_tables(tables, metrics=scores.metrics, score_range=scores.score_range)


def on_folds(systems: Sequence[System]) -> list[OnFolds]:
    """Put systems together that differ in their fold alone, in the order of their first ones."""
    found: dict[tuple[str, int, str, str, str], list[System]] = {}
    for system in systems:
        fold = _fold(system)
        alike = fold.dataset, fold.folds, system.recipe_name, system.variant, system.first.identity.across_folds
        found.setdefault(alike, []).append(system)
    return [OnFolds(tuple(sorted(parts, key=lambda part: _fold(part).number))) for parts in found.values()]


def _fold(system: System) -> Fold:
    fold = fold_named(system.dataset)
    assert fold is not None, "the collection keeps apart what is on folds"
    return fold
