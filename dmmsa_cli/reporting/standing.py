"""What a system stands for: a row is filled by what was computed, never by the name of a folder.

The recipe of its runs is held against the recipe that it is named after, as shipped, plus what the row's variant
changes. A recipe of one's own is held against its own `full`, where that has been run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from dmmsa_cli.data.specs import SPECS
from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.experiments.recipes import recipe_names, with_changes
from dmmsa_cli.experiments.variants import FULL, departures, in_words, meaning_of, shipped_recipe
from dmmsa_cli.reporting.runs import System

Departures = Mapping[str, tuple[Any, Any]]
"""Key of the recipe -> its value in the runs, and the one that it should have."""


def from_shipped(system: System, changes: Mapping[str, Any]) -> Departures:
    """Return in what a system departs from the recipe that it is named after, as shipped, under some changes.

    A recipe that bears no shipped name may be anything but for its objective, which is that of a shipped recipe of the
    same network: otherwise it is another system.
    """
    family = _family(system)
    if shipped_recipe(system.recipe_name, family) is not None:
        return departures(system.first.recipe, shipped_recipe(system.recipe_name, family, changes) or {})
    reference = _namesake(system, family)
    found = departures(system.first.recipe, (reference and shipped_recipe(reference, family, changes)) or {})
    return {key: values for key, values in found.items() if key.startswith("objective.")}


def is_shipped_system(system: System) -> bool:
    """Say whether some shipped recipe trains this network on this objective."""
    return _namesake(system, _family(system)) is not None


def _namesake(system: System, family: str) -> str | None:
    """The plainest shipped recipe with a system's network and kind of objective; none where there is none."""
    return _shipped_systems(family).get((system.model, str(system.objective["name"])))


@cache
def _shipped_systems(family: str) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for name in sorted(recipe_names(family), key=len):  # `misa` before `minilm-misa`
        recipe = shipped_recipe(name, family) or {}
        found.setdefault((recipe["model"]["name"], recipe["objective"]["name"]), name)
    return found


def shipped_version(system: System) -> dict[str, Any] | None:
    """Return the recipe that a system is named after as it is shipped, plain values; none where none is."""
    return shipped_recipe(system.recipe_name, _family(system))


def from_variant(system: System, changes: Mapping[str, Any], systems: Sequence[System]) -> Departures:
    """Return in what a system departs from its own recipe under the changes of a study's variant.

    Args:
        system: it.
        changes: of the variant, by dotted path.
        systems: all of the same dataset, among which the recipe as it is may stand.
    """
    if shipped_recipe(system.recipe_name, _family(system)) is not None:
        return from_shipped(system, changes)
    whole = [one for one in systems if (one.recipe_name, one.variant) == (system.recipe_name, FULL)]
    found = [_against(system, one.first.recipe, changes) for one in whole or [system]]
    return min(found, key=len)


def from_name(system: System) -> Departures:
    """Return in what a system departs from what its names stand for; names of one's own stand for anything."""
    meaning = meaning_of(system.variant)
    if meaning is None or shipped_recipe(system.recipe_name, _family(system)) is None:
        return {}
    return from_shipped(system, meaning.set)


def about_departures(named: Iterable[tuple[System, Departures]]) -> list[str]:
    """Say which systems stand in no row that their names promise, and in what they depart from it."""
    return [
        f"Left out: {system.recipe_name}/{system.variant} (seed {', '.join(map(str, system.seeds))}), "
        f"which departs from what its name stands for: {in_words(found)}."
        for system, found in named
        if found
    ]


def _against(system: System, recipe: Mapping[str, Any], changes: Mapping[str, Any]) -> Departures:
    try:
        return departures(system.first.recipe, with_changes(recipe, changes))
    except InvalidRecipe:  # the changes are of another objective
        return departures(system.first.recipe, {})


def _family(system: System) -> str:
    """The folder of recipes of the system's dataset; runs of an older dmmsa did not keep it."""
    spec = SPECS.get(system.whole)
    return str(system.first.facts.get("recipes") or (spec.recipes if spec else "default"))
