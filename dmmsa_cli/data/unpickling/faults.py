"""What can be wrong with a pickle. The messages go on after the file's name; `reader` puts it there."""

from __future__ import annotations

from dmmsa_cli.errors import DamagedPickle, UnsafePickle

DISTRUST = "Such a file can run code. Ask whoever made it for one that holds numpy arrays, lists and strings only."
COMPARE = "Compare its size with the original's, and fetch or copy it again."
REWRITE = "No program writes such a pickle by itself. Ask whoever made it for numpy arrays, lists and strings."


def unsafe(what: str) -> UnsafePickle:
    """Return the error for what asks for more than data."""
    return UnsafePickle(f"{what}; nothing of it was run.", DISTRUST)


def damaged(what: str, remedy: str = COMPARE) -> DamagedPickle:
    """Return the error for what is no pickle, or a broken one."""
    return DamagedPickle(f"{what}.", remedy)


def truncated() -> DamagedPickle:
    """Return the error for a file that ends before its pickle does."""
    return damaged("is truncated: it ends before its pickle does")


def shown(text: str, most: int = 80) -> str:
    """Return a stranger's text for a message: short, and without what a terminal would obey."""
    short = text if len(text) <= most else text[:most] + "..."
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in short)


def kind(value: object) -> str:
    """Say what kind of thing a value is."""
    name = type(value).__name__
    if name in _IN_WORDS:
        return _IN_WORDS[name]
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


_IN_WORDS = {
    "NoneType": "nothing",
    "str": "a text",
    "bytes": "bytes",
    "Array": "an array",
    "ByteArray": "a bytearray",
    "Dtype": "a type",
    "Name": "a name",
}
