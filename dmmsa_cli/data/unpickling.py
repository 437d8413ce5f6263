"""A pickle is a program. This reader lets it build arrays, plain containers, strings and numbers: no more."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.errors import DamagedPickle, InvalidInput, UnsafePickle

_DISTRUST = "Such a file can run code. Ask whoever made it for one that holds numpy arrays, lists and strings only."


def _encode(text: str, encoding: str) -> bytes:
    """Bytes in pickles of protocol 0 to 2, which spell them as `_codecs.encode(text, "latin1")`."""
    if encoding not in ("latin1", "latin-1"):
        raise UnsafePickle(f"The pickle asks for _codecs.encode to {encoding!r}; nothing of it was run.", _DISTRUST)
    return text.encode("latin-1")


# numpy's own dtypes and arrays trust the state that a pickle gives them: one that calls an array of pointers an array
# of numbers, or the other way round, corrupts memory. So these stand in for them, and check it.


class _Dtype:
    """What a pickle calls `numpy.dtype`: plain numbers, strings and references, in either byte order."""

    _KIND = re.compile(r"[?biufcSUO][0-9]{0,9}")

    def __init__(self, kind: str, align: bool = False, copy: bool = True) -> None:
        if not isinstance(kind, str) or not self._KIND.fullmatch(kind):
            raise UnsafePickle(f"The pickle holds an array of {kind!r}; nothing of it was run.", _DISTRUST)
        self.real: np.dtype[Any] = np.dtype(kind)

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401  (a stranger's)
        _, order, *structure = state[:5]
        if structure != [None, None, None]:
            raise UnsafePickle("The pickle holds an array of records; nothing of it was run.", _DISTRUST)
        self.real = self.real.newbyteorder(order)


class _Array(np.ndarray[Any, np.dtype[Any]]):
    """What a pickle calls `numpy.ndarray`; an array like any other once it is read."""

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401
        version, shape, kind, fortran, content = state
        super().__setstate__((version, shape, _real(kind), fortran, content))


def _real(kind: Any) -> np.dtype[Any]:  # noqa: ANN401
    if not isinstance(kind, _Dtype):
        raise pickle.UnpicklingError(f"an array of {kind!r}")
    return kind.real


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:  # noqa: ANN401
    """Make the empty array that numpy's pickles then fill."""
    return _Array((0,))


def _scalar(kind: _Dtype, content: bytes) -> Any:  # noqa: ANN401
    return np.frombuffer(content, _real(kind))[0]


def _frombuffer(
    content: Any,  # noqa: ANN401  (bytes, bytearray)
    kind: _Dtype,
    shape: tuple[int, ...],
    order: Literal["C", "F"],
    axes: tuple[int, ...] | None = None,
) -> NDArray[Any]:
    """Do as numpy's function of this name, by which protocol 5 spells arrays."""
    array = np.frombuffer(content, _real(kind))
    return array.reshape(shape, order=order) if axes is None else array.reshape(shape).transpose(axes)


_NUMPY = {
    "multiarray._reconstruct": _reconstruct,
    "multiarray.scalar": _scalar,
    "numeric._frombuffer": _frombuffer,
}
_PLAIN = {kind.__name__: kind for kind in (set, frozenset, complex, bytes, bytearray)}

ALLOWED: Mapping[str, Any] = {
    "numpy.ndarray": None,  # only ever handed to _reconstruct, which knows
    "numpy.dtype": _Dtype,
    **{f"numpy.core.{name}": value for name, value in _NUMPY.items()},  # numpy 1
    **{f"numpy._core.{name}": value for name, value in _NUMPY.items()},  # numpy 2
    **{f"builtins.{name}": kind for name, kind in _PLAIN.items()},
    **{f"__builtin__.{name}": kind for name, kind in _PLAIN.items()},  # protocols 0 to 2
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": _encode,
}
_BY_NAME = {tuple(name.rsplit(".", 1)): value for name, value in ALLOWED.items()}  # (module, name), exactly


class _Unpickler(pickle.Unpickler):
    """Python's own C unpickler, so as fast and as lean, with the two doors to other code shut."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401  (the base class says so)
        try:
            return _BY_NAME[module, name]
        except KeyError:
            raise UnsafePickle(
                f"The pickle asks for {module}.{name}, which is no data; nothing of it was run.",
                _DISTRUST,
            ) from None

    def persistent_load(self, pid: Any) -> Any:  # noqa: ANN401
        raise UnsafePickle(
            f"The pickle refers to an object outside itself ({pid!r}); nothing of it was run.", _DISTRUST
        )


# All that the C unpickler and numpy's constructors are known to raise on bytes that are no whole pickle.
_DAMAGE = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    SystemError,
    TypeError,
    ValueError,  # UnicodeDecodeError is one
)


def load(path: Path) -> Any:  # noqa: ANN401  (a stranger's pickle: `validation.check` says what it is)
    """Read a pickle without letting it run anything.

    Raises:
        InvalidInput: there is no such file, or it can't be read.
        UnsafePickle: it asks for something other than arrays and plain values; the message names it.
        DamagedPickle: it is truncated, or no pickle.
    """
    try:
        with path.open("rb") as file:
            return _Unpickler(file).load()
    except OSError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}.", "Check the path given to --from.") from error
    except _DAMAGE as error:
        raise DamagedPickle(
            f"{path} is no pickle, or is truncated ({type(error).__name__}: {error}).",
            "Compare its size with the original's, and fetch or copy it again.",
        ) from error
