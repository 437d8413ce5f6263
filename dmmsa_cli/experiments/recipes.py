"""What a DMMSA recipe holds, and where recipes lie."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmmsa_cli.commands import nearby
from dmmsa_cli.data.options import DataOptions
from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.errors import InvalidRecipe, RecipeMissing
from dmmsa_cli.layers.sequence import SequenceOptions
from dmmsa_cli.layers.text import TextOptions
from dmmsa_cli.models import MODELS
from dmmsa_cli.objectives import OBJECTIVES
from dmmsa_cli.objectives.weighting import WEIGHTINGS
from dmmsa_cli.plain import shown
from dmmsa_cli.recipe import Choice, Tables, build, choice, parse, read_yaml, to_dict, with_settings
from dmmsa_cli.runtime import Precision, check_seed
from dmmsa_cli.shipped import DEFAULT, STUDIES, recipes_folder
from dmmsa_cli.training.schedule import Schedule, TextPretraining

TABLES: Tables = {
    "models": {name: model.Options for name, model in MODELS.items()},
    "objectives": {name: objective.Options for name, objective in OBJECTIVES.items()},
    "weightings": {name: weighting.Options for name, weighting in WEIGHTINGS.items()},
}


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """Pretraining of one encoder for each modality."""

    objective: Choice = choice("objectives")
    """What each encoder is trained on; `regression` for all that was published."""
    text: TextPretraining
    """Text."""
    vision: Schedule
    """Vision."""
    audio: Schedule
    """Audio."""
    seed: int = 1
    """Encoders are trained once, with this seed, and shared by all seeds of the fusion."""
    per_seed: bool = False
    """Train the encoders anew for every seed instead."""

    def __post_init__(self) -> None:
        try:
            check_seed(self.seed)
        except ValueError as error:
            raise ValueError(f"seed: {error}") from error
        for modality, name in MODALITY_NAMES.items():
            wrong = [group for group in self.schedule(modality).groups if group not in (name, "head")]
            if wrong:
                raise ValueError(f"{name}.groups: {wrong[0]} is neither {name} nor head, which are trained there")
        if self.objective.name != "regression":
            raise ValueError(f"objective: one encoder alone is trained by regression, not by {self.objective.name}")

    def schedule(self, modality: str) -> Schedule:
        """How the encoder of a modality is trained."""
        return {"t": self.text, "v": self.vision, "a": self.audio}[modality]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a run computes, but for its seed."""

    data: DataOptions = field(default_factory=DataOptions)
    text: TextOptions = field(default_factory=TextOptions)
    vision: SequenceOptions = field(default_factory=SequenceOptions)
    audio: SequenceOptions = field(default_factory=SequenceOptions)
    model: Choice = choice("models")
    objective: Choice = choice("objectives")
    pretraining: Pretraining | None
    """Null: nothing but the text encoder was trained before, elsewhere; so it is where a model reads sequences."""
    fusion: Schedule
    seeds: tuple[int, ...] = (1, 12, 123, 1234, 12345)
    """The fusion's seeds where none is named."""
    precision: Precision = "float32"
    """float32, bf16, or auto: bf16 where the hardware computes it natively. Settled once a run."""

    def __post_init__(self) -> None:
        if self.pretraining is not None and set(MODELS[self.model.name].reads.values()) != {"embedding"}:
            raise ValueError(
                f"pretraining: {self.model.name} reads sequences, not what encoders make of them; say null"
            )
        if self.data.padded and "sequence" not in MODELS[self.model.name].reads.values():
            raise ValueError(f"data.padded: {self.model.name} reads what encoders make of sequences, without padding")
        if self.data.padded and self.text.context.wanted:
            context = self.text.context.in_words()
            raise ValueError(f"text.context: {context} and data.padded both want what stands behind a clip's own words")
        if "text" in self.fusion.groups and not self.text.train_in_fusion:
            raise ValueError("fusion.groups.text: the text encoder is frozen in fusion; text.train_in_fusion trains it")
        wanted = OBJECTIVES[self.objective.name].needs(self.objective.options)
        model = MODELS[self.model.name]
        for missing in wanted - model.offers(self.model.options):
            how = " with these options" * (missing in model.gives)
            raise ValueError(
                f"objective: {self.objective.name} needs {missing}, which {self.model.name}{how} does not give"
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: {list(self.seeds)} holds none, or one twice")
        try:
            for seed in self.seeds:
                check_seed(seed)
        except ValueError as error:
            raise ValueError(f"seeds: {error}") from error

    @property
    def base_seed(self) -> int:
        """The seed of what all runs share: a tiny text encoder, and encoders that are not trained for each seed."""
        return 1 if self.pretraining is None else self.pretraining.seed

    @property
    def per_seed(self) -> bool:
        """Whether each seed has encoders of its own."""
        return self.pretraining is not None and self.pretraining.per_seed


DATA_OF_ONES_OWN = "data of one's own"
USUAL_RECIPE = "dmmsa"  # what a command takes that is given none


def is_file(name: str) -> bool:
    """Whether what stands for a recipe or study is a file of one's own, and not the name of a shipped one.

    A shipped one may be named with its dataset: `mosi/dmmsa`.
    """
    return name.endswith((".yaml", ".yml")) or ("/" in name and name not in shipped())


def find_recipe(recipe: str | None, family: str) -> Path:
    """Return the file of a recipe.

    Args:
        recipe: a file, or the name of a shipped recipe, of this dataset (`dmmsa`) or of any (`mosi/dmmsa`, or
            `mosi-dmmsa` as its runs are called); none takes `dmmsa`.
        family: the dataset's folder under `recipes/`; a dataset without one has the default folder.

    Raises:
        InvalidRecipe: there is no such recipe; the message lists those there are.
    """
    if recipe is not None and is_file(recipe):
        return Path(recipe)
    if recipe is not None and "/" in recipe:
        return recipes_folder() / f"{recipe}.yaml"
    path = _folder(family) / f"{recipe or USUAL_RECIPE}.yaml"
    if not path.exists():
        foreign = shipped_as(recipe or "")
        if foreign is not None:
            return recipes_folder() / foreign[0] / f"{foreign[1]}.yaml"
        known = ", ".join(recipe_names(family))
        whose = DATA_OF_ONES_OWN if family == DEFAULT else family
        raise RecipeMissing(
            f"There is no recipe {recipe} for {whose}.", f"Choose from {known}, or give a file: --recipe FILE.yaml"
        )
    return path


def name_of(path: Path, family: str) -> str:
    """Return what the runs of a recipe are called after: its file, and the dataset that it is shipped for if another.

    Args:
        path: the recipe's file.
        family: the dataset's folder under `recipes/`.
    """
    folder = path.resolve().parent
    foreign = folder.parent == recipes_folder().resolve() and folder != _folder(family).resolve()
    return f"{folder.name}-{path.stem}" if foreign else path.stem


def own_file(path: Path | None) -> str | None:
    """Return a recipe's file, absolute, where it is the user's own; None for a shipped one."""
    own = path is not None and path.resolve().parent.parent != recipes_folder().resolve()
    return str(path.resolve()) if path is not None and own else None


def option_of(path: Path, family: str) -> str | None:
    """Return what --recipe has to be given so that `find_recipe` returns this file; None where that is nothing."""
    if own := own_file(path):
        return str(nearby(Path(own)))
    folder = path.resolve().parent
    name = name_of(path, family)
    foreign = shipped_as(name) if folder != _folder(family).resolve() else None
    return "/".join(foreign) if foreign else None if name == USUAL_RECIPE else name


def shipped_as(name: str) -> tuple[str, str] | None:
    """Return dataset and name of the shipped recipe whose runs `name_of` calls so elsewhere; none without one."""
    return next(((one[0], one[1]) for one in (key.split("/") for key in shipped()) if "-".join(one) == name), None)


def recipe_names(family: str) -> list[str]:
    """Return the names of the recipes that are shipped for a dataset, by its folder under `recipes/`."""
    return sorted(path.stem for path in _folder(family).glob("*.yaml"))


def _folder(family: str) -> Path:
    folder = recipes_folder() / family
    return folder if folder.is_dir() else recipes_folder() / DEFAULT


def read_recipe(path: Path) -> dict[str, Any]:
    """Return the plain values of a recipe, laid over those of the recipe that its `base` names.

    `base: dmmsa` is the file beside it, `base: mosi/dmmsa` one that is shipped. Another `name` of a model or an
    objective replaces the whole of it: options of the one mean nothing to the other.

    Raises:
        InvalidRecipe: a file can't be read, or a recipe is its own base.
    """
    return _read_on(path, ())


def _read_on(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    values = read_yaml(path)
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str) or path.resolve() in above:
        fault = "stands on itself" if isinstance(base, str) else f"has {shown(base)} as its base"
        raise InvalidRecipe(f"Recipe {path} {fault}.", "base: NAME, of a recipe beside it, or of one shipped.")
    name = f"{base.removesuffix('.yaml')}.yaml"
    found = [folder / name for folder in (path.parent, recipes_folder()) if (folder / name).exists()]
    if not found:
        raise InvalidRecipe(
            f"Recipe {path} stands on {base}, which is neither beside it nor shipped.",
            f"base: NAME, of a recipe beside it, or one of {', '.join(shipped())}.",
        )
    return _laid_over(_read_on(found[0], (*above, path.resolve())), values)


def shipped() -> list[str]:
    """Return the names of all recipes that are shipped, each with its dataset's: `mosi/dmmsa`."""
    folder = recipes_folder()
    return sorted(f"{p.parent.name}/{p.stem}" for p in folder.glob("*/*.yaml") if p.parent.name != STUDIES)


def _laid_over(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    if values.get("name", base.get("name")) != base.get("name"):
        return dict(values)
    merged = dict(base)
    for key, value in values.items():
        below = base.get(key)
        if isinstance(below, dict) != isinstance(value, dict):  # a choice may be written as its bare name
            below, value = ({"name": side} if isinstance(side, str) else side for side in (below, value))
        merged[key] = _laid_over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def load_recipe(path: Path, settings: Iterable[str] = (), changes: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe and apply what the command line changes.

    Args:
        path: the YAML file.
        settings: `--set a.b=c`, each a string `a.b=c`.
        changes: what flags change, by dotted path; applied after `settings`.

    Raises:
        InvalidRecipe: with every error of it.
    """
    values = read_recipe(path)
    defaults = to_dict(parse(Recipe, values, TABLES, f"Recipe {path}"))
    values = with_settings(values, settings, defaults)
    values = with_settings(values, _as_settings(changes or {}), defaults)
    return parse(Recipe, values, TABLES, f"Recipe {path} with its settings")


def with_changes(recipe: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain values of a resolved recipe under changes by dotted path.

    Raises:
        InvalidRecipe: the recipe has no such keys.
    """
    values = with_settings(recipe, _as_settings(changes), recipe)
    resolved: dict[str, Any] = to_dict(parse(Recipe, values, TABLES, "A recipe with changes"))
    return resolved


def faults_under(recipe: Mapping[str, Any], changes: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a resolved recipe under changes by dotted path, a line each; none where it is sound."""
    faults: list[str] = []
    try:
        build(Recipe, with_settings(recipe, _as_settings(changes), recipe), "", TABLES, faults)
    except InvalidRecipe as error:
        faults.append(error.what)
    return faults


def _as_settings(changes: Mapping[str, Any]) -> list[str]:
    return [f"{key}={json.dumps(value, default=str)}" for key, value in changes.items()]


def from_values(values: Mapping[str, Any], origin: str) -> Recipe:
    """Build a recipe from the plain values that a run folder's recipe.yaml holds."""
    return parse(Recipe, values, TABLES, origin)
