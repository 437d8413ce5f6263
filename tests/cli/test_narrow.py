"""Tables on a narrow terminal: labels break, numbers never do."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.table import Table

from dmmsa_cli.cli.console import GAP, in_parts
from dmmsa_cli.cli.runs_view import RunsView
from dmmsa_cli.cli.training_view import TrainingView
from dmmsa_cli.reporting.formats.columns import LABEL, parts
from dmmsa_cli.stages.engines import Outcome

LABELS = [
    "vision alone (small narrow, t+v+a)",
    "small full, t+v+a",
    "  3 seeds",
    "a-word-that-is-longer-than-its-column",
]
HEADINGS = ["Acc-2", "F1", "Acc-5", "Acc-7", "MAE", "Corr"]
NUMBERS = ["49.33/50.67", "±32.60/32.61", "27.33", "27.34", "0.9895", "-0.5864"]


def printed(width):
    grid = Table(title="The title", box=None, padding=(0, 1), pad_edge=False)
    grid.add_column("")
    for heading in HEADINGS:
        grid.add_column(heading, justify="right", no_wrap=True)
    for place, label in enumerate(LABELS):
        grid.add_row(label, *NUMBERS, style="dim" if place == 2 else "")
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=True, markup=False)
    for part in in_parts(grid, width):
        console.print(part)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_every_number_and_label_is_there_however_narrow_it_is(width):
    text = printed(width)
    words = text.split()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for word in (*NUMBERS, *HEADINGS):
        assert words.count(word) == (4 if word in NUMBERS else 1)
    assert text.count("The title") == 1
    assert "".join(LABELS[3].split("-")[:2]) in "".join(text.split()).replace("-", "")


def test_where_there_is_room_it_stays_one_table():
    assert printed(120).count("small full, t+v+a") == 1
    assert printed(60).count("small full, t+v+a") == 2


def test_columns_are_parted_where_labels_would_have_no_room():
    for width in range(40, 130):
        widths = [11, 12, 5, 5, 6, 7]
        found = parts(widths, 40, width, GAP)
        assert [place for part in found for place in part] == list(range(6))
        assert all(sum(widths[i] + GAP for i in part) <= width - LABEL for part in found)


def test_a_study_of_many_seeds_keeps_every_one():
    seeds = range(100, 110)
    jobs = [SimpleNamespace(title="w/o everything but the loss", seed=seed) for seed in seeds]
    console = Console(file=io.StringIO(), width=60, color_system=None)
    with RunsView(console, "What for?", jobs) as view:
        for job in jobs:
            summary = {"validation": {"mae": job.seed / 1000}}
            view.outcomes[("w/o everything but the loss", job.seed)] = Outcome(job, "trained", Path("x"), summary)
    text = console.file.getvalue()
    assert "…" not in text
    assert all(f"seed {seed}" in text and f"{seed / 1000:.4f}" in text for seed in seeds)
    assert max(map(len, text.splitlines())) <= 60


def test_the_course_of_training_keeps_its_numbers():
    losses = {name: 0.5 for name in ("msr", "msc", "uni", "cl", "polarity")}
    line = {"epoch": 1, "losses": losses, "weights": losses, "validation": {"mae": 0.9123, "corr": 0.5678}}
    console = Console(file=io.StringIO(), width=60, force_terminal=True, color_system=None)
    view = TrainingView(console)
    view._log = [line | {"epoch": epoch, "seconds": 1.0} for epoch in (1, 2, 3)]
    summary = {"best_epoch": 2, "epochs": 3, "seconds": 3.0, "validation": {"mae": 0.9123}}
    view.report("runs/x", summary, skipped=False)
    text = console.file.getvalue()
    assert "…" not in text
    assert [text.split().count(number) for number in ("0.5000", "0.500", "0.9123", "0.5678")] == [15, 15, 4, 3]
