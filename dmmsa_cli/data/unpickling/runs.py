"""Numbers of one opcode, side by side: lists of features are little else, and are read in one go."""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np

from dmmsa_cli.data.unpickling.literals import LITERALS
from dmmsa_cli.data.unpickling.stream import Stream


class Run:
    """One opcode whose numbers may stand side by side.

    Args:
        code: the opcode.
        kind: numpy's name for the number that follows it.
    """

    def __init__(self, code: bytes, kind: str) -> None:
        self.code = code
        self.single = LITERALS[code]
        self._record = np.dtype([("code", "u1"), ("value", kind)])
        self._pattern = re.compile(b"(?:" + re.escape(code) + b".{%d})*+" % (self._record.itemsize - 1), re.DOTALL)

    def is_alone(self, stream: Stream) -> bool:
        """Whether the number whose opcode was just read is followed by something else, or by the window's end."""
        following = stream.at + self._record.itemsize - 1
        return following >= len(stream.window) or stream.window[following] != self.code[0]

    def take(self, stream: Stream) -> list[Any]:
        """Take the number whose opcode was just read, and those behind it, as far as the window goes."""
        start = stream.at - 1
        found = self._pattern.match(stream.window, start)
        assert found is not None  # it matches nothing, too
        end = found.end()
        records = np.frombuffer(stream.window, self._record, (end - start) // self._record.itemsize, start)
        stream.at = end
        return list(records["value"].tolist())


RUNS = (
    Run(pickle.BINFLOAT, ">f8"),
    Run(pickle.BININT1, "u1"),
    Run(pickle.BININT2, "<u2"),
    Run(pickle.BININT, "<i4"),
)
