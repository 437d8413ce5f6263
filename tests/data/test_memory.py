"""How much memory there is: what the machine says, and what the container does."""

import pytest

from dmmsa_cli.data import memory
from dmmsa_cli.data.memory import RESERVE, Headroom

GIB = 2**30
MACHINE = {"MemAvailable:": 2**40}


@pytest.fixture
def container(tmp_path, monkeypatch):
    """A container that may hold 3 GiB and holds 2, half a one of it files that can be read again."""
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text(f"{3 * GIB}\n")
    (tmp_path / "memory.current").write_text(f"{2 * GIB}\n")
    (tmp_path / "memory.stat").write_text(f"anon {GIB}\nfile {GIB}\ninactive_file {GIB // 2}\n")
    read = memory._fields
    monkeypatch.setattr(memory, "_fields", lambda path: MACHINE if path.name == "meminfo" else read(path))
    return tmp_path


def test_a_containers_limit_counts_and_files_are_given_back(container):
    assert memory.available() == GIB + GIB // 2


@pytest.mark.parametrize("name", ["memory.max", "memory.current"])
def test_without_a_limit_it_is_the_machines(container, name):
    (container / name).unlink()
    assert memory.available() == 2**50


def test_a_container_that_is_full_leaves_nothing_but_its_files(container):
    (container / "memory.current").write_text(f"{3 * GIB}\n")
    assert memory.available() == GIB // 2
    (container / "memory.current").write_text(f"{4 * GIB}\n")  # the limit was lowered
    assert memory.available() == 0
    (container / "memory.current").write_text(f"{2 * GIB}\n")
    (container / "memory.stat").unlink()
    assert memory.available() == GIB


def test_a_limit_of_max_is_none(container):
    (container / "memory.max").write_text("max\n")
    assert memory.available() == 2**50


def test_the_machines_own(container, monkeypatch):
    monkeypatch.setattr(memory, "_fields", lambda path: {"MemAvailable:": 1000} if path.name == "meminfo" else {})
    assert memory.available() == 1000 * 1024


def test_what_a_piece_of_work_may_take_is_what_there_was_at_its_beginning(monkeypatch):
    held, free = 5 * GIB, 2 * GIB
    monkeypatch.setattr(memory, "resident", lambda: held)
    monkeypatch.setattr(memory, "available", lambda: free)
    room = Headroom()
    room.check()
    room.check(free - RESERVE)
    with pytest.raises(MemoryError):
        room.check(free - RESERVE + 1)
    held += GIB  # taken, whatever there is now
    room.check(GIB - RESERVE)
    with pytest.raises(MemoryError):
        room.check(GIB - RESERVE + 1)


@pytest.mark.parametrize("silent", ["resident", "available"])
def test_a_system_that_says_nothing_forbids_nothing(monkeypatch, silent):
    monkeypatch.setattr(memory, silent, lambda: None)
    Headroom().check(2**60)
