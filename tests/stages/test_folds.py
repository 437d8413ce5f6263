"""Folds end to end on the cut corpus: trained, scored over all their clips together, and told where one is missing."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from dmmsa_cli.data.folds import folds_of
from dmmsa_cli.data.store import open_store
from dmmsa_cli.errors import RunMissing
from dmmsa_cli.experiments.experiment import open_experiment
from dmmsa_cli.experiments.identity import identity_in
from dmmsa_cli.metrics import score
from dmmsa_cli.stages.evaluation import PLAINEST
from dmmsa_cli.stages.folds import evaluate_folds
from dmmsa_cli.training.run import RunFolder
from tests.conftest import MICRO_RECIPE
from tests.training_runs import run_fuse

SEEDS = (1, 12)


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    """A folder of runs: two folds, two seeds, one epoch."""
    folder = tmp_path_factory.mktemp("folds")
    recipe, runs = folder / "micro.yaml", folder / "runs"
    recipe.write_text(yaml.safe_dump(MICRO_RECIPE | {"fusion": MICRO_RECIPE["fusion"] | {"epochs": 1}}))
    for fold in folds_of("mini", 2):
        experiment = open_experiment(str(fold), data_dir=prepared, runs_dir=runs, recipe=str(recipe), device="cpu")
        for seed in SEEDS:
            run_fuse(experiment, seed=seed)
    return runs


@pytest.fixture
def runs(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "runs"))


def across(prepared, runs):
    return evaluate_folds("mini", 2, data_dir=prepared, runs_dir=runs)


def folder(runs, fold, seed):
    return runs / f"mini-fold-{fold}-of-2" / "micro" / "full" / f"seed-{seed}"


def test_metrics_are_of_all_clips_together(prepared, runs):
    found = across(prepared, runs)
    (table,) = found.tables
    assert not found.left_out
    assert table.where == "2 folds by video of train and valid"
    assert table.to_json()["split"] == "2 folds of train and valid"
    assert table.rows == 48 + 24
    mean, system = table.systems
    assert (mean.title, system.title) == (PLAINEST, "micro full, t+v+a")
    assert system.seeds == [1, 12]
    for seed, metrics in zip(system.seeds, system.runs, strict=True):
        tables = [pd.read_csv(folder(runs, fold, seed) / "predictions.csv") for fold in (1, 2)]
        together = pd.concat(tables)
        assert together["id"].nunique() == len(together) == 72
        assert metrics == score(together["y_true"], together["y_pred"], metrics="mosi", score_range=3.0)
        assert metrics["mae"] == pytest.approx(np.abs(together["y_true"] - together["y_pred"].clip(-3, 3)).mean())


def test_an_archive_that_can_not_be_written_gives_the_same_and_keeps_nothing(prepared, runs, monkeypatch):
    known = across(prepared, runs)
    for path in runs.rglob("predictions*.csv"):
        path.unlink()

    def content():
        return {path: path.stat().st_mtime_ns for path in runs.rglob("*")}

    before = content()
    monkeypatch.setattr("dmmsa_cli.files.os.access", lambda path, mode: runs not in (Path(path), *Path(path).parents))
    found = across(prepared, runs)
    assert content() == before
    assert found.tables[0].to_json() == known.tables[0].to_json()
    assert sorted(found.read_only) == sorted(run.path for run in found.runs)


def test_the_clips_are_those_of_train_and_valid_with_their_labels(prepared, runs):
    across(prepared, runs)
    pool = [open_store(prepared / "mini").split(name) for name in ("train", "valid")]
    labels = {clip: y for split in pool for clip, y in zip(split.ids, split.labels["y"], strict=True)}
    tables = [pd.read_csv(folder(runs, fold, 1) / "predictions.csv") for fold in (1, 2)]
    found = dict(zip(pd.concat(tables)["id"], pd.concat(tables)["y_true"], strict=True))
    assert found.keys() == labels.keys()
    assert all(found[clip] == pytest.approx(y) for clip, y in labels.items())


def test_the_plainest_predictor_is_each_folds_training_mean(prepared, runs):
    (table,) = across(prepared, runs).tables
    errors = []
    for fold in folds_of("mini", 2):
        data = open_experiment(str(fold), data_dir=prepared, runs_dir=runs, recipe=None).store
        errors += list(np.abs(data.split("test").labels["y"] - data.split("train").labels["y"].mean()))
    assert table.systems[0].runs[0]["mae"] == pytest.approx(np.mean(errors), abs=1e-6)


def test_a_seed_that_lacks_a_fold_is_told_and_left_out(prepared, runs):
    shutil.rmtree(folder(runs, 2, 12))
    found = across(prepared, runs)
    assert found.tables[0].systems[1].seeds == [1]
    assert [error.what for error in found.left_out] == ["micro full, seed 12, has 1 of 2 folds."]
    shutil.rmtree(folder(runs, 2, 1))
    found = across(prepared, runs)
    assert found.tables == []
    assert len(found.left_out) == 2


def test_a_run_that_cant_be_evaluated_is_a_fold_that_lacks(prepared, runs):
    (folder(runs, 1, 1) / "weights.safetensors").write_bytes(b"none")
    found = across(prepared, runs)
    assert found.tables[0].systems[1].seeds == [12]
    assert len(found.left_out) == 2


def test_what_differs_between_folds_in_more_than_the_clips_is_not_put_together(prepared, runs):
    one, other = (RunFolder(folder(runs, fold, 1)) for fold in (1, 2))
    assert identity_in(one).across_folds == identity_in(other).across_folds
    assert identity_in(one).across_folds == identity_in(RunFolder(folder(runs, 1, 12))).across_folds
    assert identity_in(one).system != identity_in(other).system
    recipe = yaml.safe_load((other.path / "recipe.yaml").read_text())
    recipe["fusion"]["epochs"] = 2
    (other.path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert identity_in(one).across_folds != identity_in(other).across_folds


def test_without_runs_it_is_told_which_command_trains_them(prepared, tmp_path):
    with pytest.raises(RunMissing, match="dmmsa fuse --dataset mini --folds 2"):
        across(prepared, tmp_path)
