"""The emotion task's losses, against equation 6 written out."""

import math

import pytest
import torch

from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.views import Batch
from dmmsa_cli.models.base import Outputs
from dmmsa_cli.objectives import OBJECTIVES
from dmmsa_cli.objectives.dmmsa import UnimodalOptions
from dmmsa_cli.objectives.emotions import EmotionOptions, emotion_head, emotion_loss

NAN = math.nan
LOGITS = torch.tensor([[0.5, -1.0, 2.0], [0.0, 0.3, -0.2], [1.0, 1.0, 1.0]])
TARGET = torch.tensor([[1.0, 0.0, 1.0], [NAN, 1.0, 0.0], [NAN, NAN, NAN]])


def slow(kind):
    total, clips = 0.0, 0
    for logits, target in zip(LOGITS.tolist(), TARGET.tolist(), strict=True):
        clips += not all(map(math.isnan, target))
        whole = sum(math.exp(x) for x in logits)
        for x, y in zip(logits, target, strict=True):
            if math.isnan(y):
                continue
            if kind == "softmax":
                total -= y * math.log(math.exp(x) / whole)
            else:
                p = 1 / (1 + math.exp(-x))
                total -= y * math.log(p) + (1 - y) * math.log(1 - p)
    return total / clips


@pytest.mark.parametrize("kind", ["bce", "softmax"])
def test_sum_over_emotions_mean_over_the_clips_of_which_any_is_known(kind):
    assert emotion_loss(LOGITS, TARGET, kind).item() == pytest.approx(slow(kind))


@pytest.mark.parametrize("kind", ["bce", "softmax"])
def test_what_is_not_known_teaches_nothing(kind):
    logits = LOGITS.clone().requires_grad_()
    emotion_loss(logits, TARGET, kind).backward()
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad[2].any()
    if kind == "bce":
        assert ((logits.grad != 0) == ~TARGET.isnan()).all()


@pytest.mark.parametrize("kind", ["bce", "softmax"])
def test_a_batch_of_which_nothing_is_known_has_a_loss_of_0_and_a_gradient(kind):
    logits = LOGITS.clone().requires_grad_()
    loss = emotion_loss(logits, torch.full((3, 3), NAN), kind)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_bf16_logits_give_a_loss_in_float32():
    assert emotion_loss(LOGITS.bfloat16(), TARGET, "bce").dtype == torch.float32


def test_the_head_names_what_its_outputs_are_about():
    head = emotion_head(("joy", "fear"))
    assert (head.outputs, head.over, head.present) == (2, "fusion", ("joy", "fear"))


@pytest.mark.parametrize("objective", ["multitask", "dmmsa"])
@pytest.mark.parametrize("kind", ["bce", "softmax"])
def test_an_objective_learns_them_by_the_loss_that_its_options_name(objective, kind):
    data = Capabilities(("t",), 3.0, "mosi", emotions=("joy", "fear", "anger"))
    chosen = OBJECTIVES[objective]
    parts = {"uni": UnimodalOptions(False)} if objective == "dmmsa" else {}
    task = chosen(data, chosen.Options(emotions=EmotionOptions(True, kind), **parts))
    heads = {name: torch.randn(3, head.outputs) for name, head in task.heads.items()} | {"emotions": LOGITS}
    batch = Batch(torch.arange(3), {}, {"y": torch.tensor([1.0, -1.0, 0.0]), "emotions": TARGET})
    losses = task(Outputs(torch.zeros(3), heads=heads), batch)
    assert losses["emotions"].item() == pytest.approx(slow(kind))
    assert task.heads["emotions"].exclusive == (kind == "softmax")
    assert chosen.labels(task.options) == {"emotions"}
    assert chosen.labels(chosen.Options()) == set()
