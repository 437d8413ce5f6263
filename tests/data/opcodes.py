"""Pickles by hand: each function gives the opcodes that push one thing."""

import pickle
import struct

import numpy as np

STOP = b"."
POP = b"0"


def value(plain):
    """What Python's pickler writes for a plain value."""
    return pickle.dumps(plain, 3)[2:-1]


def name(dotted):
    module, _, attribute = dotted.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def several(*parts):
    return b"(" + b"".join(parts) + b"t"


def call(dotted, *arguments):
    return name(dotted) + several(*arguments) + b"R"


def build(target, state):
    return target + state + b"b"


def dtype(kind, order="|", *, rest=(None, None, None, -1, -1, 0)):
    return build(call("numpy.dtype", *map(value, (kind, False, True))), value((3, order, *rest)))


EMPTY = call("numpy.core.multiarray._reconstruct", name("numpy.ndarray"), value((0,)), value(b"b"))


def state(shape, kind, content, *, fortran=False):
    """The state of an array; `kind` and `content` are opcodes, or what a pickler makes of them."""
    parts = (kind if isinstance(kind, bytes) else dtype(kind), value(fortran))
    return several(value(1), value(shape), *parts, content if isinstance(content, Raw) else value(content))


class Raw(bytes):
    """Opcodes, where a value would be pickled."""


def array(shape=(3,), kind="u1", content=b"abc", **more):
    return build(EMPTY, state(shape, kind, content, **more))


def from_buffer(content, kind, shape, order="C", *axes):
    parts = (value(shape), value(order), *map(value, axes))
    return call("numpy.core.numeric._frombuffer", content, dtype(kind), *parts)


def whole(*parts):
    return b"\x80\x04" + b"".join(parts) + STOP


def long_put(place):
    return b"r" + struct.pack("<I", place)


# One of each kind of thing that can stand on a machine's stack.
THINGS = {
    "a name": name("numpy.core.multiarray.scalar"),
    "a callable": name("_codecs.encode"),
    "a class": name("builtins.bytes"),
    "a dtype": call("numpy.dtype", value("f4")),
    "an ordered dtype": dtype("f4", "<"),
    "an empty array": EMPTY,
    "an array": array(),
    "an array of objects": array((2,), "O", [None, "x"]),
    "an array of a buffer": from_buffer(value(b"abc"), "u1", (3,)),
    "a number of numpy's": call("numpy.core.multiarray.scalar", dtype("f8", "<"), value(np.float64(1).tobytes())),
    "bytes": value(b"abc"),
    "a bytearray": b"\x96" + struct.pack("<Q", 3) + b"abc",
    "a called bytearray": call("builtins.bytearray", value(b"abc")),
    "a text": value("abc"),
    "an integer": value(3),
    "a large integer": value(2**80),
    "a float": value(0.5),
    "a complex number": call("builtins.complex", value(1.0), value(2.0)),
    "nothing": b"N",
    "true": b"\x88",
    "a tuple": value((1, "a")),
    "a list": value([1, "a"]),
    "a dict": value({"a": 1}),
    "an ordered dict": call("collections.OrderedDict"),
    "a set": b"\x8f(" + value("a") + b"\x90",
    "a frozenset": b"(" + value("a") + b"\x91",
}
