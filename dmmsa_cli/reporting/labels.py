"""Names of rows: no two systems of one table under the same one, and what sets them apart is told."""

from __future__ import annotations

from collections.abc import Sequence

from dmmsa_cli.experiments import systems as runs_alike
from dmmsa_cli.reporting.runs import System


def tell_apart(names: Sequence[str], systems: Sequence[System]) -> list[str]:
    """Add to equal names what the systems behind them differ in (see `experiments/systems.py`).

    Example: twice `ours` becomes `ours, data c0ffee12` and `ours, data deadbeef`.
    """
    recipes, variants = {s.recipe_name for s in systems}, {s.variant for s in systems}
    places = [
        ", ".join(
            [*([f"recipe {s.recipe_name}"] if len(recipes) > 1 else []), *([s.variant] if len(variants) > 1 else [])]
        )
        for s in systems
    ]
    return runs_alike.tell_apart(names, [system.first.identity for system in systems], places)


def seeds_of(seeds: Sequence[int]) -> str:
    """Return how many runs stand behind a row: `5 seeds`."""
    return f"{len(seeds)} seed{'s' * (len(seeds) != 1)}"
