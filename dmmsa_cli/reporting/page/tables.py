"""The page's tables: sortable, their best numbers marked part by part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dmmsa_cli.reporting.contents import Cell, Mark, Report, Row, Table
from dmmsa_cli.reporting.naming import slug, unique
from dmmsa_cli.reporting.page.names import anchor
from dmmsa_cli.reporting.results import Column
from dmmsa_cli.reporting.runs import System


@dataclass(frozen=True)
class ColumnView:
    """A header."""

    title: str
    first: Literal["ascending", "descending"]
    """The order of the first click: the best on top."""


@dataclass(frozen=True)
class CellView:
    """A cell, part for part."""

    parts: list[tuple[str, Mark]]
    spread: str
    value: float | None
    """What it is sorted by; none for a dash."""


@dataclass(frozen=True)
class RowView:
    """A row."""

    row: Row
    cells: list[CellView]
    href: str
    """The anchor of the runs behind it; empty where there are none."""


@dataclass(frozen=True)
class TableView:
    """A table."""

    table: Table
    anchor: str
    title: str
    """Without what the badge beside it says."""
    columns: list[ColumnView]
    rows: list[RowView]


def table_views(report: Report) -> list[TableView]:
    """Return every table of the report, as the template reads it."""
    anchors = [f"table-{name}" for name in unique(slug(table.id) for table in report.tables)]
    return [
        _table(table, anchor, report.collection.systems) for table, anchor in zip(report.tables, anchors, strict=True)
    ]


def _table(table: Table, place: str, systems: Sequence[System]) -> TableView:
    columns = [
        ColumnView(column.heading, "ascending" if column.lower_is_better else "descending") for column in table.columns
    ]
    rows = [
        RowView(
            row=row,
            cells=[_cell(one, column, row.values) for one, column in zip(row.cells, table.columns, strict=True)],
            href=anchor(row.system, systems) if row.system else "",
        )
        for row in table.rows
    ]
    return TableView(table, place, table.title.removesuffix(" (SYNTHETIC data)"), columns, rows)


def _cell(shown: Cell, column: Column, values: Mapping[str, float]) -> CellView:
    parts = shown.text.split("/")
    if len(parts) != len(shown.marks):
        parts = [shown.text]
    value = values.get(column.metrics[0], math.nan)
    return CellView(list(zip(parts, shown.marks, strict=False)), shown.spread, value if math.isfinite(value) else None)
