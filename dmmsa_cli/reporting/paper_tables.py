"""Tables of the papers: each published row, what others got of the same system, and below them our own runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dmmsa_cli.experiments.variants import meaning_of
from dmmsa_cli.reporting import notes
from dmmsa_cli.reporting.contents import Cell, Row, Table
from dmmsa_cli.reporting.labels import seeds_of, tell_apart
from dmmsa_cli.reporting.marks import with_marks
from dmmsa_cli.reporting.published import Ours, Published, PublishedRow, PublishedTable
from dmmsa_cli.reporting.results import Column
from dmmsa_cli.reporting.rows import our_row
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.standing import Departures, about_departures, from_shipped

FEWEST_DECIMALS = 3  # of MAE and Corr of ours beside published numbers


def published_table(published: Published, table: PublishedTable, systems: Sequence[System]) -> Table:
    """Build one table of a paper: its rows, columns and decimals, our own rows below those they answer to."""
    columns = table.as_columns
    decimals = [max(FEWEST_DECIMALS, table.decimals(column)) for column in columns]
    places = [(row.name, row.ours) for row in table.rows] + [(more.name, more.ours) for more in table.at_end]
    named = [(name, _named_like(table, ours, systems)) for name, ours in places]
    found = [(name, [system for system, departs in group if not departs]) for name, group in named]
    inside = [s for _, group in found for s in group]
    remarks = [ours.remark if ours else "" for _, ours in places]
    named_ours = [(name, s, remark) for (name, group), remark in zip(found, remarks, strict=True) for s in group]
    labels = iter(_labels_beside(named_ours, table, published.recipes))
    further = _further(published, table)
    rows: list[Row] = []
    for place, (_, group) in enumerate(found):
        if place < len(table.rows):
            printed_row = table.rows[place]
            rows.append(_published_row(table, printed_row))
            rows += further.pop(printed_row.system, [])
        elif place == len(table.rows):
            rows += _rest(further)
        rows += [our_row(next(labels), s, columns, decimals) for s in group]
    rows += _rest(further)
    marked = with_marks(rows, columns, lambda row: None if row.ours or row.further else "published")
    missing = [(name, ours) for (name, ours), (_, group) in zip(places, found, strict=True) if ours and not group]
    return Table(
        id=table.id,
        title=table.title,
        columns=columns,
        rows=marked,
        source=published.reference(table),
        notes=(
            *table.notes,
            *notes.about_further(published, table),
            *notes.about_marks(marked, "among the published rows"),
            *notes.about_spread(marked),
            *notes.about_data(inside),
            *notes.about_machines(marked),
            *notes.about_collapse(marked),
            *about_departures(pair for _, group in named for pair in group),
            *notes.about_missing(missing),
        ),
        dataset=table.dataset,
    )


def _named_like(table: PublishedTable, ours: Ours | None, systems: Sequence[System]) -> list[tuple[System, Departures]]:
    """Those of our systems that bear the names of a published row, never one on synthetic data, and their departures.

    The row is about those that depart in nothing.
    """
    if ours is None:
        return []
    wanted = table.dataset, ours.model, ours.objective, ours.variant
    meaning = meaning_of(ours.variant)
    return [
        (system, from_shipped(system, meaning.set if meaning else {}))
        for system in systems
        if not system.synthetic
        and (system.clips, system.model, system.objective["name"], system.variant) == wanted
        and _has_any(system, table.metrics)
    ]


def _has_any(system: System, metrics: Sequence[str]) -> bool:
    """Whether anything that a table shows was measured of a system: emotions are where clips are labelled with some."""
    return any(not math.isnan(system.summary.mean.get(metric, math.nan)) for metric in metrics)


def _labels_beside(
    named: Sequence[tuple[str, System, str]], table: PublishedTable, recipes: Sequence[str]
) -> list[str]:
    """Name our rows `ours (5 seeds)`, with what departs from the paper, and the published row's name where needed.

    Args:
        named: the published row's name, our system, and what is remarked of it.
        table: the paper's.
        recipes: those that need no name.
    """
    printed_rows = {row.name for row in table.rows}
    plain = [_ours("" if name in printed_rows else name, system, recipes, remark) for name, system, remark in named]
    if len({name for name, _, _ in named}) > 1 and len(set(plain)) < len(plain):
        plain = [_ours(name, system, recipes, remark) for name, system, remark in named]
    systems = [system for _, system, _ in named]
    return [f"{name} ({seeds_of(s.seeds)})" for name, s in zip(tell_apart(plain, systems), systems, strict=True)]


def _ours(name: str, system: System, recipes: Sequence[str], remark: str) -> str:
    recipe = "" if system.recipe_name in recipes else f"recipe {system.recipe_name}"
    return ", ".join(part for part in ("ours", name, remark, recipe, system.conditions) if part)


def _published_row(table: PublishedTable, row: PublishedRow) -> Row:
    return _as_printed(row.name, table.as_columns, table.texts(row), table.spreads(row))


def _as_printed(
    label: str,
    columns: Sequence[Column],
    texts: Mapping[str, str | None],
    spreads: Mapping[str, str | None],
    *,
    further: bool = False,
) -> Row:
    printed = {metric for column in columns for metric in column.metrics}
    return Row(
        label=label,
        cells=tuple(
            Cell(
                "/".join(texts.get(metric) or "-" for metric in column.metrics),
                "/".join(spread for metric in column.metrics if (spread := spreads.get(metric))),
            )
            for column in columns
        ),
        values={metric: float(text) for metric, text in texts.items() if metric in printed and text is not None},
        sd={metric: float(text) for metric, text in spreads.items() if metric in printed and text is not None},
        further=further,
    )


def _further(published: Published, table: PublishedTable) -> dict[str, list[Row]]:
    """Rows of further tables, by the system that they are about; only the columns that this table has."""
    found: dict[str, list[Row]] = {}
    for other in published.further(table):
        for row in other.rows:
            texts, label = other.texts(row), f"{row.name}: {other.called}"
            if any(texts.get(metric) for metric in table.metrics):
                made = _as_printed(label, table.as_columns, texts, other.spreads(row), further=True)
                found.setdefault(row.system, []).append(made)
    return found


def _rest(further: dict[str, list[Row]]) -> list[Row]:
    """Take what is about systems that the table has no row of."""
    rows = [row for rows in further.values() for row in rows]
    further.clear()
    return rows
