"""Finished runs as the report sees them: read from their folders, and put together where they differ in seed alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dmmsa_cli.data.specs import MODALITY_NAMES, SPECS
from dmmsa_cli.errors import RunMismatch, RunMissing
from dmmsa_cli.metrics import Metrics, Summary, summarise
from dmmsa_cli.training.run import RunFolder

SPLIT = "test"  # all that stands in a table is measured on the test split
PREDICTION_COLUMNS = ("id", "text", "y_true", "y_pred")


@dataclass(frozen=True)
class Run:
    """One finished and evaluated run."""

    folder: Path
    facts: Mapping[str, Any]
    """environment.json."""
    recipe: Mapping[str, Any]
    """The resolved recipe, as plain values."""
    log: Sequence[Mapping[str, Any]]
    """metrics.jsonl: an epoch each."""
    summary: Mapping[str, Any]
    """Best epoch and its validation metrics."""
    metrics: Metrics
    """On the test split, fractions, unrounded; NaN where undefined."""
    alone: Mapping[str, Metrics]
    """Of each pretrained encoder alone, by `text`, `vision`, `audio`."""

    @property
    def seed(self) -> int:
        """Of the fusion."""
        return int(self.facts["seed"])

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Predictions on the test split: id, text, y_true, y_pred, and a column for each further head.

        Raises:
            RunMissing: predictions.csv is gone.
            RunMismatch: it is damaged.
        """
        path = self.folder / "predictions.csv"
        try:
            table = pd.read_csv(path, dtype={"id": str, "text": str}, keep_default_na=False, na_values={"y_pred": [""]})
        except FileNotFoundError as error:
            raise RunMissing(f"{path} is missing.", _EVALUATE.format(self.folder)) from error
        except (OSError, ValueError) as error:
            raise RunMismatch(f"{path} is damaged: {error}", _EVALUATE.format(self.folder)) from error
        missing = not set(PREDICTION_COLUMNS) <= set(table)
        if missing or not np.issubdtype(table[["y_true", "y_pred"]].to_numpy().dtype, np.floating):
            raise RunMismatch(f"{path} is damaged: a column or a number is missing.", _EVALUATE.format(self.folder))
        if not np.isfinite(table[["y_true", "y_pred"]].to_numpy()).all():
            raise RunMismatch(f"{path} is damaged: a column or a number is missing.", _EVALUATE.format(self.folder))
        return table

    @property
    def similarity(self) -> pd.DataFrame | None:
        """Mean cosine similarity of every two features over the test clips, names on both sides; none if not kept."""
        try:
            kept = json.loads((self.folder / "features.json").read_text(encoding="utf-8"))[SPLIT]
            return pd.DataFrame(kept["cosine"], index=kept["names"], columns=kept["names"], dtype=float)
        except (OSError, ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True)
class System:
    """Runs that differ in their seed alone: one row of a table."""

    runs: tuple[Run, ...]
    """By seed, ascending; at least one."""

    @property
    def first(self) -> Run:
        """Any of them, for what they all share."""
        return self.runs[0]

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return str(self.first.facts["dataset"])

    @property
    def synthetic(self) -> bool:
        """Whether the data are made up; such numbers never stand beside published ones."""
        return bool(self.first.facts.get("synthetic", False))

    @property
    def data_hash(self) -> str:
        """Content hash of the data."""
        return str(self.first.facts["data_hash"])

    @property
    def published_data(self) -> bool:
        """Whether the data were prepared from the file that the field publishes."""
        return bool(self.first.facts.get("source", {}).get("published", False))

    @property
    def recipe_name(self) -> str:
        """Name of the recipe, as `dmmsa` or `minilm`."""
        return str(self.first.facts["recipe"])

    @property
    def variant(self) -> str:
        """Name of the variant, as `full` or `no-msc`."""
        return str(self.first.facts["variant"])

    @property
    def objective(self) -> Mapping[str, Any]:
        """The resolved `objective` section of the recipe; its `name` is `dmmsa` or `confede`."""
        section: Mapping[str, Any] = self.first.recipe["objective"]
        return section

    @property
    def modalities(self) -> tuple[str, ...]:
        """Which of t, v, a."""
        return tuple(self.first.facts["modalities"])

    @property
    def text_encoder(self) -> str:
        """Short name of the text encoder: `bert-base-uncased`, `all-MiniLM-L6-v2`, `tiny BERT`, `features`; or none."""
        text = self.first.recipe["text"]
        if "t" not in self.modalities:
            return ""
        if text["source"] != "encoder":
            return "tiny BERT" if text["source"] == "tiny" else "the file's own text features"
        spec = SPECS.get(self.dataset)
        return str(text["encoder"] or (spec.text_encoder if spec else "")).rstrip("/").rsplit("/", 1)[-1]

    @property
    def shares_encoders(self) -> bool:
        """Whether all seeds stand on the same pretrained encoders: their spread then covers the fusion only."""
        return bool(self.first.facts["encoders"]) and not self.first.recipe["pretraining"]["per_seed"]

    @property
    def seeds(self) -> tuple[int, ...]:
        """One for each run."""
        return tuple(run.seed for run in self.runs)

    @cached_property
    def summary(self) -> Summary:
        """Mean and sample standard deviation over the seeds."""
        return summarise([run.metrics for run in self.runs])

    @property
    def conditions(self) -> str:
        """What has to be told where this row stands near others: all in which it departs from the paper's conditions.

        Example: `MiniLM, text+audio, not the published file`; empty where nothing departs.
        """
        spec = SPECS.get(self.dataset)
        parts = []
        if self.text_encoder and (spec is None or self.text_encoder != spec.text_encoder):
            parts.append("MiniLM" if "minilm" in self.text_encoder.lower() else self.text_encoder)
        if self.modalities != tuple(MODALITY_NAMES):
            parts.append("+".join(MODALITY_NAMES[m] for m in self.modalities))
        if not self.synthetic and not self.published_data:
            parts.append("not the published file")
        return ", ".join(parts)


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
    for folder in sorted({path.parent for path in runs_dir.glob("*/*/*/seed-*/recipe.yaml")}, key=_by_seed):
        if dataset not in (None, folder.parents[2].name):
            continue
        run = RunFolder(folder)
        if not run.finished:
            found.unfinished.append(folder)
        elif not (folder / "metrics.json").exists():
            found.unevaluated.append(folder)
        else:
            try:
                known = read_run(run)
            except RunMissing:
                found.unevaluated.append(folder)
            except RunMismatch as error:
                found.damaged.append(error)
            else:
                groups.setdefault(_identity(known), []).append(known)
    found.systems.extend(System(tuple(sorted(runs, key=lambda run: run.seed))) for runs in groups.values())
    return found


def read_run(run: RunFolder) -> Run:
    """Read a finished run.

    Raises:
        RunMissing: it has not been evaluated on the test split.
        RunMismatch: a file of it is damaged.
    """
    measured = _measured(run.path)
    known = Run(
        folder=run.path,
        facts=run.environment,
        recipe=run.recipe,
        log=_log(run.path),
        summary=run.summary,
        metrics=measured.pop("fused"),
        alone=measured,
    )
    _check(known)
    return known


def _check(run: Run) -> None:
    """What is damaged in a recipe or an environment is told here, not in the middle of a table."""
    system = System((run,))
    try:
        _ = (system.conditions, system.shares_encoders, system.objective["name"], system.synthetic, run.seed)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunMismatch(
            f"recipe.yaml or environment.json in {run.folder} is damaged: {type(error).__name__} {error}.",
            "Train the run again with --force.",
        ) from error


def _measured(folder: Path) -> dict[str, Metrics]:
    path = folder / "metrics.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunMismatch(f"{path} is damaged: {error}", _EVALUATE.format(folder)) from error
    if isinstance(values, dict) and SPLIT not in values:
        raise RunMissing(f"{folder} has not been evaluated on the {SPLIT} split.", _EVALUATE.format(folder))
    try:
        measured = {
            name: {metric: float("nan") if value is None else float(value) for metric, value in metrics.items()}
            for name, metrics in values[SPLIT].items()
        }
        measured["fused"]["mae"]  # noqa: B018  (what every table needs)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunMismatch(
            f"{path} is damaged: it lacks metrics, or one is no number.", _EVALUATE.format(folder)
        ) from error
    return measured


def _log(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        _ = [(line["epoch"], line["losses"], line["weights"], line["validation"]["mae"]) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunMismatch(f"{path} is damaged: {error}", "Train the run again with --force.") from error
    return lines


def _identity(run: Run) -> str:
    """What two runs must share to be averaged: everything but the seed."""
    recipe = {key: value for key, value in run.recipe.items() if key != "seeds"}
    facts = ("dataset", "data_hash", "recipe", "variant", "modalities", "from_scratch", "precision")
    return json.dumps([recipe, *(run.facts[key] for key in facts)], sort_keys=True)


def _by_seed(folder: Path) -> tuple[str, int]:
    number = folder.name.removeprefix("seed-")
    return str(folder.parent), int(number) if number.isdigit() else 0


_EVALUATE = "Measure it again: dmmsa evaluate {}"
