"""Arrays as a pickle describes them: noted down while its program runs, made after its last opcode.

numpy trusts the state that a pickle gives an array: one that calls an array of pointers an array of numbers corrupts
memory. A note holds that state and nothing else. It has no attribute that a pickle can name, takes its state once,
and what it says is held against its content before numpy sees it.
"""

from __future__ import annotations

import re
from math import prod
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.data.unpickling.faults import REWRITE, damaged, unsafe
from dmmsa_cli.data.words import kind_of, printable
from dmmsa_cli.errors import DamagedPickle

MOST_AXES = 32  # numpy 1's bound
MOST_ELEMENTS = 2**40  # by the axes that are not 0, of an array that is empty
_NAME = re.compile(r"\?|b1|[iu][1248]|f[248]|c8|c16|O[48]?|[SU](0|[1-9][0-9]{0,8})")
_HIGHEST_CODE_POINT = 0x10FFFF


def contradicts(what: str) -> DamagedPickle:
    """Return the error for an array that is not what it claims to be."""
    return damaged(f"holds an array that contradicts itself: {what}", REWRITE)


class ByteArray:
    """A bytearray to be: the bytes it will hold, so that an array can stand on them as they are."""

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content


class Dtype:
    """What a pickle calls `numpy.dtype`: plain numbers, strings and references, in either byte order."""

    __slots__ = ("_ordered", "real")

    def __init__(self, name: object) -> None:
        if type(name) is not str or not _NAME.fullmatch(name):
            raise unsafe(f"holds an array of {repr(printable(name)) if type(name) is str else kind_of(name)}")
        self.real: np.dtype[Any] = np.dtype(name)
        self._ordered = False

    def set_state(self, state: object) -> None:
        """Take the byte order, once."""
        if type(state) is not tuple or not 5 <= len(state) <= 9 or state[1] not in ("<", ">", "=", "|"):
            raise contradicts("its type has no byte order")
        if self._ordered:
            raise unsafe("changes the type of an array after it was made")
        if state[2:5] != (None, None, None):
            raise unsafe("holds an array of records")
        self.real, self._ordered = self.real.newbyteorder(state[1]), True


class Array:
    """What a pickle calls `numpy.ndarray`: type, shape, order and content, and no array yet.

    Attributes:
        content: bytes; of an array of objects, the list of them.
    """

    __slots__ = ("_axes", "_dtype", "_fortran", "_shape", "content")

    def __init__(self) -> None:
        self.content: bytes | list[Any] | None = None

    def set_state(self, state: object) -> None:
        """Take what the array is and holds, once."""
        if self.content is not None:
            raise unsafe("changes an array after it was made")
        if type(state) is not tuple or len(state) != 5:
            raise contradicts("its state is not that of an array")
        _, shape, dtype, fortran, content = state
        self.describe(dtype, shape, content, fortran=bool(fortran) if type(fortran) in (bool, int) else False)

    def describe(
        self,
        dtype: object,
        shape: object,
        content: object,
        *,
        fortran: bool = False,
        axes: object = None,
    ) -> None:
        """Note what the array is, after a look at whether it can be.

        Raises:
            DamagedPickle: it can't.
        """
        if type(dtype) is not Dtype:
            raise contradicts("it has no type")
        if type(shape) is not tuple or len(shape) > MOST_AXES or not all(map(_is_axis, shape)):
            raise contradicts("its shape is none")
        if axes is not None and not _is_order(axes, len(shape)):
            raise contradicts("the order of its axes is none")
        if prod(filter(None, shape)) > MOST_ELEMENTS:
            raise contradicts(f"its shape is {shape}")
        if dtype.real.itemsize == 0:  # any number of them would fit into nothing
            raise contradicts("its strings have no letters")
        self._dtype, self._shape, self._fortran, self._axes = dtype.real, shape, fortran, axes
        self.content = self._fitting(content)

    def _fitting(self, content: object) -> bytes | list[Any]:
        if self._dtype.hasobject:
            if type(content) is not list:
                raise contradicts("its objects are no list")
            return content  # the program can still lengthen it: `array` counts
        found = as_bytes(content)
        if prod(self._shape) * self._dtype.itemsize != len(found):
            raise contradicts(f"it claims the shape {self._shape} of {self._dtype}, and holds {len(found):,} bytes")
        check_values(found, self._dtype)
        return found

    @property
    def objects(self) -> list[Any] | None:
        """What an array of objects holds."""
        return self.content if isinstance(self.content, list) else None

    def array(self) -> NDArray[Any]:
        """Make the array; one of bytes stands on them, is read-only, and copies nothing.

        Raises:
            DamagedPickle: it was never given its content, or not as much as it has elements.
        """
        if self.content is None:
            raise contradicts("it has no content")
        if isinstance(self.content, list):
            if len(self.content) != prod(self._shape):
                raise contradicts(f"it claims the shape {self._shape}, and holds {len(self.content):,} objects")
            made = np.fromiter(self.content, object, len(self.content)).reshape(self._shape)
            return np.asfortranarray(made) if self._fortran else made
        made = np.ndarray(self._shape, self._dtype, self.content, order="F" if self._fortran else "C")
        return made if self._axes is None else made.transpose(self._axes)


def _is_axis(size: object) -> bool:
    return type(size) is int and 0 <= size <= MOST_ELEMENTS


def _is_order(axes: object, count: int) -> TypeGuard[tuple[int, ...]]:
    return type(axes) is tuple and len(axes) == count and all(map(_is_axis, axes)) and set(axes) == set(range(count))


def as_bytes(content: object) -> bytes:
    """Return an array's content: of type bytes exactly, a bytearray's, or a string's of Python 2."""
    if type(content) is bytes:
        return content
    if type(content) is ByteArray:
        return content.content
    if type(content) is str:
        return content.encode("utf-8", "surrogatepass")  # as `literals` decoded it
    raise unsafe(f"takes the content of an array from {kind_of(content)}")


def check_values(content: bytes, dtype: np.dtype[Any]) -> None:
    """Look for what numpy takes for granted: booleans are 0 or 1, characters are Unicode's.

    It counts the former by adding bytes, and so writes past the end of an array where one of them is 2.
    """
    if dtype.kind == "b" and content.translate(None, b"\0\1"):
        raise contradicts("its booleans are neither true nor false")
    if dtype.kind == "U" and content:
        letters = np.frombuffer(content, np.dtype("u4").newbyteorder(dtype.byteorder))
        if letters.max() > _HIGHEST_CODE_POINT:
            raise contradicts("its strings hold characters that do not exist")
