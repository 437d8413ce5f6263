"""What lies in a folder of runs: everything is read and checked here, so that nothing later stumbles over it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmmsa_cli.data.specs import MODALITIES
from dmmsa_cli.errors import InvalidRecipe, RunMismatch, RunMissing
from dmmsa_cli.metrics import Metrics
from dmmsa_cli.recipe import to_dict
from dmmsa_cli.reporting.results import COLUMNS
from dmmsa_cli.reporting.runs import SPLIT, Run, System, evaluate_again
from dmmsa_cli.stages.recipes import from_values
from dmmsa_cli.training.run import RunFolder

METRIC_NAMES = [{metric for column in columns for metric in column.metrics} for columns in COLUMNS.values()]


@dataclass(frozen=True)
class Collection:
    """All that lies in a folder of runs."""

    systems: list[System] = field(default_factory=list)
    unfinished: list[Path] = field(default_factory=list)
    """Runs that have begun and not ended."""
    unevaluated: list[Path] = field(default_factory=list)
    """Finished runs that `dmmsa evaluate` has not seen."""
    damaged: list[RunMismatch] = field(default_factory=list)
    """Runs that can't be read, each told with what to do about it."""


def collect(runs_dir: Path, dataset: str | None = None) -> Collection:
    """Read every run of a fused model below `runs_dir`, or those of one dataset; what can't be read is told."""
    found = Collection()
    groups: dict[str, list[Run]] = {}
    begun = {path.parent for name in ("recipe.yaml", "summary.json") for path in runs_dir.glob(f"*/*/*/seed-*/{name}")}
    for folder in sorted(begun, key=_by_seed):
        if dataset not in (None, folder.parents[2].name):
            continue
        if not (folder / "summary.json").exists():
            found.unfinished.append(folder)
            continue
        try:
            run = read_run(RunFolder(folder))
        except RunMissing:
            found.unevaluated.append(folder)
        except RunMismatch as error:
            found.damaged.append(error)
        else:
            groups.setdefault(_identity(run), []).append(run)
    found.systems.extend(System(tuple(sorted(runs, key=lambda run: run.seed))) for runs in groups.values())
    return found


def read_run(run: RunFolder) -> Run:
    """Read a finished run.

    Raises:
        RunMissing: it has not been evaluated on the test split.
        RunMismatch: a file of it is damaged, or it lies in the folder of another.
    """
    if not run.started:
        raise RunMismatch(f"{run.path / 'recipe.yaml'} is missing.", _TRAIN)
    facts = run.environment
    _check_facts(run.path, facts)
    try:
        recipe = to_dict(from_values(run.recipe, str(run.path / "recipe.yaml")))
    except InvalidRecipe as error:
        raise RunMismatch(f"{error.what}", _TRAIN) from error
    summary, log = run.summary, _log(run.path)
    if not (run.path / "metrics.json").exists():
        raise RunMissing(f"{run.path} has not been evaluated.", evaluate_again(run.path))
    measured = _measured(run.path)
    return Run(
        folder=run.path,
        facts=facts,
        recipe=recipe,
        log=log,
        summary=summary,
        metrics=measured.pop("fused"),
        alone=measured,
    )


def _check_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """A copied folder, or an edited environment.json, must not pass for a run of its own."""
    *_, dataset, recipe, variant, seed = folder.absolute().parts  # not resolved: any of them may be a link
    expected = {"dataset": dataset, "recipe": recipe, "variant": variant, "seed": seed.removeprefix("seed-")}
    for name, value in expected.items():
        if str(facts[name]) != value:
            raise RunMismatch(
                f"{folder} lies where {name} is {value}, but its environment.json says {facts[name]}.",
                "Move a copy out of the folder of runs; a damaged run is to be trained again.",
            )
    kinds = {"encoders": dict, "encoder_hashes": dict, "modalities": list, "synthetic": bool, "from_scratch": bool}
    wrong = [name for name, kind in kinds.items() if not isinstance(facts.get(name), kind)]
    if wrong or not isinstance(facts.get("source", {}), dict) or not {*facts["modalities"]} <= {*MODALITIES}:
        raise RunMismatch(
            f"{folder / 'environment.json'} is damaged: see {', '.join(wrong) or 'source, modalities'}.", _TRAIN
        )


def _measured(folder: Path) -> dict[str, Metrics]:
    path = folder / "metrics.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunMismatch(f"{path} is damaged: {error}", evaluate_again(folder)) from error
    if isinstance(values, dict) and SPLIT not in values:
        raise RunMissing(f"{folder} has not been evaluated on the {SPLIT} split.", evaluate_again(folder))
    try:
        measured = {
            name: {metric: float("nan") if value is None else float(value) for metric, value in metrics.items()}
            for name, metrics in values[SPLIT].items()
        }
        whole = "fused" in measured and all(metrics.keys() in METRIC_NAMES for metrics in measured.values())
    except (AttributeError, TypeError, ValueError):
        whole = False
    if not whole:
        raise RunMismatch(f"{path} is damaged: it lacks metrics, or one is no number.", evaluate_again(folder))
    return measured


def _log(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        numbers = [n for line in lines for part in ("losses", "weights") for n in line[part].values()]
        maes = [line["validation"]["mae"] for line in lines]
        math.fsum([*numbers, *(mae for mae in maes if mae is not None), *(line["epoch"] for line in lines)])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise RunMismatch(f"{path} is damaged: {error}", _TRAIN) from error
    if all(mae is None for mae in maes):
        raise RunMismatch(f"{path} is damaged: no epoch has a validation MAE.", _TRAIN)
    return lines


def _identity(run: Run) -> str:
    """What two runs must share to be averaged: everything but the seed, and the encoders where each has its own."""
    recipe = {key: value for key, value in run.recipe.items() if key != "seeds"}
    facts = ["dataset", "data_hash", "recipe", "variant", "modalities", "from_scratch", "precision", "base_text"]
    facts += [] if run.recipe["pretraining"]["per_seed"] else ["encoder_hashes"]
    return json.dumps([recipe, *(run.facts[key] for key in facts)], sort_keys=True)


def _by_seed(folder: Path) -> tuple[str, int]:
    number = folder.name.removeprefix("seed-")
    return str(folder.parent), int(number) if number.isdigit() else 0


_TRAIN = "Train the run again: delete its folder, then the command that made it."
