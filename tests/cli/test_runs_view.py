"""The table of a study that fills on a terminal."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from dmmsa_cli.cli.runs_view import RunsView
from dmmsa_cli.experiments.studies import Variant
from dmmsa_cli.stages.ablate import Job, Place
from dmmsa_cli.stages.engines import Outcome, Remark, Step

PLACE = Place("mini", Path("data"), Path("runs"))
FULL, OTHER = Variant(name="full", label="DMMSA"), Variant(name="no-cl", label="w/o CL")
JOBS = [Job.of(PLACE, variant, None, seed) for seed in (1, 12) for variant in (FULL, OTHER)]


def outcome(job, mae, state="trained"):
    return Outcome(job, state, Path("runs/x"), {"validation": {"mae": mae}})


@pytest.fixture
def view():
    return RunsView(Console(file=io.StringIO(), force_terminal=True, width=90, no_color=True), "What for?", JOBS)


def drawn(view):
    screen = Console(file=io.StringIO(), width=90)
    screen.print(view._draw())
    return [line.split() for line in screen.file.getvalue().splitlines()]


def test_a_remark_that_every_run_makes_is_said_once(view):
    for job in JOBS:
        view.tell(Remark(job, "Words are features here."))
    view.tell(Remark(JOBS[1], "Another."))
    said = " ".join(view.console.file.getvalue().split())
    assert said == "DMMSA, seed 1: Words are features here. w/o CL, seed 1: Another."


def test_it_fills_run_by_run(view):
    view.tell(Step(JOBS[0], "text encoder", 0.5, 6))
    assert ["DMMSA", "0.5/6"] in drawn(view)
    assert ["DMMSA,", "seed", "1:", "text", "encoder,", "epoch", "1", "of", "6"] in drawn(view)
    view.tell(outcome(JOBS[0], 0.8))
    view.tell(outcome(JOBS[2], 0.7, "was there"))
    assert ["DMMSA", "0.8000", "0.7000", "0.7500"] in drawn(view)
    assert drawn(view)[-1][:4] == ["2", "of", "4", "runs,"]
    view.tell(Outcome(JOBS[1], "failed", problem="No room."))
    assert ["w/o", "CL", "failed"] in drawn(view)
    view.tell(Outcome(JOBS[3], "stopped", problem="Ctrl-C."))
    assert drawn(view)[-1][:4] == ["3", "of", "4", "runs,"]  # what was stopped is not done


def test_what_it_leaves_on_the_screen_is_the_whole_table(view):
    with view:
        for place, job in enumerate(JOBS):
            view.tell(outcome(job, 0.5 + place / 10))
    text = view.console.file.getvalue()
    assert "What for?" in text
    assert "0.6000" in text.splitlines()[-2]  # the mean of 0.5 and 0.7
