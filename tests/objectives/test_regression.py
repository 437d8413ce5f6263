"""Plain regression: which distance, and to which label."""

import pytest
import torch

from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.views import Batch
from dmmsa_cli.models.base import Outputs
from dmmsa_cli.objectives.regression import Regression, RegressionOptions

PREDICTION = torch.tensor([0.5, -1.0, 2.0, 0.0])
LABELS = {
    "y": torch.tensor([0.0, 1.0, 2.25, -0.5]),
    "t": torch.tensor([1.0, 1.0, 1.0, 1.0]),
    "v": torch.tensor([0.0, 0.0, 0.0, 0.0]),
    "a": torch.tensor([-1.0, 0.0, 1.0, 2.0]),
}


def smooth_l1(difference, beta):
    difference = abs(difference)
    return 0.5 * difference**2 / beta if difference < beta else difference - 0.5 * beta


DISTANCES = {
    "mse": lambda difference, beta: difference**2,
    "l1": lambda difference, beta: abs(difference),
    "smooth_l1": smooth_l1,
}


BATCH = Batch(torch.arange(len(PREDICTION)), {}, LABELS)


def loss_of(options):
    objective = Regression(Capabilities(("t", "v", "a"), 3.0, "mosi"), options)
    losses = objective(Outputs(PREDICTION), BATCH)
    assert objective.total(losses) is losses["regression"]
    assert list(losses) == ["regression"]
    return losses["regression"].item()


def slow(distance, label, beta=1.0):
    pairs = list(zip(PREDICTION.tolist(), LABELS[label].tolist(), strict=True))
    return sum(DISTANCES[distance](p - y, beta) for p, y in pairs) / len(pairs)


@pytest.mark.parametrize("beta", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("distance", DISTANCES)
def test_the_mean_distance(distance, beta):
    assert loss_of(RegressionOptions(distance, beta)) == pytest.approx(slow(distance, "y", beta), rel=1e-6)


def test_it_asks_for_no_head_weighs_nothing_and_remembers_nothing():
    objective = Regression(Capabilities(("t",), 3.0, "mosi"), RegressionOptions())
    objective.epoch_end({"regression": 1.0})
    assert (objective.heads, objective.weights(), objective.remarks()) == ({}, {}, [])
    assert not objective.state_dict()


def test_a_bfloat16_prediction_gives_a_float32_loss():
    objective = Regression(Capabilities(("t",), 3.0, "mosi"), RegressionOptions())
    assert objective(Outputs(PREDICTION.bfloat16()), BATCH)["regression"].dtype == torch.float32


@pytest.mark.parametrize("beta", [0.0, -1.0])
def test_a_beta_that_is_not_above_zero_is_refused(beta):
    with pytest.raises(ValueError, match="beta"):
        RegressionOptions("smooth_l1", beta)
