"""Every shipped recipe is a test case, found by walking the tree."""

import shlex

import pytest
import yaml

from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.specs import ALIGNED, SPECS, DatasetSpec
from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.experiments.recipes import find_recipe, from_values, load_recipe, recipes_folder
from dmmsa_cli.experiments.studies import load_study
from dmmsa_cli.models import MODELS
from dmmsa_cli.objectives import OBJECTIVES
from dmmsa_cli.recipe import dump_yaml, to_dict, with_settings

STUDIES = "studies"  # files of another type
FILES = sorted(p for p in recipes_folder().rglob("*.yaml") if STUDIES not in p.relative_to(recipes_folder()).parts)
NAMES = [str(path.relative_to(recipes_folder())) for path in FILES]
every_recipe = pytest.mark.parametrize("path", FILES, ids=NAMES)

# SPEC, section 5: what stands in the papers, by dataset.
PAPER = {
    "mosi": {"fusion": (1e-5, 16, 50), "layers": 1, "encoder": "bert-base-uncased"},
    "mosei": {"fusion": (5e-5, 4, 25), "layers": 3, "encoder": "bert-base-uncased"},
    "sims": {"fusion": (1e-5, 32, 50), "layers": 1, "encoder": "bert-base-chinese"},
}


def spec_of(path):
    return next(
        (spec for spec in SPECS.values() if spec.recipes == path.parent.name), DatasetSpec(name="mine", score_range=3.0)
    )


def schedule(part):
    return part.learning_rate, part.batch_size, part.epochs


def test_the_recipes_of_the_papers_are_there():
    assert {"mosi/dmmsa.yaml", "mosei/dmmsa.yaml", "sims/dmmsa.yaml", "toy/dmmsa.yaml", "default/dmmsa.yaml"} <= {
        *NAMES
    }


@every_recipe
def test_it_parses_and_is_the_same_after_a_trip_through_yaml(path):
    recipe = load_recipe(path)
    assert from_values(yaml.safe_load(dump_yaml(recipe)), "again") == recipe


@every_recipe
def test_it_opens_with_the_command_that_runs_it(path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    mark, *words = shlex.split(first, comments=False)
    assert mark == "#"
    assert words[:2] == ["dmmsa", "fuse"]
    options = dict(zip(words[2::2], words[3::2], strict=True))
    family = path.parent.name
    dataset = family + ALIGNED if load_recipe(path).data.aligned else family
    assert options.pop("--dataset") == ("NAME" if family == "default" else dataset)
    assert find_recipe(options.pop("--recipe", None), family) == path
    assert not options


@every_recipe
@pytest.mark.parametrize("modalities", [("t", "v", "a"), ("t", "a"), ("v",)])
def test_it_builds_its_objectives(path, modalities):
    recipe, spec = load_recipe(path), spec_of(path)
    capabilities = Capabilities(modalities, spec.score_range, spec.metrics)
    for chosen in (recipe.objective, *([recipe.pretraining.objective] if recipe.pretraining else [])):
        OBJECTIVES[chosen.name](capabilities, chosen.options)


@every_recipe
def test_its_encoders_can_be_built(path):
    recipe = load_recipe(path)
    if "embedding" not in MODELS[recipe.model.name].reads.values():
        return  # it reads frames, without encoders
    for part in (recipe.vision, recipe.audio):
        assert recipe.model.options.width % part.heads == 0


@pytest.mark.parametrize("dataset", PAPER)
def test_the_papers_numbers_stand_in_the_papers_recipe(dataset):
    recipe, paper = load_recipe(find_recipe(None, dataset)), PAPER[dataset]
    assert schedule(recipe.fusion) == paper["fusion"]
    assert schedule(recipe.pretraining.text) == (1e-5, 64, 150)
    assert schedule(recipe.pretraining.vision) == schedule(recipe.pretraining.audio) == (1e-4, 128, 300)
    assert recipe.vision.layers == recipe.audio.layers == paper["layers"]
    assert recipe.text.encoder == paper["encoder"]
    assert recipe.seeds == (1, 12, 123, 1234, 12345)
    assert recipe.precision == "float32"


@pytest.mark.parametrize("dataset", PAPER)
def test_what_the_papers_leave_open_is_as_the_method_decides_it(dataset):
    recipe = load_recipe(find_recipe(None, dataset))
    objective, pretraining = recipe.objective.options, recipe.pretraining
    assert (recipe.model.name, recipe.model.options.width) == ("feature_decomposition", 768)
    assert recipe.vision.heads == recipe.audio.heads == 8
    dropouts = [recipe.model.options.projector_dropout]
    dropouts += [part.position_dropout for part in (recipe.vision, recipe.audio)]
    dropouts += [part.layer_dropout for part in (recipe.vision, recipe.audio)]
    assert set(dropouts) == {0.5}
    assert (objective.beta, objective.msc.counts, objective.cl.temperature) == (1.0, (3,), 0.5)
    rule = objective.weighting
    assert (rule.name, rule.options.temperature, rule.options.sum) == ("gdwg", 1.0, 1.0)
    assert (objective.weighted, objective.uni.each) == ("auxiliary", False)
    assert not objective.polarity.enabled and not objective.intensity.enabled
    assert objective.msc.enabled and objective.uni.enabled and objective.cl.enabled
    assert (recipe.text.pooling, recipe.text.max_tokens, recipe.text.train_in_fusion) == ("pooler", 256, False)
    assert (pretraining.objective.name, pretraining.objective.options.loss) == ("regression", "mse")
    assert (pretraining.text.frozen_epochs, pretraining.text.warmup_epochs) == (50, 5)
    assert pretraining.vision.warmup_epochs == pretraining.audio.warmup_epochs == 10
    assert not pretraining.per_seed
    assert (recipe.fusion.warmup_epochs, recipe.fusion.weight_decay) == (1, 1e-3)
    assert recipe.data.standardise


# SPEC, section 4b: learning rate, batch, epochs; layers of vision and audio; how ConFEDE retrieves.
RELEASED = {
    "mosi": ((1e-4, 16, 25), (2, 2), (1.0, 10, "rounded", 2)),
    "mosei": ((1e-4, 8, 6), (3, 3), (0.1, 50, "rounded", 2)),
    "sims": ((1e-4, 32, 50), (1, 2), (0.5, 10, "equal", 10)),
}


@pytest.mark.parametrize("dataset", RELEASED)
def test_confede_is_as_it_was_published(dataset):
    fusion, layers, retrieval = RELEASED[dataset]
    released, controlled = (load_recipe(find_recipe(name, dataset)) for name in ("confede-released", "confede"))
    assert (schedule(released.fusion), (released.vision.layers, released.audio.layers)) == (fusion, layers)
    for recipe in (released, controlled):
        options = recipe.objective.options
        found = options.retrieval
        assert (found.searched, found.pool, found.same_label, found.refresh_every) == retrieval
        assert (options.contrast_weight, options.unimodal_weight, options.temperature) == (0.1, 0.01, 0.5)
    assert released.objective.options.retrieval.as_released
    assert not controlled.objective.options.retrieval.as_released


def write(folder, **recipes):
    for name, values in recipes.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))
    return folder / f"{next(iter(recipes))}.yaml"


def test_a_recipe_lies_over_its_base(tmp_path):
    changed = {"base": "toy/dmmsa", "fusion": {"epochs": 3}, "text": {"tiny": {"width": 32}}}
    recipe, base = load_recipe(write(tmp_path, mine=changed)), load_recipe(find_recipe(None, "toy"))
    assert (recipe.fusion.epochs, recipe.fusion.batch_size) == (3, base.fusion.batch_size)
    assert (recipe.text.tiny.width, recipe.text.tiny.layers) == (32, base.text.tiny.layers)


def test_another_objective_replaces_the_options_of_the_base(tmp_path):
    base = {"base": "toy/dmmsa", "objective": {"name": "dmmsa", "beta": 0.5}}
    path = write(tmp_path, mine={"base": "between", "objective": {"name": "confede"}}, between=base)
    assert load_recipe(path).objective.name == "confede"
    path = write(
        tmp_path, mine={"base": "between", "objective": "dmmsa", "model": "feature_decomposition"}, between=base
    )
    assert (load_recipe(path).objective.options.beta, load_recipe(path).model.options.width) == (0.5, 64)
    bare = {"base": "toy/dmmsa", "objective": "dmmsa"}
    path = write(tmp_path, mine={"base": "bare", "objective": {"msc": {"classes": 5}}}, bare=bare)
    assert load_recipe(path).objective.options.msc.classes == 5
    path = write(tmp_path, mine={"base": "between", "objective": {"msc": {"classes": 5}}}, between=base)
    assert (load_recipe(path).objective.options.beta, load_recipe(path).objective.options.msc.classes) == (0.5, 5)


@pytest.mark.parametrize(
    ("recipes", "words"),
    [
        ({"mine": {"base": "mine"}}, "stands on itself"),
        ({"mine": {"base": "other"}, "other": {"base": "mine"}}, "stands on itself"),
        ({"mine": {"base": "nowhere"}}, "stands on nowhere, which is neither beside it nor shipped"),
        ({"mine": {"base": 3}}, "3 as its base"),
    ],
)
def test_a_base_that_cant_be_is_told(tmp_path, recipes, words):
    with pytest.raises(InvalidRecipe, match=words):
        load_recipe(write(tmp_path, **recipes))


def test_a_dataset_without_recipes_of_its_own_has_the_default():
    assert find_recipe(None, "mine") == recipes_folder() / "default" / "dmmsa.yaml"
    assert load_recipe(find_recipe(None, "mine")).text.encoder is None


def test_a_recipe_that_is_not_there_lists_those_that_are():
    with pytest.raises(InvalidRecipe, match="no recipe nothing for mosi") as error:
        find_recipe("nothing", "mosi")
    assert "dmmsa" in error.value.remedy


STAGE = {"learning_rate": 1e-3, "batch_size": 8, "epochs": 4}
STAGE_DEFAULTS = {
    "warmup_epochs": 1.0,
    "decay": "linear",
    "plateau_patience": 10,
    "optimiser": "adamw",
    "weight_decay": 1e-3,
    "decay_vectors": False,
    "groups": {},
    "accumulate": 1,
    "leftover": "step",
    "clip_value": None,
    "clip_norm": None,
    "patience": None,
    "weight_averaging": None,
    "averaging_warmup": False,
    "length_window": 1,
}
ENCODER_DEFAULTS = {"layers": 1, "heads": 8, "position_dropout": 0.5, "layer_dropout": 0.5}
DEFAULTS = {
    "data": {
        "standardise": True,
        "fraction": 1.0,
        "padded": False,
        "aligned": False,
        "modalities": None,
        "missing": None,
    },
    "text": {
        "source": "encoder",
        "encoder": None,
        "pooling": "pooler",
        "max_tokens": 256,
        "context": {"before": 0, "after": 0},
        "train_in_fusion": False,
        "dropout": None,
        "frozen_layers": None,
        "tiny": {"width": 64, "layers": 2, "heads": 4, "vocabulary": 2000},
    },
    "vision": ENCODER_DEFAULTS,
    "audio": ENCODER_DEFAULTS,
    "model": {"name": "feature_decomposition", "width": 768, "projector_dropout": 0.5},
    "pretraining": {
        "objective": {"name": "regression", "loss": "mse", "beta": 1.0},
        "text": {**STAGE, **STAGE_DEFAULTS, "frozen_share": 1 / 3},
        "vision": STAGE | STAGE_DEFAULTS,
        "audio": STAGE | STAGE_DEFAULTS,
        "seed": 1,
        "per_seed": False,
    },
    "fusion": STAGE | STAGE_DEFAULTS,
    "seeds": [1, 12, 123, 1234, 12345],
    "precision": "float32",
}
OBJECTIVE_DEFAULTS = {
    "dmmsa": {
        "beta": 1.0,
        "msc": {"enabled": True, "classes": 3},
        "uni": {"enabled": True, "each": False},
        "cl": {"enabled": True, "temperature": 0.5},
        "polarity": {"enabled": False},
        "intensity": {"enabled": False},
        "emotions": {"enabled": False, "loss": "bce"},
        "weighting": {"name": "gdwg", "sum": 1.0, "temperature": 1.0},
        "weighted": "auxiliary",
    },
    "confede": {
        "contrast_weight": 0.1,
        "unimodal_weight": 0.01,
        "temperature": 0.5,
        "retrieval": {
            "searched": 1.0,
            "pool": 10,
            "same_label": "rounded",
            "refresh_every": 2,
            "as_released": False,
        },
    },
    "regression": {"loss": "mse", "beta": 1.0},
    "multitask": {
        "loss": "l1",
        "beta": 1.0,
        "polarity": {"enabled": True},
        "intensity": {"enabled": True},
        "emotions": {"enabled": False, "loss": "bce"},
        "weighting": {"name": "fixed", "sum": None, "weights": {"polarity": 0.5, "intensity": 0.5}},
        "weighted": "auxiliary",
    },
    "misa": {"similarity": 0.3, "difference": 0.1, "reconstruction": 1.0},
    "self_mm": {},
    "mmiln": {"similarity": 0.3, "difference": 0.1, "distance": "squared"},
}
MODEL_DEFAULTS = {
    "mean_pooling": {"name": "mean_pooling", "hidden": 384, "dropout": 0.1},
    "mmolre": {
        "name": "mmolre",
        "width": 768,
        "shared": "experts",
        "score_apart": False,
        "blocks": 2,
        "experts": 15,
        "ranks": 64,
        "task_rank": 128,
        "active": 11,
        "router_noise": 0.0,
        "layers": 5,
        "attention_heads": 12,
        "feedforward": 3072,
        "head_width": 512,
        "dropout": 0.3,
    },
    "feature_decomposition": {"name": "feature_decomposition", "width": 768, "projector_dropout": 0.5},
    "lf_dnn": {
        "name": "lf_dnn",
        "text_hidden": 128,
        "audio_hidden": 16,
        "vision_hidden": 128,
        "audio_dropout": 0.2,
        "vision_dropout": 0.2,
        "text_width": 256,
        "fusion_width": 128,
        "fusion_dropout": 0.2,
    },
    "tfn": {
        "name": "tfn",
        "text_hidden": 128,
        "audio_hidden": 32,
        "vision_hidden": 128,
        "audio_dropout": 0.3,
        "vision_dropout": 0.3,
        "text_width": 32,
        "fusion_width": 64,
        "fusion_dropout": 0.5,
    },
    "lmf": {
        "name": "lmf",
        "text_hidden": 128,
        "audio_hidden": 16,
        "vision_hidden": 128,
        "audio_dropout": 0.3,
        "vision_dropout": 0.3,
        "rank": 3,
        "frozen_weights": False,
    },
    "mfn": {
        "name": "mfn",
        "text_hidden": 256,
        "audio_hidden": 32,
        "vision_hidden": 256,
        "memory": 400,
        "attention_width": 32,
        "attention_dropout": 0.2,
        "candidate_width": 64,
        "candidate_dropout": 0.0,
        "retain_width": 256,
        "retain_dropout": 0.7,
        "update_width": 32,
        "update_dropout": 0.5,
        "means": False,
        "fusion_width": 128,
        "fusion_dropout": 0.0,
    },
    "mult": {
        "name": "mult",
        "width": 50,
        "attention_heads": 10,
        "layers": 4,
        "text_kernel": 5,
        "audio_kernel": 5,
        "vision_kernel": 5,
        "text_input_dropout": 0.5,
        "input_dropout": 0.2,
        "text_attention_dropout": 0.3,
        "audio_attention_dropout": 0.2,
        "vision_attention_dropout": 0.0,
        "relu_dropout": 0.0,
        "residual_dropout": 0.0,
        "fusion_dropout": 0.5,
    },
    "misa": {"name": "misa", "width": 128, "fusion_dropout": 0.2, "text_lengths": False},
    "mag_bert": {"name": "mag_bert", "beta": 1.0, "gate_dropout": 0.3, "fusion_dropout": 0.3, "frames": "aligned"},
    "self_mm": {
        "name": "self_mm",
        "audio_hidden": 16,
        "vision_hidden": 32,
        "audio_width": 16,
        "vision_width": 32,
        "fusion_head": 128,
        "text_head": 32,
        "audio_head": 16,
        "vision_head": 32,
        "fusion_dropout": 0.0,
        "text_dropout": 0.1,
        "audio_dropout": 0.1,
        "vision_dropout": 0.0,
    },
    "mmiln": {
        "name": "mmiln",
        "width": 40,
        "attention_heads": 5,
        "layers": 3,
        "kernel": 3,
        "audio_hidden": 32,
        "vision_hidden": 64,
        "fusion_head": 128,
        "audio_head": 16,
        "vision_head": 32,
        "layer_dropout": 0.1,
        "fusion_dropout": 0.1,
        "audio_dropout": 0.1,
        "vision_dropout": 0.1,
        "gates": True,
        "source": "attended",
        "pooling": "first",
        "moments": 5,
        "orthogonality": "cosine",
    },
    "sequential_mtl": {
        "name": "sequential_mtl",
        "width": 64,
        "kernel": 3,
        "attention_heads": 4,
        "dropout": 0.2,
        "bigru": True,
        "self_attention": True,
        "cross_modal": True,
        "unimodal": True,
        "task_weights": True,
    },
}
NETWORK = {
    "misa": "misa",
    "self_mm": "self_mm",
    "mmiln": "mmiln",
}  # what such an objective needs; others go with DMMSA's


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_a_recipe_leaves_out_is_this(objective):
    """A default that changes, changes what all recipes compute that leave it out: a run of theirs is another one."""
    stages = {"objective": "regression", "text": STAGE, "vision": STAGE, "audio": STAGE}
    least = {"model": "feature_decomposition", "objective": objective, "pretraining": stages, "fusion": STAGE}
    expected = DEFAULTS | {"objective": {"name": objective, **OBJECTIVE_DEFAULTS[objective]}}
    if objective in NETWORK:
        least |= {"model": NETWORK[objective], "pretraining": None}
        expected |= {"model": MODEL_DEFAULTS[NETWORK[objective]], "pretraining": None}
    assert to_dict(from_values(least, "the least")) == expected


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            ["model.gates=false"],
            "mmiln needs losses over a shared space .* which mmiln with these options does not give",
        ),
        (["objective=self_mm"], "self_mm needs predictions of single modalities, which mmiln does not give"),
        (["model.attention_heads=3"], "model: attention_heads: 3 do not divide a width of 20"),
        (["objective.distance=cosine"], "objective.distance: 'cosine' is not one of norm, squared"),
    ],
)
def test_what_an_objective_wants_must_be_given_under_the_networks_options(settings, words):
    with pytest.raises(InvalidRecipe, match=words):
        load_recipe(find_recipe("mmiln", "toy"), settings)


def test_without_regularisers_gates_are_not_needed():
    settings = ["model.gates=false", "objective.similarity=0", "objective.difference=0"]
    assert not load_recipe(find_recipe("mmiln", "toy"), settings).model.options.gates
    for kept in (1, 2):
        with pytest.raises(InvalidRecipe, match="these options"):
            load_recipe(find_recipe("mmiln", "toy"), [settings[0], settings[kept]])


# SYSTEMS, section 2.4: the rates of Self-MM's own code, by dataset: of the rest, of audio, of vision; their decays.
MMILN = {
    "mosi": ((1e-3, 1e-3, 1e-4), (1e-3, 0.01, 1e-3), (32, 64), (16, 32), (0.1, 0.1, 0.1)),
    "mosei": ((1e-3, 5e-3, 1e-4), (0.01, 0.0, 0.0), (32, 32), (16, 16), (0.0, 0.0, 0.1)),
    "sims": ((1e-3, 5e-3, 1e-3), (1e-3, 0.0, 0.0), (16, 64), (32, 16), (0.1, 0.0, 0.1)),
}


@pytest.mark.parametrize("dataset", MMILN)
def test_mmiln_is_trained_as_self_mms_own_code_is(dataset):
    rates, decays, lstms, heads, dropouts = MMILN[dataset]
    recipe = load_recipe(find_recipe("mmiln", dataset))
    fusion, model = recipe.fusion, recipe.model.options
    audio, vision = fusion.groups["audio"], fusion.groups["vision"]
    assert (fusion.learning_rate, audio.learning_rate, vision.learning_rate) == rates
    assert (fusion.weight_decay, audio.weight_decay, vision.weight_decay) == decays
    assert (model.audio_hidden, model.vision_hidden) == lstms
    assert (model.fusion_head, model.audio_head, model.vision_head) == (128, *heads)
    assert (model.fusion_dropout, model.audio_dropout, model.vision_dropout) == dropouts
    assert (fusion.batch_size, fusion.accumulate, fusion.optimiser, fusion.decay) == (32, 4, "adam", "none")
    assert fusion.groups["text"].learning_rate == 5e-5
    assert recipe.text.train_in_fusion


@pytest.mark.parametrize(("dataset", "rank", "active"), [("mosi", 64, 11), ("mosei", 128, 8)])
def test_mmolre_at_the_papers_size(dataset, rank, active):
    recipe = load_recipe(find_recipe("mmolre-features", dataset))
    model, fusion = recipe.model.options, recipe.fusion
    assert (model.width, model.experts, model.each_rank, model.active) == (768, 15, (rank,) * 15, active)
    assert (model.task_rank, model.blocks, model.layers, model.attention_heads) == (128, 2, 5, 12)
    assert (model.feedforward, model.head_width, model.dropout, model.shared) == (3072, 512, 0.3, "experts")
    assert (fusion.learning_rate, fusion.batch_size, fusion.patience, fusion.optimiser) == (1e-5, 8, 8, "adamw")
    assert fusion.groups["text"].learning_rate == 1e-5
    assert (recipe.text.encoder, recipe.text.max_tokens, recipe.text.train_in_fusion) == ("roberta-base", 96, True)
    assert recipe.data.modalities == ("t", "a")


@pytest.mark.parametrize("path", [path for path in FILES if "mmolre" in path.name or "mean-pool" in path.name], ids=str)
def test_mmolre_and_the_plainest_network_learn_emotions_that_count_as_the_score_does(path):
    recipe = load_recipe(path)
    options = recipe.objective.options
    assert (recipe.objective.name, options.loss) == ("multitask", "l1")
    assert (options.polarity.enabled, options.intensity.enabled) == (False, False)
    assert (options.emotions.enabled, options.emotions.loss) == (True, "bce")
    rule = options.weighting
    assert (rule.name, rule.options.sum, rule.options.weights) == ("fixed", None, {"emotions": 1.0})
    assert recipe.text.train_in_fusion


def test_the_studies_of_mmolre_are_the_papers():
    def models(study, base):
        recipe = find_recipe(load_study(study).variants[0].recipe_beside(base), "mosei")
        return {v.name: load_recipe(recipe, changes=v.set) for v in load_study(study).variants}

    for base in ("dmmsa", "mmolre-features"):
        ranks = {name: one.model.options for name, one in models("mmolre-ranks", base).items()}
        assert {name: one.each_rank for name, one in ranks.items()} == {
            "ranks-16": (16,) * 15,
            "ranks-64": (64,) * 15,
            "ranks-128": (128,) * 15,
            "ranks-16-to-128": tuple(range(16, 129, 8)),
        }
        assert {one.active for one in ranks.values()} == {15}
        assert [one.model.options.active for one in models("mmolre-active", base).values()] == list(range(2, 16))
        parts = {
            name: (one.model.options.shared, one.model.options.score_apart, one.objective.options.emotions.enabled)
            for name, one in models("mmolre", base).items()
        }
        assert parts == {
            "full": ("experts", False, True),
            "no-emotions": ("experts", False, False),
            "msa-only": ("encoders", False, False),
            "mer-only": ("encoders", True, True),
            "pre-fusion": ("encoders", False, True),
            "post-fusion": ("fusion", False, True),
        }


@pytest.mark.parametrize("path", [path for path in FILES if "sequential-mtl" in path.name], ids=str)
def test_what_was_inferred_is_called_so_in_its_recipes(path):
    head = " ".join(path.read_text(encoding="utf-8").split("base:")[0].replace("#", " ").split())
    assert "structure inferred" in head
    assert not load_recipe(path).text.train_in_fusion


@pytest.mark.parametrize("model", MODELS)
def test_what_a_recipe_leaves_out_of_its_network_is_this(model):
    options = to_dict(MODELS[model].Options())
    assert {"name": model, **options} == MODEL_DEFAULTS[model]


def test_settings_and_flags_change_a_recipe_and_flags_come_last():
    path = find_recipe(None, "toy")
    recipe = load_recipe(
        path,
        ["msc.classes=5", "fusion.epochs=2", "fusion.patience=3"],
        {"objective.msc.enabled": False, "seeds": [7], "fusion.patience": None},
    )
    assert recipe.objective.options.msc.counts == (5,)
    assert not recipe.objective.options.msc.enabled
    assert recipe.fusion.epochs == 2
    assert recipe.seeds == (7,)
    assert recipe.fusion.patience is None


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("text.tiny.heads=0", "text.tiny"),
        ("text.tiny.layers=0", "text.tiny"),
        ("text.tiny.width=0", "text.tiny"),
        ("text.tiny.vocabulary=0", "text.tiny"),
        ("seeds=[-1]", "seeds"),
        ("pretraining.seed=-1", "pretraining"),
        ("seeds=[]", "seeds"),
        ("seeds=[1, 1]", "seeds"),
        ("data.fraction=0", "data: fraction"),
        ("data.modalities=[x]", "data: modalities"),
        ("vision.layers=0", "vision"),
        ("audio.layer_dropout=1", "audio: layer_dropout"),
        ("model.width=24", "model: width"),
        ("text.max_tokens=2", "text: max_tokens"),
        ("text.dropout=1.5", "text: dropout"),
        ("objective.beta=0", "objective: beta"),
        ("objective.cl.temperature=-1", "objective.cl: temperature"),
        ("weighting.temperature=0", "objective.weighting: temperature"),
        ("weighting.sum=0", "objective.weighting: sum: 0.* is not above 0; null keeps"),
        ("weighting.name=none", "objective.weighting.name: 'none' is none of cagrad, dwa, equal, .*, gdwg"),
        ("objective.weighting.tau=1", "objective.weighting.tau: unknown key; known here: sum, temperature"),
        ("weighting={name: rlw, temperature: 1}", "objective.weighting.temperature: unknown key; known here: sum"),
        (
            "weighting={name: fixed, weights: {cls: 1}}",
            "objective: weighting.weights: cls is none of the weighted tasks",
        ),
        (
            "weighting={name: fixed, weights: {msr: 1}}",
            "objective: weighting.weights: msr is none of the weighted tasks",
        ),
        *(  # tasks that these options do not turn on
            (f"weighting={{name: fixed, weights: {{{task}: 1}}}}", f"weights: {task} is none of the weighted tasks")
            for task in ("emotions", "polarity", "uni_T_s", "msc")
        ),
        ("weighting={name: fixed, weights: {cl: -1}}", "objective.weighting: weights.cl: -1.0 is below 0"),
        ("objective.weighted=main", "objective.weighted: 'main' is not one of auxiliary, all"),
        (
            "objective.gdwg.temperature=1",
            r"objective.gdwg: unknown key; it is `weighting: \{name: gdwg, temperature: 1\}`",
        ),
        ("msc.classes=4", "objective.msc: classes"),
        ("msc.classes=[]", "objective.msc: classes"),
        ("msc.classes=[3, 3]", "objective.msc: classes"),
        ("fusion.epochs=0", "fusion: epochs"),
        ("fusion.warmup_epochs=-1", "fusion: warmup_epochs"),
        ("fusion.weight_decay=.nan", "fusion"),
        ("fusion.patience=0", "fusion: patience"),
        ("fusion.weight_averaging=1", "fusion: weight_averaging"),
        ("fusion.averaging_warmup=true", "fusion: averaging_warmup: there is no average to warm up"),
        ("fusion.groups.text.learning_rate=-1", "fusion.groups.text: learning_rate"),
        ("fusion.groups.text.epochs=2", "fusion.groups.text.epochs: unknown key"),
        ("fusion.groups=[text]", "fusion.groups: .* is not keys and values"),
        ("fusion.groups.text.learning_rate=1", "fusion.groups.text: the text encoder is frozen"),
        (
            "pretraining.audio.groups.vision.weight_decay=0",
            "pretraining: audio.groups: vision is neither audio nor head",
        ),
        ("fusion.accumulate=0", "fusion: accumulate"),
        ("fusion.optimiser=sgd", "fusion.optimiser: 'sgd' is not one of adamw, adam"),
        ("pretraining.text.frozen_share=1", "pretraining.text: frozen_share"),
        ("precision=fp16", "precision"),
        ("pretraining=3", "pretraining: 3 is not keys and values or null"),
        ("pretraining.audio.epoch=3", "pretraining.audio.epoch: unknown key; did you mean epochs"),
    ],
)
def test_an_impossible_value_is_refused_by_its_path(setting, words):
    with pytest.raises(InvalidRecipe, match=words):
        load_recipe(find_recipe(None, "toy"), [setting])


# --- the rule of the weights, a choice within a choice ----------------------------------------------------------------


def rule_of(*settings, changes=None, dataset="mosi"):
    chosen = load_recipe(find_recipe(None, dataset), settings, changes).objective.options.weighting
    return chosen.name, to_dict(chosen.options)


@pytest.mark.parametrize("dataset", ["mosi", "toy"])  # one recipe says what it is by default, the other says nothing
def test_another_rule_takes_the_place_of_the_whole_of_the_former(dataset):
    assert rule_of("objective.weighting.name=rlw", dataset=dataset) == ("rlw", {"sum": 1.0})
    assert rule_of("objective.weighting=rlw", dataset=dataset) == ("rlw", {"sum": 1.0})
    assert rule_of("weighting={name: rlw, sum: 2}", dataset=dataset) == ("rlw", {"sum": 2.0})
    assert rule_of(changes={"objective.weighting": {"name": "rlw"}}, dataset=dataset) == ("rlw", {"sum": 1.0})
    assert rule_of(changes={"objective.weighting.name": "rlw"}, dataset=dataset) == ("rlw", {"sum": 1.0})
    both = ("objective.weighting.name=dwa", "objective.weighting.temperature=3")
    assert rule_of(*both, dataset=dataset) == ("dwa", {"sum": 1.0, "temperature": 3.0})


@pytest.mark.parametrize("dataset", ["mosi", "toy"])
def test_an_option_alone_is_that_of_the_recipes_own_rule(dataset):
    assert rule_of("weighting.temperature=3", dataset=dataset) == ("gdwg", {"sum": 1.0, "temperature": 3.0})
    assert rule_of("weighting.name=gdwg", "weighting.sum=null", dataset=dataset) == (
        "gdwg",
        {"sum": None, "temperature": 1.0},
    )


def test_a_weight_that_is_set_leaves_the_others_as_they_are():
    """Those of the default, which the recipe does not write out."""
    assert rule_of("objective=multitask", "objective.weighting.weights.polarity=2")[1]["weights"] == {"polarity": 2.0}
    values = to_dict(load_recipe(find_recipe(None, "toy"), ["objective=multitask"])) | {"objective": "multitask"}
    changed = with_settings(values, ["objective.weighting.weights.polarity=2"], to_dict(from_values(values, "x")))
    found = from_values(changed, "y").objective.options.weighting
    assert (found.name, found.options.weights) == ("fixed", {"polarity": 2.0, "intensity": 0.5})


@pytest.mark.parametrize("name_first", [True, False])
def test_options_beside_another_choice_are_taken_in_whichever_order(name_first):
    settings = sorted(["objective.weighting.name=dwa", "objective.weighting.sum=2"], reverse=not name_first)
    weighting = load_recipe(find_recipe(None, "mosi"), settings).objective.options.weighting
    assert (weighting.name, weighting.options.sum) == ("dwa", 2)


def test_options_in_a_file_without_a_name_are_those_of_the_default(tmp_path):
    path = write(tmp_path, mine={"base": "toy/dmmsa", "objective": {"weighting": {"temperature": 0.5}}})
    assert load_recipe(path).objective.options.weighting.options.temperature == 0.5
    path = write(tmp_path, mine={"base": "mosi/dmmsa", "objective": {"weighting": {"name": "rlw"}}})
    assert to_dict(load_recipe(path).objective.options.weighting) == {"name": "rlw", "sum": 1.0}


@pytest.mark.parametrize("rule", ["gradnorm", "upgrad", "pcgrad", "mgda", "cagrad"])
def test_a_rule_that_looks_at_shared_features_is_refused_for_a_network_without(rule):
    path = find_recipe("lf-dnn", "toy")
    with pytest.raises(
        InvalidRecipe, match="multitask needs features that all tasks pass through, which lf_dnn does not give"
    ):
        load_recipe(path, ["objective=multitask", f"objective.weighting={rule}"])
    load_recipe(find_recipe(None, "toy"), ["objective=multitask", f"objective.weighting={rule}"])
    load_recipe(path, ["objective=multitask", "objective.weighting=rlw"])
