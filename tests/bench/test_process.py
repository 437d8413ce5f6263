"""Measures in processes of their own. Those import this module, so it imports next to nothing."""

import os
import signal
import threading
import time
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from dmmsa_cli.bench.process import AnonymousPeak, alone, peak_memory
from dmmsa_cli.errors import DmmsaError, InvalidInput


def fill(megabytes):
    block = np.ones(megabytes * 2**20, np.uint8)
    return {"sum": int(block[::4096].sum()), "peak_rss_bytes": peak_memory()}


def fail(how):
    if how == "told":
        raise InvalidInput("What went wrong.", "What to do.")
    if how == "crash":
        os._exit(3)
    raise ValueError("a bad value")


def test_memory_is_that_of_the_process_alone():
    ours = np.ones(300 * 2**20, np.uint8)
    few, many = (alone("filling", fill, megabytes).facts["peak_rss_bytes"] for megabytes in (1, 200))
    assert few < ours.nbytes  # a process forked from this one would have begun with it
    assert many - few == pytest.approx(199 * 2**20, rel=0.1)


def test_an_answer_is_timed_by_who_waits_for_it():
    began = time.perf_counter()
    answer = alone("filling", fill, 1)
    assert 0 < answer.seconds <= time.perf_counter() - began


@pytest.mark.parametrize(
    ("how", "told", "remedy"),
    [
        ("told", "Measuring failed (this). What went wrong.", "What to do."),
        ("crash", "Measuring failed (this). Its process ended with status 3.", ""),
        ("else", "Measuring failed (this). ValueError: a bad value", ""),
    ],
)
def test_a_failure_is_told_in_a_message(how, told, remedy, capfd):
    with pytest.raises(DmmsaError) as caught:
        alone("this", fail, how)
    assert (caught.value.what, caught.value.remedy) == (told, remedy)
    assert "Traceback" not in capfd.readouterr().err


def come_and_go(megabytes):
    with AnonymousPeak() as peak:
        before = peak.bytes
        if before is None:
            return {"seen_bytes": None}
        block = np.ones(megabytes * 2**20, np.uint8)
        until = time.monotonic() + 30
        while peak.bytes - before <= 0.9 * block.nbytes and time.monotonic() < until:  # a busy machine looks seldom
            time.sleep(0.01)
        del block
    return {"seen_bytes": peak.bytes - before}


def test_memory_that_comes_and_goes_is_seen():
    """In a process of its own: here, what earlier tests left may be given back just then, and hide the block."""
    seen = alone("what comes and goes", come_and_go, 100).facts["seen_bytes"]
    if seen is None:
        pytest.skip("this system does not tell")
    assert 90 * 2**20 < seen < 120 * 2**20


def wait_in(folder):
    with TemporaryDirectory(dir=folder):
        (folder / "waiting").touch()
        time.sleep(60)
    return {}


def test_who_stops_waiting_ends_the_process_and_its_folders_go_with_it(tmp_path):
    """As a command that is stopped while it waits for a measure."""

    def stop():
        while not (tmp_path / "waiting").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop).start()
    began = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        alone("waiting", wait_in, tmp_path)
    assert time.perf_counter() - began < 30
    assert [path.name for path in tmp_path.iterdir()] == ["waiting"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
