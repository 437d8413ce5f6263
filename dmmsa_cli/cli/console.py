"""The console that every command prints to."""

from __future__ import annotations

from collections.abc import Collection

from rich import box
from rich.console import Console
from rich.table import Table


def open_console(*, stderr: bool = False) -> Console:
    """Return a console on which text stands as it is: names are a user's, and may hold `[/x]` or `:smile:`.

    Lines for other programs, in a file or a pipe, stay in one piece where they are printed with `soft_wrap`.
    """
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def unbroken(console: Console, text: str) -> bool:
    """Return whether the lines of a text are left to the terminal, or the file, and not broken between words here.

    They are where it names a command, which could not be pasted in two pieces.
    """
    return not console.is_terminal or "`" in text or text.startswith("Next: ")


def plain_table(title: str, *columns: str, numbers: Collection[str] = ()) -> Table:
    """Return a table without a frame, whose columns of numbers stand to the right."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False
    )
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left")
    return table
