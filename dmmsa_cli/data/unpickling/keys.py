"""What dicts may have for keys, and sets for members.

Strings and small numbers are looked up in a time that no file decides, and so are tuples of strings, and of strings and
one number: nobody knows the hash of a string beforehand. Of other tuples, and of large numbers, a file can make any
count that have one hash, which are then compared with each other, all with all: so there may be few of them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dmmsa_cli.data.unpickling.faults import REWRITE, damaged
from dmmsa_cli.data.words import kind_of

MOST_ODD = 1000  # tuples, frozensets, large integers
LONGEST_TUPLE = 16
_SMALL = 2**60  # integers are their own hash up to 2**61 - 2
_TEXT = frozenset({str, bytes})
_PLAIN = frozenset({str, bytes, float, bool, type(None)})
_NUMPY = (np.str_, np.bytes_, np.integer, np.bool_, np.float16, np.float32, np.float64)


class Keys:
    """Looks at every key of one pickle."""

    def __init__(self) -> None:
        self._odd_left = MOST_ODD

    def check(self, keys: Iterable[object]) -> None:
        """Look whether values may be keys.

        Raises:
            DamagedPickle: one of them is none, or they are too many of an odd kind.
        """
        for key in keys:
            if type(key) not in _PLAIN and not _is_small(key):
                self._check_odd(key)

    def _check_odd(self, key: object) -> None:
        if type(key) is tuple:
            fine = len(key) <= LONGEST_TUPLE and all(type(part) in _PLAIN or _is_small(part) for part in key)
        else:
            fine = type(key) in (int, complex, frozenset) or isinstance(key, np.generic)
        if not fine:
            raise damaged(f"uses {kind_of(key)} as a key that can be none", REWRITE)
        self._odd_left -= not _is_mostly_text(key)
        if self._odd_left < 0:
            raise damaged(f"uses more than {MOST_ODD:,} tuples or large numbers as keys", REWRITE)


def _is_small(key: object) -> bool:
    return (type(key) is int and -_SMALL < key < _SMALL) or isinstance(key, _NUMPY)


def _is_mostly_text(key: object) -> bool:
    """Whether a key is a tuple of strings, and of one number at most; -1 and -2 have one hash."""
    if type(key) is not tuple:
        return False
    others = [part for part in key if type(part) not in _TEXT]
    return len(others) < len(key) and (not others or (len(others) == 1 and type(others[0]) is int and others[0] >= 0))
