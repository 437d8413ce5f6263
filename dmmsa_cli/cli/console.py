"""The console that every command prints to."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from dmmsa_cli.commands import wrapped
from dmmsa_cli.reporting.formats.columns import parts

GAP = 2  # between the columns of a table without a frame


def open_console(*, stderr: bool = False) -> Console:
    """Return a console on which text stands as it is: names are a user's, and may hold `[/x]` or `:smile:`.

    Lines for other programs, in a file or a pipe, stay in one piece where they are printed with `soft_wrap`.
    """
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def say(console: Console, text: str, style: str = "") -> None:
    """Print a text: lines are broken between words for a reader at a screen, but never within a command."""
    shown = wrapped(text, console.width) if console.is_terminal and not text.startswith("Next: ") else text
    console.print(Text(shown, style), soft_wrap=True)


def plain_table(title: str, *columns: str, numbers: Collection[str] = ()) -> Table:
    """Return a table without a frame, whose columns of numbers stand to the right."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False
    )
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left")
    return table


def in_parts(grid: Table, width: int) -> Iterator[Table]:
    """Part a table whose numbers a terminal has no room for into several, below each other, under the same labels.

    Args:
        grid: without a frame; its first column holds labels, the others numbers.
        width: of the terminal.
    """
    labels, *numbers = grid.columns
    places = parts(list(map(_width, numbers)), _width(labels), width, GAP)
    if len(places) == 1:
        labels.overflow = "fold"
        yield grid
        return
    for part in places:
        kept = [labels, *(numbers[place] for place in part)]
        title = grid.title if part is places[0] else None
        made = Table(
            title=title, title_justify="left", title_style="bold", header_style=grid.header_style, box=None,
            padding=(0, 1), pad_edge=False,
        )  # fmt: skip
        for column in kept:
            number = column is not labels
            made.add_column(column.header, justify=column.justify, no_wrap=number, overflow="fold")
        for row, cells in zip(grid.rows, zip(*(column.cells for column in kept), strict=True), strict=True):
            made.add_row(*cells, style=row.style)
        yield made


def _width(column: Column) -> int:
    texts = [str(text) for text in (column.header, *column.cells)]
    return max(cell_len(line) for text in texts for line in text.splitlines() or [""])
