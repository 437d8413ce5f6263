"""Best and second best of each column, as the papers mark them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

from dmmsa_cli.reporting.contents import Cell, Mark, Row
from dmmsa_cli.reporting.results import Column

FEWEST = 3  # of two rows one is the best and the other the second best, which says nothing


def with_marks(
    rows: Sequence[Row], columns: Sequence[Column], group_of: Callable[[Row], Hashable | None]
) -> tuple[Row, ...]:
    """Mark the best and the second best number of each column, the parts of 'a/b' cells apart.

    Numbers are compared as they are printed, so that equal ones are marked alike; dashes take no part.

    Args:
        rows: of one table.
        columns: of the same table.
        group_of: rows are compared within their group; None is never marked. A group of fewer than 3 has no marks.
    """
    groups: dict[Hashable, list[int]] = {}
    for place, row in enumerate(rows):
        if (group := group_of(row)) is not None:
            groups.setdefault(group, []).append(place)
    marked = [_unmarked(row) for row in rows]
    for places in groups.values():
        if len(places) >= FEWEST:
            for place, row in zip(places, _within([rows[i] for i in places], columns), strict=True):
                marked[place] = row
    return tuple(marked)


def in_groups(rows: Sequence[Row], group_of: Callable[[Row], Hashable | None]) -> tuple[Row, ...]:
    """Bring together the rows that are compared with each other, and say where such a group begins.

    Groups come in the order of their first rows, and keep the order within.
    """
    order = {group: place for place, group in enumerate(dict.fromkeys(map(group_of, rows)))}
    grouped = sorted(rows, key=lambda row: order[group_of(row)])
    before = [None, *grouped]
    return tuple(
        replace(row, begins=former is not None and group_of(former) != group_of(row))
        for former, row in zip(before, grouped, strict=False)
    )


def has_marks(rows: Sequence[Row]) -> bool:
    """Say whether anything is marked at all."""
    return any(mark for row in rows for cell in row.cells for mark in cell.marks)


def _unmarked(row: Row) -> Row:
    none: Mark = ""
    return replace(row, cells=tuple(replace(cell, marks=(none,) * len(cell.text.split("/"))) for cell in row.cells))


def _within(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    by_column = [_column([row.cells[i] for row in rows], column) for i, column in enumerate(columns)]
    return [replace(row, cells=cells) for row, cells in zip(rows, zip(*by_column, strict=True), strict=True)]


def _column(cells: Sequence[Cell], column: Column) -> list[Cell]:
    parts = list(zip(*(cell.text.split("/") for cell in cells), strict=True))
    marks = zip(*(_ranks(texts, column.lower_is_better) for texts in parts), strict=True)
    return [replace(cell, marks=tuple(mark)) for cell, mark in zip(cells, marks, strict=True)]


def _ranks(texts: Sequence[str], lower: bool) -> list[Mark]:
    numbers = [None if text == "-" else float(text) for text in texts]
    order = sorted({number for number in numbers if number is not None}, reverse=not lower)
    names: dict[float | None, Mark] = dict(zip(order, ("best", "second"), strict=False))
    return [names.get(number, "") for number in numbers]
