"""The console that every command prints to."""

from __future__ import annotations

from collections.abc import Collection

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dmmsa_cli.commands import wrapped


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
