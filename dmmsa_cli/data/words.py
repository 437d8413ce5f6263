"""What comes from a stranger's file, as it can stand in a message."""

from __future__ import annotations

import numpy as np

# By the name of its type; what a pickle has noted (`unpickling.notes`) is named as what it stands for.
_IN_WORDS = {
    "NoneType": "nothing",
    "bytes": "bytes",
    "Array": "an array",
    "ByteArray": "a bytearray",
    "Dtype": "a dtype",
    "Name": "a name",
}


def printable(text: str, most: int = 80) -> str:
    """Return a text in short, and without what a terminal would obey or no file can hold."""
    short = text if len(text) <= most else text[:most] + "..."
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in short)


def kind_of(value: object) -> str:
    """Say what kind of thing a value is."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    name = type(value).__name__
    return _IN_WORDS.get(name, f"an {name}" if name[0] in "aeiou" else f"a {name}")
