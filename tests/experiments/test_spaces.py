"""Spaces: what is declared beside options, a file of one's own, and every fault of it at once."""

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.experiments.recipes import load_recipe, recipes_folder, shipped
from dmmsa_cli.experiments.spaces import changes_of, declared_space, in_yaml, place_of, read_space
from dmmsa_cli.models import MODELS
from dmmsa_cli.objectives import OBJECTIVES
from dmmsa_cli.objectives.weighting import WEIGHTINGS
from dmmsa_cli.ranges import Around, Choices, Range, declared_by, ranges_in
from dmmsa_cli.recipe import flat, to_dict
from dmmsa_cli.training.schedule import Schedule, TextPretraining

NOTHING_TO_TUNE = {  # options that declare no range, and why
    "SelfMmObjectiveOptions": "what its losses weigh follows from the labels",
    "RegressionOptions": "which distance is a question of what is wanted",
    "MultitaskOptions": "its weights are those of the rule",
    **{f"{rule}Options": "no parameters" for rule in ("Equal", "Rlw", "Gls", "Upgrad", "Pcgrad", "Mgda")},
    "FixedOptions": "weights by task, which each recipe names for itself",
}


@pytest.fixture
def recipe():
    return load_recipe(recipes_folder() / "toy/dmmsa.yaml")


def read(tmp_path, recipe, text):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return read_space(path, recipe)


def faults(tmp_path, recipe, text):
    with pytest.raises(InvalidRecipe) as error:
        read(tmp_path, recipe, text)
    first, *lines = error.value.what.splitlines()
    assert str(tmp_path / "space.yaml") in first and f"{len(lines)} error" in first
    return [line.strip() for line in lines]


# --- what is declared -----------------------------------------------------------------------------------------------


ALL = [*MODELS.items(), *OBJECTIVES.items(), *WEIGHTINGS.items()]


@pytest.mark.parametrize(("name", "options"), [(name, of.Options) for name, of in ALL], ids=str)
def test_what_is_declared_are_fields_and_the_defaults_lie_within(name, options):
    own = options()
    declared = dict(ranges_in(own, "x"))
    assert bool(declared) != (options.__name__ in NOTHING_TO_TUNE), name
    flat_values = {f"x.{key}": value for key, value in flat(to_dict(own)).items()}
    for key, of in declared.items():
        assert flat_values[key] in of, f"{key} of {name} is {flat_values[key]}"


@pytest.mark.parametrize("kind", [Schedule, TextPretraining, *(of.Options for _, of in ALL)])
def test_every_declared_name_is_a_field(kind):
    assert declared_by(kind).keys() <= {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_lies_in_its_declared_space_whose_ends_it_takes(name):
    recipe = load_recipe(recipes_folder() / f"{name}.yaml")
    space = declared_space(recipe)  # which tries them
    assert {key.partition(".")[0] for key in space} >= {"model", "fusion"}
    assert place_of(space, to_dict(recipe)) is not None
    assert {"fusion.learning_rate", "fusion.epochs", "fusion.batch_size"} <= space.keys()


def test_no_declared_range_needs_encoders_of_its_own(recipe):
    assert "model.width" not in declared_space(recipe)
    assert not [key for key in declared_space(recipe) if key.startswith(("pretraining", "text", "audio", "vision"))]


def test_a_part_that_a_recipe_goes_without_is_not_tuned(recipe):
    without = load_recipe(recipes_folder() / "toy/dmmsa.yaml", changes={"objective.cl.enabled": False})
    gone = declared_space(recipe).keys() - declared_space(without).keys()
    assert gone == {"objective.cl.temperature"}
    plain = load_recipe(recipes_folder() / "toy/dmmsa.yaml", changes={"fusion.weight_decay": 0})
    assert declared_space(recipe).keys() - declared_space(plain).keys() == {"fusion.weight_decay"}


def test_a_range_around_a_value_has_it_in_the_middle():
    assert Around(10).of(1e-4) == Range(1e-5, 1e-3, log=True)
    assert Around(2).of(3) == Range(2, 6, log=True)
    assert Around(2).of(1) == Range(1, 2, log=True)


# --- a file of one's own --------------------------------------------------------------------------------------------


def test_a_file_is_read_with_the_types_of_the_options(tmp_path, recipe):
    space = read(
        tmp_path,
        recipe,
        "fusion.learning_rate: {low: 1e-5, high: 1e-3, log: true}\n"  # which PyYAML reads as text
        "fusion.epochs: {low: 2.0, high: 8, step: 2}\n"
        "msc.classes: {choices: [3, [2, 3]]}\n"
        "objective.weighting.name: {choices: [gdwg, equal]}\n"
        "weight_averaging: {choices: [null, 0.9]}\n".replace("weight_averaging", "fusion.weight_averaging"),
    )
    assert space["fusion.learning_rate"] == Range(1e-5, 1e-3, log=True)
    assert (type(space["fusion.epochs"].low), type(space["fusion.epochs"].high)) == (int, int)
    assert space["objective.msc.classes"].names == ("3", "[2, 3]")
    assert space["fusion.weight_averaging"].names == ("null", "0.9")
    assert changes_of(space, {"objective.msc.classes": "[2, 3]", "fusion.epochs": 4}) == {
        "objective.msc.classes": (2, 3),
        "fusion.epochs": 4,
    }


def test_where_the_starting_recipe_lies(tmp_path, recipe):
    space = read(tmp_path, recipe, "fusion.epochs: {low: 5, high: 15, step: 5}\nmsc.classes: {choices: [2, 3]}\n")
    assert place_of(space, to_dict(recipe)) == {"fusion.epochs": 15, "objective.msc.classes": "3"}
    off = read(tmp_path, recipe, "fusion.epochs: {low: 4, high: 16, step: 2}\n")  # 15 is no step of it
    assert place_of(off, to_dict(recipe)) is None
    beyond = read(tmp_path, recipe, "fusion.epochs: {low: 2, high: 8}\n")
    assert place_of(beyond, to_dict(recipe)) is None


def test_what_is_shown_of_a_space_is_a_file_of_it(tmp_path, recipe):
    space = declared_space(recipe)
    assert read(tmp_path, recipe, in_yaml(space)) == space
    assert len(in_yaml(space).splitlines()) == len(space)


def test_every_fault_of_a_file_is_told_at_once_with_its_path(tmp_path, recipe):
    text = """
fusion.learnin_rate: {low: 1, high: 2}
fusion.epochs: {low: 8, high: 2}
fusion.batch_size: {low: 0, high: 8}
fusion.learning_rate: {low: 0, high: 1e-3, log: true}
fusion.weight_decay: {low: 1e-4, high: abc}
fusion.warmup_epochs: {low: 1}
fusion.decay: {choices: [linear, sideways]}
model.projector_dropout: {low: 0.1, high: 1.2}
model.width: {low: 16, high: 64, stp: 16}
objective.cl.temperature: [0.1, 0.2]
objective.beta: {choices: [1, 1]}
objective.weighting.temperature: {low: 1, high: 1}
objective.msc.classes: {choices: 3}
fusion.accumulate: {choices: [1, 2], log: true}
fusion.patience: {low: 1, high: 10, step: 4}
vision.layers: {low: 1, high: 4, log: true, step: 1}
audio.layers: {low: 1.5, high: 3}
epochs: {low: 1, high: 2}
"""
    found = faults(tmp_path, recipe, text)
    told = {line.partition(":")[0]: line for line in found}
    for key, words in {
        "fusion.learnin_rate": "did you mean learning_rate",
        "fusion.epochs": "low: 8 is above high, 2",
        "fusion.batch_size": "batch_size: 0 is not above 0",
        "fusion.learning_rate": "no logarithm",
        "fusion.weight_decay.high": "'abc' is not a number",
        "fusion.warmup_epochs.high": "missing",
        "fusion.decay": "'sideways' is not one of",
        "model": "",
        "model.width.stp": "did you mean step",
        "objective.cl.temperature": "expected {low, high} or {choices}",
        "objective.beta": "has one twice",
        "objective.weighting.temperature": "one value",
        "objective.msc.classes.choices": "3 is not a list",
        "fusion.accumulate": "choices stand alone, without log",
        "fusion.patience": "leads from 1 not to 10",
        "vision.layers": "there is none with log",
        "audio.layers": "1.5 is not a whole number",
        "epochs": "fits several keys",
    }.items():
        assert any(line.startswith(key) and words in line for line in found), f"{key}: {told}"
    assert len(found) == 18, found


@pytest.mark.parametrize(
    ("key", "decides"),
    [
        ("seeds", "which runs are compared"),
        ("data.fraction", "which clips and inputs are compared"),
        ("data", "which clips and inputs are compared"),
        ("precision", "arithmetic"),
        ("pretraining.seed", "encoders"),
        ("pretraining.per_seed", "encoders"),
    ],
)
def test_what_would_change_what_is_compared_stays_as_it_is(tmp_path, recipe, key, decides):
    (fault,) = faults(tmp_path, recipe, yaml.safe_dump({key: {"choices": [1, 2]}}))
    assert fault.startswith(f"{key}: decides ") and decides in fault


def test_options_of_a_row_that_may_be_another_are_refused(tmp_path, recipe):
    text = "objective.weighting.name: {choices: [gdwg, equal]}\nobjective.weighting.temperature: {low: 0.1, high: 1}\n"
    assert faults(tmp_path, recipe, text) == [
        "objective.weighting.temperature: equal, which objective.weighting.name may choose, has no such option"
    ]
    same = text.replace("equal", "dwa")
    assert len(read(tmp_path, recipe, same)) == 2


def test_one_key_under_two_names_and_a_file_without_any(tmp_path, recipe):
    twice = "msc.classes: {choices: [2, 3]}\nobjective.msc.classes: {choices: [3, 5]}\n"
    assert faults(tmp_path, recipe, twice) == ["objective.msc.classes: stands there twice"]
    assert faults(tmp_path, recipe, "{}") == ["there is nothing in it to tune"]
    with pytest.raises(InvalidRecipe, match="can't be read"):
        read_space(tmp_path / "absent.yaml", recipe)
    with pytest.raises(InvalidRecipe, match="no mapping"):
        read(tmp_path, recipe, "[1, 2]")


def test_choices_are_told_apart_by_kind():
    assert Choices((1, True, None, "a", (2, 3))).names == ("1", "true", "null", "a", "[2, 3]")
    assert True not in Range(0, 1)
    assert "1" in Choices((1, 2))


def test_the_readmes_space_is_one(tmp_path):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (text,) = re.findall(r"```yaml\n(# space.yaml\n.*?)```", readme, re.DOTALL)
    space = read(tmp_path, load_recipe(recipes_folder() / "mosi/minilm.yaml"), text)
    assert len(space) == len(text.splitlines()) - 1
