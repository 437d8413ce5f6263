"""Names for files, anchors and tables, made from names that people gave: no two the same, whatever these are."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

LONGEST = 100  # bytes of UTF-8: with what stands before and after it, a file's name stays below the usual 255


def slug(text: str) -> str:
    """Keep the letters and digits of any script, dots and underscores; whatever else stands between is one hyphen.

    What is left needs no escaping in a file's name, in an anchor, in Markdown or in LaTeX, but for letters beyond
    ASCII; two texts may come to the same.

    Example:
        >>> slug("Our recipe (50 %)"), slug("电影"), slug("../..")
        ('Our-recipe-50', '电影', 'x')
    """
    kept = re.sub(r"[^\w.]+", "-", unicodedata.normalize("NFC", text)).strip("-.")
    return kept.encode()[:LONGEST].decode(errors="ignore").rstrip("-.") or "x"


def unique(names: Iterable[str]) -> list[str]:
    """Number the names that have come before, also where only case or the form of an accent differs.

    File systems take such names for the same.

    Example:
        >>> unique(["mosi", "Mosi", "mosi-2", "sims"])
        ['mosi', 'Mosi-2', 'mosi-2-2', 'sims']
    """
    taken: set[str] = set()
    numbered = []
    for name in names:
        free = name
        number = 1
        while _folded(free) in taken:
            number += 1
            free = f"{name}-{number}"
        taken.add(_folded(free))
        numbered.append(free)
    return numbered


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
