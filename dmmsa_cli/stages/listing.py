"""`dmmsa list`: what lies in the folders of data and runs, and which recipes are shipped for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal

from dmmsa_cli.data.manifest import MANIFEST, Manifest, read_manifest
from dmmsa_cli.errors import DmmsaError
from dmmsa_cli.experiments.recipes import recipe_names
from dmmsa_cli.shipped import DEFAULT as DEFAULT
from dmmsa_cli.shipped import STUDIES, recipes_folder
from dmmsa_cli.training.run import RunFolder, by_seed

State = Literal["finished", "begun", "diverged"]


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset, or why what lies there can't be used."""

    name: str
    manifest: Manifest | None
    fault: str = ""

    @property
    def recipes(self) -> str:
        """The folder of its recipes."""
        family = self.manifest.spec.recipes if self.manifest else self.name
        return family if (recipes_folder() / family).is_dir() else DEFAULT


@dataclass(frozen=True)
class Recipe:
    """A shipped recipe."""

    family: str
    """The dataset's folder that it lies in."""
    name: str
    about: str
    """What it is for: the first sentence of its head."""


@dataclass(frozen=True)
class Runs:
    """All seeds of one variant."""

    dataset: str
    recipe: str
    variant: str
    seeds: dict[int, State]
    """In order."""


def datasets(data_dir: Path) -> list[Dataset]:
    """Return what is prepared in a folder, by name."""
    return [_dataset(path.parent) for path in sorted(data_dir.glob(f"*/{MANIFEST}"))]


def _dataset(folder: Path) -> Dataset:
    try:
        return Dataset(folder.name, read_manifest(folder))
    except DmmsaError as error:
        return Dataset(folder.name, None, error.what)


def recipes(families: Sequence[str]) -> list[Recipe]:
    """Return the recipes that are shipped for some datasets, by folder and name."""
    found = []
    for family in dict.fromkeys(families):
        folder = recipes_folder() / family
        found += [Recipe(family, name, _about(folder / f"{name}.yaml")) for name in recipe_names(family)]
    return found


def families() -> list[str]:
    """Return the datasets that have recipes of their own, and `default` for all others."""
    return sorted(path.name for path in recipes_folder().iterdir() if path.is_dir() and path.name != STUDIES)


def _about(path: Path) -> str:
    """Return the first sentence of a recipe's head, behind the command that uses it."""
    lines = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    head = (line.removeprefix("#").strip() for line in lines)
    text = " ".join(line for line in head if not line.startswith("dmmsa ")).strip()
    return re.split(r"(?<=[^.\s]{2})[.:](?= |$)", text, maxsplit=1)[0]


def _state(run: RunFolder) -> State:
    if run.finished:
        return "finished"
    return "diverged" if run.diverged else "begun"


def runs(runs_dir: Path) -> list[Runs]:
    """Return the runs in a folder, `DATASET/RECIPE/VARIANT/seed-N`, finished or not."""
    found: dict[tuple[str, str, str], dict[int, State]] = {}
    folders = [path.parent for path in runs_dir.glob("*/*/*/seed-*/recipe.yaml")]
    for folder in sorted(folders, key=by_seed):
        dataset, recipe, variant, seed = folder.parts[-4:]
        number = seed.removeprefix("seed-")
        if recipe != "encoders" and number.isdigit():
            found.setdefault((dataset, recipe, variant), {})[int(number)] = _state(RunFolder(folder))
    return [Runs(*names, seeds) for names, seeds in sorted(found.items())]
