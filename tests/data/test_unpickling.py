"""What a pickle may build, and that nothing else ever runs."""

import builtins
import contextlib
import functools
import os
import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmmsa_cli.data.unpickling import load
from dmmsa_cli.errors import DamagedPickle, InvalidInput, UnsafePickle

PROTOCOLS = range(6)


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def write(path, value, protocol=4):
    path.write_bytes(pickle.dumps(value, protocol))
    return path


PLAIN = {
    "numbers": [1, 2.5, True, None, 1 + 2j, 2**70],
    "strings": ("a", "ü", b"\xff\x00", b"", bytearray(b"x")),
    "sets": [{1}, frozenset("a"), set()],
    "ordered": OrderedDict(a=1),
}
ARRAYS = {
    "float32": np.arange(600, dtype=np.float32).reshape(20, 5, 6),
    "fortran": np.asfortranarray(np.ones((3, 4))),
    "strided": np.arange(10)[::2],
    "scalar": np.float64(0.5),
    "strings": np.array(["a", "bc"]),
    "objects": np.array(["a", None], object),
    "swapped": np.arange(3, dtype=">i4"),
    "empty": np.zeros((0, 3)),
    "large": np.arange(100_000, dtype=np.float32),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_and_plain_values_come_through(tmp_path, protocol):
    read = load(write(tmp_path / "x.pkl", {"plain": PLAIN, "arrays": ARRAYS}, protocol))
    assert read["plain"] == PLAIN
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read["arrays"][name], array)
        assert read["arrays"][name].dtype.kind == array.dtype.kind


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("module", [b"numpy.core", b"numpy._core"])
def test_pickles_of_numpy_1_and_2(tmp_path, protocol, module):
    """Protocols 2 and 3 spell names on a line of their own, so one can be put for the other."""
    written = pickle.dumps({"x": np.arange(5.0), "y": np.float32(2)}, protocol)
    path = tmp_path / "x.pkl"
    path.write_bytes(written.replace(b"numpy._core", module).replace(b"numpy.core", module))
    assert module + b".multiarray" in path.read_bytes()
    assert load(path)["x"].tolist() == [0, 1, 2, 3, 4]


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
@pytest.mark.parametrize(("name", "value"), list(forbidden()), ids=[name for name, _ in forbidden()])
def test_what_could_run_code_is_refused_by_name(tmp_path, monkeypatch, protocol, name, value):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "x.pkl", {"train": [np.ones(2), value]}, protocol)
    with pytest.raises(UnsafePickle, match=name.replace("builtins", "(builtins|__builtin__)")):
        load(path)
    assert not (tmp_path / "ran").exists()
    assert RAN == []


HANDMADE = {
    "nested": (b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.", "ndarray.__class__"),
    "attribute": (b"\x80\x04\x8c\x08builtins\x8c\x0cset.__init__\x93.", "set.__init__"),
    "instance": (b"(S'touch ran'\nios\nsystem\n.", "os.system"),
    "persistent": (b"Pother\n.", "outside itself"),
    "binary persistent": (b"\x80\x02K\x01Q.", "outside itself"),
    "codec": (b"c_codecs\nencode\n(Vabc\nVrot13\ntR.", "rot13"),
    "numpy's own eval": (b"cnumpy.lib.format\n_filter_header\n.", "_filter_header"),
    "a module under an allowed one": (b"cnumpy.core.multiarray.os\nsystem\n.", "numpy.core.multiarray.os.system"),
}


@pytest.mark.parametrize(("written", "name"), HANDMADE.values(), ids=HANDMADE)
def test_handmade_pickles_are_refused_by_name(tmp_path, written, name):
    path = tmp_path / "x.pkl"
    path.write_bytes(written)
    with pytest.raises(UnsafePickle) as error:
        load(path)
    assert name in str(error.value)


def test_arrays_of_records_are_refused(tmp_path):
    with pytest.raises(UnsafePickle, match="'V8'"):
        load(write(tmp_path / "x.pkl", np.zeros(2, "i4,i4")))
    with pytest.raises(UnsafePickle, match="'M8'"):
        load(write(tmp_path / "x.pkl", np.zeros(2, "datetime64[s]")))


@pytest.mark.parametrize("flags", [0, 1, 63, 255])
def test_a_lie_about_what_an_array_holds_reaches_numpy_at_no_time(tmp_path, flags):
    """numpy believes the flags in a dtype's state; a false one makes it take numbers for addresses."""
    numbers = Calls(np.dtype, "O8", False, True), (3, "|", None, None, None, -1, -1, flags)
    written = pickle.dumps(numbers[0], 2)[:-1] + b"(" + b"".join(_small(part) for part in numbers[1]) + b"tb."
    path = tmp_path / "x.pkl"
    path.write_bytes(written)
    assert load(path).real.hasobject
    assert load(path).real.flags == np.dtype(object).flags


def _small(part):
    return pickle.dumps(part, 2)[2:-1]


def test_a_forbidden_name_stops_what_follows_it(tmp_path):
    """Even where an allowed call comes first, nothing after the forbidden name is built."""
    path = write(tmp_path / "x.pkl", [np.ones(3), Calls(os.getcwd), np.ones(3)])
    names = [op.name for op, _, _ in pickletools.genops(path.read_bytes())]
    assert "REDUCE" in names
    with pytest.raises(UnsafePickle, match="nothing of it was run"):
        load(path)


WHOLE = pickle.dumps({"x": ARRAYS["float32"], "ids": [f"a{n}" for n in range(50)], "n": np.arange(9)}, 4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(WHOLE) - 1))
def test_truncated_anywhere(tmp_path, size):
    path = tmp_path / "x.pkl"
    path.write_bytes(WHOLE[:size])
    with pytest.raises(DamagedPickle, match="truncated"):
        load(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_bytes_that_are_no_pickle_end_in_an_error_of_ours(tmp_path, content):
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    with contextlib.suppress(DamagedPickle, UnsafePickle):
        load(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
