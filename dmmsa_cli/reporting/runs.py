"""Finished runs as the report sees them, and systems: runs that differ in their seed alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from dmmsa_cli.commands import evaluate_run, nearby
from dmmsa_cli.data.folds import whole_of
from dmmsa_cli.data.prediction_table import MADE_FROM, read_predictions
from dmmsa_cli.data.specs import ALIGNED, MODALITY_NAMES, SPECS
from dmmsa_cli.errors import InvalidInput, RunMismatch, RunMissing
from dmmsa_cli.experiments.identity import Identity
from dmmsa_cli.experiments.validation import kept_validation
from dmmsa_cli.metrics import COLLAPSED, Metrics, Summary, summarise
from dmmsa_cli.plain import read_json
from dmmsa_cli.training.run import RunFolder

SPLIT = "test"  # all that stands in a table is measured on the test split


def evaluate_again(folder: Path) -> str:
    """Say what to do where a file that evaluation writes is missing or damaged."""
    return f"Measure it again: `{evaluate_run(folder)}`."


@dataclass(frozen=True)
class Run:
    """One finished and evaluated run."""

    folder: Path
    identity: Identity
    """What it is."""
    facts: Mapping[str, Any]
    """environment.json: the same, with names, versions and machine."""
    log: Sequence[Mapping[str, Any]]
    """metrics.jsonl: an epoch each."""
    summary: Mapping[str, Any]
    """Best epoch and its validation metrics."""
    metrics: Metrics
    """On the test split, fractions, unrounded; NaN where undefined."""
    alone: Mapping[str, Metrics]
    """Of each pretrained encoder alone, by `text`, `vision`, `audio`."""

    made_from: Mapping[str, str]
    """Hashes of the `weights` and the `data` that its metrics were measured on."""
    machines: Sequence[Mapping[str, Any]]
    """Where it ran, wherever it went on, and where its encoders were trained: device, threads, versions."""

    @property
    def recipe_file(self) -> Path | None:
        """The user's own file that the recipe was read from, as it is written here; none for a shipped one."""
        path = self.facts.get("recipe_file")
        return nearby(Path(path)) if isinstance(path, str) else None

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The resolved recipe, as plain values, without seeds."""
        return self.identity.recipe

    @property
    def seed(self) -> int:
        """Of the fusion."""
        return self.identity.seed

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Predictions on the test split: id, text, y_true, y_pred, and a column for each output of a further head.

        At least one row, each of another clip; numbers are finite float32.

        Raises:
            RunMissing: predictions.csv is gone.
            RunMismatch: it is damaged.
        """
        path = self.folder / "predictions.csv"
        try:
            table = read_predictions(path)
        except FileNotFoundError as error:
            raise RunMissing(f"{path} is missing.", evaluate_again(self.folder)) from error
        except InvalidInput as error:
            raise RunMismatch(error.what, evaluate_again(self.folder)) from error
        if any(name not in table or (table[name] != self.made_from[name]).any() for name in MADE_FROM):
            raise RunMismatch(
                f"{path} was made from other weights or data than metrics.json beside it.", evaluate_again(self.folder)
            )
        return table.drop(columns=list(MADE_FROM))

    @cached_property
    def validation(self) -> pd.DataFrame:
        """Predictions on the validation split, columns as `predictions` has them.

        Raises:
            RunMissing: they have not been kept.
            RunMismatch: they are damaged, or of other weights.
        """
        return kept_validation(RunFolder(self.folder), weights=self.made_from["weights"])

    @cached_property
    def spread(self) -> tuple[float, float]:
        """Standard deviation over the test clips of its predictions, and of the labels.

        Raises:
            RunMissing, RunMismatch: as `predictions`.
        """
        return float(self.predictions["y_pred"].std(ddof=0)), float(self.predictions["y_true"].std(ddof=0))

    @property
    def collapsed(self) -> bool:
        """Whether its predictions barely vary: it says nearly the same of every clip."""
        predicted, labels = self.spread
        return predicted < COLLAPSED * labels

    @property
    def similarity(self) -> pd.DataFrame | None:
        """Mean cosine similarity of every two features over the test clips, names on both sides; none if not kept.

        Raises:
            RunMismatch: features.json is damaged.
        """
        path = self.folder / "features.json"
        if not path.exists():
            return None
        try:
            kept = read_json(path)[SPLIT]
            names = [str(name) for name in kept["names"] if str(name).isidentifier()]
            return pd.DataFrame(kept["cosine"], index=names, columns=names, dtype=float)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunMismatch(f"{path} is damaged: {error}", evaluate_again(self.folder)) from error


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
        return self.first.identity.dataset

    @property
    def whole(self) -> str:
        """Name of the dataset, or of that which it is a fold of."""
        return whole_of(self.dataset)

    @property
    def clips(self) -> str:
        """The dataset without what says how its frames are laid out: the variant aligned to the words has its clips."""
        return self.dataset.removesuffix(ALIGNED)

    @property
    def model(self) -> str:
        """Name of the network, as `feature_decomposition`, which is DMMSA's and ConFEDE's."""
        return str(self.first.recipe["model"]["name"])

    @property
    def synthetic(self) -> bool:
        """Whether the data are made up; such numbers never stand beside published ones."""
        return self.first.identity.synthetic

    @property
    def data_hash(self) -> str:
        """Content hash of the data."""
        return self.first.identity.data_hash

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
        """The resolved `objective` section of the recipe, with its `name`."""
        section: Mapping[str, Any] = self.first.recipe["objective"]
        return section

    @property
    def modalities(self) -> tuple[str, ...]:
        """Which of t, v, a."""
        return self.first.identity.modalities

    @property
    def text_encoder(self) -> str:
        """Short name of the text encoder: `bert-base-uncased`, `all-MiniLM-L6-v2`, `tiny BERT`, `features`; or none."""
        text = self.first.recipe["text"]
        if "t" not in self.modalities:
            return ""
        if text["source"] != "encoder":
            return "tiny BERT" if text["source"] == "tiny" else "the file's own text features"
        spec = SPECS.get(self.whole)  # of runs of an older dmmsa, which did not keep the name
        name = self.first.identity.text_encoder or text["encoder"] or (spec.text_encoder if spec else "")
        return str(name).rstrip("/").rsplit("/", 1)[-1]

    @property
    def shares_encoders(self) -> bool:
        """Whether all seeds stand on the same pretrained encoders: their spread then covers the fusion only."""
        return bool(self.first.facts["encoders"]) and not self.first.identity.per_seed

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
        spec = SPECS.get(self.whole)
        parts = []
        if self.text_encoder and (spec is None or self.text_encoder != spec.text_encoder):
            parts.append("MiniLM" if "minilm" in self.text_encoder.lower() else self.text_encoder)
        if self.modalities != tuple(MODALITY_NAMES):
            parts.append("+".join(MODALITY_NAMES[m] for m in self.modalities))
        if self.whole.endswith(ALIGNED):
            parts.append("aligned")
        if context := self.first.identity.context:
            parts.append(f"with {context}")
        if self.first.identity.from_scratch:
            parts.append("from scratch")
        if gaps := self.first.identity.trained_with_gaps:
            parts.append(gaps)
        if origin := self.first.facts.get("pseudo_emotions"):
            parts.append(f"pseudo-emotions of {origin}")
        if spec is not None and spec.source is not None and not self.published_data:
            parts.append("not the published file")
        return ", ".join(parts)
