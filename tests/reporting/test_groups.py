"""Which systems belong together, and what they are called."""

import pytest

from dmmsa_cli.reporting.collection import collect
from dmmsa_cli.reporting.groups import groups, label, obstacle, pairs
from tests.reporting.conftest import write_run

NO_MSC = {"objective.msc.enabled": False}


def test_systems_are_called_by_what_they_do(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, variant="no-gdwg", changes={"objective.weighting.name": "equal"})
    both = {"objective.msc.enabled": False, "objective.cl.enabled": False}
    write_run(tmp_path, variant="no-msc-no-cl", changes=both)
    write_run(tmp_path, variant="fraction-0.6-no-msc", changes=NO_MSC | {"data.fraction": 0.6})
    labels = {one.variant: label(one) for one in collect(tmp_path).systems}
    assert labels == {
        "full": "DMMSA",
        "no-gdwg": "w/o GDWG",
        "no-msc-no-cl": "w/o MSC, CL",
        "fraction-0.6-no-msc": "dmmsa/fraction-0.6-no-msc",
    }


def test_dmmsa_comes_first_in_its_group(tmp_path):
    write_run(tmp_path, variant="a", changes=NO_MSC)
    write_run(tmp_path, variant="full")
    write_run(tmp_path, variant="long", changes={"fusion.epochs": 7})
    variants = [[one.variant for one in group] for group in groups(collect(tmp_path).systems)]
    assert sorted(variants) == [["full", "a"], ["long"]]


def test_a_pair_differs_in_one_task_whatever_it_is_called(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, variant="plain", changes=NO_MSC | {"objective.msc.classes": 5})
    write_run(tmp_path, variant="no-cl", changes={"objective.cl.enabled": False})
    write_run(tmp_path, variant="no-msc-no-cl", changes=NO_MSC | {"objective.cl.enabled": False})
    write_run(tmp_path, variant="short", changes=NO_MSC | {"fusion.epochs": 7})
    systems = collect(tmp_path).systems
    found = {task: [(a.variant, b.variant) for a, b in pairs(systems, task)] for task in ("msc", "cl", "uni", "gdwg")}
    assert found == {"msc": [("full", "plain")], "cl": [("full", "no-cl")], "uni": [], "gdwg": []}


def test_other_encoders_or_seeds_are_an_obstacle(tmp_path):
    write_run(tmp_path, seed=1)
    write_run(tmp_path, seed=1, variant="b", changes=NO_MSC, facts={"encoder_hashes": {"t": "another"}})
    write_run(tmp_path, seed=2, variant="c", changes=NO_MSC)
    full, other, later = sorted(collect(tmp_path).systems, key=lambda one: ("full", "b", "c").index(one.variant))
    assert "encoders" in obstacle(full, other)
    assert "seed" in obstacle(full, later)
    assert obstacle(full, full) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"objective.weighting.name": "rlw"},
        {"objective.weighted": "all"},
        {"objective.uni.each": True},
        {"objective.polarity.enabled": True},
        {"objective.intensity.enabled": True},
        NO_MSC,
    ],
)
def test_what_has_another_rule_or_further_tasks_is_not_dmmsa(tmp_path, changes):
    write_run(tmp_path, called="mine", changes=changes)
    write_run(tmp_path, called="own", changes={"objective.weighting.temperature": 2.0})
    assert {one.recipe_name: label(one) for one in collect(tmp_path).systems} == {"mine": "mine/full", "own": "DMMSA"}


def test_without_gdwg_weights_are_equal_and_of_the_same_sum(tmp_path):
    write_run(tmp_path)
    for name, rule in (("plain", "equal"), ("chance", "rlw"), ("doubled", {"name": "equal", "sum": 2.0})):
        write_run(tmp_path / name, variant="full")
        write_run(tmp_path / name, variant=name, changes={"objective.weighting": rule})
        found = [(a.variant, b.variant) for a, b in pairs(collect(tmp_path / name).systems, "gdwg")]
        assert found == ([("full", "plain")] if name == "plain" else [])
