"""A study on a real Ray cluster of two nodes, both on this machine: one is lost, or all is stopped, and it goes on."""

import json
import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import ray
import yaml
from ray.cluster_utils import Cluster

from dmmsa_cli.errors import DeviceUnavailable, Interrupted, InvalidInput, PackageMissing
from dmmsa_cli.stages.ablate import Place, plan
from dmmsa_cli.stages.engines import Outcome, Step, Wish, open_engine
from dmmsa_cli.stages.engines import cluster as cluster_module
from dmmsa_cli.stages.engines import machines as machines_module
from dmmsa_cli.stages.engines.cluster import _looked_over
from dmmsa_cli.stages.engines.connection import KNOCK
from dmmsa_cli.stages.engines.machines import Call, Lost, Machine, _looked_at, _marks, _versions
from dmmsa_cli.stages.runs import Opening, carry_out, plan_encoders, plan_fusion
from dmmsa_cli.stages.tune import so_far, tune
from dmmsa_cli.stages.tuning.plan import plan_tuning
from tests.conftest import MICRO_RECIPE
from tests.stages.test_ablate import TWO, recipe_of
from tests.training_runs import log, weights

RUNS = "full", "no-cl"


@pytest.fixture(scope="module")
def cluster():
    """A cluster of one node, which has one core; a test adds what it takes away."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")  # no token is left in the home of whoever runs the tests
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        quick = {"health_check_period_ms": 1000}  # a third of Ray's: a node that is killed is missed after 5 of them
        head = {"num_cpus": 1, "include_dashboard": False, "_system_config": quick}
        made = Cluster(initialize_head=True, head_node_args=head)
        yield made
        ray.shutdown()
        made.shutdown()
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    """Long enough for a node to be lost on the way."""
    return recipe_of(tmp_path_factory.mktemp("brief"), epochs=60, name="longer")


@pytest.fixture(scope="module")
def undisturbed(prepared, longer, tmp_path_factory):
    """The study, run on this machine alone, in this process."""
    place = Place("mini", prepared, tmp_path_factory.mktemp("local"), "cpu")
    carry_out(plan(TWO, place, recipe=str(longer), seeds=(1,)).jobs)
    return place


@pytest.fixture
def place(prepared, tmp_path):
    return Place("mini", prepared, tmp_path, "cpu")


def on_ray(cluster, place, recipe, tell, **wish):
    folders = place.data_dir, place.runs_dir
    wanted = Wish(ray=True, address=cluster.address, threads=1, device="cpu", folders=folders, **wish)
    jobs = plan(TWO, place, recipe=str(recipe), seeds=(1,)).jobs
    with open_engine(wanted, len(jobs)) as opened:
        return carry_out(jobs, tell=tell, engine=opened.engine)


def test_seeds_of_fuse_and_encoders_go_there_too(cluster, prepared, micro, tmp_path):
    there, here = (Opening("mini", prepared, tmp_path / name, str(micro), device="cpu") for name in ("there", "here"))
    wanted = Wish(ray=True, address=cluster.address, threads=1, device="cpu", folders=(prepared, there.runs_dir))
    encoders = plan_encoders(there, ["a"], [])
    with open_engine(wanted, 2) as opened:
        assert [o.state for o in carry_out(encoders, engine=opened.engine)] == ["trained"]
        outcomes = carry_out(plan_fusion([there], "full", (1, 2)), engine=opened.engine)
    assert [outcome.state for outcome in outcomes] == ["trained", "trained"]
    for outcome in carry_out(plan_fusion([here], "full", (1, 2))):
        assert weights(outcome.folder) == weights(there.runs_dir / outcome.folder.relative_to(here.runs_dir))


def test_a_tuning_there_is_the_one_here(cluster, prepared, tmp_path):
    micro, space = tmp_path / "micro.yaml", tmp_path / "space.yaml"
    micro.write_text(yaml.safe_dump(MICRO_RECIPE))
    space.write_text(yaml.safe_dump({"fusion.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}}))
    there, here = (
        plan_tuning("mini", data_dir=prepared, runs_dir=tmp_path / name, recipe=str(micro), space_file=space, seeds=1,
                    device="cpu")
        for name in ("there", "here")
    )  # fmt: skip
    one = Wish(ray=True, address=cluster.address, threads=1, jobs=1, device="cpu", folders=(tmp_path,))
    with open_engine(one, 2) as opened:  # one at a time: what is tried second depends on what the first came to
        tuned = tune(there, 2, engine=opened.engine)
    assert not tuned.problems
    assert tuned.found.luck == tune(here, 2).found.luck
    assert so_far(there) == [replace(o, job=replace(o.job, tuning=there), folder=o.folder) for o in so_far(here)]


def folder(place, variant):
    return place.runs_dir / "mini/longer" / variant / "seed-1"


def went_on(place):
    """How often each run was begun again."""
    return [len(json.loads((folder(place, v) / "environment.json").read_text()).get("resumed", [])) for v in RUNS]


def assert_the_same(place, other):
    for variant in RUNS:
        one, two = folder(place, variant), folder(other, variant)
        assert weights(one) == weights(two)
        assert log(one) == log(two)


class WhenBothAreUnderWay:
    """Does something once, when every run has a checkpoint."""

    def __init__(self, place, act):
        self.place, self.act, self.done, self.heard = place, act, False, []

    def __call__(self, event):
        self.heard.append(event)
        if not self.done and all((folder(self.place, v) / "checkpoint.safetensors").exists() for v in RUNS):
            self.done = True
            self.act()


def test_stopped_every_run_saves_and_goes_on(cluster, place, longer, undisturbed):
    second = cluster.add_node(num_cpus=1)
    stopper = WhenBothAreUnderWay(place, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted, match="full, seed 1; w/o CL, seed 1"):
        on_ray(cluster, place, longer, stopper)
    states = [len((folder(place, v) / "metrics.jsonl").read_text().splitlines()) for v in RUNS]
    assert all(0 < state < 60 for state in states)
    assert not any((folder(place, v) / "summary.json").exists() for v in RUNS)
    outcomes = on_ray(cluster, place, longer, lambda event: None)
    cluster.remove_node(second)
    assert [outcome.state for outcome in outcomes] == ["trained", "trained"]
    assert went_on(place) == [1, 1]
    assert_the_same(place, undisturbed)


def test_what_was_there_is_found_again_and_a_run_that_fails_says_why(cluster, undisturbed, longer, tmp_path):
    place = replace(undisturbed, runs_dir=tmp_path / "runs")
    shutil.copytree(undisturbed.runs_dir, place.runs_dir)
    (folder(place, "no-cl") / "summary.json").write_text('{"best_epoch": 1}')
    outcomes = on_ray(cluster, place, longer, lambda event: None)
    assert {o.job.variant: o.state for o in outcomes} == {"full": "was there", "no-cl": "failed"}
    assert "summary.json is damaged" in next(o.problem for o in outcomes if o.state == "failed")


def test_what_a_cluster_lacks_is_told_before_any_run(cluster):
    for wish, kind, words in (
        (Wish(ray=True, address=cluster.address, device="cuda"), DeviceUnavailable, "no GPU"),
        (Wish(ray=True, address=cluster.address, threads=7), InvalidInput, "7 threads: the largest has 1 core"),
    ):
        with pytest.raises(kind, match=words), open_engine(wish, 2):
            raise AssertionError


def test_the_runs_of_a_node_that_is_lost_go_on_elsewhere_to_the_same_bits(cluster, place, longer, undisturbed):
    lost = cluster.add_node(num_cpus=1)
    killer = WhenBothAreUnderWay(place, lambda: cluster.remove_node(lost, allow_graceful=False))
    outcomes = on_ray(cluster, place, longer, killer)
    assert killer.done
    assert [outcome.state for outcome in outcomes] == ["trained", "trained"]
    assert sorted(went_on(place)) == [0, 1]
    assert_the_same(place, undisturbed)
    steps = [event for event in killer.heard if isinstance(event, Step)]
    assert {step.what for step in steps} == {"fusion", "text encoder", "vision encoder", "audio encoder"}
    assert {step.job.variant for step in steps if step.what == "fusion" and step.done == 60} == {*RUNS}
    assert [event.state for event in killer.heard if isinstance(event, Outcome)] == ["trained", "trained"]


def dies_once(mark):
    """Return what looks at a machine, and whose process is killed the first time."""

    def look(call, versions, marks):
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return ""

    return look


def test_a_machine_whose_process_dies_while_it_is_looked_over_is_asked_again(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(machines_module, "_looked_at", dies_once(tmp_path / "died"))
    with open_engine(Wish(ray=True, address=cluster.address, device="cpu", folders=(tmp_path,)), 1) as opened:
        assert opened.at_once == 1
    assert (tmp_path / "died").exists()


def test_marks_that_a_kill_left_go_with_the_next(tmp_path):
    with _marks([tmp_path]) as marks:
        left = tmp_path / Path(marks[0]).name.replace(Path(marks[0]).suffixes[-2], ".01234567")
        left.touch()
        os.utime(left, (0, 0))
        assert left != Path(marks[0])
    with _marks([tmp_path]):
        assert not left.exists()
    assert list(tmp_path.iterdir()) == []


class Shrinking:
    """A cluster of two machines, one of which Ray misses only when it has been asked for."""

    def __init__(self, patch, missed=True):
        self.machines, self.asked, self.missed = [Machine("1", "one", 2, 0), Machine("2", "two", 2, 0)], 0, missed
        patch.setattr(cluster_module, "machines_of_cluster", lambda: list(self.machines))
        patch.setattr(cluster_module, "look_over", self.look_over)

    def look_over(self, machines, folders):
        self.asked += 1
        if len(machines) == 2:
            self.machines = self.machines[: 1 if self.missed else 2]
            raise Lost("Machine two of the cluster can't be reached")


def test_a_machine_that_ray_has_not_missed_yet_is_waited_for_and_then_left_out(monkeypatch):
    shrinking = Shrinking(monkeypatch)
    found = _looked_over(Wish(ray=True), 9)
    assert [machine.name for machine in found.machines] == ["one"]
    assert (found.at_once, shrinking.asked) == (2, 2)


def test_one_that_ray_never_misses_is_one_message(monkeypatch):
    Shrinking(monkeypatch, missed=False)
    monkeypatch.setattr(cluster_module, "MISSED", 0)
    with pytest.raises(InvalidInput, match="Machine two of the cluster can't be reached"):
        _looked_over(Wish(ray=True), 9)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere.invalid:6379", "nowhere", "127.0.0.1:99999"])
def test_a_cluster_that_is_not_there_is_one_message_at_once(address):
    begun = time.monotonic()
    with (
        pytest.raises(InvalidInput, match=f"There is no Ray cluster at {address}: "),
        open_engine(Wish(ray=True, address=address), 2),
    ):
        raise AssertionError
    assert time.monotonic() - begun < KNOCK + 10  # Ray itself tries for minutes


def test_without_ray_there_is_one_message_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PackageMissing, match=r"dmmsa\[cluster\]"), open_engine(Wish(ray=True), 2):
        raise AssertionError


@pytest.mark.parametrize("what", ["directory", "folder", "version"])
def test_what_a_machine_lacks_is_its_fault_in_words(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    call, mark = Call.of_this_process(), tmp_path / ".seen-1"
    mark.touch()
    assert _looked_at(call, _versions(), [str(mark)]) == ""
    if what == "directory":
        fault = _looked_at(Call(["dmmsa"], "/no such"), _versions(), [])
    elif what == "folder":
        mark.unlink()
        fault = _looked_at(call, _versions(), [str(mark)])
    else:
        fault = _looked_at(call, _versions() | {"torch": "1.0"}, [])
    assert {"directory": "/no such", "folder": f"does not see the folder {tmp_path}", "version": "has torch"}[
        what
    ] in fault
