"""Several runs at a time, as a user of any command meets them."""

import pytest

from tests.cli.running import dmmsa
from tests.training_runs import log, weights

SEEDS = ("--seed", "1", "2")
ONE_THREAD = ("--threads", "1", "--device", "cpu")
TWO_AT_ONCE = ("--threads", "2", "--jobs", "2", "--device", "cpu")  # one thread each


@pytest.fixture(scope="module")
def call(prepared, micro, tmp_path_factory):
    """Call a command in a folder of its own."""
    cwd = tmp_path_factory.mktemp("spreading")

    def run(command, *arguments):
        known = ("--dataset", "mini", "--recipe", micro, "--data-dir", prepared)
        return dmmsa(command, *known, *arguments, cwd=cwd)

    run.cwd = cwd
    return run


@pytest.fixture(scope="module")
def in_turn(call):
    """What two seeds come to, one after the other."""
    done = call("fuse", *SEEDS, *ONE_THREAD, "--runs-dir", "in-turn")
    assert done.returncode == 0, done.stderr
    return call.cwd / "in-turn/mini/micro/full"


@pytest.fixture(scope="module")
def at_once(call):
    """The same, at once; and how that ended."""
    done = call("fuse", *SEEDS, *TWO_AT_ONCE, "--runs-dir", "at-once")
    assert done.returncode == 0, done.stderr
    return call.cwd / "at-once/mini/micro/full", done


def test_seeds_side_by_side_are_those_in_turn(in_turn, at_once):
    folder, _ = at_once
    for seed in ("seed-1", "seed-2"):
        assert weights(folder / seed) == weights(in_turn / seed)
        assert log(folder / seed) == log(in_turn / seed)
    assert weights(folder / "seed-1") != weights(folder / "seed-2")


def test_they_are_told_run_by_run_and_as_a_table(at_once):
    _, done = at_once
    assert "2 runs at a time, 1 thread each" in done.stdout
    assert "full, seed 2: trained; validation MAE" in done.stdout
    assert "full: mini" in done.stdout
    assert "Next: dmmsa evaluate --dataset mini" in done.stdout


def test_what_is_there_is_left_alone_and_force_replaces_it(call, at_once):
    again = call("fuse", *SEEDS, *TWO_AT_ONCE, "--runs-dir", "at-once")
    assert again.stdout.count("was there") == 2
    before = weights(at_once[0] / "seed-1")
    forced = call("fuse", *SEEDS, *TWO_AT_ONCE, "--runs-dir", "at-once", "--force")
    assert forced.returncode == 0, forced.stderr
    assert forced.stdout.count(": trained;") == 2
    assert weights(at_once[0] / "seed-1") == before


def test_an_unfinished_run_is_refused_before_any_begins(call, at_once):
    begun = at_once[0].parents[3] / "begun/mini/micro/full/seed-2"
    begun.mkdir(parents=True)
    for name in ("recipe.yaml", "environment.json"):
        (begun / name).write_bytes((at_once[0] / "seed-2" / name).read_bytes())
    refused = call("fuse", *SEEDS, *TWO_AT_ONCE, "--runs-dir", "begun")
    assert refused.returncode == 1
    assert "seed-2 holds an unfinished run." in refused.stderr
    assert "--resume" in refused.stderr
    assert not list((call.cwd / "begun").rglob("weights.safetensors"))
    resumed = call("fuse", *SEEDS, *TWO_AT_ONCE, "--runs-dir", "begun", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert weights(begun) == weights(at_once[0] / "seed-2")


def test_runs_that_fail_are_named_at_the_end_with_status_1(call):
    done = call("fuse", *SEEDS, *TWO_AT_ONCE, "--runs-dir", "failed", "--learning-rate", "1e30", "--name", "hot")
    assert done.returncode == 1
    assert all(f"Failed: hot, seed {seed}. " in done.stdout for seed in (1, 2))
    assert "Lower the learning rate" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_folds_are_rows_of_one_table(call):
    done = call("fuse", "--seed", "1", "--folds", "2", *TWO_AT_ONCE, "--runs-dir", "folds", "--epochs", "1",
                "--name", "brief")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "brief: mini" in done.stdout
    assert all(f"mini-fold-{n}-of-2, seed 1: trained" in done.stdout for n in (1, 2))


def test_encoders_side_by_side_are_those_in_turn(call, in_turn):
    done = call("pretrain-unimodal", *TWO_AT_ONCE, "--runs-dir", "encoders")
    assert done.returncode == 0, done.stderr
    assert "encoders: mini" in done.stdout
    found = sorted(path.parent for path in (call.cwd / "encoders/mini/encoders").glob("*/weights.safetensors"))
    assert [folder.name.partition("-")[0] for folder in found] == ["audio", "text", "vision"]
    for folder in found:
        assert f"{folder.name.partition('-')[0]} encoder, seed 1: trained" in done.stdout
        assert weights(folder) == weights(in_turn.parents[1] / "encoders" / folder.name)
    forced = call("pretrain-unimodal", *TWO_AT_ONCE, "--runs-dir", "encoders", "--force", "--modality", "audio")
    assert forced.stdout.count("trained;") == 1


def test_every_seed_has_a_column_where_encoders_are_of_a_seed(call):
    own = ("--set", "pretraining.per_seed=true", "--modality", "audio", "vision")
    done = call("pretrain-unimodal", *SEEDS, *own, *TWO_AT_ONCE, "--runs-dir", "own")
    assert done.returncode == 0, done.stderr
    assert {f"{m} encoder, seed {n}" for m in ("audio", "vision") for n in (1, 2)} == {
        line.partition(":")[0] for line in done.stdout.splitlines() if ": trained;" in line
    }


# --- faults of where runs go ----------------------------------------------------------------------------------------

FAULTS = {
    "--engine slurm": ("--engine", "slurm"),
    "--address 127.0.0.1:1": ("--address is that of a Ray cluster", "Give --engine ray too"),
    "--runs-per-gpu 2 --device cpu": ("there is no GPU that runs could share", "Leave it out"),
    "--engine ray --address 127.0.0.1:1": ("There is no Ray cluster at 127.0.0.1:1: ", "ray status"),
    "--engine ray --address nowhere": ("There is no Ray cluster at nowhere: ", "an address is HOST:PORT"),
}


@pytest.mark.parametrize("options", FAULTS)
@pytest.mark.parametrize("command", ["pretrain-unimodal", "fuse", "ablate", "tune"])
def test_a_fault_of_where_runs_go_is_one_message_and_nothing_is_run(call, command, options):
    seed = () if command == "tune" else ("--seed", "1")
    done = call(command, *seed, *options.split(), "--runs-dir", "untouched")
    assert done.returncode == (2 if options == "--engine slurm" else 1)
    assert all(words in " ".join(done.stderr.split()) for words in FAULTS[options])
    assert "Traceback" not in done.stderr
    assert not list((call.cwd / "untouched").rglob("recipe.yaml"))
