"""The opcodes that are a value by themselves: constants, numbers, strings, bytes."""

from __future__ import annotations

import codecs
import pickle
import struct
from collections.abc import Callable, Mapping
from typing import Any

from dmmsa_cli.data.unpickling.faults import damaged
from dmmsa_cli.data.unpickling.notes import ByteArray
from dmmsa_cli.data.unpickling.stream import Stream

MOST_DIGITS = 1000
_MOST_BYTES = 400  # of an integer of so many digits

_UINT16, _INT32, _UINT32, _UINT64 = (struct.Struct(kind).unpack for kind in ("<H", "<i", "<I", "<Q"))
_FLOAT64 = struct.Struct(">d").unpack


def _int(stream: Stream) -> int | bool:
    """Protocol 0's; it writes booleans as 00 and 01."""
    line = stream.line(MOST_DIGITS)
    return line == b"01" if line in (b"00", b"01") else int(line)


def _long(stream: Stream) -> int:
    return int(stream.line(MOST_DIGITS).removesuffix(b"L"))


def _binary_long(stream: Stream, size: int) -> int:
    if not 0 <= size <= _MOST_BYTES:
        raise damaged(f"is no pickle, or no data: it holds an integer of {size:,} bytes")
    return int.from_bytes(stream.take(size), "little", signed=True)


def _float(stream: Stream) -> float:
    return float(stream.line(MOST_DIGITS))


def _unicode(stream: Stream) -> str:
    return stream.line().decode("raw-unicode-escape")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")


def _quoted(stream: Stream) -> str | bytes:
    """A string of Python 2 in quotes and with escapes, which may be text or bytes."""
    line = stream.line()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise damaged("is no pickle: it holds a string without quotes")
    return _python2(codecs.escape_decode(line[1:-1])[0])


def _python2(content: bytes) -> str | bytes:
    """A string of Python 2: text where it can be, else bytes, such as an array's content."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content


def _uint16(stream: Stream) -> int:
    return int(_UINT16(stream.take(2))[0])


def _int32(stream: Stream) -> int:
    return int(_INT32(stream.take(4))[0])


def uint32(stream: Stream) -> int:
    """Read a size, or a place in the memo."""
    return int(_UINT32(stream.take(4))[0])


def uint64(stream: Stream) -> int:
    """Read the size of what may be large."""
    return int(_UINT64(stream.take(8))[0])


LITERALS: Mapping[bytes, Callable[[Stream], Any]] = {
    pickle.NONE: lambda stream: None,
    pickle.NEWTRUE: lambda stream: True,
    pickle.NEWFALSE: lambda stream: False,
    pickle.EMPTY_TUPLE: lambda stream: (),
    pickle.EMPTY_LIST: lambda stream: [],
    pickle.EMPTY_DICT: lambda stream: {},
    pickle.EMPTY_SET: lambda stream: set(),
    pickle.INT: _int,
    pickle.BININT: _int32,
    pickle.BININT1: Stream.byte,
    pickle.BININT2: _uint16,
    pickle.LONG: _long,
    pickle.LONG1: lambda stream: _binary_long(stream, stream.byte()),
    pickle.LONG4: lambda stream: _binary_long(stream, _int32(stream)),
    pickle.FLOAT: _float,
    pickle.BINFLOAT: lambda stream: _FLOAT64(stream.take(8))[0],
    pickle.STRING: _quoted,
    pickle.BINSTRING: lambda stream: _python2(stream.take(_int32(stream))),
    pickle.SHORT_BINSTRING: lambda stream: _python2(stream.take(stream.byte())),
    pickle.UNICODE: _unicode,
    pickle.SHORT_BINUNICODE: lambda stream: _text(stream.take(stream.byte())),
    pickle.BINUNICODE: lambda stream: _text(stream.take(uint32(stream))),
    pickle.BINUNICODE8: lambda stream: _text(stream.take(uint64(stream))),
    pickle.SHORT_BINBYTES: lambda stream: stream.take(stream.byte()),
    pickle.BINBYTES: lambda stream: stream.take(uint32(stream)),
    pickle.BINBYTES8: lambda stream: stream.take(uint64(stream)),
    pickle.BYTEARRAY8: lambda stream: ByteArray(stream.take(uint64(stream))),
}
