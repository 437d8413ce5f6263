"""What lies in a folder of runs: everything is read and checked here, so that nothing later stumbles over it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmmsa_cli.data.folds import fold_named, whole_of
from dmmsa_cli.errors import RunMismatch, RunMissing
from dmmsa_cli.experiments.identity import Identity, check_place, identity_in
from dmmsa_cli.experiments.systems import by_system
from dmmsa_cli.metrics import Metrics
from dmmsa_cli.plain import from_json, read_json
from dmmsa_cli.reporting.results import COLUMNS, emotion_columns, emotions_of
from dmmsa_cli.reporting.runs import SPLIT, Run, System, evaluate_again
from dmmsa_cli.training.run import MADE_FROM, RunFolder, by_seed, trains_again

METRIC_NAMES = [{metric for column in columns for metric in column.metrics} for columns in COLUMNS.values()]


@dataclass(frozen=True)
class Collection:
    """All that lies in a folder of runs."""

    systems: list[System] = field(default_factory=list)
    folds: list[System] = field(default_factory=list)
    """Systems on folds of a dataset, each on one: no others of that dataset stand beside them."""
    unfinished: list[Path] = field(default_factory=list)
    """Runs that have begun and not ended."""
    diverged: list[Path] = field(default_factory=list)
    """Runs that have begun, and whose training diverged: to go on would mean the same again."""
    unevaluated: list[Path] = field(default_factory=list)
    """Finished runs that `dmmsa evaluate` has not seen."""
    damaged: list[RunMismatch] = field(default_factory=list)
    """Runs that can't be read, each told with what to do about it."""
    stale: list[RunMismatch] = field(default_factory=list)
    """Why what was found of runs on incomplete clips can't be shown; the runs themselves are."""


def collect(runs_dir: Path, dataset: str | None = None) -> Collection:
    """Read every run of a fused model below `runs_dir`, or those of one dataset; what can't be read is told."""
    found, runs = Collection(), list[Run]()
    begun = {path.parent for name in ("recipe.yaml", "summary.json") for path in runs_dir.glob(f"*/*/*/seed-*/{name}")}
    for folder in sorted(begun, key=by_seed):
        if dataset not in (None, folder.parents[2].name, whole_of(folder.parents[2].name)):
            continue
        if not (folder / "summary.json").exists():
            (found.diverged if RunFolder(folder).diverged else found.unfinished).append(folder)
            continue
        try:
            runs.append(read_run(RunFolder(folder)))
        except RunMissing:
            found.unevaluated.append(folder)
        except RunMismatch as error:
            found.damaged.append(error)
    groups = by_system(runs, lambda run: run.identity, lambda run: f"{run.facts['recipe']}/{run.facts['variant']}")
    for system in (System(tuple(group)) for group in groups):
        (found.folds if fold_named(system.dataset) else found.systems).append(system)
    return found


def read_run(folder: RunFolder) -> Run:
    """Read a finished run.

    Raises:
        RunMissing: it has not been evaluated on the test split.
        RunMismatch: a file of it is damaged, it lies in the folder of another, or it has been trained anew since it was
            evaluated.
    """
    if not folder.started:
        raise RunMismatch(f"{folder.path / 'recipe.yaml'} is missing.", trains_again(folder.path))
    check_place(folder)
    identity, facts, summary = identity_in(folder), folder.environment, folder.summary
    log = _log(folder.path)
    metrics, made_from = _measured(folder, identity, summary)
    return Run(
        folder=folder.path,
        identity=identity,
        facts=facts,
        log=log,
        summary=summary,
        metrics=metrics.pop("fused"),
        alone=metrics,
        made_from=made_from,
        machines=_machines(folder, facts),
    )


def _machines(folder: RunFolder, facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    resumed = facts.get("resumed", [])
    encoders = [folder.path.parents[2] / "encoders" / name / "environment.json" for name in facts["encoders"].values()]
    return [facts, *(resumed if isinstance(resumed, list) else []), *filter(None, map(_environment, encoders))]


def _environment(path: Path) -> dict[str, Any] | None:
    try:
        values = read_json(path)
    except (OSError, ValueError):
        return None  # whether an encoder is gone is evaluation's to tell
    return values if isinstance(values, dict) else None


def _measured(
    folder: RunFolder, identity: Identity, summary: Mapping[str, Any]
) -> tuple[dict[str, Metrics], dict[str, str]]:
    """Read metrics.json: what was found on the test split, and the hashes of what it was found with."""
    path, again = folder.path / "metrics.json", evaluate_again(folder.path)
    if not path.exists():
        raise RunMissing(f"{folder.path} has not been evaluated.", again)
    try:
        values = read_json(path)
    except (OSError, ValueError) as error:
        raise RunMismatch(f"{path} is damaged: {error}", again) from error
    if isinstance(values, dict) and (SPLIT not in values or MADE_FROM not in values):
        raise RunMissing(f"{folder.path} has not been evaluated on the {SPLIT} split by this dmmsa.", again)
    try:
        measured = {
            name: {metric: float("nan") if value is None else float(value) for metric, value in metrics.items()}
            for name, metrics in values[SPLIT].items()
        }
        made_from = {name: str(values[MADE_FROM][SPLIT][name]) for name in ("weights", "data")}
        whole = "fused" in measured and all(map(_are_whole, measured.values()))
    except (AttributeError, LookupError, TypeError, ValueError):
        whole = False
    if not whole:
        raise RunMismatch(f"{path} is damaged: it lacks metrics, or one is no number.", again)
    if made_from != {"weights": summary.get("weights") or folder.weights_hash(), "data": identity.data_hash}:
        raise RunMismatch(f"{path} was measured on other weights or data than the run now has.", again)
    return measured, made_from


def _are_whole(metrics: Metrics) -> bool:
    """Whether all metrics of a set are there, and of emotions, if any, all too."""
    named = emotions_of(metrics)
    further = {metric for column in emotion_columns(named) for metric in column.metrics} if named else set()
    return further <= metrics.keys() and metrics.keys() - further in METRIC_NAMES


def _log(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    try:
        lines = [from_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
        numbers = [n for line in lines for part in ("losses", "weights") for n in line[part].values()]
        maes = [line["validation"]["mae"] for line in lines]
        math.fsum([*numbers, *(mae for mae in maes if mae is not None), *(line["epoch"] for line in lines)])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise RunMismatch(f"{path} is damaged: {error}", trains_again(folder)) from error
    if all(mae is None for mae in maes):
        raise RunMismatch(f"{path} is damaged: no epoch has a validation MAE.", trains_again(folder))
    return lines
