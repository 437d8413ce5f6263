"""What can be wrong with a pickle. The messages go on after the file's name; `reader` puts it there."""

from __future__ import annotations

from dmmsa_cli.errors import DamagedPickle, UnsafePickle

DISTRUST = "Such a file can run code. Ask whoever made it for one that holds numpy arrays, lists and strings only."
COMPARE = "Compare its size with the original's, and fetch or copy it again."
REWRITE = "No program writes such a pickle by itself. Ask whoever made it for numpy arrays, lists and strings."


class NoPickle(DamagedPickle):
    """It holds what no pickle does, from its beginning as far as anybody knows."""


def unsafe(what: str, remedy: str = DISTRUST) -> UnsafePickle:
    """Return the error for what asks for more than data."""
    return UnsafePickle(f"{what}; nothing of it was run.", remedy)


def damaged(what: str, remedy: str = COMPARE) -> DamagedPickle:
    """Return the error for what is no pickle, or a broken one."""
    return DamagedPickle(f"{what}.", remedy)


def truncated() -> DamagedPickle:
    """Return the error for a file that ends before its pickle does."""
    return damaged("is truncated: it ends before its pickle does")
