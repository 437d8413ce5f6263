"""The page's tables: sortable, their best numbers marked part by part; one's own first, those of others folded."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dmmsa_cli.metrics import ALL_EMOTIONS
from dmmsa_cli.reporting.contents import Cell, Mark, Report, Row, Table
from dmmsa_cli.reporting.naming import slug, unique
from dmmsa_cli.reporting.page.names import anchor
from dmmsa_cli.reporting.results import SCORES, Column
from dmmsa_cli.reporting.runs import System

_REMARK = re.compile(r"(.+) (\([^()]+\))")  # a label, and what stands in brackets behind it


@dataclass(frozen=True)
class ColumnView:
    """A header."""

    title: str
    first: Literal["ascending", "descending"]
    """The order of the first click: the best on top."""
    parts: int
    """How many numbers a cell holds: of two, a header sorts by the one and then by the other."""
    main: bool
    """Whether a phone shows it first, beside the label."""


@dataclass(frozen=True)
class CellView:
    """A cell, part for part."""

    parts: list[tuple[str, Mark]]
    spread: str
    values: list[float | None]
    """What it is sorted by, part for part; none for a dash."""


@dataclass(frozen=True)
class RowView:
    """A row."""

    row: Row
    label: str
    remark: str
    """What stands in brackets at the end of the label: `(5 seeds)`."""
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


@dataclass(frozen=True)
class TableGroup:
    """Tables of one kind."""

    title: str
    tables: list[TableView]
    folded: bool = False
    """Whether only their titles are shown until one is opened."""


def table_groups(report: Report) -> list[TableGroup]:
    """Return every table of the report as the template reads it: one's own, those that hold rows of one's own, others.

    The last are folded, unless there is nothing else.
    """
    anchors = [f"table-{name}" for name in unique(slug(table.id) for table in report.tables)]
    views = [
        _table(table, anchor, report.collection.systems) for table, anchor in zip(report.tables, anchors, strict=True)
    ]
    own = [view for view in views if not view.table.source]
    beside = [view for view in views if view.table.source and any(row.ours for row in view.table.rows)]
    others = [view for view in views if view not in own and view not in beside]
    groups = (
        TableGroup("Your own runs", own),
        TableGroup("Your own runs beside published numbers", beside),
        TableGroup("Published numbers alone", others, folded=bool(own or beside)),
    )
    return [group for group in groups if group.tables]


def _table(table: Table, place: str, systems: Sequence[System]) -> TableView:
    rows = [
        RowView(
            row,
            *_parted(row),
            cells=[_cell(one, column, row.values) for one, column in zip(row.cells, table.columns, strict=True)],
            href=anchor(row.system, systems) if row.system else "",
        )
        for row in table.rows
    ]
    title = table.title.removesuffix(" (SYNTHETIC data)")
    return TableView(table, place, title, list(map(_column, table.columns)), rows)


def _column(column: Column) -> ColumnView:
    main = column.metrics[0] in SCORES or column.metrics[0].endswith(f"_{ALL_EMOTIONS}")
    first: Literal["ascending", "descending"] = "ascending" if column.lower_is_better else "descending"
    return ColumnView(column.heading, first, len(column.metrics), main)


def _parted(row: Row) -> tuple[str, str]:
    """Part a label of ours from its remark, which is set smaller: a phone has no room for both in one size."""
    found = _REMARK.fullmatch(row.label) if row.ours else None
    return (found[1], found[2]) if found else (row.label, "")


def _cell(shown: Cell, column: Column, values: Mapping[str, float]) -> CellView:
    parts = shown.text.split("/")
    if len(parts) != len(shown.marks):
        parts = [shown.text]
    found = [values.get(metric, math.nan) for metric in column.metrics]
    return CellView(
        list(zip(parts, shown.marks, strict=False)),
        shown.spread,
        [value if math.isfinite(value) else None for value in found],
    )
