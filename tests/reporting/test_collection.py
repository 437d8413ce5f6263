import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dmmsa_cli.data.prediction_table import read_predictions, write_predictions
from dmmsa_cli.errors import RunMismatch
from dmmsa_cli.experiments.identity import identity_in
from dmmsa_cli.metrics import score, without_nan
from dmmsa_cli.reporting.collection import collect
from dmmsa_cli.reporting.report import build_report
from dmmsa_cli.training.run import RunFolder
from tests.reporting.conftest import measured, write_run


def test_runs_that_differ_in_seed_alone_are_one_system(runs_dir):
    systems = collect(runs_dir).systems
    seeds = {(s.dataset, s.variant): s.seeds for s in systems}
    assert seeds["mosi", "full"] == seeds["mosi", "no-cl"] == (1, 12, 123)
    assert seeds["toy", "full"] == (1,)
    assert len(seeds) == len(systems) == 7
    assert [s.synthetic for s in systems] == [s.dataset == "toy" for s in systems]


@pytest.mark.parametrize(
    "departure",
    [{"data_hash": "f" * 60}, {"facts": {"precision": "bf16"}}, {"changes": {"fusion.epochs": 7}}],
    ids=["data", "precision", "recipe"],
)
def test_what_differs_in_more_than_the_seed_is_never_averaged(tmp_path, departure):
    write_run(tmp_path, seed=1)
    write_run(tmp_path, seed=12, **departure)
    assert [s.seeds for s in collect(tmp_path).systems] == [(1,), (12,)]


def test_the_mean_is_that_of_the_metrics_files(tmp_path):
    folders = [write_run(tmp_path, seed=seed) for seed in (1, 12)]
    (system,) = collect(tmp_path).systems
    maes = [json.loads((f / "metrics.json").read_text())["test"]["fused"]["mae"] for f in folders]
    assert system.summary.mean["mae"] == pytest.approx(sum(maes) / 2)
    assert system.summary.sd["mae"] == pytest.approx(abs(maes[0] - maes[1]) / 2**0.5)


def test_departures_from_the_papers_conditions_are_told(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, recipe="minilm", modalities=("t", "a"), published=False)
    conditions = {s.recipe_name: s.conditions for s in collect(tmp_path).systems}
    assert conditions == {"dmmsa": "", "minilm": "MiniLM, text+audio, not the published file"}


def test_clips_that_one_is_read_with_are_told(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, variant="before-2", changes={"text.context.before": 2})
    both = {"text.context.before": 2, "text.context.after": 1}
    write_run(tmp_path, variant="before-2-after-1", changes=both)
    write_run(tmp_path, variant="deaf", changes=both, modalities=("v", "a"))  # no text encoder, and so no context
    conditions = {s.variant: s.conditions for s in collect(tmp_path).systems}
    assert conditions == {
        "full": "",
        "before-2": "with 2 clips before",
        "before-2-after-1": "with 2 clips before and 1 after",
        "deaf": "vision+audio",
    }


def test_an_unfinished_run_and_an_unevaluated_one_are_no_systems(tmp_path):
    (write_run(tmp_path, seed=1) / "summary.json").unlink()
    (write_run(tmp_path, seed=2) / "metrics.json").unlink()
    (write_run(tmp_path, seed=3) / "metrics.json").write_text('{"valid": {}}')
    found = collect(tmp_path)
    assert not found.systems
    assert [path.name for path in found.unfinished] == ["seed-1"]
    assert [path.name for path in found.unevaluated] == ["seed-2", "seed-3"]


def test_a_run_that_diverged_is_none_that_could_go_on(tmp_path):
    folder = write_run(tmp_path, seed=1)
    (folder / "summary.json").unlink()
    RunFolder(folder).note_divergence(3, "Epoch 3: the loss of msc is no longer a finite number.")
    found = collect(tmp_path)
    assert found.diverged == [folder]
    assert not found.unfinished


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.json", "{"),
        ("metrics.json", "[]"),
        ("metrics.json", '{"test": {"fused": {"mae": "high"}}, "made_from": {}}'),
        ("metrics.json", '{"test": {"text": {"mae": 1}}, "made_from": {}}'),
        ("environment.json", "{}"),
        ("recipe.yaml", "a: ["),
        ("metrics.jsonl", "no json\n"),
        ("metrics.jsonl", '{"epoch": 1}\n'),
        ("summary.json", ""),
    ],
)
def test_a_damaged_file_is_told_with_its_name_and_the_others_are_read(tmp_path, name, content):
    folder = write_run(tmp_path, seed=1)
    write_run(tmp_path, seed=12)
    (folder / name).write_text(content)
    found = collect(tmp_path)
    assert [s.seeds for s in found.systems] == [(12,)]
    assert name in str(found.damaged[0])
    assert found.damaged[0].remedy


KINDS = {
    "dataset": (7, None),
    "data_hash": (None, ["a"]),
    "recipe": ({}, 1),
    "variant": (3, None),
    "precision": (32, None),
    "base_text": (5, {}),
    "text_encoder": (5, []),
    "encoders": ([], {"x": "text-1"}, {"t": 1}),
    "encoder_hashes": ("abc", {"x": "ab"}, {"t": None}),
    "modalities": ("tva", ["t", "x"], [["t"]]),
    "from_scratch": ("no", None),
    "synthetic": ("no", None),
    "seed": ("1", None),
    "source": ("file.pkl", None),
}


@pytest.mark.parametrize(("fact", "value"), [(fact, value) for fact, values in KINDS.items() for value in values])
def test_a_fact_of_another_kind_is_named_and_no_other(tmp_path, fact, value):
    folder = write_run(tmp_path)
    path = folder / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {fact: value}))
    with pytest.raises(RunMismatch, match=rf"environment\.json is damaged: see {fact}\."):
        identity_in(RunFolder(folder))
    assert collect(tmp_path).damaged


def test_predictions_are_read_as_they_were_written(tmp_path):
    write_run(tmp_path)
    (system,) = collect(tmp_path).systems
    table = system.first.predictions
    assert len(table) == 120
    assert table["text"][3] == 'clip 3, "quoted", <b>bold</b> & 情感'


@pytest.mark.parametrize("text", ["ends in\r", "a\x00b", "two\r\nlines", "", "NA", "007", "=1+1", "'=1+1", '"'])
def test_no_transcript_or_id_damages_a_run(tmp_path, text):
    folder = write_run(tmp_path)
    table = read_predictions(folder / "predictions.csv")
    table.loc[3, ["id", "text"]] = text
    write_predictions(folder / "predictions.csv", table)
    built = build_report(tmp_path, "mosi")
    assert built.notes == ()
    read = built.collection.systems[0].first.predictions
    assert read.loc[3, ["id", "text"]].tolist() == [text, text]


def test_labels_and_predictions_that_are_whole_numbers_are_no_damage(tmp_path):
    folder = write_run(tmp_path)
    labels, predictions = np.float32([1, -2, 0, 3]), np.float32([1, -1, 0, 2])
    table = pd.DataFrame({"id": list("abcd"), "text": "", "y_true": labels, "y_pred": predictions})
    metrics = score(labels, predictions, metrics="mosi", score_range=3.0)
    measured(folder, table.astype({"y_true": int, "y_pred": int}), {"fused": without_nan(metrics)})
    built = build_report(tmp_path, "mosi")
    assert built.notes == ()
    assert built.collection.systems[0].first.predictions["y_pred"].tolist() == predictions.tolist()


@pytest.mark.parametrize("damage", [lambda t: t.drop(columns="y_pred"), lambda t: t.assign(y_pred="high")])
def test_damaged_predictions_are_told(tmp_path, damage):
    path = write_run(tmp_path) / "predictions.csv"
    damage(pd.read_csv(path)).to_csv(path, index=False)
    (system,) = collect(tmp_path).systems
    with pytest.raises(RunMismatch, match=r"predictions\.csv is damaged"):
        system.first.predictions  # noqa: B018


def test_the_similarity_of_features_is_optional(tmp_path):
    folder = write_run(tmp_path)
    (system,) = collect(tmp_path).systems
    assert list(system.first.similarity) == ["T_s", "V_s", "A_s", "T_d", "V_d", "A_d"]
    (folder / "features.json").write_text("{}")
    with pytest.raises(RunMismatch, match=r"features\.json is damaged"):
        system.first.similarity  # noqa: B018
    (folder / "features.json").unlink()
    assert system.first.similarity is None


def test_an_empty_folder_holds_nothing(tmp_path):
    assert collect(tmp_path / "nowhere").systems == []


def test_a_copy_of_a_run_is_no_further_seed(tmp_path):
    folder = write_run(tmp_path)
    shutil.copytree(folder, folder.with_name("seed-1.bak"))
    shutil.copytree(tmp_path / "mosi", tmp_path / "mosi-copy")
    found = collect(tmp_path)
    assert [s.seeds for s in found.systems] == [(1,)]
    messages = [str(error) for error in found.damaged]
    assert len(messages) == 3 and all("its environment.json says" in message for message in messages)


@pytest.mark.parametrize("depth", range(5), ids=["runs", "dataset", "recipe", "variant", "seed"])
def test_a_folder_may_be_a_link_to_elsewhere(tmp_path, depth):
    folder = write_run(tmp_path / "runs", variant="no-cl")
    place = [*reversed(folder.parents[:4]), folder][depth]
    place.rename(tmp_path / "scratch")
    place.symlink_to(tmp_path / "scratch")
    found = collect(tmp_path / "runs")
    assert found.damaged == []
    assert [(s.dataset, s.variant, s.seeds) for s in found.systems] == [("mosi", "no-cl", (1,))]


def test_runs_are_read_from_the_folder_that_one_is_in(tmp_path, monkeypatch):
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path / "mosi" / "dmmsa")
    (system,) = collect(Path("../..")).systems
    assert system.seeds == (1,)


def test_a_link_under_another_name_is_no_further_seed(tmp_path):
    folder = write_run(tmp_path)
    folder.with_name("seed-2").symlink_to(folder)
    found = collect(tmp_path)
    assert [s.seeds for s in found.systems] == [(1,)]
    assert "lies where seed is 2" in str(found.damaged[0])


@pytest.mark.parametrize(
    "other", [{"base_text": "ef" * 32}, {"encoder_hashes": dict.fromkeys("tva", "ef" * 32)}], ids=["text", "encoders"]
)
def test_runs_on_other_encoders_are_not_averaged_unless_each_has_its_own(tmp_path, other):
    write_run(tmp_path, seed=1)
    write_run(tmp_path, seed=12, facts=other)
    assert [s.seeds for s in collect(tmp_path).systems] == [(1,), (12,)]


def test_a_finished_run_without_its_recipe_is_told(tmp_path):
    (write_run(tmp_path) / "recipe.yaml").unlink()
    (error,) = collect(tmp_path).damaged
    assert "recipe.yaml is missing" in str(error)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("environment.json", {"encoder_hashes": None}),
        ("environment.json", {"synthetic": None}),
        ("environment.json", {"dataset": "sims"}),
        ("environment.json", {"modalities": ["x"]}),
        ("summary.json", {"validation": {}}),
    ],
)
def test_a_value_of_the_wrong_kind_is_damage(tmp_path, name, change):
    path = write_run(tmp_path) / name
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    (error,) = collect(tmp_path).damaged
    assert name in str(error)


@pytest.mark.parametrize("change", [{"losses": ["a"]}, {"weights": {"cl": "x"}}, {"validation": {"mae": "x"}}])
def test_a_log_of_the_wrong_kind_is_damage(tmp_path, change):
    path = write_run(tmp_path) / "metrics.jsonl"
    path.write_text(json.dumps(json.loads(path.read_text().splitlines()[0]) | change))
    assert "metrics.jsonl is damaged" in str(collect(tmp_path).damaged[0])
