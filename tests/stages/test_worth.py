"""Runs together, intervals from the validation split, and words alone: from trained runs to tables and JSON."""

import json
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest

from dmmsa_cli.data.texts import given_texts
from dmmsa_cli.errors import DatasetMissing, InvalidInput, RunMismatch, RunMissing
from dmmsa_cli.experiments.validation import KEPT_VALIDATION
from dmmsa_cli.metrics import score
from dmmsa_cli.reporting import worth as reporting
from dmmsa_cli.reporting.bootstrap import Side, interval
from dmmsa_cli.reporting.series.scale import Scale
from dmmsa_cli.stages import keeping
from dmmsa_cli.stages.evaluate import evaluate
from dmmsa_cli.stages.predict import Wanted, predict, predict_texts
from dmmsa_cli.training.run import RunFolder
from dmmsa_cli.uncertainty import ECE, LEVEL
from tests.stages.test_what_training_is_given import with_text_features
from tests.training_runs import open_mini, prepare_mini, run_fuse

IN_WORDS = [f"{m}_{kind}" for kind in ("similar", "dissimilar") for m in ("text", "vision", "audio")]
CLASSES = ["polarity", "class_3", "class_3_of_score"]
NAMES = ["negative", "neutral", "positive"]
PROBABILITIES = [f"class_3_{name}" for name in NAMES]
TOGETHER = "micro changed, t+v+a: 2 runs together (mean of predictions)"


@pytest.fixture(scope="module")
def trained(prepared, micro, tmp_path_factory):
    """DMMSA on all modalities, and on words alone, two seeds each."""
    folder = tmp_path_factory.mktemp("worth")
    for seed in (1, 12):
        run_fuse(open_mini(prepared, micro, folder, "fusion.epochs=2"), seed=seed)
        run_fuse(open_mini(prepared, micro, folder, "fusion.epochs=1", "data.modalities=[t]"), "words", seed=seed)
    return folder


@pytest.fixture(scope="module")
def outcome(trained, prepared):
    """All of them evaluated, the runs of a system together too."""
    found = evaluate(both(trained) + words(trained), split="test", data_dir=prepared, device="cpu", ensemble=True)
    assert found.left_out == []
    return found.tables[0]


def both(folder, variant="changed"):
    return [RunFolder(folder / "mini" / "micro" / variant / f"seed-{seed}") for seed in (1, 12)]


def words(folder):
    return both(folder, "words")


@pytest.fixture
def copy(trained, outcome, tmp_path):
    """Evaluated runs that may be spoilt."""
    shutil.copytree(trained / "mini", tmp_path / "runs" / "mini")
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def new(corpus, tmp_path_factory):
    """A file of clips without labels."""
    path = tmp_path_factory.mktemp("new") / "new.pkl"
    split = {key: value for key, value in corpus["test"].items() if not key.startswith("regression")}
    path.write_bytes(pickle.dumps({"test": split}))
    return path


def predicted(runs, new, out, prepared, **wanted):
    predict(runs, new, out, data_dir=prepared, device="cpu", wanted=Wanted(**wanted))
    return pd.read_csv(out)


def rows(table):
    return {row.title: row for row in table.systems}


# --- several runs together ------------------------------------------------------------------------------------------


def test_without_being_asked_a_run_has_the_columns_that_it_had(trained, prepared, new, tmp_path):
    table = predicted(both(trained)[:1], new, tmp_path / "one.csv", prepared)
    assert list(table) == ["split", "id", "text", "y_pred", *CLASSES, *IN_WORDS]


def test_together_is_the_mean_of_what_each_run_says(trained, prepared, new, tmp_path):
    single = [predicted([run], new, tmp_path / "one.csv", prepared, probabilities=True) for run in both(trained)]
    together = predicted(both(trained), new, tmp_path / "two.csv", prepared, probabilities=True)
    for name in ("y_pred", *IN_WORDS, *PROBABILITIES):
        mean = (single[0][name].to_numpy(np.float64) + single[1][name].to_numpy(np.float64)) / 2
        np.testing.assert_allclose(together[name], mean, atol=1e-6)
        assert np.abs(single[0][name] - single[1][name]).max() > 1e-4  # or it would be the mean by chance
    classes = together[PROBABILITIES].to_numpy()
    np.testing.assert_allclose(classes.sum(axis=1), 1, atol=1e-6)
    assert together["class_3"].tolist() == [NAMES[place] for place in classes.argmax(axis=1)]


def test_the_csv_says_which_runs_a_mean_is_of(trained, prepared, new, tmp_path):
    report = predict(both(trained), new, tmp_path / "two.csv", data_dir=prepared, device="cpu")
    names = ("mini/micro/changed/seed-1", "mini/micro/changed/seed-12")
    table = pd.read_csv(tmp_path / "two.csv")
    assert report.runs == names
    assert set(table["runs"]) == {2}
    assert set(table["mean_of"]) == {" ".join(names)}


def test_heads_that_not_all_runs_have_alike_are_left_out(trained, prepared, new, tmp_path):
    table = predicted([both(trained)[0], words(trained)[0]], new, tmp_path / "two.csv", prepared)
    assert list(table) == ["split", "id", "text", "y_pred", *CLASSES, "runs", "mean_of"]


def edit(run, **changes):
    path = run.path / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dataset": "other"}, "dataset is mini in .*, other in"),
        ({"data_hash": "0" * 64}, "data is .*, 000000000000 in"),
        ({"score_range": 1.0}, "score_range is 3.0 in .*, 1.0 in"),
    ],
)
def test_runs_of_other_data_are_never_averaged(copy, prepared, new, tmp_path, changes, told):
    first, second = both(copy)
    edit(second, **changes)
    with pytest.raises(RunMismatch, match=told):
        predict([first, second], new, tmp_path / "out.csv", data_dir=prepared, device="cpu")
    assert not (tmp_path / "out.csv").exists()


def test_a_run_counts_once(trained, prepared, new, tmp_path):
    first = both(trained)[0]
    again = RunFolder(first.path.parent / ".." / "changed" / "seed-1")
    with pytest.raises(RunMismatch, match="named twice"):
        predict([first, again], new, tmp_path / "out.csv", data_dir=prepared, device="cpu")


def test_the_row_together_has_the_metrics_of_the_mean_and_no_mean_of_metrics(outcome, trained):
    found = rows(outcome)
    assert list(found)[-4:] == [
        "micro changed, t+v+a",
        TOGETHER,
        "micro words, t",
        TOGETHER.replace("changed, t+v+a", "words, t"),
    ]
    tables = [pd.read_csv(run.path / "predictions.csv") for run in both(trained)]
    scores = [table["y_pred"].astype("float32").astype("float64") for table in tables]  # a decimal stands for one
    mean = (scores[0] + scores[1]) / 2
    (metrics,) = found[TOGETHER].runs
    assert metrics == pytest.approx(score(tables[0]["y_true"], mean, metrics="mosi", score_range=3.0), abs=1e-6)
    assert abs(metrics["mae"] - found["micro changed, t+v+a"].summary.mean["mae"]) > 1e-5
    assert (found[TOGETHER].together, found[TOGETHER].seeds) == (2, [1, 12])
    assert found["micro changed, t+v+a"].together == 0


def test_nothing_stands_together_where_it_is_not_asked_for_or_alone(trained, prepared):
    alone = evaluate(both(trained)[:1], split="test", data_dir=prepared, device="cpu", ensemble=True).tables[0]
    unasked = evaluate(both(trained), split="test", data_dir=prepared, device="cpu").tables[0]
    assert not any(row.together for row in (*alone.systems, *unasked.systems))
    assert "together" not in unasked.to_json()


# --- intervals ------------------------------------------------------------------------------------------------------


def slow_reach(labels, predictions, level):
    ordered = sorted(abs(labels - np.clip(predictions, -3, 3)))
    return ordered[int(np.ceil((len(ordered) + 1) * level - 1e-9)) - 1]


def validated(runs):
    tables = [pd.read_csv(run.path / KEPT_VALIDATION) for run in runs]
    return tables[0]["y_true"], sum(table["y_pred"] for table in tables) / len(tables)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_ends_come_from_the_errors_on_the_validation_split(outcome, trained, prepared, new, tmp_path, count, level):
    """Of several runs, from those of the mean of their predictions."""
    runs = both(trained)[:count]
    table = predicted(runs, new, tmp_path / "out.csv", prepared, level=level)
    assert list(table)[3:6] == ["y_pred", "y_low", "y_high"]
    reach = slow_reach(*validated(runs), level)
    np.testing.assert_allclose(table["y_low"], np.maximum(table["y_pred"] - reach, -3), atol=1e-5)
    np.testing.assert_allclose(table["y_high"], np.minimum(table["y_pred"] + reach, 3), atol=1e-5)


def test_a_run_that_has_kept_nothing_says_what_to_run(copy, prepared, new, tmp_path):
    run = both(copy)[0]
    (run.path / KEPT_VALIDATION).unlink()
    with pytest.raises(RunMissing) as told:
        predict([run], new, tmp_path / "out.csv", data_dir=prepared, device="cpu", wanted=Wanted(level=0.9))
    assert f"dmmsa evaluate {run.path}" in told.value.remedy
    assert "validation split" in told.value.what
    predict([run], new, tmp_path / "out.csv", data_dir=prepared, device="cpu")


@pytest.mark.parametrize("column", ["weights", "data"])
def test_what_was_kept_of_other_weights_or_data_is_refused(copy, prepared, new, tmp_path, column):
    run = both(copy)[0]
    table = pd.read_csv(run.path / KEPT_VALIDATION)
    table.assign(**{column: "0" * 64}).to_csv(run.path / KEPT_VALIDATION, index=False)
    with pytest.raises(RunMismatch, match="other weights or data"):
        predict([run], new, tmp_path / "out.csv", data_dir=prepared, device="cpu", wanted=Wanted(level=0.9))


def test_runs_that_were_validated_on_other_clips_have_no_interval_together(copy, prepared, new, tmp_path):
    first, second = both(copy)
    table = pd.read_csv(second.path / KEPT_VALIDATION)
    table[:-1].to_csv(second.path / KEPT_VALIDATION, index=False)
    with pytest.raises(RunMismatch, match="validated on different clips"):
        predict([first, second], new, tmp_path / "out.csv", data_dir=prepared, device="cpu", wanted=Wanted(level=0.9))


def test_too_few_clips_for_a_level_are_told_before_anything_is_written(outcome, trained, prepared, new, tmp_path):
    with pytest.raises(InvalidInput, match="has 24 clips; intervals of 97 % need at least 33"):
        predicted(both(trained)[:1], new, tmp_path / "out.csv", prepared, level=0.97)
    assert not (tmp_path / "out.csv").exists()


def test_evaluation_keeps_the_validation_split_and_makes_it_once(copy, prepared, monkeypatch):
    made = []
    monkeypatch.setattr(keeping, "_write_predictions", _noting(made, keeping._write_predictions))
    run = both(copy)[0]
    kept = (run.path / KEPT_VALIDATION).read_bytes()
    for damage in (None, b"", kept.replace(b"$_$", b"$_$9"), kept[: len(kept) // 2]):
        made.clear()
        if damage is not None:
            (run.path / KEPT_VALIDATION).write_bytes(damage)
        assert evaluate([run], split="test", data_dir=prepared, device="cpu").left_out == []
        assert made == (["test"] if damage is None else ["test", "valid"])
        assert (run.path / KEPT_VALIDATION).read_bytes() == kept


def _noting(made, write):
    def noted(fused, split, *found):
        made.append(split)
        return write(fused, split, *found)

    return noted


@pytest.fixture(scope="module")
def worths(outcome):
    return reporting.worths(outcome, LEVEL)


def test_coverage_is_that_of_each_runs_own_intervals(worths, trained):
    found = {one.row.title: one.coverage for one in worths.rows}
    shares, widths = [], []
    for run in both(trained):
        table = pd.read_csv(run.path / "predictions.csv")
        reach = slow_reach(*validated([run]), LEVEL)
        low, high = (np.clip(table["y_pred"] + side * reach, -3, 3) for side in (-1, 1))
        shares.append(((low <= table["y_true"]) & (table["y_true"] <= high)).mean())
        widths.append((high - low).mean())
    own = found["micro changed, t+v+a"]
    assert (own.share, own.width) == pytest.approx((np.mean(shares), np.mean(widths)), abs=1e-5)
    assert sum(own.clips) == 24
    filled = [(share, clips) for share, clips in zip(own.by_label, own.clips, strict=True) if clips]
    assert sum(share * clips for share, clips in filled) / 24 == pytest.approx(own.share)


def test_together_has_an_interval_of_its_own_over_videos(worths, outcome, trained):
    (one,) = [one for one in worths.rows if one.row.title == TOGETHER]
    table = pd.read_csv(both(trained)[0].path / "predictions.csv")
    clips = table.assign(video=table["id"].str.split("$_$", regex=False).str[0])[["id", "video", "y_true"]]
    mean = np.mean([pd.read_csv(run.path / "predictions.csv")["y_pred"] for run in both(trained)], axis=0)
    side = Side(clips, np.float32([mean]), Scale("mosi", 3.0))
    assert one.over_videos["mae"] == pytest.approx(interval(side, "mae"), abs=1e-6)
    low, high = one.over_videos["mae"]
    assert low < one.row.runs[0]["mae"] < high
    assert [bool(other.over_videos) for other in worths.rows] == [False, True, False, True]


def test_classes_have_a_calibration_error(worths, trained):
    errors = [one.calibration for one in worths.rows]
    assert all(set(found) == {"msc_3"} and 0 < found["msc_3"] < 1 for found in errors)
    names = ["msc_3_0", "msc_3_1", "msc_3_2"]
    assert set(names) <= set(pd.read_csv(both(trained)[0].path / "predictions.csv"))


def test_on_other_splits_nothing_is_said_of_intervals_and_classes(trained, prepared):
    (table,) = evaluate(both(trained), split="train", data_dir=prepared, device="cpu", ensemble=True).tables
    found = reporting.worths(table, LEVEL)
    assert [(one.coverage, dict(one.calibration)) for one in found.rows] == [(None, {})] * 2
    assert not {"intervals", "classes"} & reporting.to_json(table, found).keys()


def test_json_keeps_what_is_together_apart(outcome, worths):
    whole = json.loads(json.dumps(reporting.to_json(outcome, worths), allow_nan=False))
    assert not any("together" in system["system"] for system in whole["systems"])
    together, _ = whole["together"]
    assert together.keys() == {"system", "seeds", "of", "runs", "metrics", "interval_over_videos"}
    assert (together["system"], together["of"], together["runs"]) == (TOGETHER, "mean of predictions", 2)
    low, high = together["interval_over_videos"]["ends"]["mae"]
    assert low < together["metrics"]["mae"] < high
    assert together["interval_over_videos"]["level"] == 0.95
    intervals = whole["intervals"]
    assert (intervals["level"], intervals["from"]) == (0.9, "validation split")
    own = intervals["systems"][0]
    assert own.keys() == {"system", "coverage", "mean_width", "by_video", "by_label"}
    assert own["by_video"].keys() == {"mean", "tenth_percentile"}
    assert [one["label"] for one in own["by_label"]] == ["-3", "-2", "-1", "0", "1", "2", "3"]
    assert all((one["coverage"] is None) == (one["clips"] == 0) for one in own["by_label"])
    assert whole["classes"]["calibration_error_is"] == ECE
    assert [one["system"] for one in whole["classes"]["systems"]] == [one.row.title for one in worths.rows]


def test_too_few_clips_leave_the_table_and_one_sentence(outcome):
    found = reporting.worths(outcome, 0.97)
    assert found.problem == "No intervals. The validation split has 24 clips; intervals of 97 % need at least 33."
    assert [one.coverage for one in found.rows] == [None] * 4
    assert "intervals" not in reporting.to_json(outcome, found)


# --- words alone ----------------------------------------------------------------------------------------------------


def test_words_alone_get_what_the_file_that_holds_them_gets(trained, outcome, prepared, corpus, new, tmp_path):
    runs = words(trained)
    known = predicted(runs, new, tmp_path / "file.csv", prepared, level=0.9)
    report = predict_texts(
        runs, given_texts(list(corpus["test"]["raw_text"])), data_dir=prepared, device="cpu", wanted=Wanted(level=0.9)
    )
    assert report.out is None
    for name in ("y_pred", "y_low", "y_high"):
        np.testing.assert_allclose(report.table[name], known[name], atol=1e-5)
    assert list(report.table) == list(known)


def test_a_run_that_needs_more_than_words_says_so_once(trained, prepared):
    with pytest.raises(InvalidInput) as told:
        predict_texts(both(trained), given_texts(["a film"]), data_dir=prepared, device="cpu")
    assert "needs vision features and audio features, which --text and --csv do not give" in told.value.what
    assert "--from FILE" in told.value.remedy


def test_a_run_on_a_files_own_text_features_needs_those(corpus, micro, tmp_path):
    prepared = prepare_mini({name: with_text_features(split) for name, split in corpus.items()}, tmp_path)
    settings = ("text.source=features", "data.modalities=[t]", "fusion.epochs=1")
    run = RunFolder(run_fuse(open_mini(prepared, micro, tmp_path / "runs", *settings)).folder)
    with pytest.raises(InvalidInput, match="needs text features"):
        predict_texts([run], given_texts(["a film"]), data_dir=prepared, device="cpu")


# --- where the data are not at hand ---------------------------------------------------------------------------------


def test_predictions_and_intervals_need_no_data(copy, prepared, new, tmp_path):
    """And are what they are where there are some."""
    nowhere = tmp_path / "nowhere"
    for runs in (both(copy), words(copy)):
        for data, out in ((prepared, "with.csv"), (nowhere, "without.csv")):
            predicted(runs, new, tmp_path / out, data, level=0.9)
        assert (tmp_path / "with.csv").read_bytes() == (tmp_path / "without.csv").read_bytes()
    assert not nowhere.exists()


@pytest.mark.parametrize("settings", [(), ("data.fraction=0.5", "pretraining.per_seed=true")])
def test_predictions_of_words_that_nothing_was_trained_to_read_need_no_data(prepared, micro, new, tmp_path, settings):
    """The tiny encoder, made of the training rows, lies where it was made; which it is, the run knows without them."""
    settings = ("text.train_in_fusion=false", "fusion.epochs=1", *settings)
    run = RunFolder(run_fuse(open_mini(prepared, micro, tmp_path / "runs", *settings), from_scratch=True).folder)
    with_data, without = (predicted([run], new, tmp_path / "out.csv", data) for data in (prepared, tmp_path / "no"))
    pd.testing.assert_frame_equal(with_data, without)


def test_predictions_need_no_data_where_other_data_lie(copy, corpus, prepared, new, tmp_path):
    fewer = {**corpus, "train": {key: value[:40] for key, value in corpus["train"].items()}}
    other = prepare_mini(fewer, tmp_path)
    with_its_own, with_others = (
        predicted(both(copy)[:1], new, tmp_path / f"{number}.csv", data, level=0.9)
        for number, data in enumerate((prepared, other))
    )
    pd.testing.assert_frame_equal(with_its_own, with_others)


def test_a_damaged_manifest_of_a_run_is_told(copy, new, tmp_path):
    run = both(copy)[0]
    (run.path / "manifest.json").write_text("{")
    with pytest.raises(RunMismatch, match="manifest.json") as told:
        predict([run], new, tmp_path / "out.csv", data_dir=tmp_path / "nowhere", device="cpu")
    assert "Train it again" in told.value.remedy


def test_probabilities_of_a_run_that_tells_no_classes_are_refused(prepared, micro, new, tmp_path):
    settings = ("objective.msc.enabled=false", "fusion.epochs=1")
    run = RunFolder(run_fuse(open_mini(prepared, micro, tmp_path / "runs", *settings)).folder)
    with pytest.raises(InvalidInput, match="--probabilities: the run tells no classes"):
        predicted([run], new, tmp_path / "out.csv", prepared, probabilities=True)
    assert not (tmp_path / "out.csv").exists()


def test_a_run_of_an_older_dmmsa_needs_its_data(copy, new, tmp_path):
    run = both(copy)[0]
    (run.path / "manifest.json").unlink()
    with pytest.raises(DatasetMissing, match="mini is not prepared"):
        predict([run], new, tmp_path / "out.csv", data_dir=tmp_path / "nowhere", device="cpu")


def test_evaluation_needs_the_data(copy, tmp_path):
    found = evaluate(both(copy), split="test", data_dir=tmp_path / "nowhere", device="cpu")
    assert [type(why) for why in found.left_out] == [DatasetMissing] * 2
