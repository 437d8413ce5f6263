"""DMMSA's objective against its equations, sample by sample, for every subset of the modalities."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.data.classes import CLASS_COUNTS
from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.views import Batch
from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.models.base import Outputs
from dmmsa_cli.objectives.dmmsa import (
    ClassificationOptions,
    ContrastOptions,
    Dmmsa,
    DmmsaOptions,
    UnimodalOptions,
)
from dmmsa_cli.objectives.weighting.by_epoch import EqualOptions
from dmmsa_cli.recipe import Choice

SUBSETS = [subset for size in (1, 2, 3) for subset in itertools.combinations("tva", size)]
RANGES = {"mosi": 3.0, "sims": 1.0}
OFF = {"msc": ClassificationOptions(enabled=False), "uni": UnimodalOptions(False), "cl": ContrastOptions(False)}


def capable(modalities=("t", "v", "a"), metrics="mosi"):
    return Capabilities(tuple(modalities), RANGES[metrics], metrics)


def make(capabilities, batch=4, seed=0, width=6, counts=(3,), unimodal_labels=True):
    """Outputs of a model over these modalities, and labels with a half step and a zero among them."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator)

    names = [f"{m.upper()}_{kind}" for kind in "sd" for m in capabilities.modalities]
    heads = {f"msc_{c}": random(batch, c) for c in counts} | {"unimodal": random(batch, len(names), 1)}
    labels = {"y": random(batch).clamp(-1, 1) * capabilities.score_range}
    labels["y"][0] = 0.5 * capabilities.score_range / 3
    labels["y"][-1] = 0.0
    if unimodal_labels:
        labels |= {m: random(batch) for m in capabilities.modalities}
    return Outputs(random(batch) * 2, {name: random(batch, width) for name in names}, heads), labels


def call(objective, outputs, labels):
    return objective(outputs, Batch(torch.arange(len(labels["y"])), {}, labels))


def losses_of(capabilities, options, outputs, labels):
    losses = call(Dmmsa(capabilities, options), outputs, labels)
    assert all(loss.shape == () and loss.dtype == torch.float32 for loss in losses.values())
    return {task: loss.item() for task, loss in losses.items()}


# --- slow definitions ------------------------------------------------------------------------------------------------


def smooth_l1(prediction, target, beta):
    difference = abs(float(prediction) - float(target))
    return 0.5 * difference**2 / beta if difference < beta else difference - 0.5 * beta


def slow_class(y, classes, metrics):
    y = float(y)
    if metrics == "sims":
        edges = {2: (0.0,), 3: (-0.1, 0.1), 5: (-0.7, -0.1, 0.1, 0.7)}[classes]
        return sum(y > float(np.float32(edge)) for edge in edges)
    limit = classes // 2
    return int(y >= 0) if classes == 2 else round(min(max(y, -limit), limit)) + limit


def slow_cross_entropy(logits, target):
    logits = [float(value) for value in logits]
    return math.log(sum(math.exp(value) for value in logits)) - logits[target]


def slow_msc(outputs, labels, counts, metrics):
    means = []
    for classes in counts:
        rows = zip(outputs.heads[f"msc_{classes}"], labels["y"], strict=True)
        means.append(np.mean([slow_cross_entropy(logits, slow_class(y, classes, metrics)) for logits, y in rows]))
    return float(np.mean(means))


def slow_uni(outputs, labels, beta):
    """Equation 10: similarity features predict y, dissimilarity features their modality's own label."""
    per_feature = []
    for place, name in enumerate(outputs.features):
        own = labels.get({"T": "t", "V": "v", "A": "a"}[name[0]], labels["y"])
        target = labels["y"] if name[2] == "s" else own
        predicted = outputs.heads["unimodal"][:, place, 0]
        per_feature.append(np.mean([smooth_l1(p, t, beta) for p, t in zip(predicted, target, strict=True)]))
    return float(np.mean(per_feature))


def slow_cl(outputs, temperature):
    def pull(row, other):
        a, b = (outputs.features[name][row].double().numpy() for name in ("T_s", other))
        return math.exp(a @ b / np.linalg.norm(a) / np.linalg.norm(b) / temperature)

    def sample(row):
        positives = sum(pull(row, name) for name in ("V_s", "A_s") if name in outputs.features)
        negatives = sum(pull(row, name) for name in ("T_d", "V_d", "A_d") if name in outputs.features)
        return -math.log(positives / (positives + negatives))

    return float(np.mean([sample(row) for row in range(len(outputs.prediction))]))


# --- each task -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subset", SUBSETS, ids="".join)
@pytest.mark.parametrize("unimodal_labels", [True, False])
def test_every_task_for_every_subset_of_the_modalities(subset, unimodal_labels):
    capabilities = capable(subset)
    outputs, labels = make(capabilities, unimodal_labels=unimodal_labels)
    losses = losses_of(capabilities, DmmsaOptions(), outputs, labels)
    expected = {
        "msr": np.mean([smooth_l1(p, y, 1.0) for p, y in zip(outputs.prediction, labels["y"], strict=True)]),
        "msc": slow_msc(outputs, labels, (3,), "mosi"),
        "uni": slow_uni(outputs, labels, 1.0),
    }
    if "t" in subset and len(subset) > 1:
        expected["cl"] = slow_cl(outputs, 0.5)
    assert losses == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("beta", [0.25, 1.0, 2.0])
@pytest.mark.parametrize("unimodal_labels", [True, False])
def test_beta_is_that_of_both_regressions(beta, unimodal_labels):
    capabilities = capable()
    outputs, labels = make(capabilities, batch=9, unimodal_labels=unimodal_labels)
    losses = losses_of(capabilities, DmmsaOptions(beta=beta), outputs, labels)
    slow_msr = np.mean([smooth_l1(p, y, beta) for p, y in zip(outputs.prediction, labels["y"], strict=True)])
    assert losses["msr"] == pytest.approx(slow_msr, rel=1e-5)
    assert losses["uni"] == pytest.approx(slow_uni(outputs, labels, beta), rel=1e-5)


COUNTS = [(metrics, (c,)) for metrics, known in CLASS_COUNTS.items() for c in known]


@pytest.mark.parametrize(("metrics", "counts"), [*COUNTS, ("mosi", (2, 3, 7)), ("sims", (5, 2))])
def test_classification_is_the_mean_over_the_counts(metrics, counts):
    capabilities = capable(metrics=metrics)
    outputs, labels = make(capabilities, batch=12, counts=counts)
    classes = counts[0] if len(counts) == 1 else counts
    options = DmmsaOptions(msc=ClassificationOptions(classes=classes))
    losses = losses_of(capabilities, options, outputs, labels)
    assert losses["msc"] == pytest.approx(slow_msc(outputs, labels, counts, metrics), rel=1e-5)


@pytest.mark.parametrize("temperature", [0.2, 0.5, 1.5])
def test_the_contrast_has_the_temperature_asked_for(temperature):
    outputs, labels = make(capable())
    losses = losses_of(capable(), DmmsaOptions(cl=ContrastOptions(temperature=temperature)), outputs, labels)
    assert losses["cl"] == pytest.approx(slow_cl(outputs, temperature), rel=1e-5)


# --- which tasks, which heads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("subset", SUBSETS, ids="".join)
def test_contrast_needs_text_and_another_modality_and_says_so(subset):
    objective = Dmmsa(capable(subset), DmmsaOptions())
    active = "t" in subset and len(subset) > 1
    assert ("cl" in call(objective, *make(capable(subset)))) == active
    assert objective.weights() == ({"uni": 0.5, "cl": 0.5} if active else {"uni": 1.0})
    assert bool(objective.remarks()) != active
    assert all("Contrastive" in remark for remark in objective.remarks())


@pytest.mark.parametrize("subset", SUBSETS, ids="".join)
def test_a_contrast_that_nobody_asked_for_is_not_missed(subset):
    assert Dmmsa(capable(subset), DmmsaOptions(cl=OFF["cl"])).remarks() == []


@pytest.mark.parametrize("dropped", [(), ("msc",), ("uni",), ("cl",), ("uni", "cl"), ("msc", "uni", "cl")])
def test_a_dropped_task_leaves_losses_heads_and_weights(dropped):
    objective = Dmmsa(capable(), DmmsaOptions(**{task: OFF[task] for task in dropped}))
    kept = [task for task in ("msr", "msc", "uni", "cl") if task not in dropped]
    assert list(call(objective, *make(capable()))) == kept
    wanted = {"msc": "msc_3", "uni": "unimodal"}
    assert list(objective.heads) == [head for task, head in wanted.items() if task in kept]
    weighted = [task for task in ("uni", "cl") if task in kept]
    assert objective.weights() == {task: 1 / len(weighted) for task in weighted}


def test_it_asks_for_one_head_for_each_number_of_classes():
    objective = Dmmsa(capable(), DmmsaOptions(msc=ClassificationOptions(classes=(2, 5))))
    assert {name: (head.outputs, head.over) for name, head in objective.heads.items()} == {
        "msc_2": (2, "fusion"),
        "msc_5": (5, "fusion"),
        "unimodal": (1, "feature"),
    }


@pytest.mark.parametrize("classes", [7, (3, 7)])
def test_seven_classes_are_none_of_ch_sims(classes):
    with pytest.raises(InvalidRecipe, match="sims has no 7 classes"):
        Dmmsa(capable(metrics="sims"), DmmsaOptions(msc=ClassificationOptions(classes=classes)))


@pytest.mark.parametrize("classes", [1, 4, (), (3, 3), (2, 6)])
def test_impossible_numbers_of_classes_are_refused(classes):
    with pytest.raises(ValueError, match="classes"):
        ClassificationOptions(classes=classes)


# --- the sum ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subset", SUBSETS, ids="".join)
@pytest.mark.parametrize("dropped", [(), ("msc",), ("uni",), ("cl",), ("msc", "uni", "cl")])
def test_the_total_is_equation_5_in_every_epoch(subset, dropped):
    capabilities = capable(subset)
    objective = Dmmsa(capabilities, DmmsaOptions(**{task: OFF[task] for task in dropped}))
    for epoch in range(4):
        losses = call(objective, *make(capabilities, seed=epoch))
        plain = {task: loss.item() for task, loss in losses.items()}
        weights = objective.weights()
        weighted = sum(weights[task] * plain[task] for task in weights)
        total = plain["msr"] + plain.get("msc", 0.0) + weighted
        assert objective.total(losses).item() == pytest.approx(total, rel=1e-6)
        assert sum(weights.values()) == pytest.approx(1.0 if weights else 0.0)
        objective.epoch_end(plain)


def test_gdwg_follows_the_epochs_and_no_gdwg_does_not():
    history = [{"msr": 1.0, "msc": 1.0, "uni": u, "cl": c} for u, c in [(1.0, 2.0), (0.5, 1.8), (0.2, 1.9)]]
    dynamic = Dmmsa(capable(), DmmsaOptions())
    fixed = Dmmsa(capable(), DmmsaOptions(weighting=Choice("equal", EqualOptions())))
    for losses in history:
        dynamic.epoch_end(losses)
        fixed.epoch_end(losses)
    raised = [math.exp(0.2), math.exp(0.95)]
    assert dynamic.weights() == pytest.approx({"uni": raised[0] / sum(raised), "cl": raised[1] / sum(raised)}, abs=1e-6)
    assert fixed.weights() == {"uni": 0.5, "cl": 0.5}


def test_its_memory_goes_through_a_checkpoint():
    first, second = (Dmmsa(capable(), DmmsaOptions()) for _ in range(2))
    for uni, cl in [(1.0, 2.0), (0.5, 1.8)]:
        first.epoch_end({"uni": uni, "cl": cl})
    second.load_state_dict(first.state_dict())
    for objective in (first, second):
        objective.epoch_end({"uni": 0.1, "cl": 1.0})
    assert first.weights() == second.weights()
    assert first.weights()["uni"] != first.weights()["cl"]


# --- properties ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subset", SUBSETS, ids="".join)
@given(data=st.data())
def test_the_order_of_the_batch_does_not_matter(subset, data):
    capabilities = capable(subset)
    order = data.draw(st.permutations(range(5)))
    outputs, labels = make(capabilities, batch=5, seed=data.draw(st.integers(0, 9)))
    shuffled = Outputs(
        outputs.prediction[order],
        {name: feature[order] for name, feature in outputs.features.items()},
        {name: head[order] for name, head in outputs.heads.items()},
    )
    turned = {name: label[order] for name, label in labels.items()}
    straight = losses_of(capabilities, DmmsaOptions(), outputs, labels)
    assert losses_of(capabilities, DmmsaOptions(), shuffled, turned) == pytest.approx(straight, rel=1e-5)


@pytest.mark.parametrize("subset", SUBSETS, ids="".join)
def test_a_batch_of_one_has_losses(subset):
    capabilities = capable(subset)
    losses = losses_of(capabilities, DmmsaOptions(), *make(capabilities, batch=1))
    assert set(losses) == {"msr", "msc", "uni"} | ({"cl"} if "t" in subset and len(subset) > 1 else set())
    assert all(math.isfinite(value) for value in losses.values())


def test_outputs_in_bfloat16_give_float32_losses():
    outputs, labels = make(capable())
    half = Outputs(
        outputs.prediction.bfloat16(),
        {name: feature.bfloat16() for name, feature in outputs.features.items()},
        {name: head.bfloat16() for name, head in outputs.heads.items()},
    )
    losses = losses_of(capable(), DmmsaOptions(), half, labels)
    assert losses == pytest.approx(losses_of(capable(), DmmsaOptions(), outputs, labels), rel=0.05)
