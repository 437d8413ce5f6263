"""Fusion end to end on the cut corpus: what lies in a run's folder, what is shared, what is refused."""

import json
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest
import yaml
from safetensors.torch import load_file

from dmmsa_cli.errors import FolderBusy, Interrupted, InvalidInput, InvalidRecipe, RunMismatch
from dmmsa_cli.experiments.encoders import encoder_folder, load_unimodal
from dmmsa_cli.experiments.experiment import open_experiment
from dmmsa_cli.experiments.inputs import unimodal_view
from dmmsa_cli.experiments.rows import used_rows
from dmmsa_cli.experiments.variants import variant_name
from dmmsa_cli.files import exclusive
from dmmsa_cli.stages.pretrain import pretrain_unimodal, wanted_encoders
from dmmsa_cli.training.loop import EpochEnd
from tests.training_runs import StopAfter, log, open_mini, quiet, run_fuse, weights


@pytest.fixture(scope="module")
def finished(prepared, micro, tmp_path_factory):
    """A finished run, and where its experiment lies."""
    runs = tmp_path_factory.mktemp("finished")
    experiment = open_mini(prepared, micro, runs)
    return experiment, run_fuse(experiment).folder


IDENTITY = {
    *("dataset", "synthetic", "data_hash", "modalities", "from_scratch", "precision", "text_encoder", "base_text"),
    *("encoder_hashes", "seed", "emotions", "pseudo_emotions"),
}
ENVIRONMENT = {
    *("dmmsa", "python", "packages", "system", "device", "precision", "threads", "git_revision", "command"),
}


def test_a_run_folder_holds_what_a_person_reads(finished):
    _, folder = finished
    assert folder.parts[-4:] == ("mini", "micro", "full", "seed-1")
    names = {path.name for path in folder.iterdir() if path.is_file()} - {".lock"}
    assert names == {
        *("recipe.yaml", "environment.json", "manifest.json", "metrics.jsonl", "weights.safetensors", "summary.json")
    }
    facts = json.loads((folder / "environment.json").read_text())
    assert facts.keys() == IDENTITY | ENVIRONMENT | {
        "directory",
        *("recipe", "recipes", "variant", "encoders", "score_range", "source", "remarks", "recipe_file", "data_dir"),
    }
    assert (facts["recipe"], facts["recipes"], facts["variant"], facts["seed"]) == ("micro", "default", "full", 1)
    assert (facts["score_range"], facts["remarks"]) == (3.0, [])
    assert facts["precision"] == "float32"
    line = log(folder)[0]
    assert line["losses"].keys() == {"msr", "msc", "uni", "cl"}
    assert line["weights"] == {"uni": 0.5, "cl": 0.5}
    assert line["validation"].keys() >= {"mae", "corr", "acc2_has0", "f1_non0", "acc7"}
    assert yaml.safe_load((folder / "recipe.yaml").read_text())["fusion"]["epochs"] == 4


def test_the_kept_epoch_is_the_best_by_validation_mae(finished):
    _, folder = finished
    summary = json.loads((folder / "summary.json").read_text())
    errors = [line["validation"]["mae"] for line in log(folder)]
    assert summary["best_epoch"] == errors.index(min(errors)) + 1
    assert summary["validation"]["mae"] == min(errors)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(finished, prepared, micro, tmp_path):
    _, folder = finished
    again = run_fuse(open_mini(prepared, micro, tmp_path))  # trains its encoders anew, too
    assert weights(again.folder) == weights(folder)
    assert log(again.folder) == log(folder)
    assert weights(run_fuse(open_mini(prepared, micro, tmp_path), seed=12).folder) != weights(folder)


def test_encoders_are_shared_by_seeds_and_variants(finished):
    experiment, folder = finished
    before = sorted(path.name for path in (folder.parents[2] / "encoders").iterdir())
    remarks = []
    run_fuse(experiment, seed=12, remark=remarks.append)
    assert remarks == []
    assert sorted(path.name for path in (folder.parents[2] / "encoders").iterdir()) == before


def test_an_encoder_that_another_process_finishes_meanwhile_is_not_trained_again(
    finished, prepared, micro, tmp_path, monkeypatch
):
    experiment, folder = open_mini(prepared, micro, tmp_path), encoder_folder(finished[0], "a", 1)

    @contextmanager
    def waits(path, **more):
        if not path.exists():
            shutil.copytree(folder.path, path)
        yield

    monkeypatch.setattr("dmmsa_cli.stages.pretrain.exclusive", waits)
    report = pretrain_unimodal(experiment, "a", 1, watch=lambda *_: pytest.fail("it is trained"))
    assert (report.modality, report.skipped, report.folder) == ("a", True, encoder_folder(experiment, "a", 1).path)
    assert report.summary == folder.summary


def test_an_encoders_folder_that_holds_another_one_is_refused(finished, prepared, micro, tmp_path):
    experiment, folder = open_mini(prepared, micro, tmp_path), encoder_folder(finished[0], "a", 1)
    there = encoder_folder(experiment, "a", 1).path
    shutil.copytree(folder.path, there)
    facts = yaml.safe_load((there / "recipe.yaml").read_text())
    (there / "recipe.yaml").write_text(yaml.safe_dump(facts | {"seed": 99}))
    with pytest.raises(RunMismatch, match="audio-.* holds another encoder than its name says") as refused:
        pretrain_unimodal(experiment, "a", 1, watch=lambda *_: pytest.fail("it is trained"))
    assert "Train it again: delete its folder" in refused.value.remedy


def test_per_seed_encoders_are_trained_for_every_seed(prepared, micro, tmp_path):
    experiment = open_mini(prepared, micro, tmp_path, "pretraining.per_seed=true")
    assert wanted_encoders(experiment, ["a"], [1, 12]) == [("a", 1), ("a", 12)]
    assert encoder_folder(experiment, "a", 1) != encoder_folder(experiment, "a", 12)
    shared = open_mini(prepared, micro, tmp_path)
    assert wanted_encoders(shared, ["a"], [1, 12]) == [("a", 1)]
    assert encoder_folder(shared, "a", 1) == encoder_folder(shared, "a", 12)


@pytest.mark.parametrize("modality", ["t", "v", "a"])
def test_an_encoder_alone_learns_its_own_label_where_there_is_one(prepared, micro, tmp_path, modality):
    experiment = open_mini(prepared, micro, tmp_path)
    labels = experiment.store.split("valid").labels
    assert unimodal_view(experiment, modality, "valid", 1).labels["y"].tolist() == labels[modality].tolist()
    without = open_mini(prepared, micro, tmp_path)  # a store of its own, whose labels are read once
    labels = without.store.split("train").labels
    del labels[modality]
    assert unimodal_view(without, modality, "train", 1).labels["y"].tolist() == labels["y"].tolist()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("text.source=features",), "no `text`"),
        (("vision.heads=3",), "3 heads do not divide"),
        (("objective.msc.classes=[3, 9]",), "9"),
        (("data.modalities=[t, v, a]", "text.frozen_layers=9"), "frozen_layers is 9"),
    ],
)
def test_what_cant_work_leaves_nothing_behind(prepared, micro, tmp_path, settings, words):
    with pytest.raises(InvalidRecipe, match=words):
        run_fuse(open_mini(prepared, micro, tmp_path, *settings))
    left = [
        path for path in tmp_path.rglob("*") if path.is_file() and "tiny-" not in str(path) and path.name != ".lock"
    ]
    assert left == []


@pytest.mark.parametrize("name", ["a/b", "a\\b", "..", ".hidden", " ", "", "a\0b", "a\nb", "a ", "é" * 120])
def test_a_variant_is_named_as_a_folder_can_be(prepared, micro, tmp_path, name):
    with pytest.raises(InvalidInput, match="no name for a folder"):
        run_fuse(open_mini(prepared, micro, tmp_path), name)


def test_missing_encoders_are_trained_first_and_it_is_said(prepared, micro, tmp_path):
    remarks = []
    run_fuse(open_mini(prepared, micro, tmp_path, "fusion.epochs=1"), remark=remarks.append)
    assert [remark.split()[1] for remark in remarks] == ["text", "vision", "audio"]


def test_from_scratch_trains_no_encoder(prepared, micro, tmp_path):
    report = run_fuse(open_mini(prepared, micro, tmp_path, "fusion.epochs=1"), "scratch", from_scratch=True)
    assert json.loads((report.folder / "environment.json").read_text())["encoders"] == {}
    assert not list((tmp_path / "mini" / "encoders").glob("vision-*"))


def test_the_frozen_text_encoder_runs_once(finished, monkeypatch):
    experiment, _ = finished
    monkeypatch.setattr("dmmsa_cli.experiments.encoders.load_unimodal", _refuse_text)
    run_fuse(experiment, seed=123)


def _refuse_text(experiment, modality, folder):
    assert modality != "t", "the text encoder was loaded although its output is cached"
    return load_unimodal(experiment, modality, folder)


def test_a_run_on_cached_text_does_not_even_import_what_encodes_it(finished, prepared, micro):
    """Nor pandas: both cost seconds at every start."""
    experiment, _ = finished
    script = f"""
import sys
from pathlib import Path
from tests.training_runs import run_fuse
from dmmsa_cli.experiments.experiment import open_experiment
assert "transformers" not in sys.modules
folder = Path({str(experiment.folder.parent)!r})
experiment = open_experiment("mini", data_dir=Path({str(prepared)!r}), runs_dir=folder, recipe=sys.argv[1])
run_fuse(experiment, seed=1234)
print(sorted({{"transformers", "pandas", "scipy"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", script, str(micro)], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


def test_text_can_be_trained_in_fusion(prepared, micro, tmp_path):
    settings = ("text.train_in_fusion=true", "fusion.groups.text.learning_rate=1e-2", "fusion.epochs=1")
    experiment = open_mini(prepared, micro, tmp_path, *settings)
    report = run_fuse(experiment)
    trained = load_file(report.folder / "weights.safetensors")
    start = load_file(encoder_folder(experiment, "t", 1).path / "weights.safetensors")
    name = "encoders.t.backbone.embeddings.word_embeddings.weight"
    assert not trained[name].equal(start[name])


@pytest.mark.parametrize(
    ("settings", "tasks", "weighted"),
    [
        (("objective.msc.enabled=false",), {"msr", "uni", "cl"}, {"uni", "cl"}),
        (("objective.cl.enabled=false",), {"msr", "msc", "uni"}, {"uni"}),
        (("data.modalities=[t]",), {"msr", "msc", "uni"}, {"uni"}),
        (("data.modalities=[v, a]",), {"msr", "msc", "uni"}, {"uni"}),
        (("objective.uni.enabled=false", "objective.cl.enabled=false"), {"msr", "msc"}, set()),
    ],
)
def test_tasks_can_be_dropped(prepared, micro, tmp_path, settings, tasks, weighted):
    experiment = open_mini(prepared, micro, tmp_path, "fusion.epochs=1", *settings)
    line = log(run_fuse(experiment, from_scratch=True).folder)[0]
    assert line["losses"].keys() == tasks
    assert line["weights"].keys() == weighted


def test_a_finished_run_is_left_alone(finished):
    experiment, folder = finished
    before = (folder / "weights.safetensors").stat().st_mtime_ns
    assert run_fuse(experiment).skipped
    assert (folder / "weights.safetensors").stat().st_mtime_ns == before


def test_a_folder_with_another_recipe_is_refused_and_named(finished, prepared, micro):
    experiment, folder = finished
    run_fuse(open_mini(prepared, micro, folder.parents[3], "fusion.learning_rate=0.4"), "mine")
    other = open_mini(prepared, micro, folder.parents[3], "fusion.learning_rate=0.5")
    with pytest.raises(RunMismatch, match=r"fusion.learning_rate is 0.4 there, 0.5 here"):
        run_fuse(other, "mine")


def test_two_processes_on_one_run_folder(finished, tmp_path):
    experiment, folder = finished
    for seed in (1, 7):  # one that is there, and one that is only beginning
        with exclusive(folder.with_name(f"seed-{seed}")), pytest.raises(FolderBusy, match="Another dmmsa process"):
            run_fuse(experiment, seed=seed, resume=True)


def test_a_dataset_without_a_modality_says_so(prepared, micro, tmp_path):
    experiment = open_mini(prepared, micro, tmp_path)
    with pytest.raises(InvalidInput, match="without vision"):
        wanted_encoders(open_mini(prepared, micro, tmp_path, "data.modalities=[t, a]"), ["v"], [])
    with pytest.raises(InvalidRecipe, match="no `text`"):
        features = replace(experiment.recipe, text=replace(experiment.recipe.text, source="features"))
        run_fuse(replace(experiment, recipe=features))


def test_a_run_on_other_data_is_not_taken_for_this_one(finished, prepared, micro):
    experiment, folder = finished
    manifest = replace(experiment.store.manifest, data_hash="0" * 64)
    other = replace(experiment, store=replace(experiment.store, manifest=manifest))
    with pytest.raises(RunMismatch, match="data is .* there, 000000000000 here"):
        run_fuse(other)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (([], None, False), "full"),
        ((["gdwg"], None, False), "no-gdwg"),
        ((["msc", "cl"], 0.6, False), "no-msc-no-cl-fraction-0.6"),
        (([], 1.0, True), "from-scratch"),
    ],
)
def test_variants_are_named_for_their_flags(arguments, name):
    assert variant_name(*arguments, changed=False) == name


def test_set_needs_a_name():
    with pytest.raises(InvalidInput, match="--set"):
        variant_name([], None, False, changed=True)


# --- stopping and going on ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("events", [1, 4, 6])
def test_stopped_and_resumed_is_bit_for_bit_the_same(finished, prepared, micro, tmp_path, events, number):
    _, whole = finished
    experiment = open_mini(prepared, micro, tmp_path)
    with pytest.raises(Interrupted, match="resume=True"):
        run_fuse(experiment, watch=StopAfter(events, number))
    with pytest.raises(RunMismatch, match="unfinished"):
        run_fuse(experiment)
    report = run_fuse(experiment, resume=True)
    assert weights(report.folder) == weights(whole)
    assert log(report.folder) == log(whole)
    assert not (report.folder / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("events", [2, 4, 5])
def test_what_an_objective_retrieved_survives_a_stop(prepared, micro, tmp_path, events):
    through, stopped = (open_mini(prepared, micro, tmp_path / name, "objective=confede") for name in "ab")
    whole = run_fuse(through).folder
    with pytest.raises(Interrupted):
        run_fuse(stopped, watch=StopAfter(events))
    resumed = run_fuse(stopped, resume=True).folder
    assert weights(resumed) == weights(whole)
    assert log(resumed) == log(whole)
    assert log(whole)[0]["losses"].keys() == {"msr", "cl", "uni"}
    assert log(whole)[0]["tally"].keys() == {"pools_of_one", "pools_of_none"}


def test_stopped_pretraining_goes_on_by_itself(prepared, micro, tmp_path):
    through, stopped = open_mini(prepared, micro, tmp_path / "a"), open_mini(prepared, micro, tmp_path / "b")
    for modality in ("t", "v"):
        with pytest.raises(Interrupted):
            pretrain_unimodal(stopped, modality, 1, watch=StopAfter(4))
        whole = pretrain_unimodal(through, modality, 1, watch=quiet)
        assert weights(pretrain_unimodal(stopped, modality, 1, watch=quiet).folder) == weights(whole.folder)


def test_resume_keeps_the_precision_that_was_settled(prepared, micro, tmp_path):
    experiment = open_mini(prepared, micro, tmp_path, precision="auto")
    settled = replace(experiment, precision="float32")
    with pytest.raises(Interrupted):
        run_fuse(settled, watch=StopAfter(2))
    report = run_fuse(replace(experiment, precision="bf16"), resume=True)
    assert json.loads((report.folder / "environment.json").read_text())["precision"] == "float32"


def test_a_checkpoint_that_does_not_fit_its_recipe_is_refused(prepared, micro, tmp_path):
    experiment = open_mini(prepared, micro, tmp_path)
    with pytest.raises(Interrupted) as stopped:
        run_fuse(experiment, "mine", watch=StopAfter(2))
    folder = tmp_path / "mini" / "micro" / "mine" / "seed-1"
    assert str(folder) in str(stopped.value)
    wider = open_mini(prepared, micro, tmp_path, "objective.msc.classes=5")
    (folder / "recipe.yaml").write_text((folder / "recipe.yaml").read_text().replace("classes: 3", "classes: 5"))
    with pytest.raises(RunMismatch, match="is of another run"):
        run_fuse(wider, "mine", resume=True)


def test_fractions_cut_the_rows_of_every_stage(prepared, micro, tmp_path):
    experiment = open_mini(prepared, micro, tmp_path, **{"data.fraction": 0.5})
    assert len(used_rows(experiment, "train", 1)) == 24
    assert len(used_rows(experiment, "valid", 1)) == 24
    assert list(used_rows(experiment, "train", 12)) == list(
        used_rows(experiment, "train", 1)
    )  # shared encoders, shared rows
    smaller = open_mini(prepared, micro, tmp_path, **{"data.fraction": 0.25})
    assert set(used_rows(smaller, "train", 1)) < set(used_rows(experiment, "train", 1))
    assert encoder_folder(smaller, "a", 1) != encoder_folder(experiment, "a", 1)


# --- killed (tests/kills does so at random) -------------------------------------------------------------------------


def test_a_checkpoint_that_a_kill_left_beside_a_finished_run_goes(prepared, micro, tmp_path):
    """It may come between the summary, which says that the run has finished, and the end of the checkpoint."""
    experiment = open_mini(prepared, micro, tmp_path)
    run, encoder = run_fuse(experiment).folder, encoder_folder(experiment, "a", 1).path
    for folder in (run, encoder):
        (folder / "checkpoint.safetensors").write_text("left")
    run_fuse(experiment)
    assert not (run / "checkpoint.safetensors").exists()
    run_fuse(experiment, "another", seed=12)
    assert not (encoder / "checkpoint.safetensors").exists()
    (encoder / "checkpoint.safetensors").write_text("left")
    assert pretrain_unimodal(experiment, "a", 1).skipped
    assert not (encoder / "checkpoint.safetensors").exists()


@pytest.mark.slow
def test_on_toy_the_fused_model_beats_the_mean_and_every_modality_alone(tmp_path):
    """Over three seeds, with the shipped recipe: synthetic data, a check of the machinery and of nothing else."""
    from dmmsa_cli.stages.evaluate import evaluate
    from dmmsa_cli.stages.prepare import prepare
    from dmmsa_cli.training.run import RunFolder

    prepare("toy", data_dir=tmp_path / "data")
    experiment = open_experiment("toy", data_dir=tmp_path / "data", runs_dir=tmp_path / "runs", device="cpu")
    runs = [RunFolder(run_fuse(experiment, seed=seed).folder) for seed in (1, 12, 123)]
    (table,) = evaluate(runs, split="test", data_dir=tmp_path / "data", device="cpu").tables
    errors = {system.title: [run["mae"] for run in system.runs] for system in table.systems}
    fused = errors.pop("dmmsa full, t+v+a")
    assert len(fused) == 3
    assert max(fused) <= 0.6 * errors.pop("training mean")[0]
    assert errors.keys() == {"text alone", "vision alone", "audio alone"}
    assert all(max(fused) < min(alone) for alone in errors.values())


def test_the_watcher_hears_every_step_and_epoch(prepared, micro, tmp_path):
    heard = []
    run_fuse(open_mini(prepared, micro, tmp_path), from_scratch=True, watch=lambda event, _: heard.append(event))
    assert [event.epoch for event in heard if isinstance(event, EpochEnd)] == [1, 2, 3, 4]
    assert len(heard) == 4 * 3 + 4
