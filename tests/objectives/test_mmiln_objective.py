"""MMILN's objective against its equations, row by row, over epochs."""

import math

import pytest
import torch

from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.views import Batch
from dmmsa_cli.models.base import NONVERBAL, SPACES, Outputs
from dmmsa_cli.objectives.mmiln import MmilnObjective, MmilnObjectiveOptions
from dmmsa_cli.objectives.unimodal_labels import EPSILON, UnimodalLabels

Y = torch.tensor([1.2, -0.8, 2.4, 0.0, -2.6, 0.4])
WIDTHS = {"fusion": 7, "a": 4, "v": 5}


class Training:
    def __init__(self):
        self.rows, self.labels = torch.arange(len(Y)).numpy(), {"y": Y}


def objective(modalities=("t", "v", "a"), **options):
    return MmilnObjective(Capabilities(modalities, 3.0, "mosi"), MmilnObjectiveOptions(**options))


def outputs(seed, names=("a", "v")):
    draw = torch.Generator().manual_seed(seed)
    features = {name: torch.randn(len(Y), WIDTHS[name], generator=draw) for name in ("fusion", *names)}
    unimodal = {name: torch.randn(len(Y), generator=draw).requires_grad_() for name in names}
    losses = {"similarity": torch.tensor(0.7), "difference": torch.tensor(0.05)}
    return Outputs(torch.randn(len(Y), generator=draw).requires_grad_(), features, {}, unimodal, losses)


def batch():
    return Batch(torch.arange(len(Y)), {}, {"y": Y})


def slow_distance(feature, centre, distance):
    squared = sum((feature[i] - centre[i]) ** 2 for i in range(len(feature)))
    return squared / math.sqrt(len(feature)) if distance == "squared" else math.sqrt(squared)


def slow_labels(before, memory, features, epoch, distance):
    """Equations 29 to 34 and the momentum, for one row at a time; `memory` is what was last seen of each row."""
    alphas = {}
    for name in WIDTHS:
        labels = Y if name == "fusion" else before[name]
        kinds = [[r for r in range(len(Y)) if sign * labels[r] > 0] for sign in (1, -1)]
        centres = [torch.stack([memory[name][r] for r in kind]).mean(0) for kind in kinds]
        alphas[name] = []
        for row in range(len(Y)):
            near, far = (slow_distance(features[name][row].tolist(), c.tolist(), distance) for c in centres)
            alphas[name].append((far - near) / (near + EPSILON))
    after = {}
    for name in ("a", "v"):
        found = []
        for row in range(len(Y)):
            y, own, anchor = float(Y[row]), alphas[name][row], alphas["fusion"][row]
            made = y + (own - anchor) / 2 * (y + anchor) / (anchor + EPSILON)
            made = min(3.0, max(-3.0, made))
            found.append((epoch - 1) / (epoch + 1) * float(before[name][row]) + 2 / (epoch + 1) * made)
        after[name] = torch.tensor(found)
    return after


@pytest.mark.parametrize("distance", ["squared", "norm"])
def test_three_epochs_are_the_equations(distance):
    task = objective(distance=distance)
    labels, memory = {"a": Y, "v": Y}, None
    for epoch in (1, 2, 3):
        task.begin_epoch(epoch, Training())
        said = outputs(epoch)
        losses = task(said, batch())
        fused = sum((float(said.prediction[r].detach()) - float(Y[r])) ** 2 for r in range(len(Y))) / len(Y)
        assert losses["fusion"].item() == pytest.approx(fused, rel=1e-5)
        for name in ("a", "v"):
            own = [
                math.tanh(abs(float(labels[name][r] - Y[r])))
                * abs(float(said.unimodal[name][r].detach() - labels[name][r]))
                for r in range(len(Y))
            ]
            assert losses[name].item() == pytest.approx(sum(own) / len(Y), rel=1e-4, abs=1e-7)
        if epoch > 1:
            labels = slow_labels(labels, memory, said.features, epoch, distance)
        memory = said.features
        for name in ("a", "v"):
            torch.testing.assert_close(task.made.of(name, torch.arange(len(Y))), labels[name], atol=1e-4, rtol=1e-4)
        total = fused + losses["a"].item() + losses["v"].item() + 0.3 * 0.7 + 0.1 * 0.05
        assert task.total(losses).item() == pytest.approx(total, rel=1e-5)
    assert not torch.allclose(labels["a"], Y, atol=0.05)


def test_the_distance_is_squared_over_the_root_of_the_width_as_printed():
    made = UnimodalLabels(("a",), limit=3.0, distance="squared")
    assert made._distance(torch.tensor([[3.0, 4.0, 0.0, 0.0]])).tolist() == [12.5]  # 25 / sqrt(4)
    assert objective().made.distance == "squared"


def test_in_the_first_epoch_audio_and_vision_weigh_nothing():
    task = objective()
    task.begin_epoch(1, Training())
    said = outputs(1)
    losses = task(said, batch())
    assert losses["a"] == losses["v"] == 0
    task.total(losses).backward()
    assert not said.unimodal["a"].grad.any() and said.prediction.grad.any()


@pytest.mark.parametrize("modalities", [("t", "a"), ("t", "v", "a")])
def test_text_has_no_labels_of_its_own(modalities):
    task = objective(modalities)
    assert set(task.made.names) == set(modalities) - {"t"}
    names = tuple(task.made.names)
    task.begin_epoch(1, Training())
    assert set(task(outputs(1, names), batch())) == {"fusion", *names, "similarity", "difference"}


def test_alpha_and_beta_weigh_the_regularisers_and_only_what_weighs_is_needed():
    losses = {"fusion": torch.tensor(1.0), "similarity": torch.tensor(10.0), "difference": torch.tensor(100.0)}
    assert objective(similarity=0.5, difference=0.0).total(losses) == 6
    assert objective(similarity=0.0, difference=0.25).total(losses) == 26
    assert objective().total({"fusion": torch.tensor(1.0)}) == 1
    for similarity, difference in ((0.1, 0.0), (0.0, 0.1)):
        needed = MmilnObjective.needs(MmilnObjectiveOptions(similarity, difference))
        assert needed == {NONVERBAL, SPACES}
    assert MmilnObjective.needs(MmilnObjectiveOptions(0.0, 0.0)) == {NONVERBAL}
