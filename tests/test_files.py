"""Files that come into being by rename, however many write them and however they end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.files import PARTIAL, STALE_SECONDS, atomic_path, exclusive, remove_partial, write_json
from dmmsa_cli.plain import read_json
from tests.plain_values import PLAIN

NAMES = ["metrics.json", "a[b].csv", "odd *?.csv", "x.0123abcd.partial"]


def partials(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(PARTIAL))


def grow_old(path):
    old = time.time() - STALE_SECONDS - 1
    os.utime(path, (old, old))


@pytest.mark.parametrize("name", NAMES)
def test_each_of_two_writers_leaves_a_whole_file(tmp_path, name):
    """The first ends while the second is in the middle of its file, and the second while there is a third."""
    target = tmp_path / name
    with atomic_path(target) as second:
        second.write_text("the second's beginning, ")
        with atomic_path(target) as first:
            first.write_text("the first's")
        assert target.read_text() == "the first's"
        with second.open("a") as file:
            file.write("the second's end")
    assert target.read_text() == "the second's beginning, the second's end"
    assert os.listdir(tmp_path) == [name]  # noqa: PTH208


WRITERS = """
import sys
from pathlib import Path
from dmmsa_cli.files import write_json
target, mark = Path(sys.argv[1]), sys.argv[2]
for turn in range(150):
    write_json(target, {mark: [mark] * 5000})
"""


def test_a_reader_finds_a_whole_file_while_processes_write_it(tmp_path):
    target = tmp_path / "metrics.json"
    write_json(target, {"a": []})
    writers = [subprocess.Popen([sys.executable, "-c", WRITERS, str(target), mark]) for mark in "abc"]
    while any(writer.poll() is None for writer in writers):
        ((mark, values),) = json.loads(target.read_text()).items()
        assert set(values) <= {mark}
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert partials(tmp_path) == []


def test_a_failed_writer_takes_only_its_own_part_along(tmp_path):
    target = tmp_path / "metrics.json"
    write_json(target, 1)
    with atomic_path(target) as other, pytest.raises(ValueError, match="no number"), atomic_path(target) as mine:
        other.write_text("2")
        mine.write_text("half")
        raise ValueError("no number")
    assert target.read_text() == "2"
    assert partials(tmp_path) == []


KILLED = """
import sys, time
from pathlib import Path
from dmmsa_cli.files import atomic_path
with atomic_path(Path(sys.argv[1])) as path:
    path.write_text("half")
    print("half", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def left_by_a_kill(tmp_path):
    """What a writer of metrics.json left that was killed in the middle."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "metrics.json")], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout.readline() == b"half\n"
        writer.send_signal(signal.SIGKILL)
    (left,) = tmp_path.glob(f"metrics.json*{PARTIAL}")
    return left


def test_what_a_kill_left_is_removed_once_it_is_old(tmp_path, left_by_a_kill):
    write_json(tmp_path / "metrics.json", 1)
    assert left_by_a_kill.exists()  # as far as anybody can tell, another process is writing it
    grow_old(left_by_a_kill)
    write_json(tmp_path / "other.json", 1)
    assert left_by_a_kill.exists()
    write_json(tmp_path / "metrics.json", 2)
    assert not left_by_a_kill.exists()


def test_whoever_takes_a_folder_removes_all_that_kills_left_there(tmp_path, left_by_a_kill):
    with exclusive(tmp_path):
        assert left_by_a_kill.exists()
    grow_old(left_by_a_kill)
    with exclusive(tmp_path):
        assert not left_by_a_kill.exists()


OF_OTHERS = """
import os, signal, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
tensors = {"a": torch.zeros(2**24)}
while True:
    save_file(tensors, Path(sys.argv[1]) / "weights.safetensors")
"""


def test_what_safetensors_writes_to_is_known_for_what_it_is(tmp_path):
    """It has names of its own choice; here such a file is caught in the making."""
    with subprocess.Popen([sys.executable, "-c", OF_OTHERS, str(tmp_path)]) as writer:
        while not (found := [path for path in tmp_path.iterdir() if path.name != "weights.safetensors"]):
            pass
        writer.send_signal(signal.SIGKILL)
    for left in (path for path in found if path.exists()):
        grow_old(left)
    with exclusive(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} <= {"weights.safetensors", ".lock"}


def test_a_folder_that_a_kill_left_half_filled_is_removed_too(tmp_path):
    half = tmp_path / f"export.01234567{PARTIAL}"
    half.mkdir()
    (half / "README.md").write_text("half")
    grow_old(half)
    with exclusive(tmp_path):
        assert not half.exists()


def test_whoever_ends_what_nobody_goes_on_with_removes_young_parts_too(tmp_path, left_by_a_kill):
    (tmp_path / ".tmpAb12Cd").write_text("half")
    (tmp_path / "kept.json").write_text("1")
    remove_partial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.json"]
    remove_partial(tmp_path / "missing")


@pytest.mark.parametrize("name", NAMES)
def test_only_parts_are_ever_removed(tmp_path, name):
    kept = [f"{name}.csv", f"{name}.01234567.csv", f"{name}.old{PARTIAL}", f"{name}.0123456x{PARTIAL}", PARTIAL]
    kept += [".tmp", ".tmp12345", ".tmp1234567", "x.tmp123456", ".tmp12.456"]
    for one in kept:
        (tmp_path / one).write_text("kept")
        grow_old(tmp_path / one)
    remove_partial(tmp_path)
    with exclusive(tmp_path):
        write_json(tmp_path / name, 1)
    assert {*kept, name, ".lock"} == {path.name for path in tmp_path.iterdir()}


@given(value=st.text(st.characters(exclude_categories=())) | PLAIN)
def test_json_of_any_text_is_read_back(tmp_path_factory, value):
    """Names of files that are no UTF-8 come as lone surrogates."""
    path = tmp_path_factory.getbasetemp() / "any.json"
    write_json(path, {"path": value})
    found = read_json(path)["path"]
    assert found == value or json.dumps(found) == json.dumps(value)  # two halves that stand side by side are one


@pytest.mark.parametrize("target", [".", "", "/"])
def test_a_folder_is_no_file_to_write(target):
    with pytest.raises(IsADirectoryError), atomic_path(Path(target)):
        pass


@pytest.mark.parametrize("mask", ["022", "027", "077"])
def test_files_have_the_modes_that_the_user_wants(tmp_path, mask):
    """safetensors makes files for their owner alone, which a laboratory's shared folder has no use for."""
    script = f"""
import os
os.umask(0o{mask})
from pathlib import Path
import torch
from dmmsa_cli.files import atomic_path, write_text
from dmmsa_cli.training.run import save_tensors
folder = Path({str(tmp_path)!r})
write_text(folder / "text.txt", "x")
save_tensors(folder / "tensors.safetensors", {{"a": torch.zeros(1)}}, {{}})
with atomic_path(folder / "private") as partial:
    partial.touch(0o600)
with atomic_path(folder / "shared") as partial:
    partial.touch()
    partial.chmod(0o664)  # as a folder's own rule may have it
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes.pop("shared") == 0o664
    assert set(modes.values()) == {0o666 & ~int(mask, 8)}
    assert len(modes) == 3


def test_a_folder_that_can_not_be_written_is_held_without_a_lock(tmp_path, monkeypatch):
    monkeypatch.setattr("dmmsa_cli.files.os.access", lambda path, mode: False)
    with exclusive(tmp_path, reading=True):
        assert list(tmp_path.iterdir()) == []
    with exclusive(tmp_path / "not" / "there", reading=True):
        assert list(tmp_path.iterdir()) == []
