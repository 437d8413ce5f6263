"""Under a table that holds GDWG and random weights stands whether the one beats the other, whichever way it is."""

import numpy as np
import pytest

from dmmsa_cli.experiments.studies import load_study
from dmmsa_cli.reporting.collection import collect
from dmmsa_cli.reporting.control import about_control
from dmmsa_cli.reporting.tables import build_tables
from tests.reporting.conftest import write_run

RLW = {"objective.weighting.name": "rlw"}
SEEDS = (1, 12, 123)


def both(folder, gdwg=0.8, rlw=0.8, changes=None, names=("full", "rlw"), **more):
    for seed in SEEDS:
        write_run(folder, variant=names[0], seed=seed, error=gdwg, changes=changes, **more)
        write_run(folder, variant=names[1], seed=seed, error=rlw, changes={**(changes or {}), **RLW}, **more)


def sentences(folder):
    return about_control(collect(folder).systems)


def mean_mae(folder, variant):
    (system,) = [one for one in collect(folder).systems if one.variant == variant]
    return np.mean([run.metrics["mae"] for run in system.runs])


@pytest.mark.parametrize(
    ("errors", "way", "verdict", "conclusion"),
    [
        ((0.5, 0.8), "lower", "more than the noise of the clips", "GDWG beats random weights."),
        ((0.8, 0.5), "higher", "more than the noise of the clips", "Random weights beat GDWG."),
        ((0.8, 0.8), None, "within noise", "GDWG does not beat random weights."),
    ],
)
def test_it_is_said_whether_gdwg_beats_random_weights(tmp_path, errors, way, verdict, conclusion):
    both(tmp_path, *errors)
    (sentence,) = sentences(tmp_path)
    difference = mean_mae(tmp_path, "full") - mean_mae(tmp_path, "rlw")
    way = way or ("lower" if difference < 0 else "higher")
    quality = "worse" if way == "higher" else "better"
    assert (
        f"GDWG's MAE is {abs(difference):.4f} {way} ({quality}) than that of random weights (95 % interval over"
        in sentence
    )
    assert "sd over 3 seeds" in sentence
    assert sentence.endswith(f"): {verdict}. {conclusion}")
    assert "(dmmsa/full)" in sentence and "(RLW, dmmsa/rlw)" in sentence


def test_what_varies_more_over_the_seeds_has_no_winner(tmp_path):
    """GDWG is better with two seeds, and much worse with the third: over the clips that is a difference."""
    for seed, error in zip(SEEDS, (0.75, 0.75, 1.6), strict=True):
        write_run(tmp_path, variant="full", seed=seed, error=error)
        write_run(tmp_path, variant="rlw", seed=seed, error=0.8, changes=RLW)
    (sentence,) = sentences(tmp_path)
    assert "more than the noise of the clips. Over the seeds it varies by more than that" in sentence
    assert sentence.endswith("GDWG does not beat random weights, nor they GDWG.")


def test_one_seed_has_no_winner(tmp_path):
    write_run(tmp_path, variant="full", error=0.5)
    write_run(tmp_path, variant="rlw", error=0.8, changes=RLW)
    (sentence,) = sentences(tmp_path)
    assert "more than the noise of the clips. Whether" in sentence
    assert sentence.endswith("is more than the noise of training, one seed can't tell.")


def test_it_stands_under_the_table_of_the_study_and_that_of_all_runs(tmp_path):
    both(tmp_path, 0.5, 0.8)
    (sentence,) = sentences(tmp_path)
    found = {table.id: table.notes for table in build_tables(collect(tmp_path).systems)}
    for name in ("mosi-weighting", "mosi-runs"):
        assert found[name].count(sentence) == 1  # though encoders alone are rows of their system, too
    assert all("random weights" not in " ".join(notes) for name, notes in found.items() if "mosi-" not in name)


def test_too_few_clips_tell_nothing(tmp_path, monkeypatch):
    both(tmp_path, 0.5, 0.8)
    monkeypatch.setattr("dmmsa_cli.reporting.contents.FEW_DRAWN", 13)  # of the 12 videos there are
    (sentence,) = sentences(tmp_path)
    assert sentence.endswith("too few to tell. Whether GDWG beats random weights is not known.")


def test_only_the_recipes_gdwg_is_held_against_its_control(tmp_path):
    both(tmp_path, 0.5, 0.8)
    write_run(tmp_path, variant="gdwg-0.1", changes={"objective.weighting.temperature": 0.1})
    write_run(tmp_path, variant="no-gdwg", changes={"objective.weighting.name": "equal"})
    assert len(sentences(tmp_path)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"objective.weighting": {"name": "rlw", "sum": 2.0}},
        {**RLW, "objective.polarity.enabled": True},
        {**RLW, "objective.weighted": "all"},
        {**RLW, "fusion.epochs": 3},
    ],
    ids=["another sum", "another task", "other tasks weighed", "another schedule"],
)
def test_what_differs_in_more_than_the_rule_is_no_control(tmp_path, changes):
    write_run(tmp_path)
    write_run(tmp_path, variant="rlw-otherwise", changes=changes)
    assert sentences(tmp_path) == []


def test_nine_tasks_have_a_control_of_their_own(tmp_path):
    many = {variant.name: variant.set for variant in load_study("weighting-many").variants}
    both(tmp_path, 0.8, 0.5)
    for seed in SEEDS:
        for name, error in (("many-gdwg", 0.5), ("many-rlw", 0.8), ("many-gdwg-0.1", 0.5)):
            write_run(tmp_path, variant=name, seed=seed, error=error, changes=many[name])
    found = sentences(tmp_path)
    assert len(found) == 2
    assert {sentence.rpartition(". ")[2] for sentence in found} == {
        "GDWG beats random weights.",
        "Random weights beat GDWG.",
    }
    assert any("(dmmsa/many-gdwg)" in sentence and "(RLW, dmmsa/many-rlw)" in sentence for sentence in found)


def test_a_pair_that_cant_be_compared_is_told(tmp_path):
    write_run(tmp_path, seed=1)
    write_run(tmp_path, variant="rlw", seed=2, changes=RLW)
    (sentence,) = sentences(tmp_path)
    assert sentence == (
        "Whether GDWG (dmmsa/full) beats random weights (dmmsa/rlw) can't be said. "
        "They can't be compared: they have no seed in common."
    )


def test_objectives_without_a_rule_are_none_of_it(tmp_path):
    write_run(tmp_path, recipe="confede")
    write_run(tmp_path, variant="rlw", changes=RLW)
    assert sentences(tmp_path) == []
    write_run(tmp_path / "mine", called="mine", changes={"objective.weighting.temperature": 3.0})
    write_run(tmp_path / "mine", called="mine", variant="rlw", changes=RLW)
    assert len(sentences(tmp_path / "mine")) == 1  # a recipe of one's own has GDWG as it has it
