"""GDWG over several epochs against equations 13 and 14 written out."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.objectives.task_weighting import GlobalDynamicWeights

TASKS = ("uni", "cl")
HISTORY = [(0.8, 1.4), (0.5, 1.3), (0.4, 0.9), (0.45, 0.3), (0.1, 0.2), (0.0, 0.1)]


def slow_weights(history, temperature):
    """Weights of every epoch 1 .. len(history) + 1."""
    tasks = len(history[0])
    weights = [[1 / tasks] * tasks]
    for epoch in range(2, len(history) + 2):
        last, first = history[epoch - 2], history[0]
        ratios = [1.0 if b == 0 else a / b for a, b in zip(last, first, strict=True)]
        raised = [math.exp(ratio / temperature) for ratio in ratios]
        weights.append([value / sum(raised) for value in raised])
    return weights


def run(history, temperature=1.0, tasks=TASKS, **more):
    gdwg = GlobalDynamicWeights(tasks, temperature=temperature, **more)
    weights = [list(gdwg.current().values())]
    for losses in history:
        gdwg.epoch_end(dict(zip(tasks, losses, strict=True)))
        weights.append(list(gdwg.current().values()))
    return weights


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_every_epochs_weights(temperature):
    for said, slow in zip(run(HISTORY, temperature), slow_weights(HISTORY, temperature), strict=True):
        assert said == pytest.approx(slow, abs=1e-6)


LOSSES = st.floats(0.0, 1e3).filter(lambda loss: loss == 0 or loss > 1e-3)


@given(history=st.lists(st.tuples(LOSSES, LOSSES, LOSSES), min_size=5, max_size=8))
def test_any_history_of_three_tasks(history):
    bounds = [50 * first or math.inf for first in history[0]]  # what math.exp can raise
    history = [tuple(map(min, row, bounds)) for row in history]
    for said, slow in zip(run(history, tasks=("a", "b", "c")), slow_weights(history, 1.0), strict=True):
        assert said == pytest.approx(slow, abs=1e-4)
        assert sum(said) == pytest.approx(1)


def test_the_first_unequal_weights_are_the_third_epochs():
    weights = run(HISTORY)
    assert weights[0] == weights[1] == [0.5, 0.5]
    assert weights[2][0] != weights[2][1]
    assert weights[2][1] > weights[2][0]  # contrast has come down less, and so weighs more


def test_a_first_loss_of_zero_weighs_as_if_nothing_had_changed():
    weights = run([(0.0, 1.0), (0.7, 0.5), (0.0, 2.0)])
    e = math.e
    assert weights[2] == pytest.approx([e / (e + math.exp(0.5)), math.exp(0.5) / (e + math.exp(0.5))], abs=1e-6)
    assert weights[3] == pytest.approx([e / (e + e**2), e**2 / (e + e**2)], abs=1e-6)
    assert all(math.isfinite(value) for row in run([(0.0, 0.0)] * 4) for value in row)


def test_a_first_loss_that_is_tiny_is_still_what_counts():
    history = [(1e-6, 1.0), (2e-6, 0.5)]
    assert run(history)[2] == pytest.approx(slow_weights(history, 1.0)[2], abs=1e-6)


def test_one_task_always_weighs_one():
    assert run([(0.3,), (0.1,), (5.0,)], tasks=("uni",)) == [[1.0]] * 4


def test_no_task_at_all_is_nothing_to_weigh():
    gdwg = GlobalDynamicWeights((), temperature=1.0)
    gdwg.epoch_end({"msr": 1.0})
    assert gdwg.current() == {}


@pytest.mark.parametrize("tasks", [("uni",), ("uni", "cl"), ("a", "b", "c")])
def test_not_dynamic_keeps_equal_weights(tasks):
    history = [tuple(0.1 * (epoch + place + 1) for place in range(len(tasks))) for epoch in range(5)]
    assert run(history, tasks=tasks, dynamic=False) == [pytest.approx([1 / len(tasks)] * len(tasks))] * 6


def test_the_sum_is_weighted_and_no_gradient_runs_through_the_weights():
    gdwg = GlobalDynamicWeights(TASKS, temperature=1.0)
    for losses in HISTORY[:3]:
        gdwg.epoch_end(dict(zip(TASKS, losses, strict=True)))
    uni, cl = (torch.tensor(value, requires_grad=True) for value in (2.0, 3.0))
    total = gdwg({"uni": uni, "cl": cl, "msr": torch.tensor(100.0)})
    total.backward()
    weights = gdwg.current()
    assert total.item() == pytest.approx(2 * weights["uni"] + 3 * weights["cl"])
    assert (uni.grad.item(), cl.grad.item()) == pytest.approx((weights["uni"], weights["cl"]))
    assert not list(gdwg.parameters())
    assert not gdwg.weights.requires_grad
    assert not gdwg.first.requires_grad


@pytest.mark.parametrize("known", range(4))
def test_the_state_goes_through_a_checkpoint(known):
    """Wherever it is taken, what follows is as if nothing had happened."""
    gdwg, again = (GlobalDynamicWeights(TASKS, temperature=1.0) for _ in range(2))
    for losses in HISTORY[:known]:
        gdwg.epoch_end(dict(zip(TASKS, losses, strict=True)))
    again.load_state_dict({name: value.clone() for name, value in gdwg.state_dict().items()})
    for losses in HISTORY[known:]:
        for either in (gdwg, again):
            either.epoch_end(dict(zip(TASKS, losses, strict=True)))
        assert again.current() == gdwg.current()
    assert again.current() == dict(zip(TASKS, run(HISTORY)[-1], strict=True))
