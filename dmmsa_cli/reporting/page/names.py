"""What several parts of the page call things.

Two hyphens part what an anchor is made of: no `slug` holds them, so that no name of a dataset can make two the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dmmsa_cli.reporting.naming import slug
from dmmsa_cli.reporting.runs import System


def anchor(system: System, systems: Sequence[System]) -> str:
    """Return where the runs of a system stand on the page; nothing for those on folds, which stand in a table alone."""
    place = next((i for i, other in enumerate(systems) if other is system), None)  # equality would compare whole runs
    if place is None:
        return ""
    return f"runs-{place + 1}-{slug(f'{system.dataset}-{system.recipe_name}-{system.variant}')}"


def by_dataset(systems: Iterable[System]) -> list[tuple[str, bool, list[System]]]:
    """Put systems together by dataset: name, whether it is synthetic, systems; synthetic ones last."""
    found: dict[tuple[str, bool], list[System]] = {}
    for system in systems:
        found.setdefault((system.dataset, system.synthetic), []).append(system)
    return [
        (dataset, synthetic, some) for (dataset, synthetic), some in sorted(found.items(), key=lambda it: it[0][::-1])
    ]
