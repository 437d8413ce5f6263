"""What the name of a variant stands for, and that nothing else is trained under it."""

import shutil
from dataclasses import fields, replace
from itertools import chain, combinations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.cli.options import recipe_changes
from dmmsa_cli.errors import InvalidInput
from dmmsa_cli.experiments.recipes import find_recipe, load_recipe, recipes_folder
from dmmsa_cli.experiments.studies import Study, Variant, load_study, study_names
from dmmsa_cli.experiments.variants import (
    PARTS,
    Meaning,
    check_names,
    departures,
    in_words,
    meaning_of,
    shipped_recipe,
    variant_name,
)
from dmmsa_cli.objectives import OBJECTIVES
from dmmsa_cli.recipe import dump_yaml
from dmmsa_cli.stages.ablate import Place, plan
from tests.interception import no_training
from tests.training_runs import open_mini, run_fuse

FAMILIES = ("mosi", "mosei", "sims", "toy", "default")
SUBSETS = [*chain.from_iterable(combinations(PARTS, count) for count in range(len(PARTS) + 1))]

# --- names and meanings ---------------------------------------------------------------------------------------------


def changes_of(dropped, fraction):
    """What flags change in a recipe, as the command line says."""
    return recipe_changes(fraction=fraction, dropped=dropped)


@given(
    dropped=st.sampled_from(SUBSETS),
    fraction=st.none() | st.floats(0, 1, exclude_min=True) | st.integers(1, 10).map(lambda tenths: tenths / 10),
    from_scratch=st.booleans(),
)
def test_a_name_made_of_flags_means_those_flags(dropped, fraction, from_scratch):
    meaning = meaning_of(variant_name(dropped, fraction, from_scratch, changed=False))
    assert meaning == Meaning(changes_of(dropped, None if fraction == 1 else fraction), from_scratch)


def test_flags_are_the_parts_of_dmmsas_objective_that_can_be_left_out():
    options = OBJECTIVES["dmmsa"].Options()
    parts = {field.name: getattr(options, field.name) for field in fields(options)}
    assert {*PARTS} == {name for name, part in parts.items() if getattr(part, "enabled", False)} | {"gdwg"}
    assert options.weighting.name == "gdwg"


def test_the_shares_of_the_papers_table_are_named_as_ever():
    names = [variant_name([], tenths / 10, False, changed=False) for tenths in (1, 2, 4, 6, 8, 10)]
    assert names == ["fraction-0.1", "fraction-0.2", "fraction-0.4", "fraction-0.6", "fraction-0.8", "full"]


@pytest.mark.parametrize(
    "name", ["mine", "full-2", "no-mscs", "no-", "fraction-", "fraction-1e", "fraction-.-.", "no", ""]
)
def test_a_name_of_ones_own_stands_for_nothing(name):
    assert meaning_of(name) is None


def test_a_variant_of_a_shipped_study_means_what_the_study_sets():
    variants = [variant for name in study_names() for variant in load_study(name).variants]
    assert len(variants) > 20
    for variant in variants:
        assert meaning_of(variant.name) == Meaning(variant.set)  # and so no two studies give one name two meanings


# --- recipes held against each other --------------------------------------------------------------------------------


def test_departures_are_told_key_by_key_without_seeds_and_precision():
    own = {"fusion": {"epochs": 1, "batch_size": 16}, "seeds": [1], "precision": "bf16", "objective": {"name": "one"}}
    other = {"fusion": {"epochs": 15, "batch_size": 16}, "seeds": [2], "precision": "auto", "text": {"dropout": 0.1}}
    found = departures(own, other)
    assert found == {"objective.name": ("one", None), "fusion.epochs": (1, 15), "text.dropout": (None, 0.1)}
    assert in_words(found) == "objective.name one (not nothing), fusion.epochs 1 (not 15), and 1 more"
    assert in_words(found, most=3) == (
        "objective.name one (not nothing), fusion.epochs 1 (not 15), text.dropout nothing (not 0.1)"
    )
    assert departures(own, own) == {}


def test_a_long_value_is_cut_in_words():
    words = in_words({"text.encoder": ("/a" * 40, None)})
    assert words == f"text.encoder {('/a' * 40)[:37]}... (not nothing)"


def test_a_shipped_recipe_is_found_by_name_and_family():
    values = shipped_recipe("dmmsa", "mosei", {"fusion.epochs": 3})
    assert (values["vision"]["layers"], values["fusion"]["epochs"]) == (3, 3)
    assert shipped_recipe("dmmsa", "nobodys") == shipped_recipe("dmmsa", "default")
    assert shipped_recipe("mine", "mosi") is None
    assert shipped_recipe("confede", "mosi", {"objective.msc.enabled": False}) is None


# --- what is accepted -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def experiment_with(prepared, micro, tmp_path_factory):
    """An experiment with a recipe, changed or not, on a dataset of some family."""
    mini = open_mini(prepared, micro, tmp_path_factory.mktemp("names"))

    def experiment(path, family, changes=None):
        spec = replace(mini.store.spec, recipes=family)
        store = replace(mini.store, manifest=replace(mini.store.manifest, spec=spec))
        recipe = load_recipe(path, changes=changes)
        return replace(mini, store=store, recipe=recipe, name=path.stem, recipe_file=path)

    return experiment


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("study", study_names())
def test_every_variant_of_every_shipped_study_bears_its_own_name(experiment_with, study, family):
    for base in ("dmmsa", "minilm")[: 2 if family == "mosi" else 1]:
        for variant in load_study(study).variants:
            path = find_recipe(variant.recipe_beside(base), family)
            check_names(experiment_with(path, family, variant.set), variant.name, from_scratch=False)


@pytest.mark.parametrize("from_scratch", [False, True])
def test_every_combination_of_flags_bears_its_own_name(experiment_with, from_scratch):
    path = find_recipe(None, "mosi")
    combined = [(dropped, fraction) for dropped in SUBSETS for fraction in (None, 1 / 3)]
    for dropped, fraction in [*combined, *(((), share) for share in (0.6, 1.0, 0.12345678, 1e-5))]:
        experiment = experiment_with(path, "mosi", changes_of(dropped, fraction))
        name = variant_name(dropped, fraction, from_scratch, changed=False)
        check_names(experiment, name, from_scratch=from_scratch)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_shipped_recipe_is_accepted_as_it_is_and_in_any_precision(experiment_with, family):
    for path in sorted((recipes_folder() / family).glob("*.yaml")):
        check_names(experiment_with(path, family), "full", from_scratch=False)
        check_names(experiment_with(path, family, {"precision": "bf16", "seeds": [3]}), "full", from_scratch=False)


def test_a_name_of_ones_own_may_be_anything(experiment_with):
    experiment = experiment_with(find_recipe(None, "mosi"), "mosi", {"fusion.epochs": 1})
    for from_scratch in (False, True):
        check_names(experiment, "mine", from_scratch=from_scratch)


def test_a_recipe_of_ones_own_has_a_full_of_its_own(experiment_with, micro, tmp_path):
    check_names(experiment_with(micro, "mosi"), "full", from_scratch=False)
    shutil.copy(find_recipe(None, "mosi"), tmp_path / "dmmsa.yaml")  # the same recipe still
    check_names(experiment_with(tmp_path / "dmmsa.yaml", "mosi"), "full", from_scratch=False)


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "name", "from_scratch", "words"),
    [
        ({"fusion.epochs": 1}, "full", False, "name of a recipe as it is; .*: fusion.epochs 1 (not 4)"),
        ({}, "full", True, "name of a recipe as it is; .*: --from-scratch"),
        ({}, "from-scratch", False, "name of from-scratch and nothing else; .*: no --from-scratch"),
        (
            {"objective.msc.enabled": False},
            "no-cl",
            False,
            "name of objective.cl.enabled False and nothing else; .*: "
            "objective.cl.enabled True (not False), objective.msc.enabled False (not True)",
        ),
        ({}, "no-msc", False, "name of objective.msc.enabled False .*: objective.msc.enabled True (not False)"),
        ({"data.fraction": 0.4}, "fraction-0.6", False, "data.fraction 0.4 (not 0.6)"),
        ({"objective.msc.classes": 7}, "msc-5", False, "name of objective.msc.classes 5 .*: objective.msc.classes 7"),
        ({"objective.cl.enabled": False}, "regression", False, "objective.msc.enabled True (not False)"),
        ({"data.modalities": ["t", "a"]}, "tv", False, "data.modalities"),
    ],
)
def test_fuse_refuses_a_name_that_stands_for_something_else(
    prepared, micro, tmp_path, changes, name, from_scratch, words
):
    experiment = open_mini(prepared, micro, tmp_path, **changes)
    pattern = f"'{name}' is the .*{words}".replace("(", r"\(").replace(")", r"\)")
    with no_training() as trainings, pytest.raises(InvalidInput, match=pattern) as refused:
        run_fuse(experiment, name, from_scratch=from_scratch)
    assert "--name" in refused.value.remedy
    assert trainings.given == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_name_of_another_objectives_flag_is_refused(prepared, micro, tmp_path):
    changed = open_mini(prepared, micro, tmp_path, "objective=confede")
    with no_training(), pytest.raises(InvalidInput, match=r"from that: objective.name confede \(not dmmsa\), "):
        run_fuse(changed, "no-msc")
    (tmp_path / "mine.yaml").write_text(dump_yaml(changed.recipe))
    mine = open_mini(prepared, tmp_path / "mine.yaml", tmp_path)
    with no_training(), pytest.raises(InvalidInput, match="'no-msc' .*: the objective confede has no such part"):
        run_fuse(mine, "no-msc")


@pytest.mark.parametrize("name", ["full", "mine"])
def test_a_changed_recipe_in_a_file_named_like_a_shipped_one_is_refused(prepared, tmp_path, name):
    values = yaml.safe_load(find_recipe(None, "default").read_text())
    values["fusion"]["learning_rate"] = 3e-5
    path = tmp_path / "dmmsa.yaml"
    path.write_text(yaml.safe_dump(values))
    with no_training(), pytest.raises(InvalidInput, match=r"shipped recipe dmmsa .*: fusion.learning_rate 3e-05") as no:
        run_fuse(open_mini(prepared, path, tmp_path / "runs"), name)
    assert "dmmsa-mine.yaml" in no.value.remedy
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "variant",
    [
        Variant(name="full", set={"fusion.epochs": 1}),
        Variant(name="no-cl", set={"objective.msc.enabled": False}),
        Variant(name="msc-5", set={"objective.msc.classes": 7}),
        Variant(name="fraction-0.5"),
        Variant(name="from-scratch"),
    ],
    ids=lambda variant: variant.name,
)
def test_a_study_of_ones_own_may_not_redefine_a_name(prepared, micro, tmp_path, variant):
    place = Place("mini", prepared, tmp_path, "cpu")
    with pytest.raises(InvalidInput, match=f"Variant {variant.name}: '{variant.name}' is the name of") as refused:
        plan(Study(title="mine", variants=(variant,)), place, recipe=str(micro), seeds=(1,))
    assert "name" in refused.value.remedy
