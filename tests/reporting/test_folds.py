"""Runs on folds in the report: a table of their own, and no place among those of the dataset."""

import numpy as np
import pandas as pd
import pytest

from dmmsa_cli.metrics import score, without_nan
from dmmsa_cli.reporting.report import build_report, report
from tests.reporting.conftest import measured, write_run

TITLE = "mosi, 2 folds by video of train and valid"


def write_folds(runs_dir, *seeds, folds=(1, 2), of=2, **more):
    """Runs on some folds, whose data differ from fold to fold as they do."""
    return [
        write_run(runs_dir, dataset=f"mosi-fold-{fold}-of-{of}", seed=seed, data_hash=f"{fold}f" * 32, **more)
        for fold in folds
        for seed in seeds
    ]


def predictions(folder):
    return pd.read_csv(folder / "predictions.csv")


@pytest.mark.parametrize("dataset", [None, "mosi"])
def test_their_table_has_the_metrics_of_all_clips_together(tmp_path, dataset):
    folders = write_folds(tmp_path, 1, 12)
    found = build_report(tmp_path, dataset)
    (table,) = [table for table in found.tables if table.title == TITLE]
    (row,) = table.rows
    assert row.label == "dmmsa full (2 seeds)"
    by_seed = []
    for number in (0, 1):
        together = pd.concat([predictions(folders[number]), predictions(folders[number + 2])])
        by_seed.append(score(together["y_true"], together["y_pred"], metrics="mosi", score_range=3.0))
    assert row.values["mae"] == pytest.approx(np.mean([one["mae"] for one in by_seed]))
    assert row.sd["mae"] == pytest.approx(np.std([one["mae"] for one in by_seed], ddof=1))
    assert row.values["acc7"] == pytest.approx(100 * np.mean([one["acc7"] for one in by_seed]))
    assert any("no clip of the test split" in note for note in table.notes)


def test_they_stand_in_no_other_table_and_are_compared_with_nobody(tmp_path):
    write_folds(tmp_path, 1)
    write_folds(tmp_path, 1, recipe="confede")
    write_run(tmp_path)
    found = build_report(tmp_path)
    assert [system.dataset for system in found.collection.systems] == ["mosi"]
    ours = [row.system.dataset for table in found.tables if table.title != TITLE for row in table.rows if row.ours]
    assert set(ours) == {"mosi"}
    assert found.comparisons == ()


def test_a_seed_that_lacks_a_fold_does_not_count_and_a_system_without_any_is_told(tmp_path):
    write_folds(tmp_path, 1)
    write_folds(tmp_path, 12, folds=(2,))
    write_folds(tmp_path, 1, folds=(1,), recipe="confede")
    found = build_report(tmp_path)
    (table,) = [table for table in found.tables if table.title == TITLE]
    assert [row.label for row in table.rows] == ["dmmsa full (1 seed)"]
    (told,) = [note for note in found.notes if "folds" in note]
    assert told.startswith("confede full has no seed with all 2 folds of mosi")
    assert "`dmmsa evaluate --dataset mosi --folds 2" in told


def test_other_folds_are_another_table(tmp_path):
    write_folds(tmp_path, 1)
    write_folds(tmp_path, 1, folds=(1, 2, 3), of=3)
    titles = [table.title for table in build_report(tmp_path).tables if "folds" in table.title]
    assert titles == [TITLE, "mosi, 3 folds by video of train and valid"]


def test_without_a_whole_system_there_is_no_table(tmp_path):
    write_folds(tmp_path, 1, folds=(2,))
    assert not [table for table in build_report(tmp_path, "mosi").tables if "folds" in table.title]


def test_they_are_labelled_as_runs_of_the_dataset_are(tmp_path):
    write_folds(tmp_path, 1, modalities=("t",), published=False)
    (table,) = [table for table in build_report(tmp_path).tables if table.title == TITLE]
    assert "All rows: text, not the published file." in table.notes


def test_what_differs_in_more_than_the_fold_is_not_put_together(tmp_path):
    write_folds(tmp_path, 1, folds=(1,))
    write_folds(tmp_path, 1, folds=(2,), changes={"fusion.epochs": 7})
    assert not [table for table in build_report(tmp_path).tables if "folds" in table.title]


def test_the_page_and_all_files_have_them_too(tmp_path):
    write_folds(tmp_path / "runs", 1, 12)
    write_run(tmp_path / "runs")
    report(tmp_path / "runs", {"html", "markdown", "latex", "csv"}, tmp_path / "out")
    assert TITLE in (tmp_path / "out/index.html").read_text()
    assert TITLE in (tmp_path / "out/tables.md").read_text()
    rows = pd.read_csv(tmp_path / "out/tables.csv")
    (row,) = rows[(rows["title"] == TITLE) & (rows["metric"] == "mae") & (rows["statistic"] == "mean")].to_dict(
        "records"
    )
    assert (row["dataset"], row["n_seeds"]) == ("mosi", 2)


def test_what_stands_below_them_is_of_all_folds(tmp_path):
    write_folds(tmp_path, 1, 12)
    write_folds(tmp_path, 1, 12, variant="rlw", changes={"objective.weighting.name": "rlw"})
    flat = write_folds(tmp_path, 1, folds=(2,), variant="flat", changes={"fusion.epochs": 7})[0]
    write_folds(tmp_path, 1, folds=(1,), variant="flat", changes={"fusion.epochs": 7})
    table = predictions(flat).drop(columns=["weights", "data"])
    table["y_pred"] = np.float32(0.1) + np.float32(1e-3) * table["y_true"]
    found = score(table["y_true"], table["y_pred"], metrics="mosi", score_range=3.0)
    measured(flat, table, {"fused": without_nan(found)})
    (shown,) = [table for table in build_report(tmp_path).tables if table.title == TITLE]
    told = " ".join(shown.notes)
    assert "random weights" not in told  # a verdict of one fold's clips
    assert "On mosi-fold" not in told
    assert "Data: " in told
    assert "flat" in told and "collapsed" in told.lower()


def test_a_fold_may_be_asked_for_by_its_name(tmp_path):
    write_folds(tmp_path, 1, folds=(2,))
    found = build_report(tmp_path, "mosi-fold-2-of-2")
    assert [system.dataset for system in found.collection.folds] == ["mosi-fold-2-of-2"]
    assert not build_report(tmp_path, "mosei").collection.folds
