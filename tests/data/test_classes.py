"""Sentiment classes at their edges, against definitions written out one by one."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.data.classes import CLASS_COUNTS, NATIVE_RANGE, class_edges
from dmmsa_cli.errors import InvalidRecipe

TABLE_7 = {2: (0.0,), 3: (-0.1, 0.1), 5: (-0.7, -0.1, 0.1, 0.7)}


def slow_class(value, classes, metrics):
    """The class of a float32 score, counted from 0."""
    value = float(value)
    if metrics == "sims":
        return sum(value > float(np.float32(edge)) for edge in TABLE_7[classes])  # (a, b]
    if classes == 2:
        return int(value >= 0)
    limit = classes // 2
    return round(min(max(value, -limit), limit)) + limit  # Python rounds half to even


def both(values, edges):
    """What numpy and torch say; they must agree."""
    found = np.searchsorted(edges, values)
    np.testing.assert_array_equal(torch.bucketize(torch.from_numpy(values), torch.from_numpy(edges)).numpy(), found)
    return found.tolist()


def around(value):
    value = np.float32(value)
    return [np.nextafter(value, np.float32(-np.inf)), value, np.nextafter(value, np.float32(np.inf))]


CASES = [(metrics, classes) for metrics, counts in CLASS_COUNTS.items() for classes in counts]
POINTS = (-0.7, -0.1, 0.0, -0.0, 0.1, 0.7, *np.arange(-4, 4.25, 0.25))


def test_there_are_the_classes_of_the_papers():
    assert CLASS_COUNTS == {"sims": (2, 3, 5), "mosi": (2, 3, 5, 7)}


@pytest.mark.parametrize(("metrics", "classes"), CASES)
def test_every_edge_and_its_two_neighbours(metrics, classes):
    values = np.array([v for point in POINTS for v in around(point)], np.float32)
    edges = class_edges(classes, metrics, NATIVE_RANGE[metrics])
    assert edges.dtype == np.float32
    assert both(values, edges) == [slow_class(v, classes, metrics) for v in values]


@pytest.mark.parametrize(("metrics", "classes"), CASES)
@given(values=st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=20))
def test_anywhere(metrics, classes, values):
    edges = class_edges(classes, metrics, NATIVE_RANGE[metrics])
    assert both(np.array(values, np.float32), edges) == [slow_class(v, classes, metrics) for v in values]


@pytest.mark.parametrize(("metrics", "classes"), CASES)
def test_every_class_can_be_reached_and_the_ends_stay_inside(metrics, classes):
    limit = NATIVE_RANGE[metrics]
    values = np.linspace(-limit, limit, 601, dtype=np.float32)
    found = both(values, class_edges(classes, metrics, limit))
    assert sorted(set(found)) == list(range(classes))
    assert found[0] == 0
    assert found[-1] == classes - 1


@pytest.mark.parametrize(("metrics", "classes"), CASES)
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_another_range_scales_the_edges(metrics, classes, factor):
    values = np.array([v for point in POINTS for v in around(point) if abs(v) > 1e-3], np.float32)
    edges = class_edges(classes, metrics, NATIVE_RANGE[metrics] * factor)
    assert both(values * np.float32(factor), edges) == [slow_class(v, classes, metrics) for v in values]


def test_the_metric_set_decides_not_the_range():
    on_the_edge = np.float32([0.0])
    assert both(on_the_edge, class_edges(2, "mosi", 1.0)) == [1]
    assert both(on_the_edge, class_edges(2, "sims", 3.0)) == [0]


@pytest.mark.parametrize(("metrics", "classes"), [("sims", 7), ("mosi", 4), ("sims", 0), ("mosi", 1)])
def test_classes_that_a_metric_set_lacks_are_refused_with_those_it_has(metrics, classes):
    with pytest.raises(InvalidRecipe, match=f"{metrics} has no {classes} classes") as refused:
        class_edges(classes, metrics, NATIVE_RANGE[metrics])
    assert str(max(CLASS_COUNTS[metrics])) in refused.value.remedy


def test_infinite_scores_fall_into_the_outer_classes():
    assert both(np.float32([-math.inf, math.inf]), class_edges(7, "mosi", 3.0)) == [0, 6]
