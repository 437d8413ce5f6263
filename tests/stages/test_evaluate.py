"""Evaluating runs, and anybody's predictions."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from dmmsa_cli.data.store import open_store
from dmmsa_cli.errors import DatasetMissing, InvalidInput, RunMismatch, RunMissing
from dmmsa_cli.metrics import score
from dmmsa_cli.stages.evaluate import evaluate, evaluate_predictions, find_runs
from dmmsa_cli.training.run import RunFolder
from tests.stages.test_fuse import open_mini, run_fuse


@pytest.fixture(scope="module")
def runs(prepared, micro, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    experiment = open_mini(prepared, micro, folder, "fusion.epochs=2")
    for seed in (1, 12):
        run_fuse(experiment, seed=seed)
    run_fuse(open_mini(prepared, micro, folder, "fusion.epochs=2", "objective.msc.enabled=false"), "no-msc")
    return folder


@pytest.fixture(scope="module")
def table(runs, prepared):
    (table,) = evaluate(find_runs([], "mini", runs), split="test", data_dir=prepared, device="cpu")
    return table


def test_every_modality_alone_stands_beside_the_fused_model(table):
    titles = [system.title for system in table.systems]
    assert titles[:4] == ["training mean", "text alone", "vision alone", "audio alone"]
    assert titles[4:] == ["micro full, t+v+a", "micro no-msc, t+v+a"]
    assert [len(system.runs) for system in table.systems] == [1, 1, 1, 1, 2, 1]
    assert table.systems[4].seeds == [1, 12]


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


def test_the_json_has_the_published_column_names_and_no_nan(table):
    text = json.dumps(table.to_json(), allow_nan=False)
    fused = json.loads(text)["systems"][4]
    assert {"acc2_has0", "acc2_non0", "f1_has0", "f1_non0", "acc5", "acc7", "mae", "corr"} == fused["mean"].keys()
    assert json.loads(text)["systems"][0]["mean"]["corr"] is None
    assert "fusion only" in fused["sd_covers"]


def test_other_splits_keep_files_of_their_own(runs, prepared):
    (run,) = find_runs([runs / "mini" / "micro" / "full" / "seed-1"], None, runs)
    evaluate([run], split="valid", data_dir=prepared, device="cpu")
    assert (run.path / "predictions-valid.csv").exists()
    best = run.summary["validation"]["mae"]
    assert json.loads((run.path / "metrics.json").read_text())["valid"]["fused"]["mae"] == pytest.approx(best, abs=1e-6)


def test_runs_that_are_not_there(tmp_path, runs, prepared):
    with pytest.raises(RunMissing, match="no finished run"):
        find_runs([], "mini", tmp_path)
    with pytest.raises(InvalidInput):
        find_runs([], None, tmp_path)
    with pytest.raises(RunMissing):
        evaluate([RunFolder(tmp_path)], split="test", data_dir=prepared)


def test_a_run_on_other_data_is_refused(runs, prepared, tmp_path, monkeypatch):
    (run,) = find_runs([runs / "mini" / "micro" / "no-msc"], None, runs)
    facts = run.environment | {"data_hash": "0" * 64}
    monkeypatch.setattr(RunFolder, "environment", property(lambda self: facts))
    with pytest.raises(RunMismatch, match="000000000000"):
        evaluate([run], split="test", data_dir=prepared)


@pytest.mark.parametrize("name", ["summary.json", "environment.json", "recipe.yaml", "weights.safetensors"])
def test_a_damaged_run_says_what_is_damaged(runs, prepared, name, tmp_path):
    import shutil

    copy = tmp_path / "mini" / "micro" / "full" / "seed-1"
    shutil.copytree(runs / "mini" / "micro" / "full" / "seed-1", copy)
    shutil.copytree(runs / "mini" / "encoders", tmp_path / "mini" / "encoders")
    (copy / name).write_bytes(b"{ not this")
    with pytest.raises(RunMismatch, match=name):
        evaluate([RunFolder(copy)], split="test", data_dir=prepared, device="cpu")
        assert RunFolder(copy).summary  # evaluation has no need of it; whoever reads it is told


def test_an_encoder_that_was_trained_anew_is_noticed(runs, prepared, tmp_path):
    import shutil

    shutil.copytree(runs / "mini", tmp_path / "mini")
    (weights,) = (tmp_path / "mini" / "encoders").glob("vision-*/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(RunMismatch, match="trained on other weights"):
        evaluate([RunFolder(tmp_path / "mini/micro/full/seed-1")], split="test", data_dir=prepared, device="cpu")


def test_an_encoder_that_is_gone_is_named(runs, prepared, tmp_path):
    import shutil

    copy = tmp_path / "mini" / "micro" / "full" / "seed-1"
    shutil.copytree(runs / "mini" / "micro" / "full" / "seed-1", copy)
    with pytest.raises(RunMissing, match="encoders that are gone"):
        evaluate([RunFolder(copy)], split="test", data_dir=prepared, device="cpu")


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
        ({"id": ["a", "a"], "y_true": [1.0, 1.0], "y_pred": [1.0, 1.0]}, "id a stands there twice"),
        ({"id": ["a", "b"], "y_true": [1.0, 1.0], "y_pred": [1.0, None]}, "line 3: y_pred"),
        ({"id": ["a", "b"], "y_true": [1.0, 1.0], "y_pred": [1.0, "x"]}, "line 3: y_pred is 'x'"),
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
    with pytest.raises(InvalidInput, match="can't be read"):
        evaluate_predictions(tmp_path / "p.csv", "mosi", data_dir=tmp_path)
