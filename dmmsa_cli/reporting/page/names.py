"""What several parts of the page call things."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from dmmsa_cli.reporting.runs import System


def slug(text: str) -> str:
    """Turn a name into what an anchor may hold."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def anchor(system: System, systems: Sequence[System]) -> str:
    """Return where the runs of a system stand on the page."""
    place = next(i for i, other in enumerate(systems) if other is system)  # equality would compare whole runs
    return f"runs-{place + 1}-{slug(f'{system.dataset}-{system.recipe_name}-{system.variant}')}"


def by_dataset(systems: Iterable[System]) -> list[tuple[str, bool, list[System]]]:
    """Put systems together by dataset: name, whether it is synthetic, systems; synthetic ones last."""
    found: dict[tuple[str, bool], list[System]] = {}
    for system in systems:
        found.setdefault((system.dataset, system.synthetic), []).append(system)
    return [
        (dataset, synthetic, some) for (dataset, synthetic), some in sorted(found.items(), key=lambda it: it[0][::-1])
    ]
