"""Emotions from the pickle to the tables: learned, measured, predicted; and never measured where nobody gave them."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from dmmsa_cli.cli import app
from dmmsa_cli.data import toy
from dmmsa_cli.data.specs import EMOTIONS
from dmmsa_cli.data.store import open_store
from dmmsa_cli.errors import RunMismatch
from dmmsa_cli.experiments.identity import identity_in
from dmmsa_cli.experiments.inputs import labelled
from dmmsa_cli.experiments.reopen import reopen
from dmmsa_cli.metrics import emotion_metrics
from dmmsa_cli.stages.evaluate import evaluate
from dmmsa_cli.stages.predict import predict
from dmmsa_cli.stages.prepare import prepare
from dmmsa_cli.stages.systems import Systems
from dmmsa_cli.training.run import RunFolder
from tests.conftest import MICRO_RECIPE, SPEC, cut
from tests.training_runs import log, open_mini, prepare_mini, run_fuse, weights

LEARNED = {"emotions": {"enabled": True}}
MMOLRE = {
    **{"name": "mmolre", "width": 16, "experts": 3, "ranks": 2, "task_rank": 2, "active": 2, "layers": 1},
    **{"attention_heads": 2, "feedforward": 16, "head_width": 8},
}


def without(corpus):
    return {name: {k: v for k, v in split.items() if k != "emotions"} for name, split in corpus.items()}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe that learns emotions beside what DMMSA learns."""
    path = tmp_path_factory.mktemp("recipes") / "felt.yaml"
    weighting = {"name": "fixed"}
    values = MICRO_RECIPE | {"objective": {"name": "dmmsa", **LEARNED, "weighting": weighting}}
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="module")
def finished(prepared, recipe, tmp_path_factory):
    """A run that has learned emotions, evaluated on the test split."""
    folder = run_fuse(open_mini(prepared, recipe, tmp_path_factory.mktemp("runs"))).folder
    return folder, evaluate([RunFolder(folder)], split="test", data_dir=prepared)


def test_prepare_counts_them_and_shows_what_it_counted(corpus, tmp_path):
    (tmp_path / "mini.pkl").write_bytes(pickle.dumps(corpus))
    (tmp_path / "mini.yaml").write_text(yaml.safe_dump(SPEC))
    report = prepare("mini", data_dir=tmp_path, source=str(tmp_path / "mini.pkl"), spec_file=tmp_path / "mini.yaml")
    for split, counted in report.emotions.items():
        values = corpus[split]["emotions"]
        known = values[~np.isnan(values).any(axis=1)]
        assert list(counted.present.values()) == (values == 1).sum(0).tolist()
        assert (counted.none, counted.unknown) == (int((known == 0).all(1).sum()), len(values) - len(known))
        assert counted.none > 0 < counted.unknown
    shown = CliRunner().invoke(app, ["prepare", "mini", "--data-dir", str(tmp_path)])
    lines = {line.split()[0]: line.split() for line in shown.output.splitlines() if line.split()}
    assert lines["sadness"][1:] == [str(counted.present["sadness"]) for counted in report.emotions.values()]
    shares = [counted.none / len(corpus[split]["id"]) for split, counted in report.emotions.items()]
    assert lines["none"][-3:] == [f"{share:.1%}" for share in shares]
    assert lines["not"][-3:] == [str(counted.unknown) for counted in report.emotions.values()]


def test_a_batch_has_the_emotions_of_its_own_rows(prepared, recipe, corpus, tmp_path):
    rows = np.array([40, 2, 19, 5])
    for split in ("train", "valid"):
        rows = rows % len(corpus[split]["id"])
        view = labelled(open_mini(prepared, recipe, tmp_path), split, 1, {})
        np.testing.assert_array_equal(view.batch(rows).labels["emotions"].numpy(), corpus[split]["emotions"][rows])


def test_emotions_are_a_weighted_task_and_measured_after_every_epoch(finished):
    for line in log(finished[0]):
        assert line["losses"]["emotions"] > 0
        assert line["weights"]["emotions"] == 1.0
        assert {f"{kind}_{name}" for kind in ("acc", "wf1") for name in (*EMOTIONS, "emotions")} <= set(
            line["validation"]
        )


def test_what_evaluate_writes_is_what_the_predictions_say(finished, corpus):
    folder = finished[0]
    table = pd.read_csv(folder / "predictions.csv")
    probabilities = table[[f"emotions_{name}" for name in EMOTIONS]].to_numpy()
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert len(np.unique(probabilities)) > len(probabilities)  # of each clip and emotion, not one for all
    expected = emotion_metrics(corpus["test"]["emotions"], probabilities, EMOTIONS)
    found = json.loads((folder / "metrics.json").read_text())["test"]["fused"]
    for name, value in expected.items():
        assert found[name] == pytest.approx(value)
    assert not [name for name in json.loads((folder / "metrics.json").read_text())["test"]["text"] if "emotion" in name]


def test_emotions_that_share_one_probability_are_present_above_an_even_share(prepared, recipe, corpus, tmp_path):
    folder = run_fuse(open_mini(prepared, recipe, tmp_path, "objective.emotions.loss=softmax")).folder
    evaluate([RunFolder(folder)], split="test", data_dir=prepared)
    probabilities = pd.read_csv(folder / "predictions.csv")[[f"emotions_{name}" for name in EMOTIONS]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    found = json.loads((folder / "metrics.json").read_text())["test"]["fused"]
    for name, value in emotion_metrics(corpus["test"]["emotions"], probabilities, EMOTIONS, even=1 / 6).items():
        assert found[name] == pytest.approx(value)


@pytest.mark.parametrize("flipped", [False, True])
def test_the_plainest_says_of_each_emotion_what_most_training_clips_have(corpus, tmp_path, flipped):
    raw = {
        name: split | {"emotions": abs(np.float32([flipped, 0, flipped, 0, 0, 0]) - split["emotions"])}
        for name, split in corpus.items()
    }
    store = open_store(prepare_mini(raw, tmp_path) / "mini")
    plainest = Systems(store, "test")._training_mean().summary.mean
    train, test = raw["train"]["emotions"], raw["test"]["emotions"]
    usual = np.nanmean(train, axis=0) > 0.5
    assert usual.tolist() == [flipped, False, flipped, False, False, False]
    for column, name in enumerate(EMOTIONS):
        known = test[~np.isnan(test[:, column]), column]
        assert plainest[f"acc_{name}"] == pytest.approx((known == usual[column]).mean())


def test_it_stands_beside_the_runs(finished):
    (table,) = finished[1].tables
    assert (table.systems[0].title, table.emotions) == ("training mean", EMOTIONS)
    assert "wf1_emotions" in table.systems[0].summary.mean


def test_the_command_shows_a_table_of_them(finished, prepared):
    shown = CliRunner().invoke(app, ["evaluate", str(finished[0]), "--data-dir", str(prepared)], terminal_width=200)
    assert shown.exit_code == 0, shown.output
    for word in ("test split, 24 clips, accuracy of emotions", "weighted F1 of emotions", "Joy", "Fear", "Mean"):
        assert word in shown.output


def test_without_such_a_task_nothing_is_said_of_emotions(prepared, micro, tmp_path):
    folder = run_fuse(open_mini(prepared, micro, tmp_path)).folder
    shown = CliRunner().invoke(app, ["evaluate", str(folder), "--data-dir", str(prepared)], terminal_width=200)
    assert shown.exit_code == 0, shown.output
    assert "motion" not in shown.output
    assert not [name for name in json.loads((folder / "metrics.json").read_text())["test"]["fused"] if "wf1" in name]
    assert "emotions" not in log(folder)[0]["losses"]


def test_predict_gives_probabilities_to_clips_that_have_no_labels(finished, prepared, corpus, tmp_path):
    clips = {k: v for k, v in without(corpus)["test"].items() if not k.startswith("regression")}
    (tmp_path / "new.pkl").write_bytes(pickle.dumps(clips))
    predict([RunFolder(finished[0])], tmp_path / "new.pkl", tmp_path / "out.csv", data_dir=prepared)
    found, known = (pd.read_csv(path) for path in (tmp_path / "out.csv", finished[0] / "predictions.csv"))
    for name in EMOTIONS:
        np.testing.assert_allclose(found[f"emotions_{name}"], known[f"emotions_{name}"], atol=1e-5)


def test_the_task_teaches_the_network_what_words_say_of_emotions(tmp_path):
    """Of a corpus large enough: far better than who says of each emotion what most clips have."""
    data = prepare_mini(cut(toy.generate()[0], {"train": 500, "valid": 60, "test": 200}), tmp_path)
    values = MICRO_RECIPE | {
        "data": {"modalities": ["t"]},
        "text": {"source": "tiny", "tiny": {"width": 32, "layers": 1, "heads": 2}, "train_in_fusion": True},
        "model": {"name": "mean_pooling", "hidden": 32},
        "objective": {"name": "multitask", "polarity": {"enabled": False}, **LEARNED},
        "pretraining": None,
        "fusion": {"learning_rate": 3e-3, "batch_size": 16, "epochs": 15},
    }
    (tmp_path / "words.yaml").write_text(yaml.safe_dump(values))
    folder = run_fuse(open_mini(data, tmp_path / "words.yaml", tmp_path / "runs")).folder
    (table,) = evaluate([RunFolder(folder)], split="test", data_dir=data).tables
    means = {row.title: row.summary.mean["wf1_emotions"] for row in table.systems if "wf1_emotions" in row.summary.mean}
    plainest, learned = means.pop("training mean"), *means.values()
    assert learned > plainest + 0.08


# --- where nobody gave them -------------------------------------------------------------------------------------------


@pytest.fixture
def bare(corpus, recipe, tmp_path):
    """A dataset without emotions, `mini`, and one with some, `felt`; their folder."""
    data = prepare_mini(without(corpus), tmp_path)
    (tmp_path / "felt.pkl").write_bytes(pickle.dumps(corpus))
    (tmp_path / "felt.yaml").write_text(yaml.safe_dump(SPEC))
    prepare("felt", data_dir=data, source=str(tmp_path / "felt.pkl"), spec_file=tmp_path / "felt.yaml")
    return data


def take(data, recipe):
    prepare("mini", data_dir=data, emotions_from="felt", recipe=str(recipe), runs_dir=data.parent / "runs")


def test_without_emotions_the_task_is_inactive_and_said(bare, recipe, tmp_path):
    told = []
    folder = run_fuse(open_mini(bare, recipe, tmp_path / "runs"), remark=told.append).folder
    assert [line for line in told if "emotions is inactive" in line]
    assert "emotions" not in log(folder)[0]["losses"]
    assert RunFolder(folder).environment["pseudo_emotions"] is None


def test_prepare_says_whose_pseudo_labels_a_dataset_has(bare, recipe):
    take(bare, recipe)
    shown = CliRunner().invoke(app, ["prepare", "mini", "--data-dir", str(bare)], terminal_width=200)
    told = " ".join(shown.output.split())
    assert "pseudo-labels of the training split: those of the nearest transcript of felt" in told
    assert "by tiny. No metric is ever computed of them." in told


def test_pseudo_emotions_are_learned_and_never_measured(bare, recipe, tmp_path):
    take(bare, recipe)
    folder = run_fuse(open_mini(bare, recipe, tmp_path / "runs")).folder
    lines = log(folder)
    assert all(line["losses"]["emotions"] > 0 for line in lines)
    assert not [name for line in lines for name in line["validation"] if "emotions" in name]
    assert RunFolder(folder).environment["pseudo_emotions"] == "felt"
    for split in ("test", "train"):
        evaluate([RunFolder(folder)], split=split, data_dir=bare)
        found = json.loads((folder / "metrics.json").read_text())[split]["fused"]
        assert not [name for name in found if name.startswith(("wf1", "acc_"))]
    shown = CliRunner().invoke(app, ["evaluate", str(folder), "--data-dir", str(bare)], terminal_width=200)
    assert "of emotions" not in shown.output
    assert "emotions_joy" in pd.read_csv(folder / "predictions.csv")


def test_who_learned_other_emotions_is_not_evaluated_on_these_and_who_learned_none_is(bare, recipe, micro, tmp_path):
    plain = run_fuse(open_mini(bare, micro, tmp_path / "plain")).folder
    before = run_fuse(open_mini(bare, recipe, tmp_path / "before")).folder
    take(bare, recipe)
    felt = run_fuse(open_mini(bare, recipe, tmp_path / "felt")).folder
    reopen(RunFolder(plain), data_dir=bare)
    reopen(RunFolder(felt), data_dir=bare)
    with pytest.raises(RunMismatch, match="learned other emotions"):
        reopen(RunFolder(before), data_dir=bare)
    prepare("mini", data_dir=bare, source=str(tmp_path / "mini.pkl"), force=True)
    assert open_store(bare / "mini").manifest.emotions == ()
    reopen(RunFolder(plain), data_dir=bare)
    with pytest.raises(RunMismatch, match="learned other emotions"):
        reopen(RunFolder(felt), data_dir=bare)


def test_a_run_on_emotions_and_one_without_are_two_systems(bare, recipe, tmp_path):
    first = run_fuse(open_mini(bare, recipe, tmp_path / "before")).folder
    take(bare, recipe)
    second = run_fuse(open_mini(bare, recipe, tmp_path / "after")).folder
    one, other = (identity_in(RunFolder(folder)) for folder in (first, second))
    assert one.system != other.system
    assert set(one.difference(other)) == {"the emotions of its clips"}
    assert (one.protocol, one.setting) == (other.protocol, other.setting)  # what they learn is no other terms


# --- text alone, as MELD ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [MMOLRE, MICRO_RECIPE["model"], {"name": "mean_pooling", "hidden": 8}])
def test_transcripts_alone_are_enough(corpus, tmp_path, model):
    kept = ("id", "raw_text", "regression_labels", "emotions")
    words = {name: {k: v for k, v in split.items() if k in kept} for name, split in corpus.items()}
    data = prepare_mini(words, tmp_path)
    values = MICRO_RECIPE | {
        "model": model,
        "objective": {"name": "multitask", "polarity": {"enabled": False}, **LEARNED},
    }
    if model["name"] != "feature_decomposition":
        values |= {"pretraining": None, "text": {**MICRO_RECIPE["text"], "train_in_fusion": True}}
    (tmp_path / "words.yaml").write_text(yaml.safe_dump(values))
    folder = run_fuse(open_mini(data, tmp_path / "words.yaml", tmp_path / "runs")).folder
    (table,) = evaluate([RunFolder(folder)], split="test", data_dir=data).tables
    assert "wf1_emotions" in table.systems[-1].summary.mean
    assert weights(folder)
