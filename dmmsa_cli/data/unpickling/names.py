"""What may stand behind a name in a pickle, and what a call of it makes: notes and plain values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from dmmsa_cli.data.unpickling.faults import REWRITE, damaged, unsafe
from dmmsa_cli.data.unpickling.keys import Keys
from dmmsa_cli.data.unpickling.notes import Array, ByteArray, Dtype, as_bytes, check_values, contradicts
from dmmsa_cli.data.words import kind_of, printable


class Name:
    """A name that a pickle has asked for: something to be called with arguments, and nothing else."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Calls:
    """Makes what calls of the allowed names make.

    Args:
        keys: what sets may hold.
        size: bytes of the file. What calls make of it can't be more than it holds, for a pickler writes out
            every argument; nor can what arrays hold.
    """

    def __init__(self, keys: Keys, size: int) -> None:
        self._keys = keys
        self._bytes_left = 2 * size  # an array's content may be made by a call

    def make(self, name: object, arguments: object) -> Any:  # noqa: ANN401  (as wide as what a pickle can hold)
        """Return what a call makes.

        Raises:
            UnsafePickle: what is called is no name, or the arguments are none that a pickler writes.
        """
        if type(name) is not Name:
            raise unsafe(f"calls {kind_of(name)}")
        maker = _MAKERS.get(name.text)
        if maker is None or type(arguments) is not tuple:
            raise unsafe(f"calls {name.text} with {kind_of(arguments)}")
        try:
            return maker(self, *arguments)
        except TypeError as error:  # too many arguments, or too few
            raise unsafe(f"calls {name.text} with what no pickler writes") from error

    def set_state(self, note: object, state: object) -> None:
        """Give a note the state that the pickle has for it.

        Raises:
            UnsafePickle: it is no note, or has its state already.
            DamagedPickle: the state is none that it can have.
        """
        if type(note) is Array:
            note.set_state(state)
            self._spend(len(note.content or ()))
        elif type(note) is Dtype:
            note.set_state(state)
        else:
            raise unsafe(f"sets what {kind_of(note)} consists of")

    def _spend(self, count: int) -> None:
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise damaged("makes more of its bytes than it has", REWRITE)

    def _reconstruct(self, of: object, shape: object, code: object) -> Array:
        """Note the empty array that numpy's pickles then fill."""
        if type(of) is not Name or of.text != "numpy.ndarray":
            raise unsafe(f"makes an array of {kind_of(of)}")
        return Array()

    def _frombuffer(self, content: object, dtype: object, shape: object, order: object, axes: object = None) -> Array:
        """Note an array as numpy's function of this name makes it, by which protocol 5 spells them."""
        if type(dtype) is not Dtype or dtype.real.hasobject:
            raise unsafe("takes bytes for objects")
        if type(order) is not str or order not in "CFK":
            raise contradicts("the order of its content is none")
        array = Array()
        array.describe(dtype, shape, content, fortran=order == "F", axes=axes if order == "K" else None)
        self._spend(len(array.content or ()))
        return array

    def _scalar(self, dtype: object, content: object) -> Any:  # noqa: ANN401  (one of numpy's numbers)
        if type(dtype) is not Dtype or dtype.real.hasobject:
            raise contradicts("a number has no type")
        found = as_bytes(content)
        if len(found) != dtype.real.itemsize:
            raise contradicts(f"a number of {dtype.real} has {len(found)} bytes")
        check_values(found, dtype.real)
        return np.frombuffer(found, dtype.real)[0] if found else dtype.real.type()  # an empty string

    def _dtype(self, name: object, align: object = False, copy: object = True) -> Dtype:
        return Dtype(name)

    def _set(self, values: object = ()) -> set[Any]:
        return set(self._hashable(values))

    def _frozenset(self, values: object = ()) -> frozenset[Any]:
        return frozenset(self._hashable(values))

    def _hashable(self, values: object) -> Collection[Any]:
        if not isinstance(values, list | tuple):
            raise unsafe(f"makes a set of {kind_of(values)}")
        self._spend(len(values))
        self._keys.check(values)
        return values

    def _complex(self, real: object, imaginary: object) -> complex:
        if type(real) is not float or type(imaginary) is not float:
            raise unsafe("makes a complex number of what are no numbers")
        return complex(real, imaginary)

    def _bytes(self, content: object = b"", encoding: object = None) -> bytes:
        """Bytes of nothing, of bytes, of numbers, or of text in latin-1."""
        if type(content) is str and _is_latin(encoding):
            self._spend(len(content))
            return content.encode("latin-1")
        if encoding is not None:
            raise unsafe(f"makes bytes of {kind_of(content)} in {_encoding(encoding)}")
        if type(content) is list:
            self._spend(len(content))
            if all(type(value) is int and 0 <= value < 256 for value in content):
                return bytes(content)
        if type(content) is not bytes:
            raise unsafe(f"makes bytes of {kind_of(content)}")
        return content

    def _bytearray(self, content: object = b"", encoding: object = None) -> ByteArray:
        made = ByteArray(self._bytes(content, encoding))
        self._spend(len(made.content))
        return made

    def _encode(self, text: object, encoding: object) -> bytes:
        """Bytes in pickles of protocol 0 to 2, which spell them as `_codecs.encode(text, "latin1")`."""
        if type(text) is not str or not _is_latin(encoding):
            raise unsafe(f"asks for _codecs.encode of {kind_of(text)} to {_encoding(encoding)}")
        return self._bytes(text, "latin1")

    def _ordered(self, pairs: object = ()) -> dict[Any, Any]:
        """A dict, which keeps its order as well; Python 2 gives its items as a list of pairs."""
        if not isinstance(pairs, list | tuple) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            raise unsafe(f"makes a dict of {kind_of(pairs)}")
        self._spend(len(pairs))
        self._keys.check([key for key, _ in pairs])
        return dict(pairs)


def _is_latin(encoding: object) -> bool:
    return type(encoding) is str and encoding in ("latin1", "latin-1")


def _encoding(name: object) -> str:
    return printable(name) if type(name) is str else kind_of(name)


_NUMPY: Mapping[str, Callable[..., Any]] = {
    "multiarray._reconstruct": Calls._reconstruct,
    "multiarray.scalar": Calls._scalar,
    "numeric._frombuffer": Calls._frombuffer,
}
_PLAIN: Mapping[str, Callable[..., Any]] = {
    "set": Calls._set,
    "frozenset": Calls._frozenset,
    "complex": Calls._complex,
    "bytes": Calls._bytes,
    "bytearray": Calls._bytearray,
}
_MAKERS: Mapping[str, Callable[..., Any] | None] = {
    "numpy.ndarray": None,  # only ever handed to _reconstruct
    "numpy.dtype": Calls._dtype,
    **{f"numpy.core.{name}": maker for name, maker in _NUMPY.items()},  # numpy 1
    **{f"numpy._core.{name}": maker for name, maker in _NUMPY.items()},  # numpy 2
    **{f"builtins.{name}": maker for name, maker in _PLAIN.items()},
    **{f"__builtin__.{name}": maker for name, maker in _PLAIN.items()},  # protocols 0 to 2
    "collections.OrderedDict": Calls._ordered,
    "_codecs.encode": Calls._encode,
}
# Whose objects people pickle where arrays would do, by the beginning of their module, and what to do.
_LIBRARIES = {
    "torch._utils": "It holds tensors of torch. Pickle numpy arrays, not tensors: tensor.numpy().",
    "joblib.numpy_pickle": "It was written by joblib.dump. Read it with joblib.load, and pickle what it holds.",
    "pandas.core": "It holds a table of pandas. Pickle numpy arrays, lists and strings: table['x'].to_numpy().",
    "scipy.sparse": "It holds an object of scipy. Pickle numpy arrays, lists and strings: matrix.toarray().",
}
ALLOWED = {tuple(text.rsplit(".", 1)): Name(text) for text in _MAKERS}  # (module, name), exactly


def find(module: str, name: str) -> Name:
    """Look a name up.

    Raises:
        UnsafePickle: it is not among those that stand for data.
    """
    try:
        return ALLOWED[module, name]
    except KeyError:
        library = next((remedy for begin, remedy in _LIBRARIES.items() if module.startswith(begin)), None)
        what = f"asks for {printable(module)}.{printable(name)}, which is no data"
        raise (unsafe(what, library) if library else unsafe(what)) from None
