"""Evaluating runs, and anybody's predictions."""

import errno
import io
import json
import math
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file, save_file

from dmmsa_cli import metrics
from dmmsa_cli.cli.scores_view import _notes, filled
from dmmsa_cli.data.store import open_store
from dmmsa_cli.errors import DatasetMissing, FolderBusy, InvalidInput, RunMismatch, RunMissing
from dmmsa_cli.experiments.experiment import open_experiment
from dmmsa_cli.experiments.reopen import reopen
from dmmsa_cli.files import exclusive
from dmmsa_cli.metrics import score
from dmmsa_cli.reporting.results import COLUMNS
from dmmsa_cli.stages import keeping, systems
from dmmsa_cli.stages.evaluate import evaluate, find_runs, left_unfinished
from dmmsa_cli.stages.fuse import fuse
from dmmsa_cli.stages.prepare import prepare
from dmmsa_cli.stages.score import evaluate_predictions
from dmmsa_cli.training.run import RunFolder
from tests.conftest import MICRO_RECIPE
from tests.training_runs import open_mini, prepare_mini, run_fuse

FUSION = MICRO_RECIPE["fusion"]


@pytest.fixture(scope="module")
def brief(micro, tmp_path_factory):
    """The micro recipe, of two epochs."""
    path = tmp_path_factory.mktemp("brief") / "micro.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(micro.read_text()) | {"fusion": {**FUSION, "epochs": 2}}))
    return path


@pytest.fixture(scope="module")
def runs(prepared, brief, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    for seed in (1, 12):
        run_fuse(open_mini(prepared, brief, folder), seed=seed)
    run_fuse(open_mini(prepared, brief, folder, "objective.msc.enabled=false"), "no-msc")
    return folder


@pytest.fixture(scope="module")
def table(runs, prepared):
    (table,) = evaluate(find_runs([], "mini", runs), split="test", data_dir=prepared, device="cpu").tables
    return table


def test_every_modality_alone_stands_beside_the_fused_model(table):
    titles = [system.title for system in table.systems]
    assert titles[:4] == ["training mean", "text alone", "vision alone", "audio alone"]
    assert titles[4:] == ["micro full, t+v+a", "micro no-msc, t+v+a"]
    assert [len(system.runs) for system in table.systems] == [1, 1, 1, 1, 2, 1]
    assert table.systems[4].seeds == [1, 12]


def test_rows_of_a_single_seed_say_which(table):
    shown = Console(file=io.StringIO(), width=200)
    shown.print(filled("title", COLUMNS["mosi"], table.systems))
    lines = [line.rstrip() for line in shown.file.getvalue().splitlines()]
    assert any(line.startswith("micro no-msc, t+v+a (seed 1) ") for line in lines)
    assert not any("(seed" in line for line in lines if not line.startswith("micro no-msc"))


def test_encoders_alone_stand_behind_the_systems_where_they_are_many(prepared, brief, tmp_path):
    """Two vision encoders: what was asked for is not to be sought below them."""
    run_fuse(open_mini(prepared, brief, tmp_path))
    run_fuse(open_mini(prepared, brief, tmp_path, "pretraining.vision.epochs=1"), "blind")
    (table,) = evaluate(find_runs([], "mini", tmp_path), data_dir=prepared, device="cpu").tables
    titles = [system.title for system in table.systems]
    assert titles[:3] == ["training mean", "micro blind, t+v+a", "micro full, t+v+a"]
    assert len(titles) == 7
    assert all(" alone" in title for title in titles[3:])


def test_where_corr_is_undefined_the_runs_are_named_once(brief, corpus, tmp_path):
    """Here: all clips of the test split have one score."""
    flat = {name: {**split} for name, split in corpus.items()}
    flat["test"]["regression_labels"] = np.ones(len(flat["test"]["id"]), np.float32)
    prepared = prepare_mini(flat, tmp_path)
    run_fuse(open_mini(prepared, brief, tmp_path / "runs"))
    with pytest.warns(UserWarning, match="Corr of") as told:
        evaluate(find_runs([], "mini", tmp_path / "runs"), data_dir=prepared, device="cpu")
    (said,) = (str(one.message) for one in told if "Corr" in str(one.message))
    assert "text alone (micro full, seed 1), " in said
    assert "(4 in all) on the test split is undefined" in said


def test_runs_that_have_not_finished_are_counted(tmp_path):
    def begun(seed, variant="full"):
        run = RunFolder(tmp_path / f"mini/micro/{variant}/seed-{seed}")
        run.begin("", {})
        return run

    assert left_unfinished([], "mini", tmp_path) == ""
    only = begun(1)
    assert left_unfinished([], "mini", tmp_path) == (
        f"Left out: {only.path} has begun and not finished (`dmmsa list runs --dataset mini`)."
    )
    begun(2)
    begun(3, "wild").note_divergence(1, "Epoch 1")
    begun(4, "wild").note_divergence(1, "Epoch 1")
    said = left_unfinished([tmp_path])
    assert "2 runs have begun and not finished" in said
    assert "; 2 runs have diverged" in said
    assert "not finished" not in left_unfinished([tmp_path / "mini/micro/wild"])
    (only.path / "summary.json").write_text("{}")
    assert "seed-2 has begun" in left_unfinished([], "mini", tmp_path)


def test_mean_and_spread_are_over_unrounded_metrics(table):
    system = table.systems[4]
    errors = [run["mae"] for run in system.runs]
    assert system.summary.mean["mae"] == pytest.approx(np.mean(errors), abs=1e-12)
    assert system.summary.sd["mae"] == pytest.approx(np.std(errors, ddof=1), abs=1e-12)
    assert math.isnan(table.systems[5].summary.sd["mae"])


def test_predictions_and_metrics_lie_in_the_run(table, runs, prepared):
    folder = runs / "mini" / "micro" / "full" / "seed-12"
    told = pd.read_csv(folder / "predictions.csv")
    store = open_store(prepared / "mini").split("test")
    assert list(told["id"]) == store.ids
    assert list(told["text"]) == store.texts
    assert np.array_equal(told["y_true"].to_numpy(np.float32), store.labels["y"])
    assert {"msc_3", *(f"uni_{m}_{kind}" for m in "TVA" for kind in "sd")} <= set(told)
    measured = json.loads((folder / "metrics.json").read_text())["test"]
    assert measured.keys() == {"fused", "text", "vision", "audio"}
    again = score(told["y_true"], told["y_pred"], metrics="mosi", score_range=3.0)
    assert measured["fused"] == pytest.approx(again, abs=1e-12)


def test_what_each_encoder_says_alone_lies_beside_what_the_fused_model_says(table, runs):
    for run in (runs / "mini/micro/full").iterdir():
        written = pd.read_csv(run / "predictions.csv")
        found = json.loads((run / "metrics.json").read_text())["test"]
        for modality in ("text", "vision", "audio"):
            said = written[f"{modality}_alone"]
            again = score(written["y_true"], said, metrics="mosi", score_range=3.0)
            assert again["mae"] == pytest.approx(found[modality]["mae"], abs=1e-6)


def test_the_json_has_the_published_column_names_and_no_nan(table):
    text = json.dumps(table.to_json(), allow_nan=False)
    whole = json.loads(text)
    fused = whole["systems"][4]
    assert whole.keys() == {"dataset", "synthetic", "split", "rows", "data_hash", "remarks", "systems"}
    assert all(s.keys() == {"system", "seeds", "sd_covers", "mean", "sd", "runs"} for s in whole["systems"])
    assert (whole["dataset"], whole["synthetic"], whole["split"], whole["rows"]) == ("mini", False, "test", 24)
    assert [run["mae"] for run in fused["runs"]] == pytest.approx([run["mae"] for run in table.systems[4].runs])
    assert len(fused["runs"]) == len(fused["seeds"]) == 2
    assert {"acc2_has0", "acc2_non0", "f1_has0", "f1_non0", "acc5", "acc7", "mae", "corr"} == fused["mean"].keys()
    assert json.loads(text)["systems"][0]["mean"]["corr"] is None
    assert "fusion only" in fused["sd_covers"]


def test_what_decides_how_numbers_are_read_stands_with_them(micro, corpus, tmp_path):
    """Here: clips of one video that are trained and tested on."""
    shared = {name: {**split, "id": list(split["id"])} for name, split in corpus.items()}
    video = shared["train"]["id"][0].split("$_$")[0]
    shared["test"]["id"] = [f"{video}$_${900 + n}" for n in range(len(shared["test"]["id"]))]
    data = prepare_mini(shared, tmp_path)
    run = open_mini(data, micro, tmp_path / "leaking", "fusion.epochs=1")
    (table,) = evaluate([RunFolder(run_fuse(run, from_scratch=True).folder)], split="test", data_dir=data).tables
    assert [line for line in table.remarks if line.startswith("1 of ") and "more than one split" in line]
    assert table.to_json()["remarks"] == list(table.remarks)
    assert "! 1 of" in " ".join(_notes(table))


def test_other_splits_keep_files_of_their_own(runs, prepared):
    (run,) = find_runs([runs / "mini" / "micro" / "full" / "seed-1"], None, runs)
    evaluate([run], split="valid", data_dir=prepared, device="cpu")
    assert (run.path / "predictions-valid.csv").exists()
    best = run.summary["validation"]["mae"]
    assert json.loads((run.path / "metrics.json").read_text())["valid"]["fused"]["mae"] == pytest.approx(best, abs=1e-6)


def test_runs_that_are_not_there(tmp_path):
    with pytest.raises(RunMissing, match="no finished run"):
        find_runs([], "mini", tmp_path)
    with pytest.raises(InvalidInput):
        find_runs([], None, tmp_path)


# --- what is left out -----------------------------------------------------------------------------------------------


def evaluated(folder, prepared):
    return evaluate(find_runs([folder], None, folder), split="test", data_dir=prepared, device="cpu")


def seeds(outcome):
    """Title and seeds of the rows of fused models."""
    (table,) = outcome.tables
    return {row.title: row.seeds for row in table.systems if row.title.startswith("micro ")}


@pytest.fixture
def copy(runs, tmp_path):
    """All runs, in a folder that may be spoilt."""
    shutil.copytree(runs / "mini", tmp_path / "runs" / "mini")
    return tmp_path / "runs"


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("name", ["summary.json", "environment.json", "recipe.yaml", "weights.safetensors"])
def test_a_damaged_run_is_told_and_stops_no_other(copy, prepared, name):
    (copy / "mini" / "micro" / "full" / "seed-1" / name).write_bytes(b"{ not this")
    outcome = evaluated(copy, prepared)
    assert seeds(outcome)["micro no-msc, t+v+a"] == [1]
    if name == "summary.json":  # evaluation has no need of it
        with pytest.raises(RunMismatch, match=name):
            _ = RunFolder(copy / "mini" / "micro" / "full" / "seed-1").summary
    else:
        assert seeds(outcome)["micro full, t+v+a"] == [12]
        (why,) = outcome.left_out
        assert isinstance(why, RunMismatch)
        assert name in str(why)


def test_what_the_system_refuses_is_told_and_stops_no_other(copy, prepared, monkeypatch):
    write = keeping.write_predictions

    def refuse(path, table):
        if path.parent.name == "seed-12":
            raise OSError(errno.EIO, "Input/output error", str(path))
        write(path, table)

    monkeypatch.setattr(keeping, "write_predictions", refuse)
    outcome = evaluated(copy, prepared)
    assert seeds(outcome) == {"micro full, t+v+a": [1], "micro no-msc, t+v+a": [1]}
    (why,) = outcome.left_out
    assert "Input/output error" in why.what
    assert "predictions" in why.what


def test_want_of_memory_stops_all(copy, prepared, monkeypatch):
    monkeypatch.setattr(systems, "predictions_of", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError):
        evaluated(copy, prepared)


@pytest.mark.parametrize("cached", [True, False])
def test_an_archive_that_can_not_be_written_is_evaluated_and_left_as_it_is(copy, prepared, monkeypatch, cached):
    known = evaluated(copy, prepared)
    if not cached:
        shutil.rmtree(copy / "mini" / "cache")
    for name in ("metrics.json", "predictions.csv", "predictions-valid.csv"):
        (copy / "mini" / "micro" / "full" / "seed-1" / name).unlink()

    def content():
        return {path: path.stat().st_mtime_ns for path in copy.rglob("*")}

    before = content()
    monkeypatch.setattr("dmmsa_cli.files.os.access", lambda path, mode: copy not in (Path(path), *Path(path).parents))
    found = evaluated(copy, prepared)
    assert content() == before
    assert found.tables[0].to_json() == known.tables[0].to_json()
    assert found.read_only == [run.path for run in found.runs]
    assert known.read_only == []


def test_a_run_on_other_data_is_told_and_stops_no_other(copy, prepared):
    edit(copy / "mini" / "micro" / "full" / "seed-12" / "environment.json", data_hash="0" * 64)
    outcome = evaluated(copy, prepared)
    assert seeds(outcome) == {"micro full, t+v+a": [1], "micro no-msc, t+v+a": [1]}
    (why,) = outcome.left_out
    assert "000000000000" in why.what


def test_encoders_trained_anew_or_gone_are_told(copy, prepared):
    (weights,) = (copy / "mini" / "encoders").glob("vision-*/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    outcome = evaluated(copy, prepared)
    assert outcome.tables == []
    assert len(outcome.left_out) == 3
    assert all("trained on other weights" in why.what and str(weights.parent) in why.what for why in outcome.left_out)
    (weights.parent / "summary.json").unlink()
    assert ["encoders that are gone" in why.what for why in evaluated(copy, prepared).left_out] == [True] * 3


def test_a_file_that_is_not_the_published_one_is_told(corpus, micro, tmp_path):
    (tmp_path / "mine.pkl").write_bytes(pickle.dumps(corpus))
    prepare("mosi", data_dir=tmp_path / "data", source=str(tmp_path / "mine.pkl"))
    given = {"data_dir": tmp_path / "data", "runs_dir": tmp_path / "runs", "recipe": str(micro), "device": "cpu"}
    fuse(open_experiment("mosi", settings=["fusion.epochs=1"], **given), "short", 1, from_scratch=True)
    (table,) = evaluate(find_runs(dataset="mosi", runs_dir=tmp_path / "runs"), data_dir=tmp_path / "data").tables
    assert table.remarks[0] == "Not the published file of mosi: 24 clips where that has 686."


def test_a_run_that_says_the_same_of_every_clip_is_told(copy, prepared, monkeypatch):
    (table,) = evaluated(copy, prepared).tables
    (remark,) = [line for line in table.remarks if "hardly vary" in line]
    monkeypatch.setattr(metrics, "COLLAPSED", 0.0)
    (better,) = evaluated(copy, prepared).tables
    assert not [line for line in better.remarks if "hardly vary" in line]
    assert remark.startswith("micro full, seed 1, ")
    assert "(3 in all)" in remark


def test_a_run_whose_predictions_are_no_numbers_is_left_out(copy, prepared):
    path = copy / "mini" / "micro" / "no-msc" / "seed-1" / "weights.safetensors"
    save_file({name: torch.full_like(value, torch.nan) for name, value in load_file(path).items()}, path)
    outcome = evaluated(copy, prepared)
    assert [line.what for line in outcome.left_out] == [f"The predictions of {path.parent} are no finite numbers."]
    assert len(outcome.tables) == 1


def test_a_run_that_was_copied_without_its_encoders_is_to_be_exported(runs, prepared, tmp_path):
    there = tmp_path / "a" / "folder" / "my run"
    shutil.copytree(runs / "mini" / "micro" / "full" / "seed-1", there)
    with pytest.raises(RunMissing, match="encoders that are gone") as told:
        reopen(RunFolder(there), data_dir=prepared)
    assert "export the run where it was trained" in told.value.remedy


def test_a_copied_folder_never_enters_a_mean(copy, prepared):
    full = copy / "mini" / "micro" / "full"
    shutil.copytree(full / "seed-1", full / "seed-1.bak")
    shutil.copytree(full / "seed-1", full / "seed-7")
    outcome = evaluated(copy, prepared)
    assert seeds(outcome)["micro full, t+v+a"] == [1, 12]
    assert sorted(why.what.split(" lies where ")[1] for why in outcome.left_out) == [
        "seed is 1.bak, but its environment.json says 1.",
        "seed is 7, but its environment.json says 1.",
    ]


def test_one_run_in_two_folders_of_runs_counts_once(runs, copy, prepared):
    found = find_runs([runs, copy], None, runs)
    outcome = evaluate(found, split="test", data_dir=prepared, device="cpu")
    assert seeds(outcome) == {"micro full, t+v+a": [1, 12], "micro no-msc, t+v+a": [1]}
    assert ["second run of" in why.what for why in outcome.left_out] == [True] * 3


@pytest.mark.parametrize("facts", [{}, {"text_encoder": "called otherwise"}, {"text_encoder": None}])
def test_a_seed_is_in_a_mean_once_whatever_its_encoder_is_called(runs, copy, prepared, facts):
    for path in copy.glob("mini/micro/*/*/environment.json"):
        edit(path, **facts)
    outcome = evaluate(find_runs([runs, copy], None, runs), split="test", data_dir=prepared, device="cpu")
    assert seeds(outcome) == {"micro full, t+v+a": [1, 12], "micro no-msc, t+v+a": [1]}
    assert len(outcome.left_out) == 3


def test_a_run_that_does_not_say_which_weights_an_encoder_had_is_left_out(copy, prepared):
    edit(copy / "mini" / "micro" / "full" / "seed-1" / "environment.json", encoder_hashes={})
    (why,) = evaluated(copy, prepared).left_out
    assert "trained on other weights" in why.what


def test_a_folder_reached_by_two_ways_is_one(runs, tmp_path):
    (tmp_path / "linked").symlink_to(runs)
    assert len(find_runs([runs, tmp_path / "linked", runs / "mini"], None, runs)) == 3


def test_a_linked_folder_of_runs_is_evaluated_where_it_is_linked(copy, prepared, tmp_path):
    (copy / "mini").rename(tmp_path / "mini-on-another-disk")
    (copy / "mini").symlink_to(tmp_path / "mini-on-another-disk")
    assert evaluated(copy, prepared).left_out == []


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"base_text": "ab" * 32, "text_encoder": "another"}, "text encoder another (abababab)"),
        ({"precision": "bf16"}, ", bf16"),
        ({"encoder_hashes": {"t": "cd" * 32, "v": "cd" * 32, "a": "cd" * 32}}, "the audio encoder cdcdcdcd"),
    ],
)
def test_what_differs_in_more_than_its_seed_has_a_row_of_its_own(copy, prepared, monkeypatch, facts, words):
    """Names of folders are the same: what was computed is not."""
    monkeypatch.setattr("dmmsa_cli.experiments.reopen._check_encoders", lambda *_: None)
    edit(copy / "mini" / "micro" / "full" / "seed-12" / "environment.json", **facts)
    found = seeds(evaluated(copy, prepared))
    assert list(found.values()) == [[1], [12], [1]]
    (other,) = [title for title, own in found.items() if own == [12]]
    assert words in other


def test_another_recipe_under_the_same_name_has_a_row_of_its_own(copy, prepared):
    path = copy / "mini" / "micro" / "full" / "seed-12" / "recipe.yaml"
    values = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(values | {"fusion": values["fusion"] | {"epochs": 3}}))
    found = seeds(evaluated(copy, prepared))
    assert found["micro full, t+v+a, fusion.epochs 2"] == [1]
    assert found["micro full, t+v+a, fusion.epochs 3"] == [12]


def test_what_was_measured_carries_what_it_was_measured_on(copy, prepared):
    evaluated(copy, prepared)
    folder = copy / "mini" / "micro" / "full" / "seed-1"
    made_from = json.loads((folder / "metrics.json").read_text())["made_from"]["test"]
    weights, data = RunFolder(folder).weights_hash(), open_store(prepared / "mini").manifest.data_hash
    assert made_from == {"weights": weights, "data": data}
    table = pd.read_csv(folder / "predictions.csv")
    assert set(table["weights"]) == {weights}
    assert set(table["data"]) == {data}


def test_a_run_that_is_being_written_is_not_measured(copy, prepared):
    busy = copy / "mini" / "micro" / "full" / "seed-1"
    with exclusive(busy):
        outcome = evaluated(copy, prepared)
    assert [type(why) for why in outcome.left_out] == [FolderBusy]
    assert seeds(outcome)["micro full, t+v+a"] == [12]


# --- anybody's predictions ------------------------------------------------------------------------------------------


def write(path, **columns):
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_anybodys_predictions(tmp_path):
    path = write(
        tmp_path / "p.csv", id=["a", "b", "c"], y_true=[-1.0, 0.0, 2.0], y_pred=[-0.5, 0.4, 2.2], more=[1, 2, 3]
    )
    spec, rows, metrics = evaluate_predictions(path, "mosi", data_dir=tmp_path)
    assert (spec.name, rows) == ("mosi", 3)
    assert metrics["mae"] == pytest.approx((0.5 + 0.4 + 0.2) / 3, abs=1e-6)
    assert metrics["acc2_non0"] == 1.0


def test_its_own_predictions_give_its_own_metrics(table, runs, prepared):
    folder = runs / "mini" / "micro" / "full" / "seed-1"
    _, _, metrics = evaluate_predictions(folder / "predictions.csv", "mini", data_dir=prepared)
    assert metrics == json.loads((folder / "metrics.json").read_text())["test"]["fused"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"id": ["a"], "y_true": [1.0]}, "lacks the column y_pred"),
        ({"id": ["a", "a"], "y_true": [1.0, 1.0], "y_pred": [1.0, 1.0]}, "id a is in it twice"),
        ({"id": ["a", "b"], "y_true": [1.0, 1.0], "y_pred": [1.0, None]}, "row 2: y_pred"),
        ({"id": ["a", "b"], "y_true": [1.0, 1.0], "y_pred": [1.0, "x"]}, "row 2: y_pred is x, not a finite number"),
        ({"id": ["a", "b"], "y_true": [1.0, 1.0], "y_pred": ["", 1.0]}, r"row 1: y_pred is missing\."),
        ({"id": ["a", "b", "c"], "y_true": [1.0] * 3, "y_pred": ["nan", "inf", 1]}, r"row 1.*\(2 such rows\)"),
        ({"id": ["a"], "y_true": [3.5], "y_pred": [1.0]}, "beyond the range"),
        ({"id": [], "y_true": [], "y_pred": []}, "no rows"),
    ],
)
def test_predictions_that_cant_be_scored(tmp_path, columns, words):
    with pytest.raises(InvalidInput, match=words):
        evaluate_predictions(write(tmp_path / "p.csv", **columns), "mosi", data_dir=tmp_path)


def test_predictions_of_an_unknown_dataset_or_a_missing_file(tmp_path):
    with pytest.raises(DatasetMissing, match="neither prepared nor one of"):
        evaluate_predictions(tmp_path / "p.csv", "nothing", data_dir=tmp_path)
    with pytest.raises(InvalidInput, match=r"There is no file .*p\.csv"):
        evaluate_predictions(tmp_path / "p.csv", "mosi", data_dir=tmp_path)


PLAIN = "id,y_true,y_pred\na,-1.5,0.25\nb,2,1e-1\nc,0.5,0.5\n"


@pytest.mark.parametrize(
    "written",
    [
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", ";").replace(".", ","),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "\t").replace(".", ","),
        PLAIN.replace("id,y_true,y_pred", "Index,Truth,Prediction"),
        PLAIN.replace("id,y_true,y_pred", " id , y_true,y_pred "),
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        "\r\n\n" + PLAIN,
        "y_pred,id,more,y_true\n0.25,a,,-1.5\n1e-1,b,x,2\n0.5,c,,0.5\n",
    ],
)
def test_tables_as_people_have_them_are_read(tmp_path, written):
    known, path = tmp_path / "known.csv", tmp_path / "p.csv"
    known.write_text(PLAIN)
    path.write_bytes(written.encode())
    expected = evaluate_predictions(known, "mosi", data_dir=tmp_path)
    assert evaluate_predictions(path, "mosi", data_dir=tmp_path) == expected
    assert expected[2]["mae"] == pytest.approx((1.75 + 1.9 + 0) / 3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (PLAIN.replace("a,", "电影,").encode("gbk"), "is not in UTF-8"),
        (b"", "can't be read as CSV"),
        (b"id,y_true,y_pred,y_pred\na,1,1,1\n", "has the column y_pred twice"),
        (b"id,y_true,y_pred\na,1,5,2,5\n", r"row 1: 5 cells under 3 columns"),
        (b"\n\n", "can't be read as CSV: it is empty"),
        (b"id,Index,y_true,y_pred\na,b,1,1\n", "has the column id twice"),
        (b"a;b;c\n1;2;3\n", r"lacks the columns id, y_true, y_pred; it has a, b, c\."),
        (b"id,y_true,y_pred\n", "has no rows"),
    ],
)
def test_tables_that_can_not_be_read_say_why(tmp_path, content, words):
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(InvalidInput, match=words):
        evaluate_predictions(tmp_path / "p.csv", "mosi", data_dir=tmp_path)


def test_ids_of_digits_are_names_and_no_numbers(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("id,y_true,y_pred\n1,0.5,0.4\n01,-1,-0.5\n001,2,1.5\n")
    assert evaluate_predictions(path, "mosi", data_dir=tmp_path)[1] == 3
    path.write_text("id,y_true,y_pred\n007,0.5,0.4\n7,-1,-0.5\n007,2,1.5\n")
    with pytest.raises(InvalidInput, match="id 007 is in it twice"):
        evaluate_predictions(path, "mosi", data_dir=tmp_path)
