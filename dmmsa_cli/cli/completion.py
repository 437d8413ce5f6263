"""What the shell offers behind an option: names of datasets, recipes, studies and runs.

Each press of the Tab key starts the program, so that nothing heavy is imported: folders are listed, and of a prepared
dataset one file is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer

from dmmsa_cli.commands import folder_of
from dmmsa_cli.shipped import DEFAULT, STUDIES, recipes_folder

KNOWN = ("mosi", "mosei", "sims", "meld", "toy")  # those of data/specs.py, which imports numpy
_MANIFEST, _RUN = "manifest.json", "summary.json"


def datasets(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer what is prepared, and what could be."""
    return _beginning(incomplete, [*_prepared(ctx), *KNOWN])


def known_datasets(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer what can be prepared from nothing, and what has been prepared."""
    return _beginning(incomplete, [*KNOWN, *_prepared(ctx)])


def recipes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the recipes of the dataset that is named; those of others with their dataset's name; YAML files."""
    dataset = ctx.params.get("dataset")
    own = sorted(path.stem for path in _recipes_of(ctx, dataset).glob("*.yaml")) if dataset else []
    others = [f"{path.parent.name}/{path.stem}" for path in sorted(recipes_folder().glob("*/*.yaml"))]
    others = [name for name in others if not name.startswith(f"{STUDIES}/")]
    return _beginning(incomplete, [*own, *(others if incomplete or not own else []), *_yaml_files(incomplete)])


def studies(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the shipped studies, and YAML files."""
    names = sorted(path.stem for path in (recipes_folder() / STUDIES).glob("*.yaml"))
    return _beginning(incomplete, [*names, *_yaml_files(incomplete)])


def finished_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the folders of finished runs."""
    return _beginning(incomplete, map(str, _runs(ctx)))


def folders_of_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the folders of finished runs, and those above: of a variant, a recipe, a dataset."""
    above = {folder for run in _runs(ctx) for folder in run.parents[:3]}
    return _beginning(incomplete, [*map(str, sorted(above)), *map(str, _runs(ctx))])


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def _folder(ctx: typer.Context, parameter: str) -> Path:
    """Return a folder that an option names, or else the environment."""
    return Path(ctx.params.get(parameter) or folder_of(parameter)).expanduser()


def _prepared(ctx: typer.Context) -> Iterator[str]:
    folder = _folder(ctx, "data_dir")
    yield from sorted(path.parent.name for path in folder.glob(f"*/{_MANIFEST}"))


def _recipes_of(ctx: typer.Context, dataset: str) -> Path:
    manifest = _folder(ctx, "data_dir") / dataset / _MANIFEST
    try:
        family = json.loads(manifest.read_text(encoding="utf-8"))["spec"]["recipes"]
    except (OSError, ValueError, LookupError, TypeError):
        family = dataset.removesuffix("-aligned")
    folder = recipes_folder() / str(family)
    return folder if folder.is_dir() else recipes_folder() / DEFAULT


def _runs(ctx: typer.Context) -> list[Path]:
    folder = _folder(ctx, "runs_dir")
    return sorted(path.parent for path in folder.glob(f"*/*/*/seed-*/{_RUN}"))


def _yaml_files(incomplete: str) -> list[str]:
    folder, _, name = incomplete.rpartition("/")
    place = Path(f"{folder}/" if folder or incomplete.startswith("/") else ".")
    try:
        found = sorted(path.name for path in place.iterdir() if path.suffix in (".yaml", ".yml"))
    except OSError:
        return []
    return [incomplete.removesuffix(name) + one for one in found]
