"""The numbers behind the figures, by hand."""

import json

import numpy as np
import pandas as pd
import pytest

from dmmsa_cli.errors import RunMismatch, RunMissing
from dmmsa_cli.metrics import score, without_nan
from dmmsa_cli.reporting.collection import collect
from dmmsa_cli.reporting.figures.confusion import confusion
from dmmsa_cli.reporting.figures.mae_by_label import mae_by_label
from dmmsa_cli.reporting.figures.similarity import similarity
from dmmsa_cli.reporting.series.averages import over_seeds
from dmmsa_cli.reporting.series.epochs import task_losses, task_weights, validation_curves
from dmmsa_cli.reporting.series.predictions import clips
from dmmsa_cli.reporting.series.scale import Scale, scale
from tests.reporting.conftest import measured, write_run


def predict(folder, labels, predictions, dataset="mosi"):
    """Give a run these predictions of clips c0, c1, ... of videos v0 (even) and v1 (odd)."""
    ids = [f"v{i % 2}$_$c{i}" for i in range(len(labels))]
    table = pd.DataFrame({"id": ids, "text": ids, "y_true": np.float32(labels), "y_pred": np.float32(predictions)})
    metrics, limit = ("sims", 1.0) if dataset == "sims" else ("mosi", 3.0)
    found = score(np.float32(labels), np.float32(predictions), metrics=metrics, score_range=limit)
    measured(folder, table, {"fused": without_nan(found)})


def log(folder, maes):
    lines = [
        {"epoch": i + 1, "losses": {"msr": mae}, "weights": {}, "validation": {"mae": mae}}
        for i, mae in enumerate(maes)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def system(folder):
    (found,) = collect(folder).systems
    return found


# --- over epochs ----------------------------------------------------------------------------------------------------


def test_a_mean_over_seeds_ends_where_the_first_of_them_does(tmp_path):
    log(write_run(tmp_path, seed=1), [1.0, 0.5, 0.75])
    log(write_run(tmp_path, seed=12), [2.0, 0.7])
    curves = validation_curves(system(tmp_path))
    assert curves.to_numpy().tolist() == [[1, 1, 1.0], [1, 2, 0.5], [1, 3, 0.75], [12, 1, 2.0], [12, 2, 0.7]]
    found = over_seeds(curves, "mae")
    assert found["epoch"].tolist() == [1, 2]
    assert found["mean"].tolist() == pytest.approx([1.5, 0.6])
    assert found["sd"].tolist() == pytest.approx([0.5**0.5, 0.02**0.5])


def test_weights_and_losses_are_those_of_the_log(tmp_path):
    folder = write_run(tmp_path)
    line = json.loads((folder / "metrics.jsonl").read_text().splitlines()[3])
    weights, losses = task_weights(system(tmp_path)), task_losses(system(tmp_path))
    assert dict(weights[weights["epoch"] == 4][["task", "weight"]].to_numpy()) == line["weights"]
    assert dict(losses[losses["epoch"] == 4][["task", "loss"]].to_numpy()) == line["losses"]
    assert over_seeds(weights, "weight", by=("epoch", "task"))["sd"].isna().all()


# --- over clips -----------------------------------------------------------------------------------------------------


def test_clips_are_averaged_over_seeds_and_matched_by_id(tmp_path):
    predict(write_run(tmp_path, seed=1), [1.0, -1.0], [0.5, -1.0])
    later = write_run(tmp_path, seed=12)
    predict(later, [1.0, -1.0], [2.0, -2.0])
    table = pd.read_csv(later / "predictions.csv")
    table[::-1].to_csv(later / "predictions.csv", index=False)
    found = clips(system(tmp_path)).set_index("id")
    assert found["video"].to_dict() == {"v0$_$c0": "v0", "v1$_$c1": "v1"}
    assert found["y_pred"].to_dict() == {"v0$_$c0": 1.25, "v1$_$c1": -1.5}
    assert found["error"].to_dict() == {"v0$_$c0": 0.75, "v1$_$c1": 0.5}


def test_errors_are_clipped_where_the_metric_set_clips(tmp_path):
    predict(write_run(tmp_path, dataset="sims"), [1.0, -1.0], [1.5, -2.0], dataset="sims")
    found = clips(system(tmp_path))
    assert found["error"].tolist() == [0, 0]
    assert found["y_pred"].tolist() == [1.5, -2.0]
    assert system(tmp_path).summary.mean["mae"] == 0


def test_seeds_of_other_clips_are_no_system_to_draw(tmp_path):
    predict(write_run(tmp_path, seed=1), [1.0, -1.0], [0.5, -1.0])
    later = write_run(tmp_path, seed=12)
    predict(later, [1.0, -1.2], [0.5, -1.0])
    with pytest.raises(RunMismatch, match="other clips or labels than that of seed 1"):
        clips(system(tmp_path))
    (later / "predictions.csv").unlink()
    with pytest.raises(RunMissing, match="missing"):
        confusion(system(tmp_path))


def test_a_confusion_matrix_has_labels_in_rows_and_sums_the_seeds(tmp_path):
    predict(write_run(tmp_path, seed=1), [2.9, -0.4, -9e-1], [0.2, -0.4, -3.5])
    predict(write_run(tmp_path, seed=12), [2.9, -0.4, -9e-1], [3.2, 0.4, -3.5])
    found = confusion(system(tmp_path))
    assert list(found.index) == list(found.columns) == ["-3", "-2", "-1", "0", "1", "2", "3"]
    assert found.loc["3", ["0", "3"]].tolist() == [1, 1]
    assert found.loc["0", "0"] == 2
    assert found.loc["-1", "-3"] == 2
    assert found.to_numpy().sum() == 6
    accuracy = np.trace(found.to_numpy()) / 6
    assert accuracy == pytest.approx(system(tmp_path).summary.mean["acc7"])


def test_ch_sims_has_the_classes_of_table_7(tmp_path):
    write_run(tmp_path, dataset="sims")
    one = system(tmp_path)
    found = confusion(one)
    assert list(found.index) == ["[-1, -0.7]", "(-0.7, -0.1]", "(-0.1, 0.1]", "(0.1, 0.7]", "(0.7, 1]"]
    assert np.trace(found.to_numpy()) / found.to_numpy().sum() == pytest.approx(one.summary.mean["acc5"])


def test_mae_by_bin_goes_by_the_label_and_sums_to_the_whole(tmp_path):
    predict(write_run(tmp_path, seed=1), [2.9, 2.6, -0.4], [1.9, 2.6, 0.0])
    predict(write_run(tmp_path, seed=12), [2.9, 2.6, -0.4], [2.9, 2.6, 0.0])
    found = mae_by_label(system(tmp_path))
    assert found["name"].tolist() == ["0", "3"]
    assert found["bin"].tolist() == [3, 6]
    assert found["clips"].tolist() == [1, 2]
    assert found["mean"].tolist() == pytest.approx([0.4, 0.25])
    assert found["sd"].tolist() == pytest.approx([0, 0.5 * 0.5**0.5])


def test_similarity_is_the_mean_over_the_seeds_that_kept_it(tmp_path):
    folders = [write_run(tmp_path, seed=seed, modalities=("t", "a")) for seed in (1, 12, 123)]
    for value, folder in zip((0.2, 0.6), folders, strict=False):
        kept = {"test": {"names": ["T_s", "A_s"], "cosine": [[1, value], [value, 1]]}}
        (folder / "features.json").write_text(json.dumps(kept))
    (folders[2] / "features.json").unlink()
    found = similarity(system(tmp_path))
    assert found.loc["T_s", "A_s"] == pytest.approx(0.4)
    assert list(found.columns) == ["T_s", "A_s"]
    for folder in folders[:2]:
        (folder / "features.json").unlink()
    assert similarity(system(tmp_path)) is None


def test_classes_of_a_dataset_of_ones_own_follow_its_range(tmp_path):
    write_run(tmp_path, dataset="own", facts={"score_range": 1.5})
    read = scale(system(tmp_path))
    assert read == Scale("mosi", 1.5)
    assert read.class_names(3) == ("-0.5", "0", "0.5")
    assert read.classes(np.float32([-0.3, -0.2, 0.26]), 3).tolist() == [0, 1, 2]
