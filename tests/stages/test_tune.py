"""Tunings end to end on the cut corpus: what is tried, pruned, scored, shared, resumed, and what is said of luck."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from unittest.mock import Mock

import optuna
import pytest
import torch
import yaml

from dmmsa_cli.data.folds import open_dataset
from dmmsa_cli.data.split import Split
from dmmsa_cli.errors import Interrupted, InvalidInput, PackageMissing, RunMismatch, RunMissing
from dmmsa_cli.experiments.recipes import load_recipe
from dmmsa_cli.files import PARTIAL
from dmmsa_cli.recipe import flat, to_dict
from dmmsa_cli.stages.engines import Outcome, SideBySide, Slot, Step
from dmmsa_cli.stages.tune import so_far, tune
from dmmsa_cli.stages.tuning import journal, trial
from dmmsa_cli.stages.tuning.journal import Course, begin_trial, distributions, open_journal, unfinished
from dmmsa_cli.stages.tuning.luck import Luck
from dmmsa_cli.stages.tuning.plan import plan_tuning, settle
from dmmsa_cli.stages.tuning.recipe_file import target_of
from dmmsa_cli.stages.tuning.trial import Check, Trial
from dmmsa_cli.training.run import finished_runs
from tests.conftest import MICRO_RECIPE
from tests.training_runs import log, open_mini, run_fuse

SPACE = {
    "fusion.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "fusion.epochs": {"low": 1, "high": 4},
    "objective.msc.classes": {"choices": [2, 3, [2, 3]]},
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Bits are those of the processes that are killed, which have one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A recipe that trains in a moment, and a space around it."""
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "micro.yaml").write_text(yaml.safe_dump(MICRO_RECIPE | {"seeds": [1, 12]}))
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))
    return folder


def planned(files, prepared, runs, **options):
    asked = {"recipe": str(files / "micro.yaml"), "space_file": files / "space.yaml", "seeds": 1, "device": "cpu"}
    return plan_tuning("mini", data_dir=prepared, runs_dir=runs, **(asked | options))


@pytest.fixture(scope="module")
def encoders(files, prepared, tmp_path_factory):
    """A folder of runs in which the encoders have been trained, to begin from."""
    runs = tmp_path_factory.mktemp("begun")
    run_fuse(open_mini(prepared, files / "micro.yaml", runs))
    return runs / "mini" / "encoders"


@pytest.fixture
def runs(encoders, tmp_path):
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini" / "encoders").symlink_to(encoders)
    return tmp_path


def course(folder):
    """The trials of a journal, without what no two tunings share."""
    study = open_journal(folder)
    return [
        (t.number, t.state.name, t.params, t.value, t.intermediate_values, t.user_attrs) for t in study.get_trials()
    ]


def recipe_of(path):
    """What a written recipe says, but for the command that began it."""
    return [line for line in path.read_text().splitlines() if not line.startswith(("# Command", "# dmmsa", "# --"))]


# --- what trials share ----------------------------------------------------------------------------------------------


def test_encoders_that_trials_share_are_trained_once_and_told_of_by_the_first(files, prepared, tmp_path):
    tuning, heard = planned(files, prepared, tmp_path, seeds=2), []
    tune(tuning, 2, tell=heard.append)
    steps = [event for event in heard if isinstance(event, Step) and event.what.endswith("encoder")]
    assert {(str(step.job), step.what) for step in steps} == {
        ("trial 0", f"{modality} encoder") for modality in ("text", "vision", "audio")
    }
    for what in {step.what for step in steps}:
        done = [step.done for step in steps if step.what == what]
        assert done == sorted(done)  # it never begins again
    assert not Trial(tuning, 0).needs()


def test_every_fold_needs_encoders_of_its_own(files, prepared, tmp_path):
    tuning = planned(files, prepared, tmp_path, folds=2, seeds=2)
    settle(tuning)
    begin_trial(tuning, 1)
    needs = Trial(tuning, 0).needs()
    assert len(needs) == len(set(needs)) == 6  # of three modalities, on two folds; both seeds share them
    assert {need.opening.dataset for need in needs} == {"mini-fold-1-of-2", "mini-fold-2-of-2"}


# --- the course of a trial ------------------------------------------------------------------------------------------


@pytest.fixture
def study():
    """Five trials of two runs of four epochs that were trained to their end, and one that has begun."""
    made = optuna.create_study(
        direction="minimize", pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2)
    )
    for low in (0.1, 0.2, 0.3, 0.4, 0.5):
        number = made.ask().number
        following = Course(made, number, epochs=4, longest=4)
        following.follow([1.0, 0.8, 0.6, low])
        following.follow([1.0, 0.8, 0.6, low], over=True)
        following.follow([1.0, 0.8, 0.6, low], over=True)
        made.tell(number, low)
    made.ask()
    return made


def steps(study, number):
    return study.trials[number].intermediate_values


def test_a_step_is_the_mean_of_the_best_epochs_of_the_runs_so_far(study):
    assert steps(study, 0) == pytest.approx({1: 1.0, 2: 0.8, 3: 0.6, 4: 0.1, 5: 0.55, 6: 0.45, 7: 0.35, 8: 0.1})


def test_what_is_worse_than_the_median_ends_and_not_before_half_of_the_first_run(study):
    following = Course(study, 5, epochs=4, longest=4)
    assert not following.follow([9.0])
    assert following.follow([9.0, 9.0])
    assert steps(study, 5) == {1: 9.0, 2: 9.0}


def test_a_lucky_first_run_does_not_protect_those_that_follow(study):
    """Optuna's own rule takes the lowest value that a trial ever had, 0.05 here."""
    following = Course(study, 5, epochs=4, longest=4)
    assert not following.follow([1.0, 0.8, 0.6, 0.05], over=True)
    assert not following.follow([1.1])  # (0.05 + 1.1) / 2 against 0.65 of the others in the middle
    assert following.follow([1.1, 1.1])


def test_shorter_runs_are_held_against_the_same_share_of_longer_ones(study):
    following = Course(study, 5, epochs=2, longest=4)
    following.follow([0.7])
    assert steps(study, 5) == {2: 0.7}
    following.follow([0.7, 0.4], over=True)
    assert steps(study, 5) == pytest.approx({2: 0.7, 3: 0.7, 4: 0.4})
    following.follow([0.8], over=False)
    assert steps(study, 5) == pytest.approx({2: 0.7, 3: 0.7, 4: 0.4, 6: 0.6})


def test_a_run_out_of_patience_stands_at_its_best(study):
    Course(study, 5, epochs=4, longest=4).follow([0.7, 0.5], over=True)
    assert steps(study, 5) == pytest.approx({1: 0.7, 2: 0.5, 3: 0.5, 4: 0.5})


@pytest.mark.parametrize("kept", range(4))
def test_wherever_it_was_killed_a_course_goes_on_to_the_same_steps_and_the_same_end(study, kept):
    """The journal may hold more epochs than the checkpoint, or fewer."""
    maes = [1.0, 0.7, 0.9, 0.9]
    before = Course(study, 5, epochs=4, longest=4)
    ends = [before.follow(maes[: epoch + 1]) for epoch in range(kept)]
    again = Course(study, 5, epochs=4, longest=4)
    ended = any(ends)
    for epoch in range(1, 5):
        if again.follow(maes[:epoch]):
            ended = True
            break
    assert ended
    assert steps(study, 5) == {1: 1.0, 2: 0.7, 3: 0.7}  # 0.6 is the others' median there


def test_epochs_without_a_number_are_passed_over(study):
    Course(study, 5, epochs=4, longest=4).follow([float("inf"), 0.7])
    assert steps(study, 5) == {2: 0.7}


# --- luck -----------------------------------------------------------------------------------------------------------


def test_luck_is_what_fresh_seeds_do_not_show_again():
    luck = Luck(own=(0.70, 0.72), start_own=(0.80, 0.82), fresh=(0.76, 0.77, 0.78), start_fresh=(0.80, 0.79, 0.81))
    assert luck.apparent == pytest.approx(0.10)
    assert luck.gains == pytest.approx((0.04, 0.02, 0.03))
    assert luck.gain == pytest.approx(0.03)
    assert luck.optimism == pytest.approx(0.06)
    told = " ".join(luck.in_words())
    assert "a gain of 0.1000" in told and "a gain of 0.0300 (30 % of it is left)" in told and "0.0600 worse" in told
    assert luck.verdict() == "It is better with each of 3 fresh seeds, by 0.0300 on average."


@pytest.mark.parametrize(
    ("fresh", "words"),
    [
        ((0.79, 0.80, 0.84), "It is NOT better on fresh seeds: with 3 fresh seeds it is worse by 0.0100 on average"),
        ((0.8, 0.8, 0.8), "it is just the same on average, better with 0 of them"),
        ((0.70, 0.75, 0.82), "It is better by 0.0433 on average over 3 fresh seeds, but with 2 of them only."),
    ],
)
def test_what_is_not_better_is_said_to_be_so(fresh, words):
    assert words in Luck((0.7,), (0.8,), fresh, (0.8, 0.8, 0.8)).verdict()


def test_of_a_gain_that_turned_into_a_loss_no_share_is_left():
    told = " ".join(Luck((0.7,), (0.8,), (0.9,), (0.8,)).in_words())
    assert "a gain of -0.1000, by seed" in told and "is left" not in told


def test_the_starting_recipe_itself_is_no_find():
    same = (0.8, 0.81)
    assert Luck(same, same, same, same).verdict() == "It is the starting recipe itself: no trial was better."


# --- plans ----------------------------------------------------------------------------------------------------------


def test_three_seeds_of_the_recipe_or_one_for_folds_and_fresh_ones_are_none_of_them(files, prepared, runs):
    usual = planned(files, prepared, runs, seeds=None)
    assert usual.seeds == (1, 12, 2)  # the recipe has two
    assert usual.fresh_seeds == (3, 4, 5)
    (files / "three.yaml").write_text(yaml.safe_dump(MICRO_RECIPE | {"seeds": [1, 2, 3]}))
    assert planned(files, prepared, runs, recipe=str(files / "three.yaml")).fresh_seeds == (4, 5, 6)
    on_folds = planned(files, prepared, runs, seeds=None, folds=2)
    assert on_folds.seeds == (1,)
    assert [str(part) for part in on_folds.parts((1, 2))] == [
        f"mini-fold-{fold}-of-2, seed {seed}" for seed in (1, 2) for fold in (1, 2)
    ]


def test_another_tuning_of_the_same_name_is_refused(files, prepared, runs):
    tuning = planned(files, prepared, runs)
    settle(tuning)
    settle(planned(files, prepared, runs))
    for other in ({"seeds": 2}, {"folds": 2}, {"seed": 5}, {"space_file": None}, {"precision": "bf16"}):
        with pytest.raises(RunMismatch, match="holds another tuning") as error:
            settle(planned(files, prepared, runs, name="micro", **other))
        assert "--name" in error.value.remedy
    settle(planned(files, prepared, runs, seeds=2, name="two"))


def test_a_recipe_file_that_is_another_is_not_written_over(files, prepared, runs, tmp_path):
    tuning = planned(files, prepared, runs)
    mine = tmp_path / "mine.yaml"
    mine.write_text("my: work\n")
    with pytest.raises(InvalidInput, match="not from this tuning"):
        tune(tuning, 1, out=mine)
    assert mine.read_text() == "my: work\n" and not tuning.folder.exists()
    with pytest.raises(InvalidInput, match="is no name for a folder"):
        planned(files, prepared, runs, name="a/b")
    with pytest.raises(InvalidInput, match="ends in .yaml"):
        target_of(tuning, tmp_path / "mine.json")


def test_without_optuna_it_says_what_to_install(files, prepared, runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(PackageMissing, match="needs Optuna") as error:
        tune(planned(files, prepared, runs), 1)
    assert "pip install 'dmmsa[tune]'" in error.value.remedy


def test_what_is_tried_follows_from_the_seed_and_the_trials_so_far(files, prepared, tmp_path):
    def tried(folder, seed=1):
        tuning = planned(files, prepared, tmp_path / folder, seed=seed)
        for _ in range(14):
            number = begin_trial(tuning, 14)
            study = open_journal(tuning.folder)
            study.tell(number, study.trials[number].params["fusion.learning_rate"])
        assert begin_trial(tuning, 14) is None
        return [t.params for t in open_journal(tuning.folder).trials]

    first = tried("one")
    assert first == tried("two")
    assert first != tried("three", seed=2)
    assert first[0] == {"fusion.learning_rate": 1e-3, "fusion.epochs": 4, "objective.msc.classes": "3"}
    assert len({json.dumps(params) for params in first}) == 14


# --- trials ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(files, prepared, encoders, tmp_path_factory):
    """A tuning of seven trials, run through; and all that was told meanwhile."""
    runs = tmp_path_factory.mktemp("through")
    (runs / "mini").mkdir()
    (runs / "mini" / "encoders").symlink_to(encoders)
    tuning, told = planned(files, prepared, runs), []
    return tuning, tune(tuning, 7, tell=told.append), told


def test_every_trial_is_scored_by_its_best_epochs_and_the_best_is_found(undisturbed):
    tuning, tuned, told = undisturbed
    ended = [event for event in told if isinstance(event, Outcome) and isinstance(event.job, Trial)]
    assert [outcome.job.number for outcome in ended] == list(range(7))
    for outcome in ended[:5]:  # before which nothing is pruned
        log = (tuning.folder / "trials" / f"{outcome.job.number:04}" / "run-1" / "metrics.jsonl").read_text()
        lowest = min(json.loads(line)["validation"]["mae"] for line in log.splitlines())
        assert outcome.summary["value"] == pytest.approx(lowest)
        assert outcome.summary["scores"] == [outcome.summary["value"]]
    values = {outcome.job.number: outcome.summary["value"] for outcome in ended if outcome.summary["scores"]}
    assert tuned.found.number == min(values, key=values.get)
    assert sum(tuned.found.counts.values()) == 7
    assert not tuned.problems
    assert [o.job.number for o in so_far(tuning)] == list(range(7))


def test_what_was_trained_for_trials_is_no_result_and_nothing_large_is_kept(undisturbed):
    tuning, *_ = undisturbed
    assert not finished_runs([tuning.runs_dir]) and not finished_runs([tuning.folder.parent])
    assert list(tuning.folder.rglob("metrics.jsonl"))
    assert not [p for p in tuning.folder.rglob("*") if p.suffix == ".safetensors"]
    for line in (tuning.folder / "journal.jsonl").read_text().splitlines():
        json.loads(line)


def test_the_written_recipe_says_how_it_was_found_and_runs(undisturbed, prepared, tmp_path):
    tuning, tuned, _ = undisturbed
    head = [line for line in tuned.recipe_file.read_text().splitlines() if line.startswith("#")]
    assert "dmmsa fuse --dataset mini --recipe" in head[0] and str(tuned.recipe_file) in head[0]
    whole = " ".join(line.removeprefix("# ") for line in head)
    for words in ("of 7 (", "validation MAE, mean of seed 1", "no label of the test split", "Fresh seeds: 2, 3, 4"):
        assert words in whole
    assert open_dataset(prepared, "mini").manifest.data_hash[:12] in whole
    assert tuned.found.luck.verdict() in whole
    found = flat(to_dict(load_recipe(tuned.recipe_file)))
    assert found["fusion.learning_rate"] == tuned.found.params["fusion.learning_rate"]
    assert found["fusion.epochs"] == tuned.found.params["fusion.epochs"]
    report = run_fuse(open_mini(prepared, tuned.recipe_file, tmp_path))
    assert report.folder.parts[-3:] == (tuned.recipe_file.stem, "full", "seed-1")
    assert report.summary["validation"]["mae"] == pytest.approx(tuned.found.luck.own[0])


def test_the_luck_of_a_find_is_of_paired_runs_with_fresh_seeds(undisturbed):
    tuning, tuned, told = undisturbed
    checks = [o.job for o in told if isinstance(o, Outcome) and isinstance(o.job, Check)]
    assert {check.part.seed for check in checks} == {2, 3, 4}
    luck = tuned.found.luck
    assert luck.start_own == (so_far(tuning)[0].summary["value"],)
    assert len(luck.fresh) == len(luck.start_fresh) == 3


def test_more_trials_go_on_from_those_that_are_there(undisturbed):
    tuning, before, _ = undisturbed
    first, told = course(tuning.folder), []
    same = tune(tuning, 7, tell=told.append)
    assert course(tuning.folder) == first
    assert not [event for event in told if isinstance(event, Step)]  # nothing was trained
    assert same.found == before.found


def test_no_label_of_the_test_split_is_read(files, prepared, runs, monkeypatch):
    read = set()
    labels = Split.labels.func

    def watched(split):
        read.add(split.name)
        assert split.name != "test", "the labels of the test split were read"
        return labels(split)

    monkeypatch.setattr(Split, "labels", property(watched))
    tune(planned(files, prepared, runs), 2)
    assert read == {"train", "valid"}


def test_folds_score_clips_of_training_and_validation_that_a_run_has_not_seen(files, prepared, tmp_path, monkeypatch):
    measured = []

    def noted(experiment, model, view, *args, **more):
        assert view.labels["y"].tolist() == experiment.store.split("test").labels["y"].tolist()
        measured.extend(experiment.store.split("test").ids)
        return measure(experiment, model, view, *args, **more)

    measure = trial.metrics_of
    monkeypatch.setattr(trial, "metrics_of", noted)
    tuning = planned(files, prepared, tmp_path, folds=2)
    number = begin_trial(tuning, 1)
    outcome = Trial(tuning, number).run(lambda event: None)
    whole = open_dataset(prepared, "mini")
    assert sorted(measured) == sorted([*whole.split("train").ids, *whole.split("valid").ids])
    assert not set(measured) & set(whole.split("test").ids)
    kept = [json.loads(path.read_text()) for path in sorted(tuning.folder.rglob("score.json"))]
    expected = sum(one["mae"] * one["clips"] for one in kept) / sum(one["clips"] for one in kept)
    assert outcome.summary["value"] == pytest.approx(expected)
    assert not list(tuning.folder.rglob("weights.safetensors"))


def added(tuning, state, **facts):
    """Add a trial of four epochs to a journal."""
    params = {"fusion.learning_rate": 1e-3, "fusion.epochs": 4, "objective.msc.classes": "3"}
    made = optuna.trial.create_trial(
        state=optuna.trial.TrialState[state], params=params, distributions=distributions(tuning.space), **facts
    )
    open_journal(tuning.folder).add_trial(made)


def test_a_trial_that_is_worse_than_most_ends_after_half_of_its_first_run(files, prepared, runs):
    tuning = planned(files, prepared, runs, seeds=2)
    settle(tuning)
    for _ in range(5):
        added(tuning, "COMPLETE", value=0.01, intermediate_values=dict.fromkeys(range(1, 9), 0.01))
    added(tuning, "RUNNING")
    outcome = Trial(tuning, 5).run(lambda event: None)
    assert outcome.summary["ended"] == "stopped early" and outcome.summary["value"] is None
    folder = tuning.folder / "trials" / "0005"
    assert len((folder / "run-1" / "metrics.jsonl").read_text().splitlines()) == 2  # of four epochs
    assert not (folder / "run-2").exists()
    assert not list(folder.rglob("*.safetensors"))
    assert Trial(tuning, 5).run(lambda event: None).state == "was there"


def test_what_diverges_or_does_not_go_together_ends_and_stops_no_other(files, prepared, runs, tmp_path):
    wild = tmp_path / "wild.yaml"
    wild.write_text(
        "fusion.learning_rate: {choices: [0.001, 1.0e+30]}\nfusion.averaging_warmup: {choices: [false]}\n".replace(
            "[false]", "[false, true]"
        )
    )
    with pytest.raises(Exception, match="no average to warm up"):
        planned(files, prepared, runs, space_file=wild)
    wild.write_text("fusion.learning_rate: {choices: [0.001, 1.0e+30]}\nfusion.epochs: {low: 2, high: 4}\n")
    tuning = planned(files, prepared, runs, space_file=wild)
    tuned = tune(tuning, 6)
    assert tuned.found.counts["diverged"] >= 1
    assert tuned.found.params["fusion.learning_rate"] == "0.001"
    assert "diverged" in tuned.recipe_file.read_text()


def test_where_no_trial_can_be_scored_it_says_why(files, prepared, runs, tmp_path):
    wild = tmp_path / "wild.yaml"
    wild.write_text("fusion.learning_rate: {low: 1e+29, high: 1e+30}\n")
    tuning = planned(files, prepared, runs, space_file=wild)
    with pytest.raises(RunMissing, match=r"None of 2 trials could be scored. Epoch 1: the loss"):
        tune(tuning, 2)
    assert not list(tuning.folder.glob("*.yaml"))


# --- stops, kills, company ------------------------------------------------------------------------------------------


class StopIn:
    def __init__(self, number):
        self.number = number

    def __call__(self, event):
        if isinstance(event, Step) and isinstance(event.job, Trial) and event.job.number == self.number:
            os.kill(os.getpid(), signal.SIGINT)


def test_stopped_and_called_again_it_goes_on_to_the_same_end(undisturbed, files, prepared, runs):
    through, tuned, _ = undisturbed
    tuning = planned(files, prepared, runs)
    for number in (0, 3):
        with pytest.raises(Interrupted, match=f"trial {number}"):
            tune(tuning, 7, tell=StopIn(number))
    again = tune(tuning, 7)
    assert course(tuning.folder) == course(through.folder)
    assert (
        recipe_of(again.recipe_file)[1:]
        == [line.replace(str(through.folder), str(tuning.folder)) for line in recipe_of(tuned.recipe_file)][1:]
    )


CHILD = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from dmmsa_cli.stages.tune import tune
from dmmsa_cli.stages.tuning.plan import plan_tuning
recipe, space, data, runs, trials = sys.argv[1:]
tuning = plan_tuning("mini", data_dir=Path(data), runs_dir=Path(runs), recipe=recipe, space_file=Path(space), seeds=1,
                     device="cpu")
tune(tuning, int(trials))
"""


def child(files, prepared, runs, trials=7):
    command = [sys.executable, "-c", CHILD, files / "micro.yaml", files / "space.yaml", prepared, runs, trials]
    return subprocess.Popen([str(word) for word in command])


def journal_has(folder, lines):
    path = folder / "journal.jsonl"
    return path.exists() and path.read_bytes().count(b"\n") >= lines


def test_killed_at_any_moment_it_goes_on_to_the_same_end(undisturbed, files, prepared, runs):
    through, tuned, _ = undisturbed
    tuning = planned(files, prepared, runs)
    for lines in (3, 14):  # of the journal, once which are there it is killed
        running = child(files, prepared, runs)
        while not journal_has(tuning.folder, lines) and running.poll() is None:
            time.sleep(0.001)
        running.kill()
        running.wait()
    assert 0 < len(open_journal(tuning.folder).trials) < 7
    again = tune(tuning, 7)
    assert course(tuning.folder) == course(through.folder)
    assert again.found == tuned.found


class Killed(BaseException):
    """As nothing that is caught."""


def test_a_trial_that_is_killed_before_its_early_end_is_written_trains_no_further(
    undisturbed, files, prepared, runs, monkeypatch
):
    through, _, _ = undisturbed
    tuning = planned(files, prepared, runs)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(trial, "_end", Mock(side_effect=Killed))
        tune(tuning, 7)
    (ending,) = unfinished(open_journal(tuning.folder))
    cut_off = tuning.folder / "trials" / f"{ending:04}" / "run-1" / f"checkpoint.safetensors.0123abcd{PARTIAL}"
    cut_off.write_bytes(b"")
    tune(tuning, 7)
    assert not cut_off.exists()  # though nobody writes there again
    assert course(tuning.folder) == course(through.folder)
    for run in sorted((through.folder / "trials").glob("*/run-1")):
        assert log(tuning.folder / run.relative_to(through.folder)) == log(run)


def test_two_at_once_share_the_trials(files, prepared, runs):
    both = [child(files, prepared, runs, trials=8) for _ in range(2)]
    assert [running.wait(timeout=120) for running in both] == [0, 0]
    tuning = planned(files, prepared, runs)
    study = open_journal(tuning.folder)
    assert len(study.trials) == 8 and all(t.state.is_finished() for t in study.trials)
    log = [json.loads(line) for line in (tuning.folder / "journal.jsonl").read_text().splitlines()]
    ends = [line["trial_id"] for line in log if line["op_code"] == 6]
    assert sorted(ends) == list(range(8))  # each was ended once


def test_side_by_side_all_trials_end(files, prepared, runs):
    tuned = tune(planned(files, prepared, runs), 4, engine=SideBySide([Slot(1)] * 2))
    assert sum(tuned.found.counts.values()) == 4 and not tuned.problems


def test_a_trial_that_another_process_has_is_left_to_it_and_taken_over_once_that_is_gone(files, prepared, runs):
    tuning = planned(files, prepared, runs)
    settle(tuning)
    number = begin_trial(tuning, 1)
    with journal.exclusive(tuning.folder / "trials" / f"{number:04}"):
        outcome = next(iter(trial_outcomes(Trial(tuning, number))))
        assert outcome.state == "failed" and "Another dmmsa process" in outcome.problem
    assert not open_journal(tuning.folder).trials[number].state.is_finished()
    tune(tuning, 1)
    assert open_journal(tuning.folder).trials[number].state.is_finished()


def trial_outcomes(task):
    from dmmsa_cli.stages.engines import InTurn

    return InTurn().run([task], lambda event: None)


def test_a_line_that_a_crash_cut_off_is_taken_away(files, prepared, runs):
    tuning = planned(files, prepared, runs)
    settle(tuning)
    begin_trial(tuning, 1)
    path = tuning.folder / "journal.jsonl"
    whole = path.read_text()
    path.write_text(whole + '{"op_code":6,"worker')
    assert len(open_journal(tuning.folder).trials) == 1
    assert path.read_text() == whole


@pytest.mark.parametrize("content", ["no journal\n", '{"op_code": 99}\n', "[1]\n"])
def test_a_damaged_journal_is_one_message(files, prepared, runs, content):
    tuning = planned(files, prepared, runs)
    settle(tuning)
    (tuning.folder / "journal.jsonl").write_text(content * 2)
    with pytest.raises(RunMismatch, match=r"journal.jsonl is damaged"):
        so_far(tuning)


def test_a_journal_that_runs_code_when_it_is_read_there_is_none(files, prepared, runs, monkeypatch):
    import pickle

    for name in ("load", "loads"):
        monkeypatch.setattr(pickle, name, lambda *_: pytest.fail("a pickle was read"))
    tuning = planned(files, prepared, runs)
    settle(tuning)
    for _ in range(3):
        begin_trial(tuning, 3)
    assert len(open_journal(tuning.folder).trials) == 3


def test_what_fails_for_no_fault_of_a_trial_stops_the_tuning_and_goes_on_later(files, prepared, runs, monkeypatch):
    from dmmsa_cli.errors import DiskFull, DmmsaError

    def full(*_, **__):
        raise DiskFull("No room.", "Free some.")

    tuning = planned(files, prepared, runs)
    with monkeypatch.context() as patch:
        patch.setattr(trial, "fuse", full)
        with pytest.raises(DmmsaError, match="trial 0: No room"):
            tune(tuning, 2)
    assert [t.state.name for t in open_journal(tuning.folder).trials] == ["RUNNING"]
    assert tune(tuning, 2).found.counts == {"scored": 2}


def test_a_trial_that_fails_twice_is_put_away_and_named(files, prepared, runs, monkeypatch):
    tuning, first = planned(files, prepared, runs), trial.fuse

    def broken(experiment, *args, **more):
        if "0001" in str(more["folder"]):
            raise ZeroDivisionError("a fault of the program")
        return first(experiment, *args, **more)

    monkeypatch.setattr(trial, "fuse", broken)
    tuned = tune(tuning, 3)
    assert tuned.problems == ["trial 1: ZeroDivisionError: a fault of the program"]
    assert tuned.found.counts == {"scored": 2, "failed": 1}


def test_tunings_are_compared_by_the_data_too(files, corpus, prepared, runs, tmp_path):
    from tests.training_runs import prepare_mini

    settle(planned(files, prepared, runs))
    other = {name: {key: values[:20] for key, values in split.items()} for name, split in corpus.items()}
    (tmp_path / "other").mkdir()
    with pytest.raises(RunMismatch, match="data is "):
        settle(replace(planned(files, prepared, runs), data_dir=prepare_mini(other, tmp_path / "other")))
