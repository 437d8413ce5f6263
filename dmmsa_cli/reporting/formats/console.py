"""A report in a terminal: nothing is dropped, however narrow it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from dmmsa_cli.commands import wrapped
from dmmsa_cli.reporting.comparison import by_place
from dmmsa_cli.reporting.contents import Cell, Mark, Report, Row, Table
from dmmsa_cli.reporting.formats.columns import EASY_LABEL, parts
from dmmsa_cli.reporting.notes import MARKED, METHOD

STYLES: dict[Mark, str] = {"": "", "best": "bold", "second": "underline"}
GAP = 2  # between columns


def show(console: Console, report: Report) -> None:
    """Print what went wrong, the tables, and whether differences are real."""
    show_notes(console, report)
    for table in report.tables:
        console.print()
        console.print(_text(table.title, "bold yellow" if table.synthetic else "bold"))
        for part in _parts(table, console.width):
            console.print(part)
        for note in _notes(table):
            if console.is_terminal or not note.startswith(MARKED):  # a file or a pipe shows neither
                _say(console, note, "dim")
    if report.comparisons:
        console.print()
        console.print(Text("Is the difference real?", style="bold"))
        console.print(Text(METHOD, style="dim"))
    for place, found in by_place(report.comparisons).items():
        console.print(_text(f"On {place}:" if place else "", "bold"))
        for comparison in found:
            console.print(_bullet(comparison.finding))


def show_notes(console: Console, report: Report) -> None:
    """Print what a reader should know first."""
    for note in report.notes:
        _say(console, note, "yellow")


def _say(console: Console, text: str, style: str) -> None:
    """Break lines for a reader at a screen, but for those with a command, which is to stay in one piece."""
    console.print(_text(wrapped(text, console.width) if console.is_terminal else text, style), soft_wrap=True)


def _notes(table: Table) -> list[str]:
    return [*([f"Published: {table.source}"] if table.source else []), *table.notes]


def _bullet(text: str) -> Grid:
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_row("-", _text(text))
    return grid


def _parts(table: Table, width: int) -> Iterator[Grid]:
    """Lay a table out, in several parts below each other where its columns are too many for the width."""
    longest = max(len(_label(row).plain) for row in table.rows)
    widths = _widths(table, broken=False)
    if sum(widths) + GAP * len(widths) + min(longest, EASY_LABEL) > width:
        widths = _widths(table, broken=True)
    for part in parts(widths, longest, width, GAP):
        yield _grid(table, part, widths, width)


def _grid(table: Table, places: Sequence[int], widths: Sequence[int], width: int) -> Grid:
    grid = Grid(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    grid.add_column("", max_width=width - sum(widths[i] + GAP for i in places), overflow="fold")
    for i in places:
        grid.add_column(table.columns[i].heading, justify="right", width=widths[i])
    for row in table.rows:
        if row.begins:
            grid.add_row()  # a gap
        grid.add_row(_label(row), *(_cell(row.cells[i]) for i in places))
    return grid


def _widths(table: Table, *, broken: bool) -> list[int]:
    """Give each column room for its numbers, which never break, and its heading, which may between its words."""
    headings = [column.heading.split() if broken else [column.heading] for column in table.columns]
    return [
        max(len(text) for row in table.rows for text in (*words, row.cells[i].text, f"±{row.cells[i].spread}"))
        for i, words in enumerate(headings)
    ]


def _label(row: Row) -> Text:
    return _text(row.label, "cyan" if row.ours else "")


def _text(text: str, style: str = "") -> Text:
    """No markup, and nothing that moves a terminal's cursor: a name may hold any character."""
    return Text("".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text), style=style)


def _cell(cell: Cell) -> Text:
    text = Text("/").join(Text(part, style=STYLES[mark]) for part, mark in _marked(cell))
    return text.append(f"\n±{cell.spread}", style="dim") if cell.spread else text


def _marked(cell: Cell) -> Iterator[tuple[str, Mark]]:
    return zip(cell.text.split("/"), cell.marks, strict=True)
