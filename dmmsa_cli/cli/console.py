"""The console that every command prints to."""

from __future__ import annotations

from rich.console import Console


def open_console(*, stderr: bool = False) -> Console:
    """Return a console on which text stands as it is: names are a user's, and may hold `[/x]` or `:smile:`.

    Lines for other programs, in a file or a pipe, stay in one piece where they are printed with `soft_wrap`.
    """
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)
