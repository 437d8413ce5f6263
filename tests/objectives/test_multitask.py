"""Auxiliary tasks against their definitions, alone beside the score and beside DMMSA's tasks."""

import math

import pytest
import torch

from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.views import Batch
from dmmsa_cli.models.base import SHARED, Outputs
from dmmsa_cli.objectives.auxiliary import AUXILIARY, Enabled
from dmmsa_cli.objectives.dmmsa import Dmmsa, DmmsaOptions, UnimodalOptions
from dmmsa_cli.objectives.multitask import Multitask, MultitaskOptions
from dmmsa_cli.objectives.weighting import WEIGHTINGS
from dmmsa_cli.recipe import Choice

ALL = Capabilities(("t", "v", "a"), 3.0, "mosi")
SCORES = [2.5, -1.0, 0.0, -0.0, -3.0]


def outputs_of(*heads, features=()):
    generator = torch.Generator().manual_seed(1)

    def random(*shape):
        return (2 * torch.randn(*shape, generator=generator)).requires_grad_()

    made = {name: random(len(SCORES), 1) for name in heads}
    if features:
        made |= {"msc_3": random(len(SCORES), 3), "unimodal": random(len(SCORES), len(features), 1)}
    return Outputs(random(len(SCORES)), {name: random(len(SCORES), 4) for name in features}, made)


def batch_of(scores=SCORES):
    return Batch(torch.arange(len(scores)), {}, {"y": torch.tensor(scores)})


def slow_polarity(logit, y):
    chance = 1 / (1 + math.exp(-logit))
    return -math.log(chance if y >= 0 else 1 - chance)


def slow(task, outputs):
    values = outputs.heads[task].squeeze(-1).tolist()
    each = {"polarity": slow_polarity, "intensity": lambda value, y: abs(value - abs(y))}[task]
    return sum(map(each, values, SCORES)) / len(SCORES)


def test_polarity_and_intensity_are_what_they_say():
    outputs = outputs_of("polarity", "intensity")
    objective = Multitask(ALL, MultitaskOptions())
    losses = {name: loss.item() for name, loss in objective(outputs, batch_of()).items()}
    score = sum(abs(p - y) for p, y in zip(outputs.prediction.tolist(), SCORES, strict=True)) / len(SCORES)
    expected = {"msr": score, "polarity": slow("polarity", outputs), "intensity": slow("intensity", outputs)}
    assert losses == pytest.approx(expected, rel=1e-5)
    assert objective.total(objective(outputs, batch_of())).item() == pytest.approx(
        score + 0.5 * expected["polarity"] + 0.5 * expected["intensity"], rel=1e-5
    )
    assert objective.weights() == {"polarity": 0.5, "intensity": 0.5}


@pytest.mark.parametrize(("loss", "beta"), [("mse", 1.0), ("smooth_l1", 0.5), ("smooth_l1", 2.0)])
def test_the_scores_loss_is_the_recipes(loss, beta):
    outputs = outputs_of("polarity", "intensity")
    found = Multitask(ALL, MultitaskOptions(loss=loss, beta=beta))(outputs, batch_of())["msr"].item()
    each = {
        "mse": lambda d: d * d,
        "smooth_l1": lambda d: 0.5 * d * d / beta if d < beta else d - 0.5 * beta,
    }[loss]
    differences = [abs(p - y) for p, y in zip(outputs.prediction.tolist(), SCORES, strict=True)]
    assert found == pytest.approx(sum(map(each, differences)) / len(SCORES), rel=1e-5)


@pytest.mark.parametrize("off", [(), ("polarity",), ("intensity",), ("polarity", "intensity")])
def test_a_task_that_is_off_has_no_loss_head_or_weight(off):
    kept = [name for name in ("polarity", "intensity") if name not in off]
    objective = Multitask(ALL, MultitaskOptions(**{name: Enabled(False) for name in off}))
    assert {name: (head.outputs, head.over) for name, head in objective.heads.items()} == {
        name: (1, "fusion") for name in kept
    }
    losses = objective(outputs_of(*kept), batch_of())
    assert list(losses) == ["msr", *kept]
    assert list(objective.weights()) == kept
    assert torch.isfinite(objective.total(losses))


def test_every_auxiliary_task_is_one_of_both_objectives():
    for name, task in AUXILIARY.items():
        assert getattr(MultitaskOptions(), name).enabled == (not task.labels)  # what needs labels has to be asked for
        assert not getattr(DmmsaOptions(), name).enabled


@pytest.mark.parametrize("kind", [Multitask, Dmmsa])
def test_what_the_rule_needs_the_objective_needs(kind):
    for name, rule in WEIGHTINGS.items():
        options = kind.Options(weighting=Choice(name, rule.Options()))
        assert (SHARED in kind.needs(options)) == bool(rule.needs)


FEATURES = ("T_s", "V_s", "A_s", "T_d", "V_d", "A_d")
MANY = {"uni": UnimodalOptions(each=True), "polarity": Enabled(), "intensity": Enabled()}


def dmmsa(rule="gdwg", weighted="auxiliary", **more):
    return Dmmsa(ALL, DmmsaOptions(weighting=Choice(rule, WEIGHTINGS[rule].Options(**more)), weighted=weighted, **MANY))


def test_dmmsa_has_nine_tasks_to_weigh_where_each_feature_is_one():
    objective, outputs = dmmsa(), outputs_of("polarity", "intensity", features=FEATURES)
    labels = {"y": torch.tensor(SCORES), "t": torch.tensor(SCORES[::-1]), "v": torch.zeros(5), "a": torch.ones(5)}
    batch = Batch(torch.arange(5), {}, labels)
    losses = objective(outputs, batch)
    uni = [f"uni_{name}" for name in FEATURES]
    assert list(losses) == ["msr", "msc", *uni, "cl", "polarity", "intensity"]
    assert objective.weights() == pytest.approx(dict.fromkeys([*uni, "cl", "polarity", "intensity"], 1 / 9))
    assert losses["polarity"].item() == pytest.approx(slow("polarity", outputs), rel=1e-5)
    plain = Dmmsa(ALL, DmmsaOptions())(outputs, batch)
    assert sum(losses[name].item() for name in uni) / 6 == pytest.approx(plain["uni"].item(), rel=1e-5)
    for place, (name, label) in enumerate(zip(FEATURES, ("y", "y", "y", "t", "v", "a"), strict=True)):
        predicted = outputs.heads["unimodal"][:, place, 0]
        alone = torch.nn.functional.smooth_l1_loss(predicted, labels[label])
        assert losses[f"uni_{name}"].item() == pytest.approx(alone.item(), rel=1e-6)
    assert list(objective.heads) == ["msc_3", "polarity", "intensity", "unimodal"]


@pytest.mark.parametrize("kind", ["dmmsa", "multitask"])
@pytest.mark.parametrize("weighted", ["auxiliary", "all"])
def test_the_main_tasks_are_weighed_only_where_all_are(kind, weighted):
    features = FEATURES if kind == "dmmsa" else ()
    outputs = outputs_of("polarity", "intensity", features=features)
    chosen = Choice("equal", WEIGHTINGS["equal"].Options())
    objective = (
        dmmsa("equal", weighted)
        if kind == "dmmsa"
        else Multitask(ALL, MultitaskOptions(weighting=chosen, weighted=weighted))
    )
    losses = objective(outputs, batch_of())
    main = {"msr", "msc"} & losses.keys()
    weights = objective.weights()
    assert weights.keys() == losses.keys() - (main if weighted == "auxiliary" else set())
    total = sum(weights.get(name, 1.0) * loss.item() for name, loss in losses.items())
    assert objective.total(losses).item() == pytest.approx(total, rel=1e-6)


def test_a_cross_entropy_counts_as_one_under_uncertainty():
    rule = dmmsa("uw", "all").weighting.rule
    assert [task.name for task in rule.tasks if task.classes] == ["msc", "cl", "polarity"]
