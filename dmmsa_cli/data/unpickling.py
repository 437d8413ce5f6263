"""A pickle is a program. This reader lets it build arrays, plain containers, strings and numbers: no more."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dmmsa_cli.errors import DamagedPickle, InvalidInput, UnsafePickle


def _encode(text: str, encoding: str) -> bytes:
    """Bytes in pickles of protocol 0 to 2, which spell them as `_codecs.encode(text, "latin1")`."""
    if encoding not in ("latin1", "latin-1"):
        raise UnsafePickle(f"The pickle asks for _codecs.encode to {encoding!r}; nothing of it was run.", _DISTRUST)
    return text.encode("latin-1")


_DISTRUST = "Such a file can run code. Ask whoever made it for one that holds numpy arrays, lists and strings only."

# What numpy itself writes into pickles, asked of numpy: versions 1 and 2 have it under different names.
_ARRAY = np.empty(1)
_NUMPY = {
    "multiarray._reconstruct": _ARRAY.__reduce__()[0],
    "multiarray.scalar": _ARRAY[0].__reduce__()[0],
    "numeric._frombuffer": _ARRAY.__reduce_ex__(5)[0],
}
_PLAIN = {kind.__name__: kind for kind in (set, frozenset, complex, bytes, bytearray)}

ALLOWED: Mapping[str, Any] = {
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    **{f"numpy.core.{name}": value for name, value in _NUMPY.items()},  # numpy 1
    **{f"numpy._core.{name}": value for name, value in _NUMPY.items()},  # numpy 2
    **{f"builtins.{name}": kind for name, kind in _PLAIN.items()},
    **{f"__builtin__.{name}": kind for name, kind in _PLAIN.items()},  # protocols 0 to 2
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": _encode,
}
_SPLIT_NAMES = {tuple(name.rsplit(".", 1)): value for name, value in ALLOWED.items()}  # (module, name), exactly


class _Unpickler(pickle.Unpickler):
    """Python's own C unpickler, so as fast and as lean, with the two doors to other code shut."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401  (the base class says so)
        try:
            return _SPLIT_NAMES[module, name]
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
