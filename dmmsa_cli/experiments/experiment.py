"""A dataset, a recipe and a place to run it: what every stage of training and evaluation starts from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from dmmsa_cli.commands import DATA, RUNS, work_in
from dmmsa_cli.data.folds import open_dataset
from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.data.store import Store
from dmmsa_cli.data.validation import EMOTIONS
from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.experiments.recipes import Pretraining, Recipe, find_recipe, load_recipe, name_of, option_of
from dmmsa_cli.layers.text import ContextOptions
from dmmsa_cli.models import MODELS
from dmmsa_cli.models.base import Reading
from dmmsa_cli.objectives import OBJECTIVES
from dmmsa_cli.runtime import DeviceName, choose_device, choose_precision


@dataclass(frozen=True)
class Experiment:
    """A dataset, a recipe and a place to run it."""

    store: Store
    recipe: Recipe
    name: str
    """Of the recipe."""
    folder: Path
    """`runs/<dataset>`: every run and every pretrained encoder of the dataset lies below."""
    device: torch.device
    precision: str
    """`float32` or `bf16`; `auto` has been settled."""
    recipe_file: Path | None = None
    """What the recipe was read from, before flags and settings changed it; none for a run's own."""

    @property
    def encodes_in(self) -> str:
        """Arithmetic in which frozen text is encoded: bf16 where the run computes in it, and the hardware natively.

        A run that was trained in it reads transcripts anywhere, and where it is emulated that would take minutes.
        """
        return self.precision if choose_precision("auto", self.device) == "bf16" else "float32"

    @property
    def recipe_option(self) -> str | None:
        """What --recipe has to be given for the recipe, before changes; None where that is the usual one."""
        return None if self.recipe_file is None else option_of(self.recipe_file, self.store.spec.recipes)

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return self.store.spec.name

    @cached_property
    def modalities(self) -> tuple[str, ...]:
        """The modalities in use, in the order t, v, a.

        Raises:
            InvalidRecipe: the recipe asks for one that the dataset lacks.
        """
        available = self.store.manifest.modalities
        requested = self.recipe.data.modalities or available
        missing = [m for m in requested if m not in available]
        if missing:
            raise InvalidRecipe(
                f"data.modalities asks for {', '.join(missing)}; {self.dataset} has {', '.join(available)}.",
                "Leave data.modalities out to use all that there are.",
            )
        return tuple(m for m in MODALITY_NAMES if m in requested)

    def capabilities(self, *modalities: str) -> Capabilities:
        """What a model or objective over these modalities (default: all in use) may know of the dataset."""
        spec = self.store.spec
        return Capabilities(
            modalities=modalities or self.modalities,
            score_range=spec.score_range,
            metrics=spec.metrics,
            emotions=self.store.manifest.emotions,
        )

    @property
    def emotions_hash(self) -> str | None:
        """Stands for the emotions of the dataset; none where the objective learns none, or where there are none."""
        chosen = self.recipe.objective
        learns = EMOTIONS in OBJECTIVES[chosen.name].labels(chosen.options)
        return self.store.manifest.emotions_hash if learns else None

    @property
    def has_text_encoder(self) -> bool:
        """Whether text passes through an encoder; with `text.source: features` it does not."""
        return "t" in self.modalities and self.recipe.text.source != "features"

    @property
    def trains_text(self) -> bool:
        """Whether the text encoder is part of the fused model; otherwise it is frozen there."""
        return self.has_text_encoder and self.recipe.text.train_in_fusion

    @property
    def context(self) -> ContextOptions:
        """Which neighbouring clips the text encoder reads with one; none where there is no text encoder."""
        return self.recipe.text.context if self.has_text_encoder else ContextOptions()

    @property
    def text_encoder(self) -> str | None:
        """Name of the text encoder: of the hub, of a folder, or `tiny`; none where there is none."""
        if not self.has_text_encoder:
            return None
        text = self.recipe.text
        return "tiny" if text.source == "tiny" else text.encoder or self.store.spec.text_encoder

    def encoder_seed(self, seed: int) -> int:
        """The seed of the encoders that a run of this seed stands on."""
        return seed if self.recipe.per_seed else self.recipe.base_seed

    def reading(self, modality: str) -> Reading:
        """How a modality reaches the recipe's model."""
        return MODELS[self.recipe.model.name].reads[modality]

    @property
    def pretraining(self) -> Pretraining:
        """How single encoders are trained, of a recipe that has some trained."""
        chosen = self.recipe.pretraining
        assert chosen is not None, "nobody trains encoders where the recipe wants none"
        return chosen

    @property
    def pretrained(self) -> tuple[str, ...]:
        """The modalities whose encoders are trained alone before the fusion."""
        if self.recipe.pretraining is None:
            return ()
        return tuple(m for m in self.modalities if m != "t" or self.has_text_encoder)

    @property
    def evaluation_batch(self) -> int:
        """Rows a batch where no gradient is taken."""
        return max(64, self.recipe.fusion.batch_size)


def open_experiment(
    dataset: str,
    *,
    data_dir: Path = DATA,
    runs_dir: Path = RUNS,
    recipe: str | None = None,
    settings: Iterable[str] = (),
    changes: Mapping[str, Any] | None = None,
    device: DeviceName = "auto",
) -> Experiment:
    """Open a prepared dataset with one of its recipes.

    Args:
        dataset: name of the store.
        data_dir: where stores lie.
        runs_dir: where runs lie.
        recipe: name or file; none takes the dataset's `dmmsa`.
        settings: `a.b=c`, each a change to the recipe.
        changes: what flags change, by dotted path.
        device: `auto` takes the best there is.

    Raises:
        DatasetMissing, StoreMismatch, InvalidRecipe, DeviceUnavailable: in words for the user.
    """
    work_in(data_dir=data_dir, runs_dir=runs_dir)
    store = open_dataset(data_dir, dataset)
    path = find_recipe(recipe, store.spec.recipes)
    chosen = load_recipe(path, settings, changes)
    place = choose_device(device)
    precision = choose_precision(chosen.precision, place)
    name = name_of(path, store.spec.recipes)
    return Experiment(store, chosen, name, runs_dir / dataset, place, precision, recipe_file=path)


_LATER = ("before", "after", "missing", "averaging_warmup")  # ends of their keys


def as_before(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out keys that recipes have got since there were runs, where they ask for nothing.

    So the runs and encoders of before are what they were.

    Args:
        values: by the keys of a recipe, or of a part of it.
    """
    return {key: value for key, value in values.items() if value or not key.endswith(_LATER)}


def digest(facts: Mapping[str, Any]) -> str:
    """Return twelve hexadecimal digits that stand for JSON-able facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
