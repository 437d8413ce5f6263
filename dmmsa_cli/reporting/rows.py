"""Rows of our own: means and spreads over the seeds, printed as the table around them prints."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.metrics import Metrics, Summary, summarise
from dmmsa_cli.reporting.contents import Cell, Row
from dmmsa_cli.reporting.labels import seeds_of, tell_apart
from dmmsa_cli.reporting.results import Column, printed
from dmmsa_cli.reporting.runs import System

DECIMALS = 4  # of MAE and Corr in tables of our own
_LETTERS = {name: letter for letter, name in MODALITY_NAMES.items()}


def our_row(
    label: str,
    system: System,
    columns: Sequence[Column],
    decimals: Sequence[int] | None = None,
    summary: Summary | None = None,
) -> Row:
    """Build a row of ours.

    Args:
        label: its name.
        system: the runs behind it.
        columns: of the table.
        decimals: of MAE and Corr, for each column.
        summary: what to print, where it is not the fused model's metrics.
    """
    found = summary or system.summary
    precise = decimals or [DECIMALS] * len(columns)
    return Row(
        label=label,
        cells=tuple(_cell(column, found, number) for column, number in zip(columns, precise, strict=True)),
        values=_as_printed(found.mean, columns),
        sd=_as_printed(found.sd, columns),
        system=system,
        seeds=found.runs,
    )


def alone_rows(systems: Sequence[System], columns: Sequence[Column]) -> list[Row]:
    """Build a row for each pretrained encoder alone: once where several systems stand on the same."""
    found: dict[tuple[str, frozenset[str]], System] = {}
    for name in MODALITY_NAMES.values():
        for system in systems:
            if all(name in run.alone for run in system.runs):
                found.setdefault((name, _encoders(name, system)), system)
    owners = list(found.values())
    labels = tell_apart([f"{name} alone" for name, _ in found], owners)
    return [
        our_row(f"{label} ({_trained(system)})", system, columns, summary=_alone(name, system))
        for label, (name, _), system in zip(labels, found, owners, strict=True)
    ]


def in_order(systems: Sequence[System]) -> list[System]:
    """Sort by dataset, synthetic ones last, then by recipe, those of DMMSA's objective first.

    In each recipe the whole comes first, then what is left out, fractions from large to small, others.
    """
    return sorted(systems, key=_order)


def _order(system: System) -> tuple[Any, ...]:
    recipe = system.objective["name"] != "dmmsa", system.recipe_name
    return system.synthetic, system.dataset, *recipe, _place(system.variant), system.variant, system.data_hash


def _place(variant: str) -> tuple[int, float]:
    fraction = re.fullmatch(r"fraction-([0-9.]+)", variant)
    if fraction:
        return 2, -float(fraction[1])
    return (0 if variant == "full" else 1 if variant.startswith("no-") else 3), 0.0


def _cell(column: Column, summary: Summary, decimals: int) -> Cell:
    spread = printed(column, summary.sd, decimals) if summary.runs > 1 else ""
    return Cell(printed(column, summary.mean, decimals), "" if set(spread) <= {"-", "/"} else spread)


def _as_printed(values: Metrics, columns: Sequence[Column]) -> Mapping[str, float]:
    """Percent where it is printed in percent, unrounded; without what is undefined."""
    return {
        metric: (100 if column.percent else 1) * values[metric]
        for column in columns
        for metric in column.metrics
        if not math.isnan(values.get(metric, math.nan))
    }


def _encoders(name: str, system: System) -> frozenset[str]:
    """Which encoders of a modality a system stands on, one or one a seed."""
    return frozenset(str(run.facts["encoder_hashes"].get(_LETTERS[name])) for run in system.runs)


def _trained(system: System) -> str:
    return "the shared encoder" if system.shares_encoders else seeds_of(system.seeds)


def _alone(name: str, system: System) -> Summary:
    runs = system.runs[:1] if system.shares_encoders else system.runs
    return summarise([run.alone[name] for run in runs])
