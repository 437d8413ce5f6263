"""Names of rows: no two systems of one table under the same one, and what sets them apart is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dmmsa_cli.reporting.runs import System

HASH = 8  # characters of a data hash that tell two stores apart in a label
SETTINGS = 2  # settings of the recipe that a label names at most


def tell_apart(names: Sequence[str], systems: Sequence[System]) -> list[str]:
    """Add to equal names what the systems behind them differ in: data, precision, recipe, settings, or seeds at last.

    Example: twice `ours` becomes `ours, data c0ffee12` and `ours, data deadbeef`.
    """
    labels = list(names)
    for differing in (_data, _precision, _recipe, _variant, _start, _settings, _seeds):
        counts = Counter(labels)
        for name in [name for name, count in counts.items() if count > 1]:
            places = [i for i, other in enumerate(labels) if other == name]
            for place, words in zip(places, differing([systems[i] for i in places]), strict=True):
                labels[place] = f"{name}, {words}" if words else name
    return labels


def seeds_of(system: System) -> str:
    """Return how many runs stand behind a row: `5 seeds`."""
    count = len(system.runs)
    return f"{count} seed{'s' * (count != 1)}"


def _telling(systems: Sequence[System], words: Callable[[System], str]) -> list[str]:
    """What each has, where not all have the same."""
    found = [words(system) for system in systems]
    return found if len(set(found)) > 1 else [""] * len(found)


def _data(systems: Sequence[System]) -> list[str]:
    return _telling(systems, lambda system: f"data {system.data_hash[:HASH]}")


def _precision(systems: Sequence[System]) -> list[str]:
    return _telling(systems, lambda system: str(system.first.facts["precision"]))


def _recipe(systems: Sequence[System]) -> list[str]:
    return _telling(systems, lambda system: f"recipe {system.recipe_name}")


def _variant(systems: Sequence[System]) -> list[str]:
    return _telling(systems, lambda system: system.variant)


def _start(systems: Sequence[System]) -> list[str]:
    return _telling(systems, lambda system: "from scratch" if system.first.facts["from_scratch"] else "pretrained")


def _seeds(systems: Sequence[System]) -> list[str]:
    return _telling(systems, lambda system: f"seed {', '.join(map(str, system.seeds))}")


def _settings(systems: Sequence[System]) -> list[str]:
    recipes = [dict(_leaves(system.first.recipe)) for system in systems]
    keys = [key for key in sorted({key for recipe in recipes for key in recipe}) if key != "seeds"]
    differing = [key for key in keys if len({repr(recipe.get(key)) for recipe in recipes}) > 1][:SETTINGS]
    return [", ".join(f"{key} {recipe.get(key)}" for key in differing) for recipe in recipes]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
