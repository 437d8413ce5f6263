"""What dicts may have for keys, and sets for members.

Strings and small numbers are looked up in a time that no file decides. Of tuples and the like a file can make any
number that have one hash, which are then compared with each other, all with all: so there may be few of them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dmmsa_cli.data.unpickling.faults import REWRITE, damaged
from dmmsa_cli.data.words import kind_of

MOST_ODD = 1000  # tuples, frozensets, large integers
LONGEST_TUPLE = 16
_SMALL = 2**60  # integers are their own hash up to 2**61 - 2
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
        self._odd_left -= 1
        if type(key) is tuple:
            fine = len(key) <= LONGEST_TUPLE and all(type(part) in _PLAIN or _is_small(part) for part in key)
        else:
            fine = type(key) in (int, complex, frozenset) or isinstance(key, np.generic)
        if not fine:
            raise damaged(f"uses {kind_of(key)} as a key that can be none", REWRITE)
        if self._odd_left < 0:
            raise damaged(f"uses more than {MOST_ODD:,} tuples or large numbers as keys", REWRITE)


def _is_small(key: object) -> bool:
    return (type(key) is int and -_SMALL < key < _SMALL) or isinstance(key, _NUMPY)
