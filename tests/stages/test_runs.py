"""Seeds and encoders as tasks: which there are, what they need first, and what is refused before any begins."""

import shutil
from dataclasses import replace

import pytest

from dmmsa_cli.errors import InvalidInput, RunMismatch
from dmmsa_cli.stages.engines import Remark, Step
from dmmsa_cli.stages.runs import Opening, carry_out, plan_encoders, plan_fusion


@pytest.fixture(scope="module")
def opening(prepared, micro, tmp_path_factory):
    return Opening("mini", prepared, tmp_path_factory.mktemp("runs"), str(micro), device="cpu")


@pytest.fixture(scope="module")
def done(opening):
    """One seed that has been trained from nothing."""
    (outcome,) = carry_out(plan_fusion([opening], "bare", (1,), from_scratch=True))
    return outcome


def test_what_starts_from_nothing_needs_nothing(opening, done):
    assert done.state == "trained"
    assert not list(opening.runs_dir.rglob("encoders/*/weights.safetensors"))
    assert not done.job.needs()


def test_what_stands_on_encoders_needs_those_that_are_missing_once(opening):
    first, second = plan_fusion([opening], "full", (1, 12, 1))  # a seed twice is one run
    assert (first.seed, second.seed) == (1, 12)
    assert {need.modality for need in first.needs()} == {"t", "v", "a"}
    assert first.needs() == second.needs()  # shared, so trained once
    apart = Opening(**vars(opening) | {"settings": ("pretraining.per_seed=true",)})
    one, other = plan_fusion([apart], "own", (1, 12))
    assert not set(one.needs()) & set(other.needs())


def test_what_a_reader_should_know_is_told(prepared, micro, tmp_path):
    heard = []
    (run,) = plan_fusion([Opening("mini", prepared, tmp_path, str(micro), device="cpu")], "full", (1,))
    run.run(heard.append)  # without an engine, which would have had its encoders trained
    remarks = [event for event in heard if isinstance(event, Remark)]
    assert all(remark.job == run for remark in remarks)
    assert "The text encoder is not pretrained yet; that comes first." in [remark.line for remark in remarks]
    shutil.rmtree(tmp_path / "mini" / "encoders")
    assert not run.needs()  # it has finished
    assert len(replace(run, force=True).needs()) == 3
    assert {event.what for event in heard if isinstance(event, Step)} == {
        "text encoder", "vision encoder", "audio encoder", "fusion"
    }  # fmt: skip


def test_a_run_of_another_kind_is_refused_before_any_begins(opening, done):
    longer = Opening(**vars(opening) | {"changes": {"fusion.epochs": 9}})
    with pytest.raises(RunMismatch, match=r"fusion\.epochs is 4 there, 9 here"):
        plan_fusion([longer], "bare", (12, 1), from_scratch=True)
    assert plan_fusion([longer], "bare", (12, 1), from_scratch=True, force=True)
    with pytest.raises(InvalidInput, match="no name for a folder"):
        plan_fusion([opening], "a/b", (1,))


def test_the_recipes_seeds_are_taken_where_none_are_given(opening):
    assert [run.seed for run in plan_fusion([opening], "full", ())] == [1, 12]


def test_an_encoder_that_all_seeds_share_is_one_run(opening):
    assert [str(run) for run in plan_encoders(opening, ["t", "a"], (7, 8))] == [
        f"{modality} encoder, seed 1" for modality in ("text", "audio")
    ]
    apart = Opening(**vars(opening) | {"settings": ("pretraining.per_seed=true",)})
    assert [run.seed for run in plan_encoders(apart, ["a"], (7, 8))] == [7, 8]
