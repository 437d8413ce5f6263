"""A model that can be handed on: one folder, with which another machine predicts what this one did."""

import os
import pickle
import shutil
import stat
import time

import pandas as pd
import pytest
import yaml
from transformers import AutoTokenizer

from dmmsa_cli.data.texts import given_texts
from dmmsa_cli.errors import InvalidInput, RunMismatch, RunMissing
from dmmsa_cli.files import PARTIAL, STALE_SECONDS
from dmmsa_cli.layers.pretrained import make_tiny
from dmmsa_cli.layers.text import TinyOptions
from dmmsa_cli.reporting.card import card
from dmmsa_cli.stages.evaluate import evaluate
from dmmsa_cli.stages.export import export as export_with
from dmmsa_cli.stages.predict import Wanted, predict, predict_texts
from dmmsa_cli.training.run import RunFolder
from tests.stages.test_what_training_is_given import with_text_features
from tests.training_runs import open_mini, prepare_mini, run_fuse

SHORT = "fusion.epochs=1"


def export(run, out, card=card, **more):
    return export_with(run, out, card=card, **more)


TFN = {"name": "tfn", "text_hidden": 8, "audio_hidden": 4, "vision_hidden": 4, "text_width": 4, "fusion_width": 8}


@pytest.fixture
def machine(prepared, micro, corpus, tmp_path):
    """A machine with data, encoders and runs, which may be lost."""

    class Machine:
        data, runs, new = tmp_path / "there" / "data", tmp_path / "there" / "runs", tmp_path / "new.pkl"

        def fuse(self, *settings, model=None, features=False, encoder=False, **flags):
            content = {name: with_text_features(split) for name, split in corpus.items()} if features else corpus
            (tmp_path / "there").mkdir()
            prepare_mini(content, tmp_path / "there")
            values = yaml.safe_load(micro.read_text())
            if model:
                values |= {"model": model, "objective": "regression", "pretraining": None}
            recipe = tmp_path / "there" / "own.yaml"
            recipe.write_text(yaml.safe_dump(values))
            if encoder:
                folder = tmp_path / "there" / "encoder"
                make_tiny(folder, corpus["train"]["raw_text"], TinyOptions(16, 1, 2, 300), max_tokens=64, seed=0)
                (folder / "notes.txt").write_text("of nobody's business")
                settings = (*settings, "text.source=encoder", f"text.encoder={folder}")
            self.new.write_bytes(pickle.dumps({k: v for k, v in content["test"].items() if "labels" not in k}))
            experiment = open_mini(self.data, recipe, self.runs, SHORT, *settings)
            return RunFolder(run_fuse(experiment, **flags).folder)

        def say(self, run, data, **wanted):
            return predict([run], self.new, tmp_path / "out.csv", data_dir=data, device="cpu", wanted=Wanted(**wanted))

        def lose(self):
            shutil.rmtree(tmp_path / "there")

    return Machine()


KINDS = {
    "pretrained encoders, text frozen": ((), {}),
    "a text encoder trained along": (("text.train_in_fusion=true",), {}),
    "from scratch": (("text.train_in_fusion=true",), {"from_scratch": True}),
    "a tiny text encoder that nothing was trained of": (("text.train_in_fusion=false",), {"from_scratch": True}),
    "an encoder of a folder that nothing was trained of": (
        ("text.train_in_fusion=false",),
        {"from_scratch": True, "encoder": True},
    ),
    "text features of the file": (("text.source=features",), {"features": True}),
    "audio alone": (("data.modalities=[a]",), {}),
    "states of words": ((), {"model": TFN}),
    "clips before": (("text.context.before=2",), {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_predicts_elsewhere_what_the_run_did(machine, tmp_path, kind, monkeypatch):
    settings, flags = KINDS[kind]
    run = machine.fuse(*settings, **flags)
    known = machine.say(run, machine.data).table
    report = export(run, tmp_path / "model", data_dir=machine.data)
    shutil.move(tmp_path / "model", tmp_path / "handed on")
    machine.lose()
    monkeypatch.setattr("dmmsa_cli.layers.pretrained.find_encoder", lambda name: pytest.fail(f"{name} was looked for"))
    found = machine.say(RunFolder(tmp_path / "handed on"), tmp_path / "nowhere").table
    pd.testing.assert_frame_equal(found, known)
    assert report.bytes == sum(p.stat().st_size for p in (tmp_path / "handed on").rglob("*") if p.is_file())


@pytest.mark.parametrize("kind", [{}, {"encoder": True}, {"encoder": True, "from_scratch": True}])
def test_of_where_it_was_made_and_what_people_said_it_tells_nothing(machine, tmp_path, corpus, kind):
    run = machine.fuse("text.train_in_fusion=false", **kind)
    evaluate([run], split="test", data_dir=machine.data, device="cpu")
    export(run, tmp_path / "model", data_dir=machine.data)
    for path in (tmp_path / "model").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(tmp_path).encode() not in content, path
            assert not [text for text in corpus["valid"]["raw_text"] if text.encode() in content], path
            assert stat.S_IMODE(path.stat().st_mode) & 0o044, path


def test_what_lies_beside_an_encoder_stays_there(machine, tmp_path):
    run = machine.fuse("text.train_in_fusion=false", encoder=True, from_scratch=True)
    export(run, tmp_path / "model", data_dir=machine.data)
    kept = tmp_path / "model" / "encoders" / "base-text"
    assert (kept / "model.safetensors").exists()
    assert not (kept / "notes.txt").exists()
    assert AutoTokenizer.from_pretrained(kept)("a")["input_ids"]


def test_an_evaluated_run_gives_intervals_and_results_with_it(machine, tmp_path):
    run = machine.fuse()
    assert set(export(run, tmp_path / "bare", data_dir=machine.data).lacking) == {
        "metrics.json",
        "predictions-valid.csv",
    }
    assert "has not been evaluated" in (tmp_path / "bare" / "README.md").read_text()
    (table,) = evaluate([run], split="test", data_dir=machine.data, device="cpu").tables
    known = machine.say(run, machine.data, level=0.9).table
    assert export(run, tmp_path / "model", data_dir=machine.data).lacking == ()
    machine.lose()
    found = machine.say(RunFolder(tmp_path / "model"), tmp_path / "nowhere", level=0.9).table
    pd.testing.assert_frame_equal(found, known)
    _, head, text = (tmp_path / "model" / "README.md").read_text().split("---\n", 2)
    mae = table.systems[-1].runs[0]["mae"]
    (result,) = yaml.safe_load(head)["model-index"][0]["results"]
    assert {one["type"]: one["value"] for one in result["metrics"]}["mae"] == round(mae, 4)
    assert result["dataset"]["name"] == "mini"
    assert f"| {mae:.4f} |" in text
    assert "not a mean\nover seeds" in text
    assert "(of one's own)" in text


def test_results_of_other_weights_are_not_on_the_card(machine, tmp_path):
    run = machine.fuse()
    evaluate([run], split="test", data_dir=machine.data, device="cpu")
    weights = run.path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    export(run, tmp_path / "model", data_dir=machine.data)
    assert "has not been evaluated" in (tmp_path / "model" / "README.md").read_text()


def test_a_model_of_text_features_wants_their_mask(machine, tmp_path):
    export(machine.fuse("text.source=features", features=True), tmp_path / "model", data_dir=machine.data)
    text = (tmp_path / "model" / "README.md").read_text()
    assert "`text`: features (N, T, 3)" in text
    assert "`text_bert` (N, 3, T)" in text
    assert "text_lengths" not in text


def test_words_alone_are_enough_for_a_model_of_text(machine, tmp_path):
    run = machine.fuse("data.modalities=[t]")
    texts = given_texts(["a fine film", "a bad one"])
    known = predict_texts([run], texts, data_dir=machine.data, device="cpu").table
    export(run, tmp_path / "model", data_dir=machine.data)
    machine.lose()
    found = predict_texts([RunFolder(tmp_path / "model")], texts, data_dir=tmp_path / "no", device="cpu").table
    pd.testing.assert_frame_equal(found, known)
    assert "--text" in (tmp_path / "model" / "README.md").read_text()


def test_several_models_are_averaged_as_their_runs_are(machine, tmp_path):
    run = machine.fuse()
    export(run, tmp_path / "model", data_dir=machine.data)
    models = [RunFolder(tmp_path / "model"), run]
    report = predict(models, machine.new, tmp_path / "out.csv", data_dir=machine.data, device="cpu")
    assert report.runs == ("mini/own/changed/seed-1",) * 2


def test_what_is_there_is_replaced_only_where_that_is_asked_for(machine, tmp_path):
    run, out = machine.fuse(), tmp_path / "model"
    export(run, out, data_dir=machine.data)
    (out / "old").touch()
    with pytest.raises(InvalidInput, match="is there already"):
        export(run, out, data_dir=machine.data)
    assert (out / "old").exists()
    export(run, out, data_dir=machine.data, force=True)
    assert not (out / "old").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(InvalidInput, match="holds no export"):
        export(run, tmp_path / "mine", data_dir=machine.data, force=True)


def test_an_export_that_fails_leaves_nothing(machine, tmp_path):
    run, out = machine.fuse(), tmp_path / "model"
    with pytest.raises(ZeroDivisionError):
        export(run, out, data_dir=machine.data, card=lambda fused: 1 / 0)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("model")]


def test_what_a_killed_export_left_goes_with_the_next(machine, tmp_path):
    left, young = (tmp_path / f"model.{token}{PARTIAL}" for token in ("0123abcd", "4567cdef"))
    for folder in (left, young):
        folder.mkdir()
        (folder / "config.json").write_text("{")
    old = time.time() - STALE_SECONDS - 1
    os.utime(left, (old, old))
    export(machine.fuse(), tmp_path / "model", data_dir=machine.data)
    assert not left.exists()
    assert young.exists()  # another process may be at it


def test_what_is_no_whole_run_is_refused(machine, tmp_path):
    with pytest.raises(RunMissing, match="There is no run"):
        export(RunFolder(tmp_path / "nothing"), tmp_path / "model", data_dir=tmp_path)
    run = machine.fuse()
    (run.path / "weights.safetensors").write_bytes(b"{")
    with pytest.raises(RunMismatch, match=r"weights\.safetensors"):
        export(run, tmp_path / "model", data_dir=machine.data)
    assert not (tmp_path / "model").exists()
