"""Pickles that no pickler writes end in a value or in words; and the fuzzer that says so can see what is wrong."""

import mmap
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from dmmsa_cli.data import unpickling
from tests.data import fuzz_child, live_reader
from tests.data.fuzz_pickles import fuzz
from tests.data.fuzz_programs import WAYS, pickle_of
from tests.data.opcodes import name, value, whole

ROOT = Path(__file__).parents[2]
COUNT = int(os.environ.get("DMMSA_FUZZ_COUNT", "20000"))
SEED = int(os.environ.get("DMMSA_FUZZ_SEED", "0"))

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs Linux")


def fuzzer(*options, **environment):
    """Run the fuzzer as one does for nights; in a small process, which is forked faster."""
    command = [sys.executable, "-m", "tests.data.fuzz_pickles", *map(str, options)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    return done


@pytest.mark.slow
def test_pickles_that_no_pickler_writes_end_in_a_value_or_in_words():
    done = fuzzer("--count", COUNT, "--seed", SEED)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{COUNT:,} pickles" in done.stdout


def test_a_few_of_them():
    """The same for the quick suite; each way of making them leads to values and to words."""
    result = fuzz(150, 1)
    assert result.wrong == [], str(result)
    assert {ending.split(": ")[1] for ending in result.endings} == {"a value", "an error in words"}


@pytest.mark.slow
def test_a_reader_that_hands_out_live_arrays_is_found_out():
    """Crashes, a changed function, memory without bound: all of it within a tenth of what the reader has to stand."""
    result = fuzz(2000, 0, reader=live_reader.load, most_wrong=2000)
    messages = [message for _, _, message in result.wrong]
    assert any("SIGSEGV" in one or "SIGABRT" in one for one in messages), str(result)
    assert any("changed" in one for one in messages), str(result)
    assert any("MiB" in one or "MemoryError" in one for one in messages), str(result)


def test_the_same_number_of_a_seed_is_the_same_pickle():
    """In every process: what is found in a night can be looked at in the morning."""
    assert pickle_of(3, 0) != pickle_of(4, 0)
    for number in (0, 1, 7, 30):
        written = str(pickle_of(3, number)[1])
        for hashes in ("1", "2"):
            assert written in fuzzer("--seed", 3, "--only", number, PYTHONHASHSEED=hashes).stdout
    assert {pickle_of(3, number)[0] for number in range(300)} >= WAYS.keys() - {"large"}


# --- what the fuzzer sees ---------------------------------------------------------------------------------------------


def crash(path):
    os.abort()


def run_code(path):
    return eval("1 + 1")


def import_something(path):
    import this  # noqa: F401


def write_a_file(path):
    with open("/dev/null", "w") as file:  # noqa: PTH123
        file.write("x")


def take_memory(path):
    return len(bytearray(b"x") * (fuzz_child.MOST_BYTES + 2**26))


def take_more_memory(path):
    return len(b"x" * 2**34)


def change_a_module(path):
    live_reader.encode.__defaults__ = ("punycode",)


def change_builtins(path):
    import builtins

    builtins.something = 1


def fail(path):
    raise KeyError("nothing that a user should see")


def warn(path):
    import numpy as np

    return np.array([np.inf]).astype(np.int64)


SEEN = {
    crash: "SIGABRT",
    run_code: "event compile",
    import_something: "event import",
    write_a_file: "event open",
    take_memory: "took",
    take_more_memory: "MemoryError",
    change_a_module: "event object.__setattr__",
    change_builtins: "changed [('builtins', 'something')]",
    fail: "KeyError",
    warn: "RuntimeWarning",
}


def test_memory_is_held_against_what_there_is_and_not_what_there_was():
    bytearray(b"x") * (fuzz_child.MOST_BYTES + 2**26)
    ending, message = fuzz_child.run(take_memory, b"N.", fuzz_child.attributes())
    assert (ending, message[:5]) == (fuzz_child.WRONG, "took ")


def test_memory_is_held_against_what_the_child_began_with(tmp_path):
    """A parent's pages of a mapped file, a library's for instance, are not in the child after a fork."""
    file = tmp_path / "mapped"
    file.write_bytes(bytes(2**28))
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        sum(mapped[:: mmap.PAGESIZE])
        ending, message = fuzz_child.run(take_memory, b"N.", fuzz_child.attributes())
    assert (ending, message[:5]) == (fuzz_child.WRONG, "took ")


@pytest.mark.parametrize("reader", SEEN, ids=lambda reader: reader.__name__)
def test_what_reading_data_never_does_is_seen(reader):
    ending, message = fuzz_child.run(reader, b"N.", fuzz_child.attributes())
    assert ending == fuzz_child.WRONG
    assert message.startswith(SEEN[reader]) or SEEN[reader] in message


def test_a_changed_function_is_seen(monkeypatch):
    """By its identity too, where the audit does not tell: BUILD sets attributes as setattr does."""
    written = whole(name("_codecs.encode"), value((None, {"note": 1})), b"b0N")
    ending, message = fuzz_child.run(live_reader.load, written, fuzz_child.attributes())
    assert (ending, message) == (fuzz_child.WRONG, "changed [('tests.data.live_reader', 'encode')]")


def test_sound_pickles_are_values(monkeypatch):
    ending, message = fuzz_child.run(unpickling.load, pickle.dumps({"a": [1, 2]}), fuzz_child.attributes())
    assert (ending, message) == (fuzz_child.VALUE, "")
    ending, message = fuzz_child.run(unpickling.load, b"cos\nsystem\n.", fuzz_child.attributes())
    assert (ending, message) == (fuzz_child.REFUSED, "")
