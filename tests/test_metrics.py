"""Metrics against the field's reference values, and against slow definitions written out in float64."""

import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.data.classes import CLASS_COUNTS
from dmmsa_cli.metrics import METRIC_SETS, collapsed, emotion_metrics, score, weighted_f1

GOLDEN_NAMES = {
    "mosi": {
        "Has0_acc_2": "acc2_has0",
        "Has0_F1_score": "f1_has0",
        "Non0_acc_2": "acc2_non0",
        "Non0_F1_score": "f1_non0",
        "Mult_acc_5": "acc5",
        "Mult_acc_7": "acc7",
        "MAE": "mae",
        "Corr": "corr",
    },
    "sims": {
        "Mult_acc_2": "acc2",
        "Mult_acc_3": "acc3",
        "Mult_acc_5": "acc5",
        "F1_score": "f1",
        "MAE": "mae",
        "Corr": "corr",
    },
}
RANGES = {"mosi": 3.0, "sims": 1.0}

# --- slow definitions ------------------------------------------------------------------------------------------------


def slow_f1(truth, prediction):
    total = 0.0
    for label in set(truth):
        pairs = list(zip(truth, prediction, strict=True))
        hit = sum(t == label and p == label for t, p in pairs)
        missed = sum(t == label and p != label for t, p in pairs)
        false = sum(t != label and p == label for t, p in pairs)
        precision = hit / (hit + false) if hit + false else 0.0
        recall = hit / (hit + missed)
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        total += f1 * (hit + missed) / len(truth)
    return total


def slow_share(truth, prediction):
    return sum(t == p for t, p in zip(truth, prediction, strict=True)) / len(truth) if truth else math.nan


def slow_corr(truth, prediction):
    n = len(truth)
    mt, mp = math.fsum(truth) / n, math.fsum(prediction) / n
    above = math.fsum((t - mt) * (p - mp) for t, p in zip(truth, prediction, strict=True))
    below = math.sqrt(math.fsum((t - mt) ** 2 for t in truth) * math.fsum((p - mp) ** 2 for p in prediction))
    return above / below


def rounded(value, limit):
    return round(min(max(value, -limit), limit))  # Python rounds half to even


def table7(value, edges):
    """The interval (a, b] that a CH-SIMS score lies in; edges are float32, as the scores are."""
    for number, (low, high) in enumerate(zip([-math.inf, *edges], [*edges, math.inf], strict=True)):
        if low < value <= high:
            return number
    raise AssertionError(value)


def slow_mosi(y, p):
    y, p = [float(v) for v in y], [float(v) for v in p]
    sign_all = [v >= 0 for v in y], [v >= 0 for v in p]
    nonzero = [(a, b) for a, b in zip(y, p, strict=True) if a != 0]
    sign_some = [a > 0 for a, _ in nonzero], [b > 0 for _, b in nonzero]
    return {
        "acc2_has0": slow_share(*sign_all),
        "f1_has0": slow_f1(*sign_all),
        "acc2_non0": slow_share(*sign_some),
        "f1_non0": slow_f1(*sign_some) if nonzero else math.nan,
        "acc5": slow_share([rounded(v, 2) for v in y], [rounded(v, 2) for v in p]),
        "acc7": slow_share([rounded(v, 3) for v in y], [rounded(v, 3) for v in p]),
        "mae": math.fsum(abs(a - b) for a, b in zip(y, p, strict=True)) / len(y),
    }


def slow_sims(y, p):
    y, p = ([min(max(float(v), -1.0), 1.0) for v in side] for side in (y, p))
    few, many = float(np.float32(0.1)), float(np.float32(0.7))

    def classes(edges):
        return [table7(v, edges) for v in y], [table7(v, edges) for v in p]

    return {
        "acc2": slow_share(*classes([0.0])),
        "f1": slow_f1(*classes([0.0])),
        "acc3": slow_share(*classes([-few, few])),
        "acc5": slow_share(*classes([-many, -few, few, many])),
        "mae": math.fsum(abs(a - b) for a, b in zip(y, p, strict=True)) / len(y),
    }


SLOW = {"mosi": slow_mosi, "sims": slow_sims}

# --- inputs ----------------------------------------------------------------------------------------------------------


def neighbours(value):
    value = np.float32(value)
    return [float(np.nextafter(value, np.float32(side))) for side in (-np.inf, np.inf)] + [float(value)]


EDGES = sorted({v for edge in (-0.7, -0.1, 0.0, 0.1, 0.7, *np.arange(-3.5, 4, 0.5)) for v in neighbours(edge)})
SCORES = st.sampled_from(EDGES) | st.floats(-4, 4, width=32)
PAIRS = st.lists(st.tuples(SCORES, SCORES), min_size=2, max_size=40)


def columns(pairs):
    return (np.array(column, np.float32) for column in zip(*pairs, strict=True))


def spread(values, limit):
    """Whether values differ by enough for float64 to say what their correlation is."""
    clipped = np.clip(np.asarray(values, np.float64), -limit, limit)
    return clipped.max() - clipped.min() > 1e-3


# --- tests -----------------------------------------------------------------------------------------------------------


def test_every_reference_value_to_four_places(golden):
    cases = json.loads((golden / "metrics.json").read_text())
    assert len(cases) >= 8
    for case in cases:
        metrics = "sims" if case["dataset"] == "sims" else "mosi"
        said = score(case["y_true"], case["y_pred"], metrics=metrics, score_range=RANGES[metrics])
        assert set(case["expected"]) == set(GOLDEN_NAMES[metrics])
        for name, value in case["expected"].items():
            assert round(said[GOLDEN_NAMES[metrics][name]], 4) == value, (case["name"], name)


@pytest.mark.parametrize("metrics", SLOW)
@given(pairs=PAIRS)
def test_equal_to_the_slow_definitions(metrics, pairs):
    y, p = columns(pairs)
    limit = RANGES[metrics] if metrics == "sims" else np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = score(y, p, metrics=metrics, score_range=RANGES[metrics])
    corr, expected = said.pop("corr"), SLOW[metrics](y, p)
    assert said.keys() == expected.keys()
    for name, value in expected.items():
        assert said[name] == pytest.approx(value, abs=1e-6 if name == "mae" else 1e-12, nan_ok=True), name
    if spread(y, limit) and spread(p, limit):
        y, p = (np.clip(side, -limit, limit).astype(float).tolist() for side in (y, p))
        assert corr == pytest.approx(slow_corr(y, p), abs=1e-6)


@pytest.mark.parametrize("metrics", SLOW)
@pytest.mark.parametrize("constant", ["truth", "prediction"])
def test_corr_of_a_constant_is_nan_with_a_warning(metrics, constant):
    moving, still = [-0.5, 0.2, 0.9], [0.3, 0.3, 0.3]
    truth, prediction = (still, moving) if constant == "truth" else (moving, still)
    with pytest.warns(UserWarning, match="constant"):
        said = score(truth, prediction, metrics=metrics, score_range=RANGES[metrics])
    assert math.isnan(said.pop("corr"))
    assert all(math.isfinite(value) for value in said.values())


def test_corr_of_predictions_that_clipping_makes_constant_is_nan_with_a_warning():
    with pytest.warns(UserWarning, match="constant"):
        assert math.isnan(score([0.1, 0.5, -0.5], [1.5, 2.0, 7.0], metrics="sims", score_range=1.0)["corr"])


def test_a_single_clip_is_scored():
    with pytest.warns(UserWarning, match="constant"):
        said = score([1.0], [1.2], metrics="mosi", score_range=3.0)
    assert said["acc7"] == said["acc2_non0"] == said["f1_has0"] == 1.0


def test_without_a_label_other_than_zero_non0_is_nan():
    with pytest.warns(UserWarning, match="constant"):
        said = score([0.0, 0.0], [1.0, -1.0], metrics="mosi", score_range=3.0)
    assert math.isnan(said["acc2_non0"])
    assert math.isnan(said["f1_non0"])
    assert said["acc2_has0"] == 0.5


def test_fractions_are_not_rounded():
    said = score([1, 1, -1], [1, -1, -1], metrics="mosi", score_range=3.0)
    assert said["acc7"] == 2 / 3
    assert said["mae"] == 2 / 3


def test_mae_is_summed_in_float64():
    truth = np.zeros(1_000_000, np.float32)
    truth[0] = 1.0
    prediction = truth + np.float32(0.1)
    said = score(truth, prediction, metrics="mosi", score_range=3.0)["mae"]
    assert said == pytest.approx(float(np.mean(np.abs(truth.astype(float) - prediction.astype(float)))), abs=1e-9)


def test_a_tenth_is_the_float32_tenth():
    """In float64, 0.1 read from a float32 array lies above 0.1 and would be another class."""
    said = score(np.float32([0.1, -0.1, 0.7]), [0.05, -0.5, 0.5], metrics="sims", score_range=1.0)
    assert said["acc5"] == 1.0


@pytest.mark.parametrize("metrics", SLOW)
@pytest.mark.parametrize("factor", [0.5, 2.0, 4.0])
@given(pairs=PAIRS)
def test_another_range_scales_the_classes(metrics, factor, pairs):
    """Scaled by a power of two, which float32 does exactly, everything but the MAE stays what it was."""
    y, p = columns([(a, b) for a, b in pairs if min(abs(a), abs(b)) > 1e-30] or [(1.0, 1.0)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        native = score(y, p, metrics=metrics, score_range=RANGES[metrics])
        wide = (side * np.float32(factor) for side in (y, p))
        scaled = score(*wide, metrics=metrics, score_range=RANGES[metrics] * factor)
    for name, value in native.items():
        expected = value * factor if name == "mae" else value
        assert scaled[name] == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True), name


@given(pairs=PAIRS)
def test_the_order_of_clips_does_not_matter(pairs):
    y, p = columns(pairs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forward = score(y, p, metrics="mosi", score_range=3.0)
        backward = score(y[::-1], p[::-1], metrics="mosi", score_range=3.0)
    assert forward == pytest.approx(backward, abs=1e-9, nan_ok=True)


def test_a_class_that_no_label_has_weighs_nothing():
    assert weighted_f1(np.array([0, 0]), np.array([0, 1])) == pytest.approx(slow_f1([0, 0], [0, 1]))


@pytest.mark.parametrize(
    ("truth", "prediction"),
    [([1.0, 2.0], [1.0]), ([], []), ([[1.0]], [[1.0]]), ([1.0, math.nan], [1.0, 2.0]), ([1.0, 2.0], [1.0, math.inf])],
)
def test_what_cannot_be_scored_is_refused(truth, prediction):
    with pytest.raises(ValueError, match="scored|finite"):
        score(truth, prediction, metrics="mosi", score_range=3.0)


def test_the_metric_sets_are_those_that_have_classes():
    assert METRIC_SETS.keys() == CLASS_COUNTS.keys()


# --- emotions ---------------------------------------------------------------------------------------------------------

EMOTIONAL = st.lists(
    st.tuples(*[st.sampled_from([0.0, 1.0, math.nan])] * 2, *[st.floats(0, 1, width=32)] * 2), min_size=1, max_size=30
)


def slow_emotion_f1(pairs):
    """Of pairs (label, prediction): F1 of each class that labels have, by their share."""
    total = 0.0
    for one in (0, 1):
        hits = sum(y == p == one for y, p in pairs)
        support, told = sum(y == one for y, _ in pairs), sum(p == one for _, p in pairs)
        total += support * (2 * hits / (support + told) if support + told else 0.0)
    return total / len(pairs)


@given(EMOTIONAL)
def test_emotions_are_equal_to_the_slow_definitions(clips):
    rows = [clip for clip in clips if not (math.isnan(clip[0]) and math.isnan(clip[1]))]
    if not rows:
        return
    found = emotion_metrics([clip[:2] for clip in clips], [clip[2:] for clip in clips], ("joy", "fear"))
    means = {"acc": [], "wf1": []}
    for column, name in enumerate(("joy", "fear")):
        pairs = [(int(c[column]), int(c[2 + column] > 0.5)) for c in clips if not math.isnan(c[column])]
        if not pairs:
            assert math.isnan(found[f"acc_{name}"])
            assert math.isnan(found[f"wf1_{name}"])
            continue
        expected = {"acc": sum(y == p for y, p in pairs) / len(pairs), "wf1": slow_emotion_f1(pairs)}
        for kind, value in expected.items():
            assert found[f"{kind}_{name}"] == pytest.approx(value)
            means[kind].append(value)
    for kind, values in means.items():
        assert found[f"{kind}_emotions"] == pytest.approx(sum(values) / len(values))


@pytest.mark.parametrize("even", [0.5, 0.25])
def test_an_emotion_is_present_where_it_is_more_probable_than_even(even):
    above = float(np.nextafter(np.float32(even), np.float32(1)))
    found = emotion_metrics([[0.0], [1.0]], [[even], [above]], ("joy",), even=even)
    assert found["acc_joy"] == 1


@pytest.mark.parametrize(
    ("labels", "logits"),
    [([[1.0]], [[1.0, 2.0]]), ([[1.0, 0.0]], [[1.0, 2.0]]), ([[1.0]], [[math.nan]]), ([[math.nan]], [[1.0]]), ([], [])],
)
def test_emotions_that_cannot_be_scored_are_refused(labels, logits):
    with pytest.raises(ValueError, match="scored|finite"):
        emotion_metrics(labels, logits, ("joy",))


@pytest.mark.parametrize(("scale", "told"), [(0.0, True), (0.04, True), (0.06, False), (1.0, False)])
def test_predictions_that_hardly_vary(scale, told):
    labels = np.float32([-2, -1, 0, 1, 2])
    assert collapsed(labels, 1 + scale * labels) is told
