"""What `evaluate` and `predict` give: recomputed from the files of the run and of its encoders, and the raw corpus."""

import copy
import json
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.views import Batch
from dmmsa_cli.errors import RunMismatch
from dmmsa_cli.experiments.base_text import base_text
from dmmsa_cli.layers.heads import regression_head
from dmmsa_cli.layers.pretrained import fingerprint
from dmmsa_cli.layers.sequence import SequenceEncoder
from dmmsa_cli.models.feature_decomposition import FeatureDecomposition
from dmmsa_cli.models.unimodal import Unimodal
from dmmsa_cli.objectives.dmmsa import Dmmsa, DmmsaOptions
from dmmsa_cli.stages.evaluate import evaluate, find_runs
from dmmsa_cli.stages.predict import predict
from dmmsa_cli.training.run import RunFolder
from tests.interception import no_training, pooled
from tests.ragged import one_group
from tests.training_runs import open_mini, run_fuse

WIDTH = 16
NAMES = {"t": "text", "v": "vision", "a": "audio"}
HALF = ("data.fraction=0.5", "pretraining.seed=5")  # no run's seed: shared encoders are none of the seeds' own
VARIANTS = {  # of the same recipe: what changes, and how a run of it begins
    "shared": ((), {}),
    "own": (("pretraining.per_seed=true",), {}),
    "trained": (("text.train_in_fusion=true",), {}),
    "scratch": ((), {"from_scratch": True}),
    "raw": (("data.standardise=false",), {}),
}
SEEDS = (1, 12)


@pytest.fixture(scope="module")
def runs(prepared, micro, tmp_path_factory):
    """Two seeds of every variant on half of the rows, none of them trained: each has weights of its own."""
    folder = tmp_path_factory.mktemp("measured")
    with no_training():
        for variant, (settings, flags) in VARIANTS.items():
            experiment = open_mini(prepared, micro, folder, *HALF, *settings)
            for seed in SEEDS:
                run_fuse(experiment, variant, seed, **flags)
    return folder


every_run = pytest.mark.parametrize(("variant", "seed"), [(v, seed) for v in VARIANTS for seed in SEEDS])


def folder_of(runs, variant, seed):
    return runs / "mini" / "micro" / variant / f"seed-{seed}"


# --- once more, by hand ---------------------------------------------------------------------------------------------


def encoder(weights, modality):
    """An encoder of audio or vision, its weights still to be loaded."""
    features, positions = (weights[f"encoders.{modality}.{name}"].shape[0] for name in ("mean", "positions"))
    shape = {"features": features, "longest": positions - 1, "width": WIDTH, "layers": 1, "heads": 2}
    return SequenceEncoder(**shape, position_dropout=0.1, layer_dropout=0.1)


def frames(split, modality):
    name = NAMES[modality]
    return one_group(torch.from_numpy(np.asarray(split[name], np.float32)), split[f"{name}_lengths"])


def encoder_of(run, name):
    (folder,) = run.parents[2].glob(f"encoders/{json.loads((run / 'environment.json').read_text())['encoders'][name]}")
    return folder


@torch.no_grad()
def alone(run, modality, split):
    """Predictions of the pretrained encoder of one modality for the raw rows of a split."""
    folder = encoder_of(run, modality)
    weights = load_file(folder / "weights.safetensors")
    if modality == "t":
        head = regression_head(WIDTH)
        head.load_state_dict({k.removeprefix("head."): w for k, w in weights.items() if k.startswith("head.")})
        return head(pooled(folder / "text", weights, split["raw_text"])).squeeze(-1).numpy()
    model = Unimodal({modality: encoder(weights, modality)}, {modality: WIDTH}).eval()
    model.load_state_dict(weights)
    rows = torch.arange(len(split["id"]))
    return model(Batch(rows, {modality: frames(split, modality)}, {})).prediction.numpy()


def text_of(run, split):
    """Embeddings of the transcripts by the text encoder that the run stands on."""
    facts, own = json.loads((run / "environment.json").read_text()), load_file(run / "weights.safetensors")
    if any(name.startswith("encoders.t.") for name in own):
        return pooled(run / "text", own, split["raw_text"])
    if "t" in facts["encoders"]:
        folder = encoder_of(run, "t")
        return pooled(folder / "text", load_file(folder / "weights.safetensors"), split["raw_text"])
    known = (path for path in run.parents[2].glob("encoders/tiny-*") if path.is_dir())
    (tiny,) = (path for path in known if fingerprint(path) == facts["base_text"])
    base = {f"encoders.t.backbone.{name}": w for name, w in load_file(tiny / "model.safetensors").items()}
    return pooled(tiny, base, split["raw_text"])


@torch.no_grad()
def fused(run, split):
    """Outputs of the fused model with the run's weights for the raw rows of a split."""
    weights = load_file(run / "weights.safetensors")
    own = {name: w for name, w in weights.items() if not name.startswith("encoders.t.")}
    heads = Dmmsa(Capabilities(("t", "v", "a"), 3.0, "mosi"), DmmsaOptions()).heads
    encoders, widths = {m: encoder(weights, m) for m in "va"}, dict.fromkeys("tva", WIDTH)
    model = FeatureDecomposition(encoders, widths, heads, width=WIDTH, projector_dropout=0.1).eval()
    model.load_state_dict(own)
    inputs = {"t": text_of(run, split), **{m: frames(split, m) for m in "va"}}
    return model(Batch(torch.arange(len(split["id"])), inputs, {}))


def metrics_in(run, split):
    return json.loads((run / "metrics.json").read_text())[split]


def mae(predictions, split):
    return pytest.approx(np.abs(np.asarray(predictions) - split["regression_labels"]).mean(), abs=1e-5)


# --- evaluate -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["test", "train", "valid"])
def evaluated(request, runs, prepared):
    """A split, and the tables of all runs on it."""
    outcome = evaluate(find_runs([], "mini", runs), split=request.param, data_dir=prepared, device="cpu")
    assert outcome.left_out == []
    return request.param, outcome.tables


@every_run
def test_predictions_are_those_of_the_runs_own_weights_on_all_rows_of_the_split(evaluated, runs, corpus, variant, seed):
    split, raw = evaluated[0], corpus[evaluated[0]]
    run, outputs = folder_of(runs, variant, seed), fused(folder_of(runs, variant, seed), raw)
    table = pd.read_csv(run / ("predictions.csv" if split == "test" else f"predictions-{split}.csv"))
    assert (list(table["id"]), list(table["text"])) == (raw["id"], raw["raw_text"])
    np.testing.assert_array_equal(table["y_true"].to_numpy(np.float32), raw["regression_labels"])
    np.testing.assert_allclose(table["y_pred"], outputs.prediction, atol=1e-5)
    np.testing.assert_array_equal(table["msc_3"], outputs.heads["msc_3"].argmax(1))
    for place, feature in enumerate(("T_s", "V_s", "A_s", "T_d", "V_d", "A_d")):
        np.testing.assert_allclose(table[f"uni_{feature}"], outputs.heads["unimodal"][:, place, 0], atol=1e-5)
    assert metrics_in(run, split)["fused"]["mae"] == mae(outputs.prediction, raw)


@every_run
def test_each_modality_alone_is_measured_by_its_own_encoder(evaluated, runs, corpus, variant, seed):
    split, raw = evaluated[0], corpus[evaluated[0]]
    run = folder_of(runs, variant, seed)
    metrics = metrics_in(run, split)
    modalities = "" if variant == "scratch" else "tva"
    assert metrics.keys() == {"fused", *(NAMES[m] for m in modalities)}
    for modality in modalities:
        assert metrics[NAMES[modality]]["mae"] == mae(alone(run, modality, raw), raw)


def test_the_table_has_the_metrics_that_the_runs_have(evaluated, runs):
    split, (table,) = evaluated
    rows = {row.title: row for row in table.systems}
    for variant in VARIANTS:
        row = rows[f"micro {variant}, t+v+a"]
        assert row.seeds == list(SEEDS)
        own = [metrics_in(folder_of(runs, variant, seed), split)["fused"]["mae"] for seed in SEEDS]
        assert [metrics["mae"] for metrics in row.runs] == own
        assert row.covers.startswith("the fusion only" if variant in ("shared", "trained", "raw") else "all training")


def test_the_tables_rows_of_one_modality_are_those_of_its_encoders(evaluated, runs):
    """Runs that share an encoder share its row, which is named for the first of them."""
    split, (table,) = evaluated
    rows = {row.title: row for row in table.systems if " alone" in row.title}
    named = {"text": ("own", "raw"), "vision": ("own", "raw", "shared"), "audio": ("own", "raw", "shared")}
    assert rows.keys() == {f"{name} alone (micro {v}, t+v+a)" for name, variants in named.items() for v in variants}
    errors = set()
    for name, variants in named.items():
        for variant in variants:
            row, seeds = rows[f"{name} alone (micro {variant}, t+v+a)"], SEEDS if variant == "own" else SEEDS[:1]
            own = [metrics_in(folder_of(runs, variant, seed), split)[name]["mae"] for seed in seeds]
            assert (row.seeds, [metrics["mae"] for metrics in row.runs]) == (list(seeds), own)
            errors.update(own)
    assert len(errors) == 3 + 4 + 4  # or else it would not matter which encoder was measured


# --- what a run stands on is compared -------------------------------------------------------------------------------


@pytest.fixture
def standing_on_a_folder(prepared, micro, runs, tmp_path):
    """Runs on a text encoder in a folder: frozen from scratch, trained from scratch, pretrained."""
    tiny = base_text(open_mini(prepared, micro, runs, *HALF), 1)
    shutil.copytree(tiny, tmp_path / "encoder", ignore=shutil.ignore_patterns(".lock"))
    settings = ("text.source=encoder", f"text.encoder={tmp_path / 'encoder'}")
    with no_training():
        for variant, trained, scratch in (
            ("frozen", False, True),
            ("trained", True, True),
            ("pretrained", False, False),
        ):
            own = (*settings, f"text.train_in_fusion={str(trained).lower()}")
            run_fuse(open_mini(prepared, micro, tmp_path / "runs", *own), variant, from_scratch=scratch)
    return tmp_path


def test_a_run_that_stands_on_another_base_text_encoder_now_is_left_out(standing_on_a_folder, prepared):
    """Only the frozen one reads it still; the others have all weights in a file of their own."""
    place, found = standing_on_a_folder, find_runs([], "mini", standing_on_a_folder / "runs")
    assert evaluate(found, split="test", data_dir=prepared, device="cpu").left_out == []
    config = place / "encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"layer_norm_eps": 1e-3}))
    outcome = evaluate(found, split="test", data_dir=prepared, device="cpu")
    (why,) = outcome.left_out
    assert isinstance(why, RunMismatch)
    assert "micro/frozen/seed-1 was trained on other weights" in why.what
    assert str(place / "encoder") in why.what
    (table,) = outcome.tables
    fused_rows = [row.title for row in table.systems if row.title.startswith("micro ")]
    assert fused_rows == ["micro pretrained, t+v+a", "micro trained, t+v+a"]


@pytest.mark.parametrize("name", NAMES.values())
def test_a_run_whose_encoder_was_trained_anew_is_left_out(standing_on_a_folder, prepared, name):
    (path,) = (standing_on_a_folder / "runs" / "mini" / "encoders").glob(f"{name}-*/weights.safetensors")
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    found = find_runs([], "mini", standing_on_a_folder / "runs")
    (why,) = evaluate(found, split="test", data_dir=prepared, device="cpu").left_out
    assert "micro/pretrained/seed-1 was trained on other weights" in why.what
    assert str(path.parent) in why.what


# --- predict --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strange(corpus):
    """Clips in another order, whose frames have other statistics than the run's, and no labels."""
    splits = {}
    for name, size in (("test", 7), ("other", 11)):
        raw = corpus["valid" if name == "other" else name]
        rows = np.random.default_rng(size).permutation(24)[:size].tolist()
        split = {key: [raw[key][row] for row in rows] for key in ("id", "raw_text", "audio_lengths", "vision_lengths")}
        for key in ("audio", "vision"):
            split[key] = np.where(raw[key][rows] == 0, 0, 3 * raw[key][rows] + 1).astype(np.float32)
        splits[name] = split
    return splits


@every_run
def test_new_clips_are_predicted_in_order_and_scaled_as_the_runs_own(runs, prepared, strange, tmp_path, variant, seed):
    run = folder_of(runs, variant, seed)
    (tmp_path / "new.pkl").write_bytes(pickle.dumps(copy.deepcopy(strange)))
    predict([RunFolder(run)], tmp_path / "new.pkl", tmp_path / "out.csv", data_dir=prepared, device="cpu")
    table = pd.read_csv(tmp_path / "out.csv")
    for name, split in strange.items():
        found, outputs = table[table["split"] == name], fused(run, split)
        assert (list(found["id"]), list(found["text"])) == (split["id"], split["raw_text"])
        np.testing.assert_allclose(found["y_pred"], outputs.prediction, atol=1e-5)
        names = np.array(["negative", "neutral", "positive"])
        np.testing.assert_array_equal(found["class_3"], names[outputs.heads["msc_3"].argmax(1)])
        np.testing.assert_allclose(found["audio_dissimilar"], outputs.heads["unimodal"][:, 5, 0], atol=1e-5)
    assert list(dict.fromkeys(table["split"])) == list(strange)
