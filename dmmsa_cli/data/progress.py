"""How long work on data tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[str, int, int | None], None]  # what is being done, how far, out of how much (None: unknown)


def silent(what: str, done: int, total: int | None) -> None:
    """Tell nobody."""
