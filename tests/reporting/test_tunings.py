"""Tunings in a report: what is said of them, their figures, and what is damaged, under way or can't be drawn."""

import json
import os
import shutil
import subprocess
import sys
from importlib import util

import pytest

from dmmsa_cli.reporting.figures.tuning import charts_of
from dmmsa_cli.reporting.formats.markdown import to_markdown
from dmmsa_cli.reporting.page.page import render
from dmmsa_cli.reporting.report import build_report
from tests.reporting.conftest import write_run, write_tuning


@pytest.fixture
def runs(tmp_path):
    write_tuning(tmp_path)
    write_tuning(tmp_path, dataset="toy", name="wide", recipe="dmmsa")
    return tmp_path


def test_what_came_of_it_and_how_much_was_luck_is_said(runs):
    first, second = build_report(runs).tunings
    assert (first.title, first.synthetic) == ("minilm on mosi", False)
    assert (second.title, second.synthetic) == ("dmmsa (wide) on toy", True)
    told = " ".join(first.sentences)
    assert "validation MAE, mean of seeds 1, 12, 123" in told
    assert "trial 3 of 8 (7 scored, 1 stopped early)" in told
    assert "It is NOT better on fresh seeds: with 2 fresh seeds it is just the same" in told
    assert "fuse --dataset mosi --recipe" in told and f"--data-dir {runs / 'data'}" in told
    assert second.sentences[0].startswith("SYNTHETIC data c0ffeec0ffee")


def test_it_stands_in_the_document_and_on_the_page(runs):
    report = build_report(runs)
    text = to_markdown(report)
    assert "## Tuning" in text and "### minilm on mosi" in text and "NOT better" in text
    page = render(report)
    for part in ('id="tuning"', 'id="tuning-mosi-minilm"', 'id="tuning-toy-wide"', "The course of the tuning"):
        assert part in page
    assert "## Tuning" not in to_markdown(build_report(runs / "nothing"))
    assert 'id="tuning"' not in render(build_report(runs / "nothing"))


def test_every_plot_says_which_data_it_is_of_and_made_up_ones_so_in_the_plot(runs):
    first, second = build_report(runs).tunings
    for tuned in (first, second):
        charts = charts_of(tuned)
        assert [chart.id for chart in charts] == ["history", "importance", "slices"]
        for variant in (variant for chart in charts for variant in chart.variants):
            assert f"{tuned.title}, data c0ffeec0ffee, validation" in variant.label
            drawn = json.dumps([panel.layout for panel in variant.panels])
            assert ("SYNTHETIC" in drawn) == tuned.synthetic


def test_history_is_of_the_scored_trials_and_slices_of_every_key(runs):
    history, importance, slices = charts_of(build_report(runs).tunings[0])
    points, best = history.variants[0].panels[0].data[:2]
    assert points["x"] == [0, 1, 2, 3, 4, 6, 7]  # 5 was stopped early
    assert best["y"][-1] == min(points["y"])
    keys = ["fusion.epochs", "fusion.learning_rate", "objective.msc.classes", "objective.weighting.temperature"]
    assert [variant.label.partition(" (")[0] for variant in slices.variants] == keys
    assert sorted(importance.variants[0].panels[0].data[0]["y"])[0] == "fusion.<br>epochs"
    classes = slices.variants[2].panels[0]
    assert set(classes.data[0]["x"]) == {"2", "3", "[2, 3]"}
    assert "colorscale" not in json.dumps([history.variants[0].panels[0].data, classes.data])


def test_of_few_trials_importance_is_not_drawn(tmp_path):
    write_tuning(tmp_path, trials=3, ended=False)
    (tuned,) = build_report(tmp_path).tunings
    assert [chart.id for chart in charts_of(tuned)] == ["history", "slices"]
    assert "has not ended" in " ".join(tuned.sentences)


@pytest.mark.parametrize(
    ("file", "content"),
    [("tuning.json", "{"), ("tuning.json", "[]"), ("result.json", '{"number": 1}'), ("result.json", "1")],
)
def test_what_is_damaged_is_told_and_stops_nothing(runs, file, content):
    (runs / "mosi/tuning/minilm" / file).write_text(content)
    report = build_report(runs)
    assert [tuned.title for tuned in report.tunings] == ["dmmsa (wide) on toy"]
    assert any("mosi/tuning/minilm holds no whole tuning" in note for note in report.notes)


def test_a_damaged_journal_leaves_out_the_figures_and_is_told(runs):
    (runs / "mosi/tuning/minilm/journal.jsonl").write_text("nothing\n" * 2)
    page = render(build_report(runs))
    assert 'id="tuning-mosi-minilm"' in page and 'data-figure="tuning-mosi-minilm--history"' not in page
    assert 'data-figure="tuning-toy-wide--history"' in page


def test_nothing_is_written_where_tunings_are_looked_at(runs):
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    render(build_report(runs))
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


def test_without_optuna_a_line_says_what_to_install(runs, monkeypatch):
    found = util.find_spec
    monkeypatch.setattr("dmmsa_cli.reporting.report.find_spec", lambda name: None if name == "optuna" else found(name))
    monkeypatch.setitem(sys.modules, "optuna", None)
    report = build_report(runs)
    (line,) = [note for note in report.notes if "Optuna" in note]
    assert line.startswith("2 tunings without figures") and "pip install 'dmmsa[tune]'" in line
    page = render(report)
    assert "minilm on mosi" in page and "--history" not in page
    shutil.rmtree(runs / "mosi"), shutil.rmtree(runs / "toy")
    assert not [note for note in build_report(runs).notes if "Optuna" in note]


def test_where_nothing_was_tuned_optuna_is_not_imported(tmp_path):
    write_run(tmp_path)
    code = (
        "import sys; from pathlib import Path; from dmmsa_cli.reporting.report import build_report;"
        "from dmmsa_cli.reporting.page.page import render;"
        f"render(build_report(Path({str(tmp_path)!r}))); assert 'optuna' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
