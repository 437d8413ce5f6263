"""Emotions in the report: a table of their own, rows beside MMoLRE's Table II, and never of pseudo-labels."""

import json

import pytest

from dmmsa_cli.data.specs import EMOTIONS
from dmmsa_cli.experiments.studies import load_study
from dmmsa_cli.reporting.formats.latex import to_latex
from dmmsa_cli.reporting.formats.markdown import to_markdown
from dmmsa_cli.reporting.formats.tidy import tables_csv
from dmmsa_cli.reporting.report import build_report
from tests.reporting.conftest import write_run


def knowing(folder, joy=0.75):
    """Add what a run found of emotions to what it has measured."""
    path = folder / "metrics.json"
    values = json.loads(path.read_text())
    found = {f"{kind}_{name}": 0.5 for name in (*EMOTIONS, "emotions") for kind in ("acc", "wf1")}
    values["test"]["fused"] |= found | {"acc_joy": joy}
    path.write_text(json.dumps(values))
    return folder


def emotional(runs, **more):
    changes = {"objective.emotions.enabled": True}
    return write_run(runs, recipe="mmolre", modalities=("t", "a"), changes=changes, **more)


def table(runs, name):
    return next(table for table in build_report(runs).tables if table.id == name)


def test_runs_that_know_emotions_have_a_table_of_them(tmp_path):
    for seed, joy in ((1, 0.7), (2, 0.8)):
        knowing(emotional(tmp_path, seed=seed), joy)
    write_run(tmp_path, variant="full", recipe="dmmsa")
    found = table(tmp_path, "mosi-emotions")
    assert [column.title for column in found.columns] == [*(name.capitalize() for name in EMOTIONS), "Mean"]
    (row,) = found.rows
    assert row.label.startswith("mmolre full")
    assert row.cells[0].text == "75.00/50.00"
    assert row.cells[0].spread == "7.07/0.00"
    assert any("accuracy, then weighted F1" in note for note in found.notes)
    built = build_report(tmp_path)
    for text in (to_markdown(built), to_latex(built), tables_csv(built)):
        assert "Emotions on mosi" in text


def test_without_such_a_run_there_is_none(tmp_path):
    write_run(tmp_path)
    assert not [found for found in build_report(tmp_path).tables if found.id.endswith("emotions")]


def test_a_row_of_ones_own_stands_in_mmolre_s_table_of_emotions(tmp_path):
    knowing(emotional(tmp_path, dataset="mosei"))
    rows = table(tmp_path, "mmolre-table-2").rows
    place = [row.label for row in rows].index("MMoLRE (Pre-fusion+UniTSE)")
    assert rows[place + 1].ours
    assert rows[place + 1].cells[0].text == "75.00/50.00"


def test_what_shared_what_fills_the_rows_of_mmolre_s_table_of_emotions(tmp_path):
    for variant in load_study("mmolre").variants:
        changes = {"objective.emotions.enabled": True, **variant.set}
        folder = write_run(tmp_path, "mosei", "mmolre", variant.name, modalities=("t", "a"), changes=changes)
        if changes["objective.emotions.enabled"]:
            knowing(folder)
    rows = table(tmp_path, "mmolre-table-2").rows
    under = [rows[i - 1].label for i, row in enumerate(rows) if row.ours]
    assert under == ["Baseline (only MER)", "Pre-fusion", "Post-fusion", "MMoLRE (Pre-fusion+UniTSE)"]


def test_a_run_that_knows_no_emotions_has_no_row_of_dashes_there(tmp_path):
    emotional(tmp_path, dataset="mosei")
    assert not [row for row in table(tmp_path, "mmolre-table-2").rows if row.ours]


def test_what_is_said_of_the_score_does_not_stand_under_emotions(tmp_path):
    for seed in (1, 12, 123):
        for variant, rule in (("full", "gdwg"), ("rlw", "rlw")):
            changes = {"objective.emotions.enabled": True, "objective.weighting.name": rule}
            knowing(write_run(tmp_path, variant=variant, seed=seed, changes=changes))
    found = {table.id: " ".join(table.notes) for table in build_report(tmp_path).tables}
    assert "random weights" in found["mosi-runs"]
    assert "random weights" not in found["mosi-emotions"]


@pytest.mark.parametrize("missing", ["wf1_fear", "acc_emotions"])
def test_a_file_that_lacks_one_of_them_is_damaged(tmp_path, missing):
    path = knowing(emotional(tmp_path)) / "metrics.json"
    values = json.loads(path.read_text())
    del values["test"]["fused"][missing]
    path.write_text(json.dumps(values))
    assert any("lacks metrics" in note for note in build_report(tmp_path).notes)


def test_a_row_says_whose_pseudo_emotions_were_learned(tmp_path):
    emotional(tmp_path, facts={"pseudo_emotions": "meld"})
    assert any("pseudo-emotions of meld" in note for note in table(tmp_path, "mosi-runs").notes)
    rows = table(tmp_path, "mmolre-table-1-mosi").rows
    assert "pseudo-emotions of meld" in next(row for row in rows if row.ours).label
