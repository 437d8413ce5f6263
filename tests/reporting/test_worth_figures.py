"""Coverage of intervals and reliability of classes: the numbers behind the figures, and what is drawn of them."""

import json
import math

import numpy as np
import plotly.graph_objects as go
import pytest

from dmmsa_cli.data.prediction_table import read_predictions, write_predictions
from dmmsa_cli.errors import InvalidInput, RunMismatch, RunMissing
from dmmsa_cli.reporting.collection import collect
from dmmsa_cli.reporting.figures import intervals, reliability
from dmmsa_cli.reporting.figures.write import draw
from dmmsa_cli.reporting.report import build_report
from dmmsa_cli.reporting.series.classes import calibration_errors, curve, reliabilities
from dmmsa_cli.reporting.series.intervals import intervals_of
from tests.reporting.conftest import CLIPS, write_run


def system(folder):
    (found,) = collect(folder).systems
    return found


def rewrite(folder, name="predictions.csv", **columns):
    table = read_predictions(folder / name)
    write_predictions(folder / name, table.assign(**columns))


def with_classes(folder, seed, count=3, sure=0.8):
    """Give a run probabilities of classes, its likeliest one `sure`."""
    draw_from = np.random.default_rng(seed)
    likeliest = draw_from.integers(0, count, CLIPS)
    rest = (1 - sure) / (count - 1)
    shares = np.where(np.arange(count) == likeliest[:, None], sure, rest).astype(np.float32)
    rewrite(folder, **{f"msc_{count}": likeliest} | {f"msc_{count}_{i}": shares[:, i] for i in range(count)})
    return likeliest


# --- intervals ------------------------------------------------------------------------------------------------------


def test_each_runs_intervals_come_from_its_own_validation_split(tmp_path):
    for seed, wide in ((1, 0.5), (12, 2.0)):
        folder = write_run(tmp_path, seed=seed)
        labels = read_predictions(folder / "predictions-valid.csv")["y_true"].to_numpy()
        rewrite(folder, "predictions-valid.csv", y_pred=np.float32(labels - np.sign(labels) * wide))
        rewrite(folder, y_pred=np.zeros(CLIPS, np.float32))
    found = intervals_of(system(tmp_path))
    labels = np.abs(read_predictions(folder / "predictions.csv")["y_true"].to_numpy())
    reaches = [0.5, 2.0]
    assert found.share == pytest.approx(np.mean([(labels <= reach + 1e-6).mean() for reach in reaches]), abs=0.02)
    assert found.width == pytest.approx(2 * np.mean(reaches), abs=1e-5)
    assert found.level == 0.9
    assert sum(found.clips) == CLIPS
    assert found.by_label[3] == pytest.approx(1.0)  # what is near 0 is within
    assert found.by_label[0] == 0  # and what is near -3 is not


def test_a_video_counts_once_however_many_clips_it_has(tmp_path):
    folder = write_run(tmp_path)
    ids = ["long$_$" + str(i) for i in range(CLIPS - 2)] + ["short$_$1", "short$_$2"]
    labels = np.float32([0.0] * (CLIPS - 2) + [2.9, 2.9])
    rewrite(folder, id=ids, y_true=labels, y_pred=np.zeros(CLIPS, np.float32))
    rewrite(folder, "predictions-valid.csv", y_true=np.ones(CLIPS), y_pred=np.zeros(CLIPS))
    found = intervals_of(system(tmp_path))
    assert found.share == pytest.approx((CLIPS - 2) / CLIPS)
    assert found.videos == pytest.approx(0.5)
    assert found.worst == pytest.approx(0.1)


def test_where_clips_name_no_videos_nothing_is_said_of_them(tmp_path):
    folder = write_run(tmp_path)
    rewrite(folder, id=[f"clip {i}" for i in range(CLIPS)])
    found = intervals_of(system(tmp_path))
    assert math.isnan(found.videos) and math.isnan(found.worst)
    assert 0 < found.share <= 1
    assert intervals.in_words(found) == f"{100 * found.share:.1f} % of all clips; width {found.width:.2f}"
    (variant,) = intervals.on_page(collect(tmp_path).systems).variants
    json.dumps(variant.panels[0].layout, allow_nan=False)


def test_what_a_run_lacks_is_told_and_costs_that_figure_alone(tmp_path):
    folder = write_run(tmp_path)
    (folder / "predictions-valid.csv").unlink()
    with pytest.raises(RunMissing, match="predictions of the validation split"):
        intervals_of(system(tmp_path))
    problems = []
    names = {drawing.id for drawing in draw(collect(tmp_path).systems, problems)}
    assert "intervals-mosi" not in names
    assert "confusion-mosi" in names
    assert [f"dmmsa evaluate {folder}" in problem for problem in problems] == [True]
    assert intervals.on_page(collect(tmp_path).systems).variants == ()
    assert "Damaged" not in " ".join(build_report(tmp_path).notes)


def test_a_kept_split_of_other_weights_is_refused(tmp_path):
    rewrite(write_run(tmp_path), "predictions-valid.csv", weights="0" * 64)
    with pytest.raises(RunMismatch, match="other weights"):
        intervals_of(system(tmp_path))


def test_too_few_clips_draw_nothing_and_stop_nothing(tmp_path):
    folder = write_run(tmp_path)
    table = read_predictions(folder / "predictions-valid.csv")
    write_predictions(folder / "predictions-valid.csv", table[:8])
    with pytest.raises(InvalidInput, match="8 clips"):
        intervals_of(system(tmp_path))
    problems = []
    assert "intervals-mosi" not in {drawing.id for drawing in draw(collect(tmp_path).systems, problems)}
    assert problems == []
    assert intervals.on_page(collect(tmp_path).systems).variants == ()


@pytest.mark.parametrize("dataset", ["mosi", "sims"])
def test_the_level_stands_beside_a_bar_for_each_class(tmp_path, dataset):
    write_run(tmp_path, dataset=dataset)
    one = system(tmp_path)
    coverage = intervals_of(one)
    (drawing,) = [drawing for drawing in draw([one]) if drawing.id.startswith("intervals")]
    (axes,) = drawing.canvas.axes
    shares = [100 * share for share in coverage.by_label if not math.isnan(share)]
    heights = [bar.get_height() for bar in axes.patches if not math.isnan(bar.get_height())]
    assert heights == pytest.approx(shares)
    assert axes.lines[0].get_ydata()[0] == pytest.approx(90)
    assert "intervals of 90 %" in drawing.caption
    assert f"{100 * coverage.share:.1f} % of all clips" in drawing.caption
    (variant,) = intervals.on_page([one]).variants
    (panel,) = variant.panels
    go.Figure(panel.data, panel.layout)
    json.dumps([panel.data, panel.layout], allow_nan=False)
    assert panel.title == intervals.in_words(coverage)
    assert [y for y in panel.data[0]["y"] if y is not None] == pytest.approx(shares, abs=0.01)
    assert set(panel.data[1]["y"]) == {90}


# --- classes --------------------------------------------------------------------------------------------------------


def test_reliability_goes_by_the_classes_of_the_labels(tmp_path):
    hits = []
    for seed in (1, 12):
        folder = write_run(tmp_path, seed=seed)
        likeliest = with_classes(folder, seed)
        labels = read_predictions(folder / "predictions.csv")["y_true"].to_numpy()
        classes = np.where(labels < -0.5, 0, np.where(labels > 0.5, 2, 1))
        hits.append((likeliest == classes).mean())
    found = reliabilities(system(tmp_path))
    assert list(found) == [3]
    assert calibration_errors(found)[3] == pytest.approx(np.mean([abs(hit - 0.8) for hit in hits]), abs=1e-6)
    table = curve(found[3])
    (row,) = table[table["clips"] > 0].itertuples()
    assert (row.Index, row.clips) == (8, 2 * CLIPS)
    assert (row.probability, row.frequency) == pytest.approx((0.8, np.mean(hits)), abs=1e-6)


def test_bins_of_several_runs_are_put_together_by_their_clips():
    from dmmsa_cli.uncertainty import reliability as of

    one = of(np.array([[0.85, 0.15]] * 3 + [[0.65, 0.35]]), np.array([0, 0, 1, 0]))
    two = of(np.array([[0.89, 0.11]]), np.array([1]))
    table = curve([one, two])
    assert table["clips"].tolist() == [0, 0, 0, 0, 0, 0, 1, 0, 4, 0]
    assert table["probability"][8] == pytest.approx((3 * 0.85 + 0.89) / 4)
    assert table["frequency"][8] == pytest.approx(2 / 4)
    assert table["frequency"][[0, 6]].isna().tolist() == [True, False]


def test_a_run_without_classes_has_no_such_figure(tmp_path):
    write_run(tmp_path)
    assert reliabilities(system(tmp_path)) == {}
    assert not any(drawing.id.startswith("reliability") for drawing in draw([system(tmp_path)]))
    assert reliability.on_page([system(tmp_path)]).variants == ()


def test_a_run_whose_predictions_hold_the_likeliest_class_alone_is_to_be_evaluated_again(tmp_path):
    folder = write_run(tmp_path)
    rewrite(folder, msc_3=np.ones(CLIPS, np.int64))
    problems = []
    assert not any(drawing.id.startswith("reliability") for drawing in draw([system(tmp_path)], problems))
    (problem,) = problems
    assert "no probabilities of classes" in problem
    assert f"dmmsa evaluate {folder}" in problem


def test_the_curve_stands_beside_the_diagonal_with_its_counts(tmp_path):
    for seed in (1, 12):
        with_classes(write_run(tmp_path, seed=seed), seed)
    one = system(tmp_path)
    found = reliabilities(one)
    error = f"{calibration_errors(found)[3]:.4f}"
    (drawing,) = [drawing for drawing in draw([one]) if drawing.id.startswith("reliability")]
    above, below = drawing.canvas.axes
    assert above.get_title() == f"3 classes: calibration error {error}"
    assert above.lines[0].get_xydata().tolist() == [[0, 0], [1, 1]]
    assert above.lines[1].get_xdata() == pytest.approx([0.8])
    assert sum(bar.get_height() for bar in below.patches) == 2 * CLIPS
    assert "mean over the seeds" in drawing.caption and "summed over 2 seeds" in drawing.caption
    (variant,) = reliability.on_page([one]).variants
    (panel,) = variant.panels
    go.Figure(panel.data, panel.layout)
    json.dumps([panel.data, panel.layout], allow_nan=False)
    assert panel.title.endswith(error)
    assert (panel.data[0]["x"], panel.data[0]["text"], panel.data[0]["y"]) == ([0.85], [str(2 * CLIPS)], [1])
    assert panel.data[1]["x"] == pytest.approx([0.8])
