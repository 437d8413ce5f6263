"""Intervals against a slow version of their formula, what they hold on average, and how reliable classes are."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.errors import InvalidInput
from dmmsa_cli.uncertainty import (
    Coverage,
    check_level,
    coverage,
    errors,
    fewest,
    interval,
    mean_coverage,
    reach,
    reliability,
)

LEVELS = ("0.5", "0.55", "0.6", "0.8", "0.9", "0.95", "0.99")


def slow_reach(values, level):
    """The smallest value that at least ceil((n + 1) level) of the n do not exceed, in exact arithmetic."""
    wanted = math.ceil((len(values) + 1) * Fraction(level))
    return min(value for value in values if sum(other <= value for other in values) >= wanted)


@given(st.lists(st.floats(0, 6), min_size=1, max_size=120), st.sampled_from(LEVELS))
def test_the_reach_is_the_formulas(values, level):
    share = Fraction(level)
    if math.ceil((len(values) + 1) * share) > len(values):
        with pytest.raises(InvalidInput, match="at least"):
            reach(np.array(values), float(level))
    else:
        assert reach(np.array(values), float(level)) == slow_reach(values, level)


@pytest.mark.parametrize("level", LEVELS)
def test_no_last_bit_of_a_product_makes_a_rank_one_too_high(level):
    """0.55 * 100 is 55.00000000000001 in floating point."""
    for n in range(fewest(float(level)), 400):
        assert reach(np.arange(1.0, n + 1), float(level)) == math.ceil((n + 1) * Fraction(level))


@pytest.mark.parametrize("level", LEVELS)
def test_the_fewest_clips_are_one_over_alpha_less_one(level):
    alpha = 1 - Fraction(level)
    assert fewest(float(level)) == math.ceil(1 / alpha - 1)
    reach(np.zeros(fewest(float(level))), float(level))
    with pytest.raises(InvalidInput):
        reach(np.zeros(fewest(float(level)) - 1), float(level))


def test_too_few_clips_are_told_in_one_sentence():
    with pytest.raises(InvalidInput) as told:
        reach(np.zeros(8), 0.9)
    assert told.value.what == "The validation split has 8 clips; intervals of 90 % need at least 9."


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, 90.0, math.nan, math.inf])
def test_a_level_lies_between_0_and_1(level):
    with pytest.raises(InvalidInput, match="--level .* is not between 0 and 1"):
        check_level(level)


def test_a_level_between_is_as_it_is():
    assert check_level(0.01) == 0.01
    assert check_level(0.99) == 0.99


@pytest.mark.parametrize(("level", "clips"), [(0.9, 19), (0.8, 9), (0.9, 229), (0.5, 4)])
def test_exchangeable_clips_are_held_at_least_as_often_as_the_level_says_on_average(level, clips):
    """And no oftener than level + 1 / (n + 1), as for continuous errors (Lei et al. 2018, theorem 2.2)."""
    draw = np.random.default_rng(7)
    rounds = 4000
    spread = draw.gamma(2, size=(rounds, clips + 1))
    labels = (draw.normal(size=(rounds, clips + 1)) * spread).astype(np.float32)
    held = []
    for row in labels:
        distance = reach(errors(row[:-1], np.zeros(clips, np.float32), 1000.0), level)
        low, high = interval(np.zeros(1, np.float32), distance, 1000.0)
        held.append(low[0] <= row[-1] <= high[0])
    noise = 3 * math.sqrt(level * (1 - level) / rounds)
    assert level - noise < np.mean(held) < level + 1 / (clips + 1) + noise


def test_intervals_are_held_to_the_range_and_so_are_predictions():
    low, high = interval(np.float32([-3.5, 0, 2.5, 9]), 1.0, 3.0)
    assert low.tolist() == [-3, -1, 1.5, 2]
    assert high.tolist() == [-2, 1, 3, 3]
    assert errors(np.float32([-3, 1, 3]), np.float32([-3.5, 0, 9]), 3.0).tolist() == [0, 1, 0]


def test_a_clip_right_at_the_end_of_an_interval_is_within():
    """Ends are float64 sums of float32 values, so what was exactly as far off as the reach is not lost to rounding."""
    draw = np.random.default_rng(3)
    labels, predictions = draw.uniform(-3, 3, (2, 500)).astype(np.float32)
    distances = errors(labels, predictions, 3.0)
    one = np.zeros(1, np.int64)
    for place in range(500):
        clip = slice(place, place + 1)
        ends = interval(predictions[clip], float(distances[place]), 3.0)
        assert coverage(labels[clip], ends, videos=one, bins=one, count=1, level=0.9).share == 1


def test_coverage_by_hand():
    labels = np.float32([-2, 0, 1, 2, 2])
    ends = np.float64([-3, 0.5, 0.5, 1.5, 2.5]), np.float64([-1, 1.5, 1.5, 2.5, 3.0])
    found = coverage(labels, ends, videos=np.array([0, 0, 0, 1, 2]), bins=np.array([0, 1, 2, 3, 3]), count=5, level=0.8)
    assert found.share == pytest.approx(3 / 5)
    assert found.width == pytest.approx((2 + 1 + 1 + 1 + 0.5) / 5)
    assert found.videos == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found.worst == pytest.approx(0.2 * 2 / 3)  # the tenth percentile of 0, 2/3, 1
    assert found.by_label[:4] == (1, 0, 1, 0.5)
    assert math.isnan(found.by_label[4])
    assert (found.clips, found.level) == ((1, 1, 1, 2, 0), 0.8)


def test_several_runs_are_averaged():
    one = Coverage(0.9, 0.8, 2.0, 0.7, 0.6, (1.0, math.nan), (4, 0))
    two = Coverage(0.9, 0.6, 1.0, 0.5, 0.2, (0.5, math.nan), (4, 0))
    found = mean_coverage([one, two])
    assert (found.share, found.width, found.videos, found.worst) == pytest.approx((0.7, 1.5, 0.6, 0.4))
    assert found.by_label[0] == 0.75
    assert math.isnan(found.by_label[1])
    assert (found.level, found.clips) == (0.9, (4, 0))


# --- classes --------------------------------------------------------------------------------------------------------


def slow_calibration_error(probabilities, classes):
    """Clip by clip, as the definition reads."""
    bins = {}
    for row, label in zip(probabilities, classes, strict=True):
        likeliest = int(np.argmax(row))
        place = min(int(row[likeliest] * 10), 9)
        bins.setdefault(place, []).append((row[likeliest], likeliest == label))
    total = len(classes)
    return sum(
        len(found) / total * abs(np.mean([hit for _, hit in found]) - np.mean([p for p, _ in found]))
        for found in bins.values()
    )


@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_calibration_error_is_the_definitions(count):
    draw = np.random.default_rng(count)
    probabilities = draw.dirichlet(np.ones(count), 300)
    classes = draw.integers(0, count, 300)
    found = reliability(probabilities, classes)
    assert found.calibration_error == pytest.approx(slow_calibration_error(probabilities, classes), abs=1e-12)
    assert found.clips.sum() == 300


def test_probabilities_that_can_be_taken_at_their_word_have_next_to_no_error():
    draw = np.random.default_rng(1)
    probabilities = draw.dirichlet(np.ones(3), 20000)
    classes = np.array([draw.choice(3, p=row) for row in probabilities])
    assert reliability(probabilities, classes).calibration_error < 0.02
    assert reliability(probabilities, (classes + 1) % 3).calibration_error > 0.3


def test_a_sure_class_is_in_the_last_bin_and_an_empty_bin_counts_for_nothing():
    found = reliability(np.array([[1.0, 0.0], [0.95, 0.05], [0.55, 0.45]]), np.array([0, 1, 0]))
    assert found.clips.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 2]
    assert found.frequency[9] == 0.5
    assert math.isnan(found.frequency[0])
    assert found.calibration_error == pytest.approx((2 * abs(0.5 - 0.975) + abs(1 - 0.55)) / 3)
