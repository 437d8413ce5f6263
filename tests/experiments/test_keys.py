"""Which fact decides which key: one table for every leaf of a recipe, one for everything else.

A key that lacks what decides it hands out something that was made otherwise; a key that holds more makes the same anew.
A leaf that is new fails here until it stands in the table.
"""

import copy
import json
from dataclasses import dataclass, fields, replace
from functools import cache

import pytest
import torch
import yaml

from dmmsa_cli.experiments.base_text import base_text
from dmmsa_cli.experiments.cache import cached_embeddings, what_decides_text
from dmmsa_cli.experiments.encoders import Encoders, encoder_folder, what_decides
from dmmsa_cli.experiments.experiment import Experiment, digest
from dmmsa_cli.experiments.identity import identity_of
from dmmsa_cli.experiments.recipes import find_recipe, from_values, load_recipe
from dmmsa_cli.layers.pretrained import make_tiny
from dmmsa_cli.layers.text import TinyOptions
from dmmsa_cli.recipe import Choice, dump_yaml, flat, to_dict
from dmmsa_cli.training.run import RunFolder
from tests.experiments.test_recipes import FILES, NAMES
from tests.training_runs import open_mini

# Keys. `text`, `vision` and `audio` are the folders of pretrained encoders; `cache` is what a pretrained text encoder
# gave, `base cache` what the base one gave to runs from scratch; `tiny` is the folder of the one made on the spot.
RUN = {"run", "system"}
TEXT = {"text", "cache"}  # the cache of a pretrained encoder knows it by its folder
EVERY = {*TEXT, "vision", "audio"}
NONE = set()

# Marks in the tables: a fact that only decides through the text encoder before any training.
TINY = "of the tiny encoder"  # where text.source is tiny; then it decides the encoder's content, and what is made of it
NAMED = "of the encoder named"  # where text.source is encoder

# Of a schedule.
SCHEDULE = {
    "learning_rate": 1e-4,
    "batch_size": 8,
    "epochs": 5,
    "warmup_epochs": 2,
    "decay": "plateau",
    "plateau_patience": 3,
    "optimiser": "adam",
    "weight_decay": 0.1,
    "decay_vectors": True,
    "groups": {"head": {"learning_rate": 1e-4}},
    "accumulate": 2,
    "leftover": "drop",
    "clip_value": 0.5,
    "clip_norm": 0.5,
    "patience": 1,
    "weight_averaging": 0.9,
    "averaging_warmup": True,
    "length_window": 2,
}
STAGES = {"pretraining.text": TEXT, "pretraining.vision": {"vision"}, "pretraining.audio": {"audio"}, "fusion": NONE}

# Leaf -> another value, and which keys it decides beside those of the run, whose recipe is compared whole.
LEAVES = {
    f"{stage}.{key}": (value, decides) for stage, decides in STAGES.items() for key, value in SCHEDULE.items()
} | {
    "data.standardise": (False, {"vision", "audio"}),  # text has no frames
    "data.padded": (True, NONE),  # encoders have no padding; a model that reads sequences may have it
    "data.aligned": (True, NONE),  # only refuses what is not
    "data.fraction": (0.5, {*EVERY, TINY}),  # the tiny encoder's words are those of these rows
    "data.modalities": (["t", "v", "a"], NONE),  # each encoder is trained alone
    "data.missing": ({"rate": "uniform"}, NONE),  # on complete clips
    "text.encoder": ("another", {NAMED}),
    "text.pooling": ("mean", {*TEXT, "base cache"}),
    "text.max_tokens": (128, {*TEXT, "base cache", TINY}),  # the tiny one has so many positions
    "text.context.before": (2, {*TEXT, "base cache"}),
    "text.context.after": (1, {*TEXT, "base cache"}),
    "text.train_in_fusion": (True, NONE),
    "text.dropout": (0.3, TEXT),  # embeddings are computed without
    "text.frozen_layers": (1, TEXT),
    "text.tiny.width": (32, {TINY}),
    "text.tiny.layers": (2, {TINY}),
    "text.tiny.heads": (4, {TINY}),
    "text.tiny.vocabulary": (70, {TINY}),
    "vision.layers": (2, {"vision"}),
    "vision.heads": (4, {"vision"}),
    "vision.position_dropout": (0.2, {"vision"}),
    "vision.layer_dropout": (0.2, {"vision"}),
    "audio.layers": (2, {"audio"}),
    "audio.heads": (4, {"audio"}),
    "audio.position_dropout": (0.2, {"audio"}),
    "audio.layer_dropout": (0.2, {"audio"}),
    "model.name": ("another", NONE),
    "model.width": (32, {"vision", "audio"}),  # text has a width of its own
    "model.projector_dropout": (0.2, NONE),
    "objective.name": ("confede", NONE),
    "objective.beta": (0.5, NONE),
    "objective.msc.enabled": (False, NONE),
    "objective.msc.classes": (5, NONE),
    "objective.uni.enabled": (False, NONE),
    "objective.cl.enabled": (False, NONE),
    "objective.cl.temperature": (0.7, NONE),
    "objective.uni.each": (True, NONE),
    "objective.polarity.enabled": (True, NONE),
    "objective.intensity.enabled": (True, NONE),
    "objective.emotions.enabled": (True, NONE),
    "objective.emotions.loss": ("softmax", NONE),
    "objective.weighting.name": ("another", NONE),
    "objective.weighting.sum": (2, NONE),
    "objective.weighting.temperature": (2, NONE),
    "objective.weighted": ("all", NONE),
    "objective.contrast_weight": (0.2, NONE),
    "objective.unimodal_weight": (0.02, NONE),
    "objective.temperature": (0.7, NONE),
    "objective.retrieval.searched": (0.5, NONE),
    "objective.retrieval.pool": (5, NONE),
    "objective.retrieval.same_label": ("equal", NONE),
    "objective.retrieval.refresh_every": (3, NONE),
    "objective.retrieval.as_released": (True, NONE),
    "pretraining.objective.name": ("another", EVERY),
    "pretraining.objective.loss": ("l1", EVERY),
    "pretraining.objective.beta": (0.5, EVERY),
    "pretraining.text.frozen_share": (0, TEXT),
    "pretraining.seed": (6, {*EVERY, TINY}),  # shared encoders have it; the tiny one is always made with it
    "pretraining.per_seed": (None, EVERY),  # None: the other way about; the tiny one with all rows is the same for all
    "seeds": ([3], NONE),  # only says what is run where no seed is named: not even the run's own
    "precision": ("auto", NONE),  # encoders go by what it was settled to
    "text.source": (None, {*TEXT, "base cache"}),  # None: from tiny to the one named, or back
}
PER_SEED = LEAVES | {"pretraining.seed": (6, {TINY})}  # encoders have their run's seed

SOURCES = ("tiny", "encoder")
OBJECTIVES = ("dmmsa", "confede")
SEED, OTHER_SEED, SHARED_SEED = 12, 13, 5


def expected(decides, source):
    """The keys of a table's entry, its marks resolved."""
    marks = {TINY: source == "tiny", NAMED: source == "encoder"}
    found = decides - marks.keys()
    if any(mark in decides and present for mark, present in marks.items()):
        found |= {*TEXT, "base cache"} | ({"tiny"} if source == "tiny" else NONE)
    return found


@dataclass(frozen=True)
class Facts:
    """All that a run, or an encoder, could depend on."""

    experiment: Experiment
    seed: int
    from_scratch: bool = False
    weights: tuple = (("t", b"text"), ("v", b"vision"), ("a", b"audio"))
    """Of the pretrained encoders that the run stands on."""


def keys_of(facts, place):
    """Every key under some facts, by name."""
    experiment, seed, encoders = facts.experiment, facts.seed, {}
    for modality, content in facts.weights:
        encoders[modality] = RunFolder(place / str(content))
        _write(encoders[modality], content)
    found = {
        name: encoder_folder(experiment, modality, seed).path.name
        for name, modality in (("text", "t"), ("vision", "v"), ("audio", "a"))
    }
    pretrained = encoder_folder(experiment, "t", seed)
    _write(pretrained, dict(facts.weights)["t"])
    for name, own in (("cache", {"t": pretrained}), ("base cache", {})):
        found[name] = digest(what_decides_text(Encoders(experiment, RunFolder(place), seed, own)))
    if experiment.recipe.text.source == "tiny":
        found["tiny"] = base_text(experiment, seed).name
    identity = identity_of(experiment, seed, from_scratch=facts.from_scratch, encoders=encoders)
    return found | {"run": identity.key, "system": identity.system}


def _write(run, content):
    run.path.mkdir(parents=True, exist_ok=True)
    path = run.path / "weights.safetensors"
    if not path.exists() or path.read_bytes() != content:
        path.unlink(missing_ok=True)
        path.write_bytes(content)


def differing(one, other):
    """Names of the keys that differ, of those that both have."""
    return {name for name in one.keys() & other.keys() if one[name] != other[name]}


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A text encoder in a folder, as `text.encoder` may name it, and another one beside it."""
    folder = tmp_path_factory.mktemp("named")
    for seed, name in enumerate(("one", "another")):
        make_tiny(folder / name, ["some words"], TinyOptions(16, 1, 2, 100), max_tokens=256, seed=seed)
    return folder


@pytest.fixture(scope="module")
def opened(prepared, micro, named, tmp_path_factory):
    """The facts from which one at a time departs."""
    runs = tmp_path_factory.mktemp("keys")

    @cache
    def facts(source="tiny", per_seed=False, objective="dmmsa", fraction=1.0):
        settings = (f"text.source={source}", f"text.encoder={named / 'one'}", f"objective={objective}")
        seeds = (f"pretraining.seed={SHARED_SEED}", f"pretraining.per_seed={str(per_seed).lower()}")
        averaged = [f"{stage}.weight_averaging=0.5" for stage in STAGES]  # or there is nothing to warm up
        return Facts(open_mini(prepared, micro, runs, *settings, *averaged, *seeds, f"data.fraction={fraction}"), SEED)

    return facts


# --- leaves of the recipe -------------------------------------------------------------------------------------------


def leaves(objective):
    return flat(to_dict(from_values({**to_dict(load_recipe(find_recipe(None, "toy"))), "objective": objective}, "x")))


def test_every_leaf_of_the_recipe_is_in_the_table():
    assert LEAVES.keys() == {leaf for objective in OBJECTIVES for leaf in leaves(objective)}


def changed(recipe, leaf, value):
    """A recipe with one leaf changed."""
    values = to_dict(recipe)
    *parents, last = leaf.split(".")
    if last == "name":  # the name alone: an option of the other would be another leaf
        return _renamed(recipe, parents, value)
    if (
        leaf == "data.padded"
    ):  # refused where a model reads no sequences, and other leaves are those of one that does not
        return _with(recipe, "data", replace(recipe.data, padded=value))
    below = values
    for parent in parents:
        below = below[parent]
    if value is None:
        value = {"tiny": "encoder", "encoder": "tiny", True: False, False: True}[below[last]]
    assert below[last] != value
    below[last] = value
    return from_values(values, leaf)


def _renamed(recipe, parents, name):
    renamed = below = copy.deepcopy(recipe)
    *above, last = parents
    for parent in above:
        below = getattr(below, parent)
        below = below.options if isinstance(below, Choice) else below
    object.__setattr__(below, last, Choice(name, getattr(below, last).options))
    return renamed


def _with(recipe, part, value):
    """A recipe that its own checks would refuse."""
    changed = copy.copy(recipe)
    object.__setattr__(changed, part, value)
    return changed


@pytest.mark.parametrize("per_seed", [False, True], ids=["shared encoders", "encoders of each seed"])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_changes_the_keys_that_it_decides_and_no_other(opened, named, tmp_path, leaf, source, per_seed):
    value, decides = (PER_SEED if per_seed else LEAVES)[leaf]
    value = str(named / value) if leaf == "text.encoder" else value
    objective = next(name for name in OBJECTIVES if leaf in leaves(name))
    facts = opened(source, per_seed, objective)
    experiment = replace(facts.experiment, recipe=changed(facts.experiment.recipe, leaf, value))
    found = differing(keys_of(facts, tmp_path), keys_of(replace(facts, experiment=experiment), tmp_path))
    assert found == expected(decides, source) | (RUN if leaf != "seeds" else NONE)


# --- everything else ------------------------------------------------------------------------------------------------


def other_data(facts):
    store = facts.experiment.store
    manifest = replace(store.manifest, data_hash="0" * 64)
    return replace(facts, experiment=replace(facts.experiment, store=replace(store, manifest=manifest)))


def other_dataset(facts):
    """Of the same content, under another name."""
    store = facts.experiment.store
    manifest = replace(store.manifest, spec=replace(store.spec, name="other"))
    return replace(facts, experiment=replace(facts.experiment, store=replace(store, manifest=manifest)))


def other_precision(facts):
    return replace(facts, experiment=replace(facts.experiment, precision="bf16"))


def other_seed(facts):
    return replace(facts, seed=OTHER_SEED)


def other_start(facts):
    return replace(facts, from_scratch=True)


def other_text_weights(facts):
    return replace(facts, weights=(("t", b"trained anew"), *facts.weights[1:]))


def other_vision_weights(facts):
    return replace(facts, weights=(facts.weights[0], ("v", b"trained anew"), facts.weights[2]))


def other_place(facts):
    """Another recipe's name, folder of runs, and device."""
    elsewhere = facts.experiment.folder.with_name("elsewhere")
    place = {"name": "other", "recipe_file": None, "folder": elsewhere, "device": torch.device("meta")}
    return replace(facts, experiment=replace(facts.experiment, **place))


# What changes -> the keys that it decides with shared encoders, and with encoders of each seed.
OTHER_FACTS = {
    other_data: ({*EVERY, "base cache", "tiny", *RUN}, {*EVERY, "base cache", "tiny", *RUN}),
    other_dataset: (RUN, RUN),  # the same content gives the same encoders
    other_precision: (
        {*EVERY, *RUN},
        {*EVERY, *RUN},
    ),  # and what frozen text is encoded in, where that is native: below
    other_seed: ({"run"}, {*EVERY, "run"}),
    other_start: (RUN, RUN),
    other_text_weights: ({"cache", *RUN}, {"cache", "run"}),  # encoders of their own are no difference of systems
    other_vision_weights: (RUN, {"run"}),
    other_place: (NONE, NONE),
}


@pytest.mark.parametrize("per_seed", [False, True], ids=["shared encoders", "encoders of each seed"])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("change", OTHER_FACTS, ids=lambda change: change.__name__)
def test_any_other_fact_changes_the_keys_that_it_decides_and_no_other(
    opened, tmp_path, change, source, per_seed, monkeypatch
):
    monkeypatch.setattr("dmmsa_cli.runtime._cpu_has", lambda question: False)
    facts = opened(source, per_seed)
    before = keys_of(facts, tmp_path)
    after = keys_of(change(facts), tmp_path)
    decides = OTHER_FACTS[change][per_seed]
    if source == "encoder" and change is other_data:
        decides = decides - {"tiny"}
    assert differing(before, after) == decides
    assert keys_of(facts, tmp_path) == before


@pytest.mark.parametrize(("native", "decides"), [(True, {"cache", "base cache"}), (False, NONE)])
def test_text_is_encoded_in_bf16_where_the_run_is_in_it_and_the_hardware_natively(
    opened, tmp_path, native, decides, monkeypatch
):
    monkeypatch.setattr("dmmsa_cli.runtime._cpu_has", lambda question: native)
    facts = opened()
    other = other_precision(facts)
    assert differing(keys_of(facts, tmp_path), keys_of(other, tmp_path)) == {*EVERY, *RUN, *decides}
    assert facts.experiment.encodes_in == "float32"
    assert other.experiment.encodes_in == ("bf16" if native else "float32")


@pytest.mark.parametrize("per_seed", [False, True], ids=["shared encoders", "encoders of each seed"])
def test_another_content_of_the_base_text_encoder_is_another_encoder(opened, named, tmp_path, per_seed):
    """The name of the folder stays: what lies there counts."""
    facts = opened("encoder", per_seed)
    before = keys_of(facts, tmp_path)
    config = named / "one" / "config.json"
    original = config.read_text()
    config.write_text(json.dumps(json.loads(original) | {"layer_norm_eps": 1e-6}))
    try:
        assert differing(before, keys_of(facts, tmp_path)) == {*TEXT, "base cache", *RUN}
    finally:
        config.write_text(original)


@pytest.mark.parametrize(("per_seed", "decides"), [(False, {"run"}), (True, {*EVERY, "tiny", "base cache", "run"})])
def test_under_a_fraction_each_seed_has_words_of_its_own_where_it_has_encoders_of_its_own(
    opened, tmp_path, per_seed, decides
):
    facts = opened("tiny", per_seed, fraction=0.5)
    assert differing(keys_of(facts, tmp_path), keys_of(other_seed(facts), tmp_path)) == decides


def test_a_run_that_lacks_an_encoder_is_another(opened, tmp_path):
    facts = opened()
    encoders = {modality: RunFolder(tmp_path / modality) for modality in "tva"}
    for run in encoders.values():
        _write(run, b"weights")
    whole = identity_of(facts.experiment, SEED, from_scratch=False, encoders=encoders)
    for modality in encoders:
        others = {m: run for m, run in encoders.items() if m != modality}
        less = identity_of(facts.experiment, SEED, from_scratch=False, encoders=others)
        assert less.key != whole.key
        assert less.system != whole.system


# --- where keys are used --------------------------------------------------------------------------------------------


def test_folders_and_files_are_named_for_what_decides_them(opened, tmp_path):
    facts = opened()
    for name, modality in (("text", "t"), ("vision", "v"), ("audio", "a")):
        key = digest(what_decides(facts.experiment, modality, SEED))
        assert encoder_folder(facts.experiment, modality, SEED).path == (
            facts.experiment.folder / "encoders" / f"{name}-{key}"
        )
    encoders = Encoders(replace(facts.experiment, folder=tmp_path), RunFolder(tmp_path), SEED, {})
    cached_embeddings(encoders, lambda: {"train": torch.ones(2, 3)})
    assert (tmp_path / "cache" / f"text-{digest(what_decides_text(encoders))}.safetensors").exists()
    again = cached_embeddings(encoders, lambda: pytest.fail("it is cached"))
    assert again["train"].equal(torch.ones(2, 3))


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_recipe_read_back_from_its_run_gives_the_keys_that_it_gave_at_first(path):
    """JSON tells 1 from 1.0: a default is of the type that a file gives."""
    recipe = load_recipe(path)
    again = from_values(yaml.safe_load(dump_yaml(recipe)), "again")
    assert json.dumps(to_dict(again)) == json.dumps(to_dict(recipe))


def test_every_fact_of_the_place_is_one_that_these_tests_change():
    assert {field.name for field in fields(Experiment)} == {
        *("store", "recipe", "name", "folder", "device", "precision", "recipe_file"),
    }


def test_text_is_read_as_the_encoder_that_a_run_stands_on_wants_it(opened, tmp_path):
    """Whichever other modalities there are."""
    facts, run, text = opened(), RunFolder(tmp_path / "run"), RunFolder(tmp_path / "text-1")
    assert Encoders(facts.experiment, run, SEED, {"t": text}).text_folder == text.path / "text"
    assert Encoders(facts.experiment, run, SEED, {"v": text}).text_folder == base_text(facts.experiment, SEED)
    (run.path / "text").mkdir(parents=True)
    assert Encoders(facts.experiment, run, SEED, {}).text_folder == run.path / "text"


COMMON = {"modality", "data_hash", "standardise", "fraction", "objective", "schedule", "seed", "precision"}
OF_TEXT = {"encoder", "pooling", "max_tokens", "dropout", "frozen_layers"}


def test_facts_have_these_names(opened, tmp_path):
    """Of an encoder they stand in its folder's recipe.yaml; and under other names nothing that is there is found."""
    facts = opened()
    assert what_decides(facts.experiment, "t", SEED).keys() == COMMON | OF_TEXT
    for modality in "va":
        assert what_decides(facts.experiment, modality, SEED).keys() == COMMON | {"encoder", "width"}
    cached = what_decides_text(Encoders(facts.experiment, RunFolder(tmp_path), SEED, {}))
    assert cached.keys() == {"encoder", "weights", "data_hash", "pooling", "max_tokens"}


# --- without clips around one ---------------------------------------------------------------------------------------


def test_without_context_every_key_is_what_it_was_before_there_could_be_any(opened, tmp_path):
    """Runs, encoders and caches of an earlier dmmsa stay what they are."""
    experiment = opened().experiment
    pretrained = encoder_folder(experiment, "t", SEED)
    _write(pretrained, b"text")
    assert set(what_decides(experiment, "t", SEED)) == {
        *("modality", "data_hash", "standardise", "fraction", "objective", "schedule", "seed", "precision"),
        *("encoder", "pooling", "max_tokens", "dropout", "frozen_layers"),
    }
    decides = what_decides_text(Encoders(experiment, RunFolder(tmp_path), SEED, {"t": pretrained}))
    assert set(decides) == {"encoder", "weights", "data_hash", "pooling", "max_tokens"}
    now = identity_of(experiment, SEED, from_scratch=False, encoders={})
    text = {key: value for key, value in now.recipe["text"].items() if key != "context"}
    before = replace(now, recipe={**now.recipe, "text": text})
    assert (now.key, now.system, now.setting) == (before.key, before.system, before.setting)
    assert now.difference(before) == {}


@pytest.mark.parametrize("side", ["before", "after"])
def test_runs_that_read_other_clips_around_one_share_no_terms(opened, side):
    experiment = opened().experiment
    other = replace(experiment, recipe=changed(experiment.recipe, f"text.context.{side}", 2))
    one, two = (identity_of(this, SEED, from_scratch=False, encoders={}) for this in (experiment, other))
    assert one.protocol != two.protocol
    assert one.setting != two.setting
    assert one.difference(two) == {f"text.context.{side}": (None, 2)}
