"""What a pickle may build, and that nothing else ever runs."""

import builtins
import contextlib
import functools
import gc
import inspect
import io
import itertools
import os
import pickle
import pickletools
import struct
import sys
import time
import tracemalloc
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dmmsa_cli.data import memory, repair, validation
from dmmsa_cli.data.specs import DatasetSpec
from dmmsa_cli.data.unpickling import load, settling, stream
from dmmsa_cli.data.unpickling.keys import LONGEST_TUPLE
from dmmsa_cli.data.unpickling.stream import WINDOW
from dmmsa_cli.errors import DamagedPickle, DmmsaError, InvalidDataset, InvalidInput, UnsafePickle
from tests.data.opcodes import (
    EMPTY,
    THINGS,
    Raw,
    array,
    build,
    call,
    dtype,
    from_buffer,
    long_put,
    name,
    several,
    state,
    value,
    whole,
)

PROTOCOLS = range(6)
EXAMPLES = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def write(path, value, protocol=4):
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.fixture
def read(tmp_path):
    """Read a pickle made by hand."""

    def read(written):
        path = tmp_path / "x.pkl"
        path.write_bytes(written)
        return load(path)

    return read


# --- what comes through -----------------------------------------------------------------------------------------------

PLAIN = {
    "numbers": [1, -1, 2.5, True, None, 1 + 2j, 2**70, 300, 70_000, -(2**31)],
    "many numbers": [list(range(9)), list(range(250, 270)), [0.5] * 100, [-(10**6)] * 3, [1, 300, 0.5] * 5],
    "strings": ("a", "ü", "𝄞", "\ud800", "a\r\nb\0\\", b"\xff\x00", b"", bytearray(b"x"), bytearray(), "long" * 100),
    "sets": [{1}, frozenset("a"), set(), {(1, 2), 1.5, b"b", None}],
    "ordered": OrderedDict(a=1, b=[2]),
    "keys": {1: 0, "a": 0, b"a": 0, None: 0, 2.5: 0, ("a", 1): 0, np.str_("x"): 0, np.int64(5): 0},
}
ARRAYS = {
    "float32": np.arange(600, dtype=np.float32).reshape(20, 5, 6),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "transposed": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    "strided": np.arange(10)[::2],
    "scalar": np.float64(0.5),
    "swapped scalar": np.array([0.5], ">f4")[0],
    "string": np.str_("aü"),
    "empty strings": [np.str_(""), np.bytes_(b"")],
    "bool": np.bool_(True),
    "0-d": np.array(7, np.int16),
    "strings": np.array(["a", "bcü"]),
    "swapped strings": np.array(["a", "bcü"], ">U3"),
    "bytes": np.array([b"a", b"bc"]),
    "bools": np.array([True, False]),
    "halves": np.ones(3, np.float16),
    "complex": np.ones(3, np.complex64),
    "objects": np.array(["a", None], object),
    "2-d objects": np.array([["a", None], [1, [2, 3]]], object),
    "fortran objects": np.asfortranarray(np.array([["a", "b", "c"], [1, 2, 3]], object)),
    "arrays in an array": np.array([np.ones(2), np.ones((2, 3)), None], object),
    "swapped": np.arange(3, dtype=">i4"),
    "empty": np.zeros((0, 3)),
    "empty objects": np.zeros((2, 0), object),
    "large": np.arange(100_000, dtype=np.float32),
}


def assert_same(found, expected):
    """Equal in kind and content; arrays in type and shape as well, but not in byte order, which numpy may turn."""
    if isinstance(expected, np.ndarray):
        kind = expected.dtype.newbyteorder("=")
        assert (type(found), found.dtype.newbyteorder("="), found.shape) == (np.ndarray, kind, expected.shape)
        if expected.dtype.hasobject:
            for one, other in zip(found.ravel(), expected.ravel(), strict=True):
                assert_same(one, other)
        else:
            assert found.astype(kind).tobytes() == expected.astype(kind).tobytes()
    elif isinstance(expected, dict):
        assert isinstance(found, dict)
        assert_same(list(found.items()), list(expected.items()))
    elif isinstance(expected, list | tuple):
        assert (type(found), len(found)) == (type(expected), len(expected))
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert type(found) is type(expected)
        assert found == expected or (found != found and expected != expected)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_and_plain_values_come_through(tmp_path, protocol):
    read = load(write(tmp_path / "x.pkl", {"plain": PLAIN, "arrays": ARRAYS}, protocol))
    assert_same(read["plain"], PLAIN)
    assert_same(read["arrays"], ARRAYS)


DTYPES = st.one_of(
    arrays.boolean_dtypes(),
    arrays.integer_dtypes(),
    arrays.unsigned_integer_dtypes(),
    arrays.floating_dtypes(sizes=(16, 32, 64)),
    arrays.complex_number_dtypes(sizes=(64, 128)),
    arrays.unicode_string_dtypes(max_len=5),
    arrays.byte_string_dtypes(max_len=5),
)
ARRAY = arrays.arrays(DTYPES, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
ANY_TEXT = st.text(st.characters(), max_size=8)
LEAF = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    ANY_TEXT,
    st.binary(max_size=8),
    ARRAY,
    ARRAY.map(lambda array: np.asfortranarray(array)),
    ARRAY.map(lambda array: array.T),
    ARRAY.filter(lambda array: array.size).map(lambda array: array.ravel()[0]),
    st.lists(st.integers(-5, 70_000), max_size=40),
    st.lists(st.floats(), max_size=40),
)
CONTENT = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(ANY_TEXT, st.integers(), st.binary(max_size=3)), inner, max_size=4),
        st.lists(inner, max_size=3).map(lambda values: np.fromiter(values, object, len(values))),
        st.builds(lambda one: [one, one, {"again": one}], inner),
    ),
    max_leaves=12,
)


@settings(max_examples=300, **EXAMPLES)
@given(content=CONTENT, protocol=st.sampled_from(PROTOCOLS), optimised=st.booleans())
def test_what_is_read_is_what_python_reads(tmp_path, content, protocol, optimised):
    written = pickle.dumps(content, protocol)
    if optimised:
        written = pickletools.optimize(written)
    path = tmp_path / "x.pkl"
    path.write_bytes(written)
    assert_same(load(path), pickle.loads(written))


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("module", [b"numpy.core", b"numpy._core"])
def test_pickles_of_numpy_1_and_2(tmp_path, protocol, module):
    """Protocols 2 and 3 spell names on a line of their own, so one can be put for the other."""
    written = pickle.dumps({"x": np.arange(5.0), "y": np.float32(2)}, protocol)
    path = tmp_path / "x.pkl"
    path.write_bytes(written.replace(b"numpy._core", module).replace(b"numpy.core", module))
    assert module + b".multiarray" in path.read_bytes()
    assert load(path)["x"].tolist() == [0, 1, 2, 3, 4]


def test_pickles_of_python_2(read):
    """Its strings may be text, or an array's content: only what is made of them tells."""
    content = np.array([1.1, -2.5]).tobytes()
    binary = b"U" + bytes([len(content)]) + content
    escaped = b"S" + repr(content)[1:].encode() + b"\n"
    for string in (binary, escaped):
        written = several(value(1), value((2,)), dtype("f8", "<"), value(False), string)
        assert read(whole(build(EMPTY, written))).tolist() == [1.1, -2.5]
    assert read(b"}U\x05trainS'\\xc3\\xbc'\ns.") == {"train": "ü"}
    assert read(b"U\x02\xff\xfe.") == b"\xff\xfe"
    assert read(whole(call("collections.OrderedDict", value([["a", 1], ["b", 2]])))) == {"a": 1, "b": 2}


@pytest.mark.parametrize("order", "CFK")
@pytest.mark.parametrize("axes", [(), ((1, 0),), ((0, 1),)])
def test_arrays_of_buffers_are_those_that_numpy_makes(read, order, axes):
    if order == "K" and not axes:
        return  # which numpy refuses
    content = np.arange(6, dtype=np.uint8).tobytes()
    make, _ = np.zeros(1).__reduce_ex__(5)
    if axes and len(inspect.signature(make).parameters) < 5:
        pytest.skip("this numpy writes no axes")
    made = make(content, np.dtype("u1"), (2, 3), order, *axes)
    np.testing.assert_array_equal(read(whole(from_buffer(value(content), "u1", (2, 3), order, *axes))), made)


def test_what_was_shared_stays_shared(tmp_path):
    one, pair = np.ones(2), (1, [2])
    read = load(write(tmp_path / "x.pkl", {"a": one, "b": [one, pair], "c": (pair, bytearray(b"x"))}))
    assert read["a"] is read["b"][0]
    assert read["b"][1] is read["c"][0]


def test_arrays_stand_on_what_was_read(tmp_path):
    """Nothing is copied, and nobody can write into what is read."""
    written = {"a": np.zeros(10**6), "f": np.zeros((1000, 1000), order="F")}
    for protocol in (4, 5):
        path = write(tmp_path / "x.pkl", written, protocol)
        tracemalloc.start()
        read = load(path)
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size + 4 * WINDOW
        tracemalloc.stop()
        assert not any(array.flags.writeable for array in read.values())
        assert read["f"].flags.f_contiguous


def test_pieces_larger_and_smaller_than_the_window(tmp_path):
    """Wherever an opcode lies against the window's end."""
    rng = np.random.default_rng(0)
    content = [
        [rng.normal(size=int(size)).tolist(), "ü" * int(size), b"x" * int(size), list(range(200, 300))]
        for size in rng.integers(0, WINDOW // 12, 40)
    ]
    for protocol in PROTOCOLS:
        assert load(write(tmp_path / "x.pkl", content, protocol)) == content


# --- what is refused by name ------------------------------------------------------------------------------------------

RAN = []


def ran(*arguments):
    RAN.append(arguments)


def forbidden():
    yield "system", Calls(os.system, "touch ran")  # os.system calls itself posix.system, or nt.system
    yield "builtins.eval", Calls(builtins.eval, "open('ran', 'w')")
    yield "builtins.getattr", Calls(getattr, 1, "real")
    yield "load", Calls(np.load, "x.npy")
    yield "functools.partial", Calls(functools.partial, os.system)
    yield "open", Calls(open, "ran", "w")
    yield "ran", Calls(ran, 1)
    yield "pathlib", Path("x")
    yield "Calls", Calls


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("called", "content"), list(forbidden()), ids=[called for called, _ in forbidden()])
def test_what_could_run_code_is_refused_by_name(tmp_path, monkeypatch, protocol, called, content):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "x.pkl", {"train": [np.ones(2), content]}, protocol)
    with pytest.raises(UnsafePickle, match=called.replace("builtins", "(builtins|__builtin__)")):
        load(path)
    assert not (tmp_path / "ran").exists()
    assert RAN == []


HANDMADE = {
    "nested": (b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.", "ndarray.__class__"),
    "attribute": (b"\x80\x04\x8c\x08builtins\x8c\x0cset.__init__\x93.", "set.__init__"),
    "instance": (b"(S'touch ran'\nios\nsystem\n.", "os.system"),
    "object": (b"(cnumpy\ndtype\nVf4\no.", "an object of a class"),
    "new object": (b"cnumpy\nndarray\n)\x81.", "an object of a class"),
    "new object with names": (b"cnumpy\nndarray\n)}\x92.", "an object of a class"),
    "persistent": (b"Pother\n.", "outside itself"),
    "binary persistent": (b"\x80\x02K\x01Q.", "outside itself"),
    "extension 1": (b"\x82\x01.", "extension"),
    "extension 2": (b"\x83\x01\x00.", "extension"),
    "extension 4": (b"\x84\x01\x00\x00\x00.", "extension"),
    "codec": (b"c_codecs\nencode\n(Vabc\nVrot13\ntR.", "rot13"),
    "codec of bytes": (whole(call("builtins.bytes", value("abc"), value("punycode"))), "punycode"),
    "numpy's own eval": (b"cnumpy.lib.format\n_filter_header\n.", "_filter_header"),
    "a module under an allowed one": (b"cnumpy.core.multiarray.os\nsystem\n.", "numpy.core.multiarray.os.system"),
    "no names": (b"\x80\x04K\x01K\x02\x93.", "asks for an int of an int"),
    "what a terminal obeys": (b"cos\n\x1b[2Jsystem\n.", r"os.\x1b[2Jsystem"),
    "a name for a value": (b"}Vtrain\ncnumpy\nndarray\ns.", "numpy.ndarray itself"),
    "a name by itself": (b"cnumpy\ndtype\n.", "numpy.dtype itself"),
    "a set of a text": (whole(call("builtins.set", value("ab"))), "makes a set of a str"),
    "a frozenset of a dict": (whole(call("builtins.frozenset", value({"a": 1}))), "makes a set of a dict"),
}


@pytest.mark.parametrize(("written", "message"), HANDMADE.values(), ids=HANDMADE)
def test_handmade_pickles_are_refused_by_name(read, written, message):
    with pytest.raises(UnsafePickle) as error:
        read(written)
    assert message in str(error.value)


def test_arrays_of_records_are_refused(tmp_path):
    with pytest.raises(UnsafePickle, match="'V8'"):
        load(write(tmp_path / "x.pkl", np.zeros(2, "i4,i4")))
    with pytest.raises(UnsafePickle, match="'M8'"):
        load(write(tmp_path / "x.pkl", np.zeros(2, "datetime64[s]")))


def test_a_forbidden_name_stops_what_follows_it(tmp_path, monkeypatch):
    """Even where an allowed call comes first, nothing after the forbidden name is built."""
    made = []
    monkeypatch.setattr(settling.Array, "array", lambda note: made.append(note))
    path = write(tmp_path / "x.pkl", [np.ones(3), Calls(os.getcwd), np.ones(3)])
    names = [op.name for op, _, _ in pickletools.genops(path.read_bytes())]
    assert "REDUCE" in names
    with pytest.raises(UnsafePickle, match="nothing of it was run"):
        load(path)
    assert made == []


# --- what is no array -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [0, 1, 63, 255])
def test_a_lie_about_what_an_array_holds_reaches_numpy_at_no_time(read, flags):
    """numpy believes the flags in a dtype's state; a false one makes it take numbers for addresses."""
    found = read(whole(dtype("O8", rest=(None, None, None, -1, -1, flags))))
    assert found == np.dtype(object)
    assert found.flags == np.dtype(object).flags


WRITES = {
    "SETITEM": lambda thing: thing + value(0) + value(1) + b"s",
    "SETITEMS": lambda thing: thing + b"(" + value(0) + value(1) + b"u",
    "APPEND": lambda thing: thing + value(1) + b"a",
    "APPENDS": lambda thing: thing + b"(" + value(1) + b"e",
    "ADDITEMS": lambda thing: thing + b"(" + value(1) + b"\x90",
    "BUILD": lambda thing: build(thing, value({"a": 1})),
    "BUILD with attributes": lambda thing: build(thing, value((None, {"__defaults__": ("x",), "real": 1}))),
    "BUILD as an array": lambda thing: build(thing, state((1,), "u1", b"z")),
    "BUILD as a dtype": lambda thing: build(thing, value((3, ">", None, None, None, -1, -1, 0))),
}
TAKEN = {
    ("SETITEM", "a dict"),
    ("SETITEM", "an ordered dict"),
    ("SETITEMS", "a dict"),
    ("SETITEMS", "an ordered dict"),
    ("APPEND", "a list"),
    ("APPENDS", "a list"),
    ("ADDITEMS", "a set"),
    ("BUILD as an array", "an empty array"),
    ("BUILD as a dtype", "a dtype"),
}


@pytest.mark.parametrize("thing", THINGS)
def test_nothing_can_be_written_to_but_lists_dicts_and_sets_and_nothing_built_twice(read, thing):
    for opcode, writing in WRITES.items():
        written = whole(writing(THINGS[thing]), b"0" + value("done"))
        if (opcode, thing) in TAKEN:
            assert read(written) == "done"
        else:
            with pytest.raises((UnsafePickle, DamagedPickle)):
                read(written)


@pytest.mark.parametrize("callee", [*THINGS, "numpy.dtype", "numpy.ndarray"])
def test_calls_of_anything_with_anything_end_in_words_or_in_a_value(read, callee):
    opcodes = THINGS.get(callee) or name(callee)
    for thing in THINGS.values():
        for arguments in (several(thing), several(thing, thing), thing):
            with contextlib.suppress(UnsafePickle, DamagedPickle):
                read(whole(opcodes, arguments, b"R"))


POINTERS = array((1,), "O", [None])
FORGED = {
    "bytes of pointers": call("builtins.bytes", POINTERS),
    "a bytearray of pointers": call("builtins.bytearray", POINTERS),
    "a view of pointers": from_buffer(POINTERS, "u8", (1,)),
    "a view of an array": from_buffer(array(), "u1", (3,)),
    "a view of objects": from_buffer(value(b"x" * 8), "O", (1,)),
    "objects made of bytes": array((1,), "O", b"x" * 8),
    "bytes made of objects": array((1,), "u8", [None]),
    "content that is an array": build(EMPTY, state((3,), "u1", Raw(array()))),
    "an object from bytes": call("numpy.core.multiarray.scalar", dtype("O"), value(b"x" * 8)),
    "a type of an array": build(EMPTY, several(value(1), value((3,)), array(), value(False), value(b"abc"))),
    "no strings": array((10**12,), "S0", b""),
    "no text": array((10**12,), "U0", b""),
    "no records": array((10**12,), "V0", b""),
    "more than it holds": array((4,), "u1", b"abc"),
    "less than it holds": array((2,), "u1", b"abc"),
    "a shape that overflows": array((2**33, 2**33), "u1", b""),
    "an empty one that overflows": array((0, 2**62, 2**62), "f8", b""),
    "an empty one of many": array((0, 2**30, 2**30), "f8", b""),
    "an array of another kind": build(
        call("numpy.core.multiarray._reconstruct", name("numpy.dtype"), value((0,)), value(b"b")),
        state((3,), "u1", b"abc"),
    ),
    "a list for a buffer": from_buffer(value([None]), "O", (1,)),
    "less than nothing": array((-1, -3), "u1", b"abc"),
    "a shape of no numbers": array((True, 3), "u1", b"abc"),
    "many axes": array((1,) * 33, "u1", b"a"),
    "no shape": array([3], "u1", b"abc"),
    "never filled": EMPTY,
    "too few objects": array((3,), "O", [1, 2]),
    "objects added later": array((1,), "O", Raw(b"]" + value(1) + b"aq\x05")) + b"h\x05" + value(2) + b"a0",
    "an axis twice": from_buffer(value(b"abcd"), "u1", (2, 2), "K", (0, 0)),
    "an axis too many": from_buffer(value(b"abcd"), "u1", (2, 2), "K", (0, 1, 2)),
    "a boolean of 2": array((3,), "b1", b"\0\1\2"),
    "a single boolean of 2": call("numpy.core.multiarray.scalar", dtype("b1"), value(b"\2")),
    "a letter that does not exist": array((1,), "U1", b"\xff\xff\xff\x7f"),
    "a letter that does not exist, swapped": build(EMPTY, state((1,), dtype("U1", ">"), b"\x7f\xff\xff\xff")),
    "a number of two": call("numpy.core.multiarray.scalar", dtype("u1"), value(b"ab")),
    "a number of none": call("numpy.core.multiarray.scalar", dtype("u1"), value(b"")),
    "records in a type": dtype("f4", rest=(None, ("a",), {"a": 1}, 4, 1, 0)),
    "an order that is none": dtype("f4", "?"),
    "long doubles": array((1,), "f16", b"x" * 16),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_arrays_that_are_not_what_they_claim_are_refused_before_numpy_sees_them(read, forged):
    with pytest.raises((UnsafePickle, DamagedPickle)) as error:
        read(whole(forged))
    assert "a broken one" not in str(error.value)  # what is said of an exception of Python's, or of numpy's


def test_the_functions_that_a_pickle_names_are_the_same_afterwards(read):
    """BUILD with a state for slots sets attributes of whatever it finds, for all who use it later."""
    before = {dotted: dict(vars(sys.modules[dotted])) for dotted in sys.modules if "unpickling" in dotted}
    for called in ("_codecs.encode", "builtins.bytes", "numpy.dtype", "collections.OrderedDict"):
        with pytest.raises(UnsafePickle):
            read(whole(build(name(called), value((None, {"__defaults__": ("latin1",), "text": "x"})))))
    assert before == {dotted: dict(vars(sys.modules[dotted])) for dotted in before}
    assert read(whole(call("_codecs.encode", value("é"), value("latin1")))) == b"\xe9"


# --- what costs too much ----------------------------------------------------------------------------------------------


def recalled(content, times):
    """A list that holds one thing many times."""
    return b"](" + content + long_put(9) + b"j\x09\0\0\0" * (times - 1) + b"e"


def nested(levels, width, leaf):
    """Lists of lists, all of one level the same: their number grows by `width` with every level."""
    for _ in range(levels):
        leaf = recalled(leaf, width)
    return leaf


def cyclic(opcodes):
    return opcodes + long_put(9) + b"j\x09\0\0\0a"


def colliding(count):
    """Tuples of one hash: Python takes -1 and -2 for the same there."""
    rows = [tuple(-1 - (n >> bit & 1) for bit in range(14)) for n in range(count)]
    assert len({hash(row) for row in rows}) < 9
    return rows


COSTLY = {
    "bytes by number": call("builtins.bytes", value(2**40)),
    "a bytearray by number": call("builtins.bytearray", value(2**40)),
    "ten to the tenth": nested(10, 10, value("x")),
    "ten to the tenth, in tuples": nested(10, 10, b"(" + value("x") + b"t"),
    "one text many times": recalled(value("x" * 200_000), 20_000),
    "one string of bytes many times": recalled(value(b"x" * 200_000), 20_000),
    "one set many times": recalled(b"\x8f(" + b"".join(map(value, range(20_000))) + b"\x90", 20_000),
    "one array many times": recalled(array((200_000,), "u1", b"x" * 200_000), 20_000),
    "one content many times": b"]("
    + value(b"x" * 200_000)
    + long_put(9)
    + build(EMPTY, state((200_000,), "u1", Raw(b"j\x09\0\0\0"))) * 1000
    + b"e",
    "one text encoded many times": b"]("
    + value("x" * 200_000)
    + long_put(9)
    + call("_codecs.encode", b"j\x09\0\0\0", value("latin1")) * 1000
    + b"e",
    "one list made a set many times": b"]("
    + value(list(range(100_000)))
    + long_put(9)
    + call("builtins.set", b"j\x09\0\0\0") * 1000
    + b"e",
    "many lists deep": b"]" * 10**5 + b"a" * (10**5 - 1),
    "many lists deep, one after the other": b"](" + b"]r\x09\0\0\0" + b"](j\x09\0\0\0er\x09\0\0\0" * 200 + b"e",
    "many tuples deep": b")" + b"\x85" * 10**5,
    "many dicts deep": (b"}" + value("a")) * 10**4 + b"}" + b"s" * 10**4,
    "many arrays deep": (EMPTY + b"(" + value(1) + value((1,)) + dtype("O") + value(False) + b"](") * 3000
    + value(1)
    + b"etb" * 3000,
    "a tuple deep as a key": b"}" + b")" + b"\x85" * 10**5 + value(1) + b"s",
    "a long tuple as a key": b"}" + value(tuple(range(17))) + value(1) + b"s",
    "keys that are lists": b"}" + b"]" + value(1) + b"s",
    "keys that are dicts in a set": b"\x8f(}\x90",
    "keys that are arrays": b"}" + array() + value(1) + b"s",
    "keys of one hash": value(dict.fromkeys(colliding(2000))),
    "tuples of one hash with text": value(dict.fromkeys(("a", *row) for row in colliding(2000))),
    "members of one hash": b"\x8f(" + b"".join(map(value, colliding(2000))) + b"\x90",
    "integers of one hash": value(dict.fromkeys(n * (2**61 - 1) for n in range(20_000))),
    "an integer of a million digits": b"\x8b" + struct.pack("<i", 415_000) + b"\x11" * 415_000,
    "an integer of many digits": b"I" + b"1" * 5000 + b"\n",
    "places of one hash": b"N" + b"".join(b"p%d\n" % (n * (2**61 - 1)) for n in range(5000)),
    "a name without end": b"c" + b"x" * 10**6 + b"\n\n",
    "bytes that are not there": b"\x8e" + struct.pack("<Q", 2**62) + b"x",
    "bytes beyond all numbers": b"\x8e" + struct.pack("<Q", 2**64 - 1) + b"x",
    "text that is not there": b"\x8d" + struct.pack("<Q", 2**40),
    "a bytearray that is not there": b"\x96" + struct.pack("<Q", 2**40),
    "a frame that is not there": b"\x95" + struct.pack("<Q", 2**62),
    "a string of less than nothing": b"T" + struct.pack("<i", -1),
    "an integer of less than nothing": b"\x8b" + struct.pack("<i", -1),
}


CYCLES = {
    "a list in itself": cyclic(b"]"),
    "a list in its tuple": b"]" + long_put(9) + b"j\x09\0\0\0\x85a",
    "a dict in itself": b"}" + long_put(9) + value("a") + b"j\x09\0\0\0s",
    "an array of objects in itself": build(EMPTY + long_put(9), state((1,), "O", Raw(b"](j\x09\0\0\0e"))),
}


@pytest.mark.parametrize("written", CYCLES.values(), ids=CYCLES)
def test_what_contains_itself_is_refused_as_such(read, written):
    with pytest.raises(DamagedPickle, match="contains itself"):
        read(whole(written))


@pytest.mark.parametrize("written", COSTLY.values(), ids=COSTLY)
def test_small_files_cost_little(read, written):
    """In time and memory, a few times what the file has, and a message."""
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises((DamagedPickle, UnsafePickle)):
        read(whole(written))
    assert time.process_time() - began < 30
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23 + 150 * len(written)
    gc.collect()


@pytest.mark.parametrize("place", [2**31 - 1, 2**32 - 1])
def test_a_place_far_out_in_the_memo_costs_nothing(read, place):
    """Python's own machine makes room for all that lies before it: 16 GiB."""
    tracemalloc.start()
    assert read(whole(value("x") + long_put(place) + b"0" + b"j" + struct.pack("<I", place))) == "x"
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_lists_that_share_padding_are_read(tmp_path):
    """As people make them: real frames, filled up with one and the same row of zeros."""
    padding = [0.0] * 74
    clips = [[[float(n)] * 74 for n in range(5)] + [padding] * 45 for _ in range(20)]
    assert load(write(tmp_path / "x.pkl", clips)) == clips


def test_many_keys_of_a_video_and_a_number_are_read(tmp_path):
    """A clip is often called so; and these have no hash that a file could choose."""
    content = {(f"video{n // 9}", n % 9): n for n in range(5000)} | {(f"v{n}", "a", b"b"): n for n in range(5000)}
    assert load(write(tmp_path / "x.pkl", content)) == content


def test_tuples_are_keys_up_to_a_length(tmp_path):
    content = {tuple(map(str, range(LONGEST_TUPLE))): 1}
    assert load(write(tmp_path / "x.pkl", content)) == content
    with pytest.raises(DamagedPickle, match="a tuple as a key that can be none"):
        load(write(tmp_path / "x.pkl", {tuple(map(str, range(LONGEST_TUPLE + 1))): 1}))


@pytest.mark.parametrize("window", [1, 2, 8, WINDOW])
@pytest.mark.parametrize("most", [None, 5, 6])
def test_a_line_is_read_up_to_a_length_wherever_the_window_ends(monkeypatch, window, most):
    monkeypatch.setattr(stream, "WINDOW", window)
    lines = b"12345\n123456\n\n9\n"
    read = stream.Stream(io.BytesIO(lines), len(lines), memory.Headroom())
    assert read.line(most) == b"12345"
    if most == 5:
        with pytest.raises(DamagedPickle, match="longer than 5 characters"):
            read.line(most)
    else:
        assert [read.line(most), read.line(most), read.line(most)] == [b"123456", b"", b"9"]
        with pytest.raises(DamagedPickle, match="truncated"):
            read.line(most)


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 400])
@pytest.mark.parametrize("sign", [1, -1])
def test_long_integers_are_read(tmp_path, read, size, sign):
    """Python writes those of more than 255 bytes under an opcode of their own, which may hold small ones as well."""
    number = sign * (256 ** max(0, size - 1)) if size else 0
    written = number.to_bytes(size, "little", signed=True)
    assert read(b"\x8b" + struct.pack("<i", size) + written + b".") == number
    assert load(write(tmp_path / "x.pkl", number)) == number


LINES = {  # opcodes that are followed by a line or two
    "a module": lambda line: b"c" + line + b"\nx\n.",
    "a name": lambda line: b"cx\n" + line + b"\n.",
    "a class's module": lambda line: b"(i" + line + b"\nx\n.",
    "a class's name": lambda line: b"(ix\n" + line + b"\n.",
    "an integer": lambda line: b"I" + line + b"\n.",
    "a long": lambda line: b"L" + line + b"L\n.",
    "a float": lambda line: b"F" + line + b"\n.",
    "a place to keep": lambda line: b"Np" + line + b"\n.",
    "a place to look": lambda line: b"Np0\ng" + line + b"\n.",
}


@pytest.mark.parametrize("written", LINES.values(), ids=LINES)
def test_numbers_and_names_have_a_length_at_most(read, written):
    """They are copied, decoded and shown; and Python takes a time that is quadratic for the digits of an integer."""
    with pytest.raises(DamagedPickle, match="a number or name in it is longer than"):
        read(written(b"1" * 2000))


def test_too_little_memory_is_told_and_not_called_damage(tmp_path, monkeypatch):
    path = write(tmp_path / "x.pkl", {"x": np.zeros(2**22)})  # 32 MiB
    monkeypatch.setattr(memory, "available", lambda: memory.RESERVE + 2**24)
    tracemalloc.start()
    with pytest.raises(InvalidInput, match="not enough memory"):
        load(path)
    assert tracemalloc.get_traced_memory()[1] < 2**24  # before it is taken
    tracemalloc.stop()
    monkeypatch.setattr(memory, "available", lambda: None)  # a system that doesn't say
    assert load(path)["x"].shape == (2**22,)


@pytest.mark.parametrize("looks", [3, 24])
def test_memory_that_runs_out_on_the_way_is_told(tmp_path, monkeypatch, looks):
    """While the program runs (18 looks at the memory, for 600,000 opcodes), and while notes become arrays (9 more)."""
    path = write(tmp_path / "x.pkl", [[] for _ in range(300_000)])
    held = itertools.count(2**30, 2**23)  # 8 MiB more at every look
    monkeypatch.setattr(memory, "resident", lambda: next(held))
    monkeypatch.setattr(memory, "available", lambda: memory.RESERVE + looks * 2**23)
    with pytest.raises(InvalidInput, match="not enough memory"):
        load(path)
    monkeypatch.setattr(memory, "available", lambda: memory.RESERVE + 40 * 2**23)
    assert len(load(path)) == 300_000


def test_memory_is_known_on_linux():
    if not Path("/proc/meminfo").exists():
        pytest.skip("no /proc/meminfo")
    assert 2**20 < memory.resident() < 2**37
    assert 2**20 < memory.available() < 2**44


# --- what is no pickle ------------------------------------------------------------------------------------------------

OTHERS = {
    "empty": (b"", "truncated"),
    "a frame": (b"\x80\x04\x95" + struct.pack("<Q", 3) + b"N.", "truncated"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "Git LFS"),
    "page": (b"\n<!DOCTYPE HTML><html>", "web page"),
    "page 2": (b"\xef\xbb\xbf<html>", "web page"),
    "hdf5": (b"\x89HDF\r\n\x1a\n\0\0", "HDF5"),
    "zip": (b"PK\x03\x04\0", "ZIP"),
    "torch": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "torch.save"),
    "gzip": (b"\x1f\x8b\x08", "gzip"),
    "numpy": (b"\x93NUMPY\x01\0", "npy"),
    "zeros": (bytes(5000), "zeros"),
    "text": (b"hello world", "no pickle"),
    "a later protocol": (b"\x80\x09N.", "protocol 9"),
    "buffers": (b"\x80\x05\x97.", "buffers outside itself"),
    "read-only buffers": (b"\x80\x05\x97\x98.", "buffers outside itself"),
}


@pytest.mark.parametrize(("content", "message"), OTHERS.values(), ids=OTHERS)
def test_what_people_have_instead_of_a_pickle_is_called_by_its_name(read, content, message):
    with pytest.raises(DamagedPickle, match=message) as error:
        read(content)
    assert "x.pkl" in str(error.value)


WHOLE = pickle.dumps({"x": ARRAYS["float32"], "ids": [f"a{n}" for n in range(50)], "n": np.arange(9)}, 4)


@settings(max_examples=60, **EXAMPLES)
@given(st.integers(0, len(WHOLE) - 1))
def test_truncated_anywhere(tmp_path, size):
    path = tmp_path / "x.pkl"
    path.write_bytes(WHOLE[:size])
    with pytest.raises(DamagedPickle, match="truncated"):
        load(path)


@settings(max_examples=150, **EXAMPLES)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_pickle_end_in_an_error_of_ours(tmp_path, content):
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    with contextlib.suppress(DamagedPickle, UnsafePickle):
        load(path)


@settings(max_examples=150, **EXAMPLES)
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_a_flipped_byte_ends_in_an_error_of_ours_or_in_other_data(tmp_path, at, byte):
    path = tmp_path / "x.pkl"
    path.write_bytes(WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :])
    with contextlib.suppress(DamagedPickle, UnsafePickle):
        load(path)


def test_no_such_file(tmp_path):
    with pytest.raises(InvalidInput, match=r"x\.pkl"):
        load(tmp_path / "x.pkl")
    with pytest.raises(InvalidInput):
        load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DamagedPickle, match="no regular file"):
        load(tmp_path / "pipe")


# --- the field's files ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data():
    """The folder of real data, and of what people have."""
    if not os.environ.get("DMMSA_REAL_DATA"):
        pytest.skip("DMMSA_REAL_DATA names no folder of real data")
    return Path(os.environ["DMMSA_REAL_DATA"])


def test_the_fields_files_hold_what_python_reads_from_them(data):
    found = [path for folder in ("mosi", "mosei", "meld") for path in sorted((data / folder).glob("*.pkl"))]
    assert len(found) >= 4
    for path in found:
        assert_same(load(path), pickle.loads(path.read_bytes()))


def test_hostile_files_are_refused_in_words(data):
    found = sorted((data / "people" / "hostile").glob("*.pkl"))
    assert len(found) >= 8
    for path in found:
        with pytest.raises((UnsafePickle, DamagedPickle), match=path.name):
            load(path)


def test_peoples_files_are_read_or_refused_in_words(data):
    """Up to the repaired rows: whatever else they are, no file ends in a traceback."""
    found = sorted((data / "people").glob("*.pkl"))
    assert len(found) >= 30
    refused = []
    for path in found:
        try:
            content = load(path)
        except DmmsaError as error:
            refused.append((path.name, type(error)))
            continue
        for raw, all_splits in ((content, True), (content, False), ({"all": content}, False)):
            with contextlib.suppress(InvalidDataset):
                layout = validation.check(raw, DatasetSpec(name="mine", score_range=3.0), whole=all_splits)
                assert sum(
                    len(chunk.ids) for name in layout.rows for chunk in repair.clean(raw[name], layout, Counter())
                )
    assert refused == [
        ("git_lfs_pointer.pkl", DamagedPickle),
        ("html_instead.pkl", DamagedPickle),
        ("truncated.pkl", DamagedPickle),
    ]
