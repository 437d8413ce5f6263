"""A figure on the page: which systems, pairs or groups of them it can be shown for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dmmsa_cli.errors import RunMismatch, RunMissing
from dmmsa_cli.reporting.figures.plots import Layout, Panel
from dmmsa_cli.reporting.figures.subjects import seeds_of
from dmmsa_cli.reporting.groups import groups, label, title
from dmmsa_cli.reporting.runs import System

_WATERMARK: Layout = {
    "text": "SYNTHETIC",
    "xref": "paper",
    "yref": "paper",
    "x": 0.5,
    "y": 0.5,
    "showarrow": False,
    "textangle": -18,
    "font": {"size": 34, "color": "rgba(190, 125, 0, 0.28)"},
}


@dataclass(frozen=True)
class Variant:
    """What a figure shows at a time: plots side by side."""

    label: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Chart:
    """One figure, and the systems (or pairs of them) that it can be shown for."""

    id: str
    title: str
    caption: str
    variants: tuple[Variant, ...]
    wide: bool = False


def of_pairs(
    draw: Callable[[System, System], tuple[Panel, ...]],
    pairs: Sequence[tuple[System, System]],
    systems: Sequence[System],
) -> tuple[Variant, ...]:
    """Show a figure for each of some pairs; one whose files are gone or damaged is left out.

    Args:
        draw: draws it for a pair.
        pairs: which.
        systems: all of the dataset, among which names are told apart.
    """
    return tuple(
        variant
        for first, second in pairs
        for variant in _variant(f"{title(first, systems)} and {label(second)}", draw, first, second)
    )


def of_systems(draw: Callable[[System], tuple[Panel, ...]], systems: Sequence[System]) -> tuple[Variant, ...]:
    """Show a figure for each system; one whose files are gone or damaged is left out."""
    return tuple(variant for system in systems for variant in _variant(title(system, systems), draw, system))


def of_groups(draw: Callable[..., tuple[Panel, ...]], systems: Sequence[System]) -> tuple[Variant, ...]:
    """Show a figure for each group of systems that may be compared, all of them at once."""
    return of_sets(draw, groups(systems), systems)


def of_sets(
    draw: Callable[..., tuple[Panel, ...]], sets: Sequence[Sequence[System]], systems: Sequence[System]
) -> tuple[Variant, ...]:
    """Show a figure for each of some sets of systems.

    Args:
        draw: draws it for a set, all of it at once.
        sets: which; each is named after its first system.
        systems: all of the dataset, among which names are told apart.
    """
    variants: list[Variant] = []
    for group in sets:
        first = title(group[0], systems)
        name = first if len(group) == 1 else f"{first} and {len(group) - 1} more"
        variants += _variant(name, draw, *group)
    return tuple(variants)


def _variant(name: str, draw: Callable[..., tuple[Panel, ...]], *systems: System) -> list[Variant]:
    try:
        panels = draw(*systems)
    except (RunMissing, RunMismatch):
        return []
    if systems[0].synthetic:
        panels = tuple(map(marked, panels))
    return [Variant(f"{name} ({seeds_of(*systems)})", panels)] if panels else []


def marked(panel: Panel) -> Panel:
    """Write SYNTHETIC across a plot."""
    # In the plot itself: a picture saved from the page, or a screenshot of it, must not look like a result either.
    layout = panel.layout | {"annotations": [*panel.layout.get("annotations", ()), _WATERMARK]}
    return replace(panel, layout=layout)
