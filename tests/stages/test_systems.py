"""Every network beside DMMSA's, from recipe to predictions: trained, killed, resumed, evaluated and used."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file

from dmmsa_cli.errors import Inapplicable, Interrupted, InvalidInput, InvalidRecipe
from dmmsa_cli.experiments.experiment import open_experiment
from dmmsa_cli.experiments.recipes import find_recipe, read_recipe, recipe_names
from dmmsa_cli.experiments.rows import used_rows
from dmmsa_cli.models import MODELS
from dmmsa_cli.stages.evaluate import evaluate
from dmmsa_cli.stages.predict import predict
from dmmsa_cli.stages.prepare import prepare
from dmmsa_cli.training.run import RunFolder
from tests.conftest import MICRO_RECIPE
from tests.training_runs import StopAfter, log, open_mini, run_fuse, weights

NAMES = [name for name in MODELS if name != "feature_decomposition"]
NEEDS_TEXT = {"mag_bert"}  # trained along: it runs the text encoder itself
CASES = [(name, trains) for name in NAMES for trains in (False, True) if trains or name not in NEEDS_TEXT]
each = pytest.mark.parametrize(("name", "trains"), CASES, ids=[f"{n}-{'trained' if t else 'frozen'}" for n, t in CASES])


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Write a recipe of a network that trains in seconds: its toy recipe's sizes on the smallest corpus."""
    folder = tmp_path_factory.mktemp("systems")

    def write(name, trains, **fusion):
        toy = read_recipe(find_recipe(name.replace("_", "-"), "toy"))
        # Gradients that wait for a step, and a rate that falls, have to survive a stop as all else does.
        schedule = (
            MICRO_RECIPE["fusion"] | {"accumulate": 2, "clip_value": 0.8, "epochs": 3, "optimiser": "adam"} | fusion
        )
        values = MICRO_RECIPE | {key: toy[key] for key in ("model", "objective", "data") if key in toy}
        values |= {"pretraining": None}
        values = values | {"text": {**MICRO_RECIPE["text"], "train_in_fusion": trains}, "fusion": schedule}
        path = folder / f"{name}-{trains}{'-changed' * bool(fusion)}.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


@pytest.fixture(scope="module")
def finished(prepared, recipe, tmp_path_factory):
    runs, found = tmp_path_factory.mktemp("runs"), {}

    def run(name, trains):
        if (name, trains) not in found:
            found[name, trains] = run_fuse(open_mini(prepared, recipe(name, trains), runs)).folder
        return found[name, trains]

    return run


@each
@pytest.mark.parametrize("events", [2, 5, 8])
def test_killed_and_resumed_is_bit_for_bit_the_same(finished, prepared, recipe, tmp_path, name, trains, events):
    whole, experiment = finished(name, trains), open_mini(prepared, recipe(name, trains), tmp_path)
    with pytest.raises(Interrupted, match="resume=True"):
        run_fuse(experiment, watch=StopAfter(events))
    resumed = run_fuse(experiment, resume=True).folder
    assert weights(resumed) == weights(whole)
    assert log(resumed) == log(whole)


@each
def test_it_learns_stands_on_no_encoder_and_keeps_what_it_must(finished, name, trains):
    folder = finished(name, trains)
    facts = json.loads((folder / "environment.json").read_text())
    assert facts["encoders"] == facts["encoder_hashes"] == {}
    kept = [path.name for path in (folder.parents[2] / "encoders").iterdir()]
    assert not [name for name in kept if name.startswith(("text-", "vision-", "audio-"))]
    losses = [next(iter(line["losses"].values())) for line in log(folder)]
    assert losses[-1] < losses[0]
    assert any("backbone" in key for key in weights(folder)) == trains


@each
def test_new_clips_get_what_evaluation_gave_them(finished, prepared, corpus, tmp_path, name, trains):
    """From the store by cached states, from a pickle without."""
    run = RunFolder(finished(name, trains))
    (table,) = evaluate([run], split="test", data_dir=prepared, device="cpu").tables
    assert [system.title for system in table.systems] == ["training mean", table.systems[-1].title]
    known = pd.read_csv(run.path / "predictions.csv")
    source = tmp_path / "new.pkl"
    source.write_bytes(pickle.dumps({"test": {k: v for k, v in corpus["test"].items() if "regression" not in k}}))
    predict([run], source, tmp_path / "out.csv", data_dir=prepared, device="cpu")
    told = pd.read_csv(tmp_path / "out.csv")
    # A file of its own is encoded anew; states in a cache have been rounded to float16, those of a file likewise.
    np.testing.assert_allclose(told["y_pred"], known["y_pred"], atol=2e-5)
    assert known["y_pred"].std() > 0


def test_a_network_that_runs_the_text_encoder_needs_one_that_is_trained(prepared, recipe, tmp_path):
    with pytest.raises(InvalidRecipe, match="runs the text encoder itself"):
        run_fuse(open_mini(prepared, recipe("mag_bert", False), tmp_path))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["data.modalities=[t]"], "needs text and one modality beside it"),
        (["data.modalities=[v, a]"], "needs text and one modality beside it"),
        (["data.aligned=true"], "goes word by word .* mini is not aligned"),
    ],
)
def test_what_means_nothing_on_the_data_is_told_before_anything_is_trained(prepared, recipe, tmp_path, settings, words):
    with pytest.raises(Inapplicable, match=words):
        run_fuse(open_mini(prepared, recipe("mag_bert", True), tmp_path, *settings), "mine")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("modalities", ["[t]", "[v, a]"])
def test_a_network_around_text_needs_text_and_one_beside_it(prepared, recipe, tmp_path, modalities):
    with pytest.raises(Inapplicable, match="mmiln lets text look at .* needs text and one modality beside it"):
        run_fuse(open_mini(prepared, recipe("mmiln", False), tmp_path, f"data.modalities={modalities}"), "mine")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("standardise", "fraction"), [(True, 1.0), (True, 0.5), (False, 1.0)])
def test_frames_are_scaled_by_the_training_rows_in_use(prepared, recipe, tmp_path, standardise, fraction):
    settings = (f"data.standardise={str(standardise).lower()}", f"data.fraction={fraction}", "fusion.epochs=1")
    experiment = open_mini(prepared, recipe("lf_dnn", False), tmp_path, *settings)
    held = load_file(run_fuse(experiment, "mine").folder / "weights.safetensors")
    split, rows = experiment.store.split("train"), used_rows(experiment, "train", 1)
    assert len(rows) == 48 * fraction
    for modality in "va":
        frames = np.concatenate([split.sequence(modality, int(row)) for row in rows]).astype(np.float64)
        mean, deviation = (frames.mean(0), frames.std(0)) if standardise else (0, 1)
        np.testing.assert_allclose(held[f"encoders.{modality}.mean"], np.broadcast_to(mean, frames.shape[1]), atol=1e-4)
        expected = np.broadcast_to(deviation, frames.shape[1])
        np.testing.assert_allclose(held[f"encoders.{modality}.deviation"], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "flags", "words"),
    [
        ({"groups": {"vison": {"learning_rate": 1.0}}}, {}, r"groups\.vison: there is nothing of that name"),
        ({}, {"from_scratch": True}, "--from-scratch: .* pretrains no encoders"),
    ],
)
@pytest.mark.parametrize(("name", "trains"), [("self_mm", True), ("mag_bert", True), ("mult", False)])
def test_what_is_asked_in_vain_is_refused_and_leaves_nothing(
    prepared, recipe, tmp_path, name, trains, settings, flags, words
):
    path = recipe(name, trains, **settings)
    with pytest.raises((InvalidRecipe, InvalidInput), match=words):
        run_fuse(open_mini(prepared, path, tmp_path), "mine", **flags)
    assert not list(tmp_path.glob("mini/*-*"))


@pytest.mark.slow
def test_on_the_toy_corpus_every_system_is_better_than_the_training_mean(tmp_path):
    """With the shipped recipes: synthetic data, a check of the machinery and of nothing else."""
    prepare("toy", data_dir=tmp_path)
    runs = []
    for name in recipe_names("toy"):
        experiment = open_experiment("toy", data_dir=tmp_path, runs_dir=tmp_path, recipe=name, device="cpu")
        runs.append(RunFolder(run_fuse(experiment).folder))
    (table,) = evaluate(runs, split="test", data_dir=tmp_path, device="cpu").tables
    maes = {system.title: system.summary.mean["mae"] for system in table.systems if "alone" not in system.title}
    assert len(maes) == 1 + len(recipe_names("toy")) > 10
    mean = maes.pop("training mean")
    assert max(maes.values()) < 0.75 * mean, maes
