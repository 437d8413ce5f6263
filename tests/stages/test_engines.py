"""Engines with made-up tasks: what begins when, on which GPU, and what becomes of what fails."""

import os
from contextlib import closing
from dataclasses import dataclass

import pytest

from dmmsa_cli.errors import DeviceUnavailable, GpuOutOfMemory, Interrupted, OutOfMemory
from dmmsa_cli.stages.engines import InTurn, Outcome, Postponed, SideBySide, Slot, Task, Wish
from dmmsa_cli.stages.engines.gpus import visible_gpus
from dmmsa_cli.stages.engines.machines import Machine, Share, share_for
from dmmsa_cli.stages.engines.opening import slots_for
from dmmsa_cli.stages.engines.queue import Queue


@dataclass(frozen=True)
class Made(Task):
    name: str
    what_it_needs: tuple[Task, ...] = ()

    def run(self, tell):
        return Outcome(self, "trained")

    def needs(self):
        return self.what_it_needs

    def __str__(self):
        return self.name


@dataclass(frozen=True)
class Telling(Made):
    """Tells what its process sees of the GPUs."""

    def run(self, tell):
        import torch

        seen = os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.is_initialized(), torch.get_num_threads()
        tell(seen)
        return Outcome(self, "trained", summary={"seen": seen})


@dataclass(frozen=True)
class Full(Made):
    kind: type[Exception] = GpuOutOfMemory

    def run(self, tell):
        raise self.kind("No room.", "Lower fusion.batch_size.")


def ran(engine, tasks):
    told = []
    with closing(engine.run(tasks, told.append)) as coming:
        return list(coming), told


# --- GPUs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "said", "names"),
    [
        (0, None, []),
        (3, None, ["0", "1", "2"]),
        (2, "2,5", ["2", "5"]),
        (1, "2,-1,5", ["2"]),  # CUDA stops at what is none
        (2, "GPU-8f2b, GPU-77aa", ["GPU-8f2b", "GPU-77aa"]),
        (0, "", []),
        (1, "MIG-1a,MIG-2b", ["MIG-1a", "MIG-2b"]),  # of which a process sees one
    ],
)
def test_gpus_are_those_that_the_user_leaves_visible(count, said, names):
    assert visible_gpus(count, {} if said is None else {"CUDA_VISIBLE_DEVICES": said}) == names


@pytest.mark.parametrize(
    ("wish", "runs", "gpus", "slots", "words"),
    [
        (Wish(jobs=8), 20, ["0", "1"], ["0", "1"], "--runs-per-gpu 2"),
        (Wish(jobs=8, runs_per_gpu=4), 20, ["0", "1"], ["0", "1"] * 4, "8 runs at a time on 2 GPUs"),
        (Wish(runs_per_gpu=2), 20, ["3", "GPU-7"], ["3", "GPU-7"] * 2, "4 runs at a time on 2 GPUs, 2 threads each"),
        (Wish(jobs=3, runs_per_gpu=4), 20, ["0"], ["0"] * 3, "3 runs at a time on 1 GPU, 2 threads"),
        (Wish(jobs=8), 2, ["0", "1", "2"], ["0", "1"], "2 runs at a time on 2 GPUs, 4 threads"),
        (Wish(jobs=4), 20, [], [None] * 4, "4 runs at a time, 2 threads each"),
        (Wish(), 20, ["0", "1"], [None], ""),
        (Wish(jobs=5), 20, ["0"], [None], "1 run at a time"),
    ],
)
def test_runs_are_spread_over_the_gpus_that_there_are(wish, runs, gpus, slots, words):
    found, remark = slots_for(wish, runs, gpus, threads=8)
    assert [slot.gpu for slot in found] == slots
    assert words in remark and bool(words) == bool(remark)


def test_what_is_to_share_a_gpu_needs_one():
    with pytest.raises(DeviceUnavailable, match="--runs-per-gpu"):
        slots_for(Wish(runs_per_gpu=2), 4, [], threads=1)


def test_a_process_sees_its_gpu_alone_before_cuda_is_asked(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    slots = [Slot(1, "GPU-a"), Slot(1, "GPU-b")]
    outcomes, told = ran(SideBySide(slots), [Telling(f"{n}") for n in range(4)])
    assert {seen[0] for seen in told} == {"GPU-a", "GPU-b"}
    assert all(seen[1:] == (False, 1) for seen in told)
    assert [outcome.state for outcome in outcomes] == ["trained"] * 4
    (_, ((seen, *_),)) = ran(SideBySide([Slot(1)]), [Telling("alone")])
    assert seen is None


def test_the_emptiest_gpu_is_taken_first():
    engine = SideBySide([Slot(1, "0"), Slot(1, "1"), Slot(1, "0"), Slot(1, "1")])

    @dataclass
    class Running:
        slot: Slot

    assert engine._free([Running(Slot(1, "0"))]).gpu == "1"
    assert engine._free([Running(Slot(1, "1")), Running(Slot(1, "1"))]).gpu == "0"


def test_what_finds_no_room_on_a_gpu_comes_once_more_when_all_others_have_begun():
    tasks = [Full("large"), Made("small"), Made("other")]
    outcomes, told = ran(InTurn(), tasks)
    assert [(str(o.job), o.state) for o in outcomes] == [
        ("small", "trained"), ("other", "trained"), ("large", "failed")
    ]  # fmt: skip
    assert told == [Postponed(tasks[0], "No room.\nLower fusion.batch_size.")]


def test_what_finds_no_room_on_the_machine_does_not():
    outcomes, told = ran(InTurn(), [Full("large", kind=OutOfMemory), Made("small")])
    assert [outcome.state for outcome in outcomes] == ["failed", "trained"]
    assert not told


# --- order ----------------------------------------------------------------------------------------------------------


def test_what_several_need_is_done_once_and_first():
    need, other = Made("encoder"), Made("another encoder")
    queue = Queue([Made("a", (need, other)), Made("b", (need,)), Made("c")], lambda event: None, at_once=4)
    begun = [str(task) for task in iter(queue.next, None)]
    assert begun == ["encoder", "another encoder"]  # a and b wait, and take up the room that is left
    assert list(queue.ended(Outcome(need, "trained"))) == []
    assert [str(task) for task in iter(queue.next, None)] == ["b", "c"]
    list(queue.ended(Outcome(other, "failed", problem="a will say so itself")))
    assert [str(task) for task in iter(queue.next, None)] == ["a"]


def test_no_task_is_taken_before_there_is_room_for_it():
    taken = []

    def coming():
        for n in range(5):
            taken.append(n)
            yield Made(str(n))

    queue = Queue(coming(), lambda event: None, at_once=2)
    first = [task for task in iter(queue.next, None)]
    assert taken == [0, 1]
    list(queue.ended(Outcome(first[0], "trained")))
    assert taken == [0, 1]
    assert str(queue.next()) == "2"


def test_a_stop_is_told_of_all_that_waited():
    need = Made("encoder")
    queue = Queue([Made("a", (need,))], lambda event: None, at_once=1)
    assert queue.next() == need
    ending = queue.ended(Outcome(need, "stopped", problem="Ctrl-C."))
    assert [(str(o.job), o.state) for o in [next(ending)]] == [("a", "stopped")]
    with pytest.raises(Interrupted, match=r"Ctrl-C\."):
        next(ending)


# --- what a run gets of a cluster -----------------------------------------------------------------------------------

SMALL, LARGE, GPUS = Machine("1", "small", 2, 0), Machine("2", "large", 8, 0), Machine("3", "gpus", 16, 4)


@pytest.mark.parametrize(
    ("wish", "runs", "machines", "share", "at_once"),
    [
        (Wish(), 20, [SMALL, LARGE], Share(1, 0.0), 10),
        (Wish(jobs=2), 20, [SMALL, LARGE], Share(4, 0.0), 2),
        (Wish(jobs=2), 20, [LARGE, LARGE], Share(8, 0.0), 2),
        (Wish(threads=4), 20, [SMALL, LARGE], Share(4, 0.0), 2),
        (Wish(), 3, [LARGE], Share(2, 0.0), 3),
        (Wish(), 20, [LARGE, GPUS], Share(4, 1.0), 4),
        (Wish(runs_per_gpu=3), 20, [LARGE, GPUS], Share(1, 0.3333), 12),
        (Wish(device="cpu"), 20, [SMALL, GPUS], Share(1, 0.0), 18),
    ],
)
def test_a_run_gets_as_much_of_a_machine_as_lets_so_many_go_on(wish, runs, machines, share, at_once):
    assert share_for(wish, runs, machines) == (share, at_once)
