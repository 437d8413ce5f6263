"""The clips around one, from a recipe to predictions: the right ones are read, wherever text passes to an encoder."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from transformers import AutoTokenizer, BertModel

from dmmsa_cli.cli.training_view import data_note
from dmmsa_cli.data.specs import SPLITS
from dmmsa_cli.errors import EncoderUnavailable, Interrupted, InvalidRecipe
from dmmsa_cli.experiments.base_text import base_text
from dmmsa_cli.experiments.build import Fused
from dmmsa_cli.experiments.context import clips_around, context_remarks
from dmmsa_cli.experiments.encoders import Encoders
from dmmsa_cli.experiments.inputs import unimodal_view
from dmmsa_cli.experiments.pseudo_emotions import embedding
from dmmsa_cli.experiments.studies import load_study
from dmmsa_cli.layers.pretrained import make_tiny
from dmmsa_cli.layers.text import TinyOptions
from dmmsa_cli.stages.evaluate import evaluate
from dmmsa_cli.stages.predict import predict
from dmmsa_cli.training.run import RunFolder
from tests.interception import no_training
from tests.training_runs import StopAfter, log, open_mini, prepare_mini, run_fuse, weights

TWO = "text.context.before=2"
AFTER = "text.context.after=1"
ALONG = "text.train_in_fusion=true"
MEAN = "text.pooling=mean"
TFN = {"name": "tfn", "text_hidden": 8, "audio_hidden": 4, "vision_hidden": 4, "text_width": 4, "fusion_width": 8}
MAG = {"name": "mag_bert"}


@pytest.fixture
def opened(prepared, micro, tmp_path):
    """A run's encoders from scratch, of a recipe with another network where one is given."""

    def fused(*settings, model=None, data=prepared):
        recipe = yaml.safe_load(micro.read_text())
        if model:
            recipe |= {"model": model, "objective": "regression", "pretraining": None}
        path = tmp_path / "context.yaml"
        path.write_text(yaml.safe_dump(recipe))
        experiment = open_mini(data, path, tmp_path / "runs", *settings)
        return Fused(Encoders(experiment, RunFolder(tmp_path / "run"), 1, {}))

    return fused


def renamed(corpus, change):
    """The corpus with other ids."""
    return {name: split | {"id": [change(clip) for clip in split["id"]]} for name, split in corpus.items()}


def named(folder):
    """A text encoder that no training rows decide, as a setting."""
    make_tiny(folder, ["some words of it"], TinyOptions(16, 1, 2, 300), max_tokens=256, seed=0)
    return f"text.source=encoder text.encoder={folder}".split()


# --- which clips are read ---------------------------------------------------------------------------------------------


def expected_words(split, row, before, after, read):
    """The tokens of a clip and its context, found by looking at every id of the split."""
    video, number = split["id"][row].split("$_$")
    others = {int(name.split("$_$")[1]): at for at, name in enumerate(split["id"]) if name.split("$_$")[0] == video}
    earlier = [n for n in sorted(others) if n < int(number)][-before:] if before else []
    later = [n for n in sorted(others) if n > int(number)][:after]
    context = " [SEP] ".join(read(split["raw_text"][others[n]]) for n in [*earlier, *later])
    return f"[CLS] {read(split['raw_text'][row])} [SEP]" + (f" {context} [SEP]" if context else "")


@pytest.mark.parametrize(("before", "after"), [(1, 0), (2, 1), (0, 2)])
def test_a_clip_is_read_with_those_of_its_own_video_and_split(opened, corpus, before, after):
    fused = opened(ALONG, f"text.context.before={before}", f"text.context.after={after}")
    tokenizer = AutoTokenizer.from_pretrained(fused.encoders.text_folder)

    def read(text):
        return " ".join(tokenizer.tokenize(text))

    for name in SPLITS:
        tokens = fused.inputs.split(name).inputs["t"]
        found = [" ".join(tokenizer.convert_ids_to_tokens(row.tolist())) for row in tokens.ids]
        assert found == [
            expected_words(corpus[name], row, before, after, read) for row in range(len(corpus[name]["id"]))
        ]
        assert any(words.count("[SEP]") == before + after + 1 for words in found)


def test_a_part_of_the_training_rows_is_read_with_all_clips_around_them(opened, tmp_path):
    """Transcripts are input: only what is labelled is left out."""
    settings = (*named(tmp_path / "named"), ALONG, TWO)
    whole, half = (opened(*settings, f"data.fraction={part}").inputs.split("train") for part in (1.0, 0.5))
    assert len(half) == len(whole) // 2
    for one, other in zip(whole.inputs["t"].ids, half.inputs["t"].ids, strict=True):
        assert one.tolist() == other.tolist()


def test_a_text_encoder_is_pretrained_with_it(opened):
    with_it, without = (unimodal_view(opened(*more).experiment, "t", "valid", 1) for more in ((TWO,), ()))
    assert with_it.inputs["t"].lengths().sum() > with_it.inputs["t"].own.sum()
    assert with_it.inputs["t"].own.tolist() == without.inputs["t"].lengths().tolist()


def test_transcripts_are_compared_without_it_where_emotions_are_taken_from_the_nearest(opened):
    fused = opened(TWO)
    rows = fused.experiment.store.split("valid")
    assert torch.equal(embedding(fused.experiment)(rows), embedding(opened().experiment)(rows))


# --- what comes of them ----------------------------------------------------------------------------------------------


@torch.no_grad()
def slowly(fused, split):
    """States of each clip's own tokens, by `transformers` alone, one clip at a time."""
    model = BertModel.from_pretrained(base_text(fused.experiment, 1)).eval()
    tokens = opened_tokens(fused, split)
    found = []
    for ids, own in zip(tokens.ids, tokens.own, strict=True):
        types = (torch.arange(len(ids)) >= own).long()
        found.append(model(torch.from_numpy(ids)[None], token_type_ids=types[None]).last_hidden_state[0, :own])
    return found


def opened_tokens(fused, split):
    return unimodal_view(fused.experiment, "t", split, 1).inputs["t"]


@pytest.mark.parametrize("settings", [(TWO,), (TWO, AFTER)])
def test_frozen_and_trained_along_the_mean_is_over_a_clips_own_words(opened, settings):
    frozen, along = opened(MEAN, *settings), opened(MEAN, ALONG, *settings)
    cached, view = frozen.inputs.split("valid").inputs["t"], along.inputs.split("valid")
    encoder = along.encoders.at_start()["t"].eval()
    with torch.no_grad():
        trained = encoder(view.batch(np.arange(len(view))).inputs["t"])
    expected = torch.stack([states.mean(0) for states in slowly(frozen, "valid")])
    torch.testing.assert_close(cached, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(trained, expected, atol=1e-5, rtol=0)
    alone = opened(MEAN).inputs.split("valid").inputs["t"]
    assert not torch.allclose(cached, alone, atol=1e-3)


def test_frozen_and_trained_along_a_network_that_reads_words_is_given_a_clips_own(opened):
    frozen, along = opened(TWO, model=TFN), opened(TWO, ALONG, model=TFN)
    cached, view = frozen.inputs.split("valid").inputs["t"], along.inputs.split("valid")
    expected, rows = slowly(frozen, "valid"), np.arange(len(view))
    with torch.no_grad():
        trained = along.encoders.at_start()["t"].eval()(view.batch(rows).inputs["t"])
    read = frozen.encoders.at_start()["t"](cached.collate(rows))
    assert cached.lengths().tolist() == [len(states) for states in expected]
    for block, within in ((trained, 1e-5), (read, 2e-3)):  # kept in float16
        assert block.lengths.tolist() == [len(states) for states in expected]
        assert block.values.shape[1] == max(map(len, expected))
        for row, states in enumerate(expected):
            torch.testing.assert_close(block.values[row, : len(states)], states, atol=within, rtol=0)
            assert not block.values[row, len(states) :].any()


@pytest.mark.parametrize("frames", ["aligned", "spread"])
def test_words_of_the_context_have_no_frames(opened, frames, monkeypatch):
    """MAG-BERT shifts words by what was heard with them; a clip's own have those that they have without context."""
    given = {}
    for name, settings in (("alone", ()), ("context", (TWO,))):
        fused = opened(ALONG, *settings, model=MAG | {"frames": frames})
        model, view = fused.at_start().eval(), fused.inputs.split("valid")
        calls, gate = [], model.gate.forward
        monkeypatch.setattr(
            model.gate, "forward", lambda words, x, calls=calls, gate=gate: calls.append(x) or gate(words, x)
        )
        batch = view.batch(np.arange(len(view)))
        model(batch)
        clips = batch.inputs["t"].clips()
        given[name] = {
            int(row): {m: x[place] for m, x in group.items()}
            for group, rows in zip(calls, clips, strict=True)
            for place, row in enumerate(rows)
        }
    longer = 0
    for row, own in enumerate(view.inputs["t"].own):
        for m in "va":
            alone, found = given["alone"][row][m], given["context"][row][m]
            torch.testing.assert_close(found[:own], alone[:own])
            assert not found[own:].any()
            longer += len(found) > own
    assert longer


# --- keys, runs, predictions -----------------------------------------------------------------------------------------


def test_embeddings_and_states_of_another_context_are_others(opened):
    names = set()
    for model in (None, TFN):
        for settings in ((), (TWO,), (TWO, AFTER)):
            opened(*settings, model=model).inputs.split("train")
    folder = opened().experiment.folder / "cache"
    names = {path.name.removesuffix(".safetensors").removesuffix("-train.arrow") for path in folder.iterdir()}
    assert len([name for name in names if name.startswith("text-")]) == 3
    assert len([name for name in names if name.startswith("states-") and not name.endswith(".arrow")]) == 3


@pytest.fixture(scope="module", params=[False, True], ids=["frozen text", "text trained in fusion"])
def run(request, prepared, micro, tmp_path_factory):
    trained = f"text.train_in_fusion={str(request.param).lower()}"
    experiment = open_mini(prepared, micro, tmp_path_factory.mktemp("context"), "fusion.epochs=1", trained, TWO, MEAN)
    return RunFolder(run_fuse(experiment).folder)


def predicted(run, prepared, content, folder, **more):
    (folder / "new.pkl").write_bytes(pickle.dumps(content))
    report = predict([run], folder / "new.pkl", folder / "out.csv", data_dir=prepared, device="cpu", **more)
    return pd.read_csv(folder / "out.csv").set_index("id")["y_pred"], report


def test_a_file_to_predict_gives_its_own_clips_around_each(run, prepared, corpus, tmp_path):
    (table,) = evaluate([run], split="test", data_dir=prepared, device="cpu").tables
    assert table.systems[-1].title == "micro changed, t+v+a, with 2 clips before"
    known = pd.read_csv(run.path / "predictions.csv").set_index("id")["y_pred"]
    found, report = predicted(run, prepared, corpus, tmp_path, split="test")
    np.testing.assert_allclose(found[known.index], known, atol=1e-5)
    assert not report.warnings
    order = np.random.default_rng(0).permutation(24)
    mixed = {key: [values[row] for row in order] for key, values in corpus["test"].items()}
    mixed = {key: values if isinstance(values[0], str) else np.array(values) for key, values in mixed.items()}
    found, _ = predicted(run, prepared, mixed, tmp_path)
    np.testing.assert_allclose(found[known.index], known, atol=1e-5)
    last = {key: values[1:] for key, values in corpus["test"].items()}  # without the first clip of a video
    found, _ = predicted(run, prepared, last, tmp_path)
    moved, without = (found - known[found.index]).abs(), corpus["test"]["id"][1:3]
    assert moved[without].min() > 10 * moved.drop(without).max()  # which rounding alone moves


def test_ids_that_name_no_videos_are_told_and_context_is_empty(run, prepared, corpus, tmp_path, opened):
    bare = renamed({"test": corpus["test"]}, lambda name: name.replace("$_$", "-"))
    _, report = predicted(run, prepared, bare, tmp_path)
    assert [line for line in report.warnings if "Ids name no videos (video$_$clip, video[clip] or video_clip)" in line]
    data = prepare_mini(renamed(corpus, lambda name: name.replace("$_$", "-")), tmp_path)
    fused = opened(TWO, ALONG, data=data)
    tokens = fused.inputs.split("train").inputs["t"]
    assert tokens.own.tolist() == tokens.lengths().tolist()
    assert context_remarks(opened(data=data).experiment) == []
    heard = []
    folder = run_fuse(fused.experiment, remark=heard.append, from_scratch=True).folder
    remarks = context_remarks(fused.experiment)
    assert remarks == [line for line in heard if "text.context does nothing here" in line]
    assert len(remarks) == 1
    assert remarks[0] in RunFolder(folder).environment["remarks"]


def test_what_ids_of_a_file_mean_the_dataset_of_the_run_says(opened, corpus, tmp_path):
    """One film alone can't show that `film_3` is the third clip of a video."""
    data = prepare_mini(renamed(corpus, lambda name: name.replace("$_$", "_")), tmp_path)
    experiment = opened(TWO, data=data).experiment
    film = [f"new_{number}" for number in (1, 2, 3)]
    assert clips_around(experiment, film)[2].before == [0, 1]
    assert context_remarks(experiment, film) == []


def test_some_ids_without_a_number_are_counted(opened, corpus, tmp_path):
    data = prepare_mini(renamed(corpus, lambda name: name.replace("$_$3", "$_$c")), tmp_path)
    (line,) = context_remarks(opened(TWO, data=data).experiment)
    without = sum("$_$3" in name for split in corpus.values() for name in split["id"])
    total = sum(len(split["id"]) for split in corpus.values())
    assert line.startswith(f"{without} of {total} ids name no video, or no number of a clip there: ")


def test_stopped_and_resumed_it_is_bit_for_bit_the_same(prepared, micro, tmp_path):
    through, stopped = (open_mini(prepared, micro, tmp_path / name, ALONG, TWO, "fusion.epochs=2") for name in "ab")
    whole = run_fuse(through, from_scratch=True).folder
    with pytest.raises(Interrupted):
        run_fuse(stopped, from_scratch=True, watch=StopAfter(4))
    resumed = run_fuse(stopped, from_scratch=True, resume=True).folder
    assert weights(resumed) == weights(whole)
    assert log(resumed) == log(whole)
    plain = run_fuse(open_mini(prepared, micro, tmp_path / "c", ALONG, "fusion.epochs=2"), from_scratch=True).folder
    assert weights(plain) != weights(whole)


# --- what is told, refused, left out ----------------------------------------------------------------------------------


def test_the_line_that_opens_a_run_names_it(opened):
    assert "modalities t v a, 2 clips before and 1 after as context; recipe" in data_note(opened(TWO, AFTER).experiment)
    assert "modalities t v a; recipe" in data_note(opened().experiment)


def test_without_text_there_is_none(opened):
    experiment = opened(TWO, "data.modalities=[v, a]").experiment
    assert not experiment.context.wanted
    assert "as context" not in data_note(experiment)


def test_the_line_that_opens_a_run_says_how_many_clips_it_trains_on(opened):
    whole, part = (data_note(opened(*settings).experiment) for settings in ((), ("data.fraction=0.5",)))
    rows = opened().experiment.store.manifest.rows["train"]
    assert f", {rows} training clips," in whole
    assert f", {round(rows / 2)} of {rows} training clips," in part


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("text.context.before=-1", r"text\.context: before: -1 is not in \[0, 32\]"),
        ("text.context.after=33", r"text\.context: after: 33 is not in \[0, 32\]"),
        ("text.context.before=1.5", r"text\.context\.before: 1\.5 is not a whole number"),
        ("text.context.around=1", r"text\.context\.around: unknown key"),
        ("text.source=features", r"text: context: 2 clips before can't be read where source is features"),
        ("data.padded=true", r"text\.context: 2 clips before and data\.padded both want what stands behind"),
    ],
)
def test_what_can_not_be_is_refused_in_words(opened, setting, words):
    with pytest.raises(InvalidRecipe, match=words):
        opened(TWO, setting, model=TFN)


def test_a_tokenizer_that_sets_no_texts_apart_is_refused_before_anything_is_made(prepared, micro, tmp_path):
    folder = tmp_path / "encoder"
    encoder = named(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.sep_token = None
    tokenizer.save_pretrained(folder)
    experiment = open_mini(prepared, micro, tmp_path / "runs", TWO, *encoder)
    with (
        pytest.raises(EncoderUnavailable, match=r"no token that sets texts apart.*text\.context"),
        no_training() as made,
    ):
        run_fuse(experiment)
    assert made.given == []
    assert not [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]


def test_its_study_leaves_out_what_ids_can_not_tell(opened):
    store = opened().experiment.store
    study = load_study("context")
    assert [variant.set for variant in study.variants] == [
        {},
        *({"text.context.before": clips} for clips in (1, 2, 4)),
        {"text.context.before": 2, "text.context.after": 1},
    ]
    assert "not on test" in study.title
    assert not any(variant.missing_on(store) for variant in study.variants)
    bare = copy.copy(store.split("train"))
    bare.ids = ["one", "two"]
    bare = replace(store, manifest=replace(store.manifest, notes={}), _splits={"train": bare})
    assert [bool(variant.missing_on(bare)) for variant in study.variants] == [False, True, True, True, True]
