"""What the stages hand to the training loop, held against the raw corpus and plain numpy. Nothing is trained here."""

from functools import cache

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from dmmsa_cli.data.ragged import Ragged
from dmmsa_cli.experiments.identity import identity_in
from tests.conftest import SPEC
from tests.data.splits import sequences_of
from tests.interception import STAGES, Recorder, given_by, pooled
from tests.training_runs import open_mini, prepare_mini

ROWS, VALID = 48, 24
SIZES = {"text": 5, "vision": 6, "audio": 7, "fusion": 9}  # rows a batch: a size of its own for each stage
OF_STAGE = {stage: f"pretraining.{stage}" for stage in STAGES} | {"fusion": "fusion"}
LABELS = {"text": "labels_T", "vision": "labels_V", "audio": "labels_A", "fusion": "labels"}
FROZEN = 3
SETTINGS = (
    *(f"{OF_STAGE[stage]}.batch_size={size}" for stage, size in SIZES.items()),
    *("pretraining.seed=5", f"pretraining.text.epochs={2 * FROZEN}", "pretraining.text.frozen_share=0.5"),
)

every_stage = pytest.mark.parametrize("stage", STAGES)
every_encoder = pytest.mark.parametrize("stage", STAGES[:3])


@pytest.fixture(scope="module")
def look(prepared, micro, tmp_path_factory):
    """What every stage of a run is given, by stage; each call has a folder of runs of its own."""

    @cache
    def given(*settings, seed=1, fraction=1.0, per_seed=False, from_scratch=False, again=False):
        runs = tmp_path_factory.mktemp("given")
        chosen = (*SETTINGS, f"data.fraction={fraction}", f"pretraining.per_seed={str(per_seed).lower()}", *settings)
        return given_by(open_mini(prepared, micro, runs, *chosen), "changed", seed, from_scratch=from_scratch)

    return given


# --- rows -----------------------------------------------------------------------------------------------------------


@every_stage
@pytest.mark.parametrize("fraction", [1.0, 0.5, 0.25])
@pytest.mark.parametrize(("per_seed", "seed", "encoders"), [(False, 1, 5), (False, 12, 5), (True, 12, 12)])
def test_every_epoch_sees_each_row_of_the_fraction_once(look, stage, fraction, per_seed, seed, encoders):
    """The fraction's rows go by the seed of the encoders, which the fused model shares with its encoders."""
    chosen = np.random.default_rng([encoders, ROWS]).permutation(ROWS)[: round(ROWS * fraction)]
    expected = sorted(chosen.tolist()) if fraction < 1 else list(range(ROWS))
    given = look(fraction=fraction, per_seed=per_seed, seed=seed)[stage]
    for epoch in (1, 2, FROZEN + 1):
        assert sorted(given.rows(epoch)) == expected
        assert given.batches(epoch).view.rows.tolist() == expected  # what an objective may search


@every_stage
@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_batches_have_the_size_of_their_stage(look, stage, fraction):
    rows, size = round(ROWS * fraction), SIZES[stage]
    for epoch in (1, FROZEN + 1):
        sizes = [len(batch) for batch in look(fraction=fraction)[stage].epoch(epoch)]
        assert sizes == [size] * (rows // size) + [rows % size] * (rows % size > 0)


# --- their order ----------------------------------------------------------------------------------------------------


@every_stage
def test_the_order_is_another_in_every_epoch_and_the_same_when_asked_again(look, stage):
    orders = [look()[stage].rows(epoch) for epoch in (1, 2, 3, 4, 5)]
    assert len({tuple(order) for order in orders}) == 5
    assert [look()[stage].rows(epoch) for epoch in (5, 3)] == [orders[4], orders[2]]
    assert [look(again=True)[stage].rows(epoch) for epoch in (1, 2, 3, 4, 5)] == orders


def test_the_order_of_fusion_is_the_runs_own(look):
    one, other = look(seed=1)["fusion"], look(seed=12)["fusion"]
    for epoch in (1, 2):
        assert one.rows(epoch) != other.rows(epoch)
        assert one.rows(epoch) == look("pretraining.seed=6", seed=1)["fusion"].rows(epoch)


@every_encoder
def test_the_order_of_pretraining_is_the_encoders_own(look, stage):
    for epoch in (1, FROZEN + 1):
        shared = look(seed=1)[stage].rows(epoch)
        assert shared == look(seed=12)[stage].rows(epoch)
        assert shared != look("pretraining.seed=6", seed=1)[stage].rows(epoch)
        own = [look(per_seed=True, seed=seed)[stage].rows(epoch) for seed in (1, 12)]
        assert own[0] != own[1]


def lengths_of(batch):
    """Length of each row of a batch over all modalities that have sequences."""
    ragged = [value for value in batch.inputs.values() if isinstance(value, Ragged)]
    return np.sum([[len(row) for row in sequences_of(value)] for value in ragged], axis=0)


def in_order_of_length(batches):
    """Whether no two batches overlap in length."""
    spans = sorted((lengths.min(), lengths.max()) for lengths in map(lengths_of, batches))
    return all(before[1] <= after[0] for before, after in zip(spans, spans[1:], strict=False))


@every_stage
@pytest.mark.parametrize("windowed", STAGES)
def test_rows_of_like_length_stand_together_in_the_stage_that_says_so(look, stage, windowed):
    given = look(f"{OF_STAGE[windowed]}.length_window=100")[stage]  # one window over the whole epoch
    for epoch in (FROZEN + 1, FROZEN + 2):
        assert in_order_of_length(given.epoch(epoch)) == (stage == windowed)
        assert sorted(given.rows(epoch)) == list(range(ROWS))


# --- inputs and labels ----------------------------------------------------------------------------------------------


def check_frames(batch, modality, split):
    """See that each row has its own frames of the raw split, and no others."""
    name = {"v": "vision", "a": "audio"}[modality]
    for row, found in zip(batch.rows.tolist(), sequences_of(batch.inputs[modality]), strict=True):
        np.testing.assert_array_equal(found, split[name][row][: split[f"{name}_lengths"][row]])


def validated(given, epochs=0):
    """What a stage's validation shows a model after so many epochs, and the metrics that it gives."""
    given.state.epoch, model = epochs, Recorder()
    return model, given.evaluate(model)


@pytest.mark.parametrize(("stage", "modality"), [("vision", "v"), ("audio", "a"), ("fusion", "v"), ("fusion", "a")])
def test_a_row_brings_its_own_frames(look, corpus, stage, modality):
    given = look()[stage]
    assert given.epoch(1)[0].inputs.keys() == ({modality} if stage != "fusion" else {"t", "v", "a"})
    for batch in given.epoch(2):
        check_frames(batch, modality, corpus["train"])
    for batch in validated(given)[0].batches:
        check_frames(batch, modality, corpus["valid"])


def embedded(batches):
    """Text embeddings by row."""
    return {row: x for b in batches for row, x in zip(b.rows.tolist(), b.inputs["t"], strict=True)}


def check_embeddings(given, description, weights, corpus, rows=(0, 7, 19, 23)):
    """See that training and validation hold the embeddings of their own transcripts by just this encoder."""
    for split, batches in (("train", given.epoch(1)), ("valid", validated(given)[0].batches)):
        found, expected = embedded(batches), pooled(description, weights, [corpus[split]["raw_text"][r] for r in rows])
        torch.testing.assert_close(torch.stack([found[row] for row in rows]), expected, atol=1e-5, rtol=0)


def test_fusion_reads_the_embeddings_of_the_pretrained_text_encoder(look, corpus):
    text = look()["text"].run.path
    check_embeddings(look()["fusion"], text / "text", load_file(text / "weights.safetensors"), corpus)


def base_weights(folder):
    return {f"encoders.t.backbone.{name}": w for name, w in load_file(folder / "model.safetensors").items()}


def tiny_folder(given):
    runs = next(folder for folder in given.run.path.parents if folder.name == "mini")
    (folder,) = (path for path in runs.glob("encoders/tiny-*") if path.is_dir())
    return folder


def test_fusion_from_scratch_reads_the_embeddings_of_the_base_text_encoder(look, corpus):
    given = look(from_scratch=True)["fusion"]
    assert look(from_scratch=True).keys() == {"fusion"}
    check_embeddings(given, tiny_folder(given), base_weights(tiny_folder(given)), corpus)


def with_text_features(split):
    """A raw split with BERT-like features of its words, five of them at most."""
    rows = len(split["id"])
    rng = np.random.default_rng(rows)
    lengths = rng.integers(1, 6, rows)
    valid = np.arange(5) < lengths[:, None]
    features = np.where(valid[:, :, None], rng.normal(size=(rows, 5, 3)), 9.0).astype(np.float32)  # 9: no word's
    return split | {"text": features, "text_bert": np.stack([np.ones_like(valid), valid, valid], 1).astype(np.int64)}


@pytest.fixture(scope="module")
def featured(corpus):
    return {name: with_text_features(split) for name, split in corpus.items()}


def test_fusion_without_a_text_encoder_reads_the_mean_of_the_pickles_own_features(featured, micro, tmp_path):
    data = prepare_mini(featured, tmp_path)
    given = given_by(open_mini(data, micro, tmp_path / "runs", "text.source=features"), "changed")
    assert given.keys() == {"vision", "audio", "fusion"}
    for split, batches in (("train", given["fusion"].epoch(1)), ("valid", validated(given["fusion"])[0].batches)):
        raw = featured[split]
        for row, found in embedded(batches).items():
            valid = raw["text"][row][raw["text_bert"][row, 1] > 0]
            np.testing.assert_allclose(found, valid.mean(0), rtol=1e-5, atol=1e-6)


def check_tokens(batches, tokenizer, texts):
    for batch in batches:
        for row, ids in zip(batch.rows.tolist(), sequences_of(batch.inputs["t"]), strict=True):
            assert ids.tolist() == tokenizer.encode(texts[row]).ids


@pytest.mark.parametrize(("stage", "settings"), [("text", ()), ("fusion", ("text.train_in_fusion=true",))])
def test_a_text_encoder_that_is_trained_reads_the_tokens_of_its_rows(look, corpus, stage, settings):
    given = look(*settings)[stage]
    words = Tokenizer.from_file(str(given.run.path / "text" / "tokenizer.json"))
    check_tokens(given.epoch(FROZEN + 1), words, corpus["train"]["raw_text"])
    check_tokens(validated(given, epochs=FROZEN + 1)[0].batches, words, corpus["valid"]["raw_text"])


@every_stage
def test_a_row_brings_its_own_label_and_pretraining_that_of_its_modality(look, corpus, stage):
    raw = corpus["train"]
    for epoch in (1, FROZEN + 1):
        for batch in look(fraction=0.5)[stage].epoch(epoch):
            assert batch.labels["y"].tolist() == raw[f"regression_{LABELS[stage]}"][batch.rows].tolist()
            if stage == "fusion":
                for modality in "tva":
                    own = raw[f"regression_labels_{modality.upper()}"]
                    assert batch.labels[modality].tolist() == own[batch.rows].tolist()


@pytest.fixture(scope="module")
def scored_once(corpus, micro, tmp_path_factory):
    """What every stage is given on a corpus that has one score a clip."""
    folder = tmp_path_factory.mktemp("once")
    raw = {
        name: {key: value for key, value in split.items() if not key.startswith("regression_labels_")}
        for name, split in corpus.items()
    }
    return given_by(open_mini(prepare_mini(raw, folder, SPEC | {"unimodal_labels": False}), micro, folder / "runs"))


@every_stage
def test_without_labels_of_its_own_a_modality_learns_y(scored_once, corpus, stage):
    given, labels = scored_once[stage], {split: corpus[split]["regression_labels"] for split in ("train", "valid")}
    for batch in given.epoch(1):
        assert batch.labels["y"].tolist() == labels["train"][batch.rows].tolist()
    model, metrics = validated(given)
    assert metrics["mae"] == pytest.approx(model.mae(labels["valid"]), abs=1e-6)


# --- validation -----------------------------------------------------------------------------------------------------


@every_stage
@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_every_stage_is_validated_on_all_rows_of_the_validation_split(look, corpus, stage, fraction):
    for epochs in (1, FROZEN + 1):
        model, metrics = validated(look(fraction=fraction)[stage], epochs)
        assert [row for batch in model.batches for row in batch.rows.tolist()] == list(range(VALID))
        assert metrics["mae"] == pytest.approx(model.mae(corpus["valid"][f"regression_{LABELS[stage]}"]), abs=1e-6)


# --- text is frozen at first ----------------------------------------------------------------------------------------


def test_the_best_epoch_of_text_is_one_in_which_it_was_trained(look):
    assert {stage: given.first_candidate for stage, given in look().items()} == {
        **{"text": FROZEN + 1, "vision": 1, "audio": 1, "fusion": 1},
    }
    assert look("pretraining.text.frozen_share=0")["text"].first_candidate == 1


def test_frozen_text_arrives_as_embeddings_of_the_untouched_encoder_and_later_as_tokens(look, corpus):
    given = look()["text"]
    base = base_weights(tiny_folder(given))
    assert all(given.initial[name].equal(value) for name, value in base.items())
    check_embeddings(given, given.run.path / "text", base, corpus)
    for epoch in range(1, 2 * FROZEN + 1):
        kinds = {type(b.inputs["t"]) for b in (*given.epoch(epoch), *validated(given, epochs=epoch)[0].batches)}
        assert kinds == {torch.Tensor if epoch <= FROZEN else Ragged}


def test_text_that_is_never_frozen_is_read_as_tokens_at_once(look):
    given = look("pretraining.text.frozen_share=0")["text"]
    assert isinstance(given.epoch(1)[0].inputs["t"], Ragged)
    assert isinstance(validated(given, epochs=1)[0].batches[0].inputs["t"], Ragged)


# --- what the seed decides ------------------------------------------------------------------------------------------


def begins_alike(one, other):
    """Whether two trainings begin with the same weights and draw the same dropout."""
    weights = all(value.equal(other.initial[name]) for name, value in one.initial.items())
    assert weights == one.random.equal(other.random)
    return weights


def test_weights_and_dropout_of_fusion_follow_the_runs_seed(look):
    for flags in ({}, {"from_scratch": True}, {"per_seed": True}):
        assert begins_alike(look(**flags)["fusion"], look(**flags, again=True)["fusion"])
        assert not begins_alike(look(**flags)["fusion"], look(**flags, seed=12)["fusion"])


@every_encoder
def test_weights_and_dropout_of_pretraining_follow_the_encoders_seed(look, stage):
    shared = look()[stage]
    assert begins_alike(shared, look(seed=12)[stage])
    assert not begins_alike(shared, look("pretraining.seed=6")[stage])
    assert begins_alike(look(per_seed=True)[stage], look(per_seed=True, again=True)[stage])
    assert not begins_alike(look(per_seed=True)[stage], look(per_seed=True, seed=12)[stage])


def test_untrained_encoders_of_a_run_from_scratch_follow_its_seed(look):
    one, other = (look(from_scratch=True, seed=seed)["fusion"].initial for seed in (1, 12))
    for modality in "va":
        name = f"encoders.{modality}.project.weight"
        assert not one[name].equal(other[name])


def test_a_run_begins_alike_whether_or_not_its_text_is_in_the_cache(prepared, micro, tmp_path):
    experiment = open_mini(prepared, micro, tmp_path)
    first, second = (given_by(experiment, force=force)["fusion"] for force in (False, True))
    assert begins_alike(first, second)


# --- what fusion stands on ------------------------------------------------------------------------------------------


def test_fusion_begins_with_the_pretrained_encoders_of_audio_and_vision(look):
    given = look()
    for stage, modality in (("vision", "v"), ("audio", "a")):
        trained = load_file(given[stage].run.path / "weights.safetensors")
        names = [name for name in trained if name.startswith(f"encoders.{modality}.")]
        assert names
        assert all(given["fusion"].initial[name].equal(trained[name]) for name in names)
    assert not any(name.startswith("encoders.t.") for name in given["fusion"].initial)


def test_text_that_is_trained_in_fusion_begins_as_it_was_pretrained(look):
    given = look("text.train_in_fusion=true")
    trained = load_file(given["text"].run.path / "weights.safetensors")
    names = [name for name in trained if name.startswith("encoders.t.")]
    assert names
    assert all(given["fusion"].initial[name].equal(trained[name]) for name in names)


def test_each_seed_stands_on_encoders_of_its_own_where_the_recipe_says_so(look):
    for per_seed in (False, True):
        one, other = (look(per_seed=per_seed, seed=seed)["fusion"].initial for seed in (1, 12))
        name = "encoders.v.project.weight"
        assert one[name].equal(other[name]) != per_seed


# --- under which name it is kept ------------------------------------------------------------------------------------


def test_a_checkpoint_bears_the_identity_of_its_run(look):
    identities = set()
    for seed in (1, 12):
        given = look(seed=seed)["fusion"]
        assert given.identity == identity_in(given.run).key
        identities.add(given.identity)
    assert len(identities | {look(from_scratch=True)["fusion"].identity}) == 3


@every_encoder
def test_a_checkpoint_of_an_encoder_bears_what_its_folder_is_named_for(look, stage):
    given = look()[stage]
    assert given.run.path.name == f"{stage}-{given.identity}"
