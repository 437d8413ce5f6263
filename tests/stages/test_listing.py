"""What lies in the folders of data and runs, and what is shipped for it."""

import re

import pytest

from dmmsa_cli.cli.list import What, list_
from dmmsa_cli.experiments.recipes import shipped
from dmmsa_cli.stages import listing
from dmmsa_cli.training.run import RunFolder
from tests.training_runs import open_mini, run_fuse


def test_prepared_datasets_and_damaged_ones(prepared, tmp_path):
    (found,) = listing.datasets(prepared)
    assert (found.name, found.fault, found.recipes) == ("mini", "", "default")
    assert set(found.manifest.rows) == {"train", "valid", "test"}
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("{")
    (tmp_path / "downloads").mkdir()
    (broken,) = listing.datasets(tmp_path)
    assert broken.manifest is None
    assert "broken" in broken.fault


def test_runs_are_finished_or_begun(prepared, micro, tmp_path):
    assert listing.runs(tmp_path) == []
    runs = tmp_path / "runs"
    folder = run_fuse(open_mini(prepared, micro, runs, "fusion.epochs=1"), "mine").folder
    begun = folder.with_name("seed-12")
    begun.mkdir()
    (begun / "recipe.yaml").write_text("")
    (folder.with_name("seed-3")).mkdir()  # nothing yet
    (found,) = listing.runs(runs)
    assert (found.dataset, found.recipe, found.variant) == ("mini", "micro", "mine")
    assert found.seeds == {1: "finished", 12: "begun"}


def test_a_run_that_diverged_is_listed_as_such(tmp_path, capsys):
    for seed in (1, 2):
        run = RunFolder(tmp_path / f"mini/micro/full/seed-{seed}")
        run.begin("", {})
    list_(What.runs, None, tmp_path, tmp_path)
    assert not re.search(r"\bdiverged\b", capsys.readouterr().out.replace("_", "x"))  # but in the folder's name
    run.note_divergence(1, "Epoch 1: the loss of msc is no longer a finite number.")
    assert listing.runs(tmp_path)[0].seeds == {1: "begun", 2: "diverged"}
    list_(What.runs, None, tmp_path, tmp_path)
    assert re.search(r"mini/micro/full +seed 1 +seed 2", capsys.readouterr().out)


@pytest.mark.parametrize("family", listing.families())
def test_every_recipe_says_in_a_line_what_it_is_for(family):
    found = listing.recipes([family])
    assert found
    for recipe in found:
        assert 10 < len(recipe.about) < 180, recipe
        assert recipe.about.count("(") == recipe.about.count(")"), recipe


def test_all_that_is_shipped_is_listed():
    found = listing.recipes(listing.families())
    assert sorted(f"{one.family}/{one.name}" for one in found) == shipped()
