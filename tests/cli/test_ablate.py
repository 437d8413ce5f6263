"""`dmmsa ablate` as a user meets it."""

import pytest
import yaml

from tests.cli.test_cli import dmmsa

STUDY = {
    "title": "Is contrast worth it?",
    "variants": [
        {"name": "short", "set": {"fusion.epochs": 1}},
        {"name": "short-no-cl", "label": "w/o CL", "set": {"fusion.epochs": 1, "objective.cl.enabled": False}},
        {"name": "seven", "label": "seven classes", "metrics": "sims"},
    ],
}


@pytest.fixture(scope="module")
def place(prepared, micro, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablate")

    def run(*arguments):
        asked = ("--study", "mine.yaml", "--recipe", micro, "--data-dir", prepared, "--seed", "1")
        return dmmsa("ablate", "--dataset", "mini", *asked, *arguments, cwd=folder)

    return folder, run


@pytest.fixture(scope="module")
def studied(place):
    """The place with the study run once, and how that ended."""
    folder, run = place
    (folder / "mine.yaml").write_text(yaml.safe_dump(STUDY))
    done = run()
    assert done.returncode == 0, done.stderr
    return folder, run, done


def test_a_study_is_told_run_by_run_and_then_as_a_table(studied):
    _, run, done = studied
    assert "seven classes is left out: mini has other classes." in done.stdout
    assert "short, seed 1: trained; validation MAE" in done.stdout
    assert "Is contrast worth it?: mini" in done.stdout
    assert "Next: dmmsa evaluate --dataset mini --data-dir" in done.stdout
    again = run("--jobs", "2")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("was there") == 2
    assert "bit-equal only between" in again.stdout


def test_a_run_that_fails_is_named_at_the_end_with_status_1(studied):
    folder, run, _ = studied
    (folder / "mine.yaml").write_text(yaml.safe_dump(STUDY | {"variants": [{"name": "short"}, {"name": "other"}]}))
    done = run()
    assert done.returncode == 1
    assert "other, seed 1: trained" in done.stdout
    assert "Failed: short, seed 1." in done.stdout
    assert "fusion.epochs is 1 there, 4 here" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("variant", [{"name": "full", "set": {"fusion.epochs": 1}}, {"name": "no-cl"}])
def test_a_name_that_stands_for_something_else_is_refused_before_any_run(place, variant):
    folder, run = place
    (folder / "mine.yaml").write_text(yaml.safe_dump(STUDY | {"variants": [variant]}))
    done = run()
    assert done.returncode == 1
    assert f"Variant {variant['name']}: '{variant['name']}' is the name of" in done.stderr
    assert "Give the variant another `name`." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("study", ["nothing", "absent.yaml"])
def test_an_unknown_study_gets_one_clear_message(place, study):
    _, run = place
    done = run("--study", study)
    assert done.returncode == 1
    assert f"no study {study}" in done.stderr
    assert "objectives" in done.stderr
    assert "Traceback" not in done.stderr


# --- where runs go --------------------------------------------------------------------------------------------------

NO_PART = "names no part", "Parts are 1/N to N/N"
FAULTS = {
    "--shard 0/8": NO_PART,
    "--shard 9/8": NO_PART,
    "--shard 3": NO_PART,
    "--shard 1/0": NO_PART,
}


@pytest.fixture
def elsewhere(studied):
    """The place, and what it holds."""
    folder, run, _ = studied
    (folder / "mine.yaml").write_text(yaml.safe_dump(STUDY | {"title": "where"}))
    return folder, run


@pytest.mark.parametrize("options", FAULTS)
def test_a_part_that_there_is_not_is_one_message_and_nothing_is_run(elsewhere, options):
    _, run = elsewhere
    done = run(*options.split(), "--runs-dir", "untouched")
    assert done.returncode == 1
    assert all(words in " ".join(done.stderr.split()) for words in FAULTS[options])
    assert "Traceback" not in done.stderr
    assert not list((elsewhere[0] / "untouched").rglob("recipe.yaml"))


def test_without_ray_one_message_says_how_to_install_it(elsewhere):
    folder, run = elsewhere
    (folder / "ray.py").write_text("raise ImportError")  # found first: the command begins in this folder
    try:
        done = run("--engine", "ray")
    finally:
        (folder / "ray.py").unlink()
    assert done.returncode == 1
    assert "pip install 'dmmsa[cluster]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_shard_runs_its_part_alone(elsewhere):
    _, run = elsewhere
    halves = [run("--shard", f"{part}/2").stdout for part in (1, 2)]
    assert ["short, seed 1" in half for half in halves] == [True, False]
    assert ["w/o CL, seed 1" in half for half in halves] == [False, True]
