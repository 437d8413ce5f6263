"""`dmmsa tune` as a user meets it."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from rich.console import Console

from dmmsa_cli.cli.tune_view import TuneView
from dmmsa_cli.stages.engines import Outcome, Step
from dmmsa_cli.stages.tuning.plan import Part
from dmmsa_cli.stages.tuning.trial import Check, Trial
from tests.cli.test_cli import dmmsa

SPACE = {"fusion.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "fusion.epochs": {"low": 1, "high": 2}}


@pytest.fixture(scope="module")
def place(prepared, tmp_path_factory, micro):
    folder = tmp_path_factory.mktemp("tune")
    plain = yaml.safe_load(micro.read_text()) | {"pretraining": None}
    plain["fusion"]["epochs"] = 2
    (folder / "plain.yaml").write_text(yaml.safe_dump(plain))
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))

    def run(*arguments):
        asked = ("--recipe", "plain.yaml", "--data-dir", prepared, "--device", "cpu", "--threads", "1")
        return dmmsa("tune", "--dataset", "mini", *asked, *arguments, cwd=folder)

    return folder, run


def test_from_a_space_to_a_recipe(place):
    folder, run = place
    done = run("--space", "space.yaml", "--trials", "3", "--seeds", "2", "--out", "found.yaml")
    assert done.returncode == 0, done.stderr
    assert "A trial's score: validation MAE, mean of seeds 1, 12; 2 keys may change." in done.stdout
    assert (
        "trial 0: MAE" in done.stdout and "the best so far; fusion.epochs 2, fusion.learning_rate 0.001" in done.stdout
    )
    assert "(3 of 3 trials" in done.stdout
    assert "the starting recipe with seed 2: MAE" in done.stdout
    assert "With fresh seeds:" in done.stdout and "gain of" in done.stdout
    assert "Next: " in done.stdout and "fuse --dataset mini --recipe found.yaml" in done.stdout
    assert (folder / "found.yaml").exists()
    more = run("--space", "space.yaml", "--trials", "4", "--seeds", "2", "--out", "found.yaml", "--jobs", "2")
    assert more.returncode == 0, more.stderr
    assert "2 runs at a time" in more.stdout and "depends on which trial ends first" in more.stdout
    assert "trial 3: " in more.stdout and "trial 2: MAE" not in more.stdout.partition("Tuning plain")[0]


def test_the_space_can_be_shown_as_a_file_to_begin_with(place):
    folder, run = place
    done = run("--show-space")
    assert done.returncode == 0, done.stderr
    shown = yaml.safe_load(done.stdout)
    assert {"fusion.learning_rate", "objective.cl.temperature"} <= shown.keys()
    (folder / "shown.yaml").write_text(done.stdout)
    assert run("--space", "shown.yaml", "--show-space").stdout == done.stdout
    assert not (folder / "runs").exists() or not (folder / "runs/mini/tuning/shown").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--space", "wrong.yaml"), "has 2 errors"),
        (("--folds", "1"), "--folds 1: one part to test on"),
    ],
)
def test_what_is_wrong_is_one_message_before_anything_is_trained(place, arguments, words):
    folder, run = place
    (folder / "wrong.yaml").write_text("seeds: {choices: [1, 2]}\nfusion.epochs: {low: 3, high: 1}\n")
    done = run(*arguments)
    assert done.returncode == 1 and words in done.stderr
    assert "Traceback" not in done.stderr


# --- what is seen meanwhile -----------------------------------------------------------------------------------------

TUNING = SimpleNamespace(seeds=(1, 12), folder=Path("x"))


def trial(number, *scores, ended=""):
    value = sum(scores) / len(scores) if scores else None
    summary = {
        "value": value,
        "scores": list(scores),
        "params": {"fusion.epochs": 3, "a.b": 0.00012345},
        "ended": ended,
    }
    return Outcome(Trial(TUNING, number), "trained", summary=summary)


def view(width=90, terminal=True, there=()):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, no_color=True)
    return TuneView(console, "Tuning x on mini", 6, list(there))


def drawn(shown):
    screen = Console(file=io.StringIO(), width=90)
    screen.print(shown._draw())
    return [line.split() for line in screen.file.getvalue().splitlines()]


def test_the_best_trials_stand_on_top_with_their_seeds():
    shown = view(there=[trial(0, 0.8, 0.9)])
    shown.tell(Step(Trial(TUNING, 1), "run 1 of 2", 0.5, 4))
    assert ["trial", "1:", "run", "1", "of", "2,", "epoch", "1", "of", "4"] in drawn(shown)
    shown.tell(trial(1, 0.7, 0.8))
    shown.tell(trial(2, ended="stopped early"))
    lines = drawn(shown)
    assert lines[1] == ["the", "best", "so", "far", "MAE", "seed", "1", "seed", "12"]
    assert lines[2:4] == [
        ["trial", "1", "0.7500", "0.7000", "0.8000"],
        ["trial", "0", "0.8500", "0.8000", "0.9000"],
    ]
    assert ["trial", "1:", "fusion.epochs", "3,", "a.b", "0.000123"] in lines
    assert lines[-1][:9] == ["3", "of", "6", "trials,", "1", "of", "them", "ended", "early,"]
    assert not [line for line in lines if "epoch" in line]


def test_elsewhere_it_is_a_line_a_trial():
    shown = view(width=40, terminal=False)
    shown.tell(Step(Trial(TUNING, 0), "run 1 of 2", 0.5, 4))
    for event in (trial(0, 0.8), trial(1, 0.9), trial(2, ended="diverged")):
        shown.tell(event)
    check = Check(TUNING, None, (), Part("mini", 2))
    shown.tell(Outcome(check, "trained", summary={"mae": 0.81, "clips": 3}))
    shown.tell(Outcome(Trial(TUNING, 3), "failed", problem="No room."))
    lines = shown.console.file.getvalue().splitlines()
    assert lines[0].startswith("trial 0: MAE 0.8000, the best so far; fusion.epochs 3, a.b 0.000123 (1 of 6 trials, ")
    assert lines[1].startswith("trial 1: MAE 0.9000; ")
    assert lines[2].startswith("trial 2: diverged; ")
    assert lines[3:] == ["the starting recipe with seed 2: MAE 0.8100", "trial 3: No room."]
