"""Studies: which variants of a recipe stand in one table. A study is a file, not code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.data.store import Store
from dmmsa_cli.errors import Inapplicable, InvalidRecipe
from dmmsa_cli.experiments.recipes import is_file, shipped_as
from dmmsa_cli.plain import shown
from dmmsa_cli.recipe import parse, read_yaml
from dmmsa_cli.shipped import STUDIES, recipes_folder

LONGEST_NAME = 200  # bytes of a folder's name; file systems take 255


def is_folder_name(name: str) -> bool:
    """Say whether a variant may be called so: a folder can, on every system, and a person can type it."""
    plain = name == name.strip() and name.isprintable() and not name.startswith(".") and not set(name) & {"/", "\\"}
    return bool(name) and plain and len(name.encode()) <= LONGEST_NAME


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of a study."""

    name: str
    """Folder of its runs, below the recipe's; the same name as `dmmsa fuse` gives a flag means the same runs."""
    label: str | None = None
    """What tables call it; the name where there is none."""
    set: dict[str, Any] = field(default_factory=dict)
    """What it changes in the recipe, by dotted path."""
    recipe: str | dict[str, str] | None = None
    """Another recipe than the study's; or which, for each recipe that a study may be run with."""
    metrics: str | None = None
    """Leave it out on datasets of another metric set."""
    emotions: bool = False
    """Leave it out on datasets whose clips are not labelled with emotions."""

    @property
    def title(self) -> str:
        """What tables call it."""
        return self.label or self.name

    def recipe_beside(self, base: str) -> str:
        """Return the recipe to use where the study is run with `base`, which may be a file: its partner lies beside it.

        Raises:
            Inapplicable: the study names none.
        """
        if self.recipe is None or isinstance(self.recipe, str):
            return self.recipe or base
        path = Path(base)
        foreign = shipped_as(base)
        if path.stem not in self.recipe and foreign and foreign[1] in self.recipe:
            return f"{foreign[0]}-{self.recipe[foreign[1]]}"
        if path.stem not in self.recipe:
            raise Inapplicable(
                f"The study names no recipe beside {base}.", f"It knows {', '.join(self.recipe)} for {self.title}."
            )
        partner = self.recipe[path.stem]
        return str(path.with_name(f"{partner}{path.suffix}")) if is_file(path.name) or "/" in base else partner

    def missing_on(self, store: Store) -> str:
        """Say why the variant makes no sense on a dataset; nothing where it does."""
        spec, available = store.spec, store.manifest.modalities
        if self.metrics not in (None, spec.metrics):
            return f"{spec.name} has other classes"
        if self.emotions and not store.manifest.emotions:
            return f"{spec.name} has no emotions"
        if any(key.startswith("text.context") for key in self.set) and not store.video_form:
            return f"{spec.name} has ids that name no videos"
        wanted = self.set.get("data.modalities")
        if not isinstance(wanted, list):
            return ""
        lacking = [name for m, name in MODALITY_NAMES.items() if m in wanted and m not in available]
        if lacking:
            return f"{spec.name} has no {', '.join(lacking)}"
        alone = self.recipe is None and len(self.set) == 1  # with nothing else changed, it is the recipe as it is
        return (
            f"{spec.name} has no more than that: it is the whole"
            if alone and sorted(map(str, wanted)) == sorted(available)
            else ""
        )


@dataclass(frozen=True, kw_only=True)
class Study:
    """Variants of one recipe that are compared with each other."""

    title: str
    """What is asked."""
    variants: tuple[Variant, ...]
    """In the order of the table."""

    @property
    def partners(self) -> set[str]:
        """Names of the recipes that stand in it only beside the one that it is run with."""
        named = [list(v.recipe.values()) if isinstance(v.recipe, dict) else [v.recipe] for v in self.variants]
        return {Path(name).stem for names in named for name in names if name}

    @property
    def bases(self) -> list[str]:
        """Names of the recipes that it may be run with though none of its rows is theirs, in its own order."""
        if not all(isinstance(variant.recipe, dict) for variant in self.variants):
            return []
        return list(dict.fromkeys(name for variant in self.variants for name in variant.recipe or ()))

    def __post_init__(self) -> None:
        if not self.variants:
            raise ValueError("variants: none")
        for what in ((v.name, str(v.recipe)) for v in self.variants), (v.title for v in self.variants):
            ((twice, times),) = Counter(what).most_common(1)
            if times > 1:
                name = twice if isinstance(twice, str) else twice[0]
                raise ValueError(f"variants: {name} is named twice; tell them apart by `name` and `label`")
        wrong = [v.name for v in self.variants if not is_folder_name(v.name)]
        if wrong:
            raise ValueError(f"variants: {shown(wrong[0])} is no name for a folder")


def study_names() -> list[str]:
    """Return the names of the shipped studies."""
    return sorted(path.stem for path in (recipes_folder() / STUDIES).glob("*.yaml"))


def load_study(name: str) -> Study:
    """Read a study.

    Args:
        name: of a shipped one, or a YAML file.

    Raises:
        InvalidRecipe: there is no such study, or it has errors; all of them are told.
    """
    path = Path(name) if is_file(name) else recipes_folder() / f"studies/{name}.yaml"
    if not path.exists():
        raise InvalidRecipe(
            f"There is no study {name}.", f"Choose from {', '.join(study_names())}, or give a file: --study FILE.yaml"
        )
    study = parse(Study, read_yaml(path), {}, f"Study {path}")
    return replace(study, variants=tuple(_beside(variant, path.parent) for variant in study.variants))


def _beside(variant: Variant, folder: Path) -> Variant:
    """A recipe that is a file lies where the study says, seen from the study's own folder."""
    own = variant.recipe
    if not isinstance(own, str) or not is_file(own):
        return variant
    return replace(variant, recipe=str(folder / own))
