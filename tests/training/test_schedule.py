"""Rates, groups, accumulation and clipping, each against torch's own or against arithmetic."""

import numpy as np
import pytest
import torch

from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.views import View
from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.layers.sequence import SequenceEncoder
from dmmsa_cli.models.base import Outputs
from dmmsa_cli.models.feature_decomposition import FeatureDecomposition
from dmmsa_cli.objectives.regression import Regression, RegressionOptions
from dmmsa_cli.training.loop import EpochEnd, Training, train
from dmmsa_cli.training.schedule import Group, Plateau, Schedule, make_optimiser

CPU = torch.device("cpu")


def schedule(**more):
    return Schedule(**{"learning_rate": 3e-3, "batch_size": 8, "epochs": 4} | more)


# --- the course of the rate ------------------------------------------------------------------------------------------


def test_the_rate_warms_up_and_decays_linearly():
    plan = schedule(epochs=4, warmup_epochs=1)
    said = [plan.factor(step, 5) for step in range(20)]
    assert said[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert said[5:] == pytest.approx([(20 - step) / 15 for step in range(5, 20)])
    assert said[-1] == pytest.approx(1 / 15)
    assert plan.factor(20, 5) == 0.0


@pytest.mark.parametrize(("warmup", "epochs"), [(0, 3), (1, 1), (3, 3), (5, 3)])
def test_schedules_at_their_limits(warmup, epochs):
    said = [schedule(epochs=epochs, warmup_epochs=warmup).factor(step, 4) for step in range(epochs * 4)]
    assert all(0 < value <= 1 for value in said)
    if warmup == 0:
        assert said[0] == 1.0
    if warmup >= epochs:
        assert said == pytest.approx([(step + 1) / (warmup * 4) for step in range(epochs * 4)])


@pytest.mark.parametrize("warmup", [0.1, 0.3, 0.5, 1.1, 1.5])
def test_the_rate_never_passes_its_peak(warmup):
    for steps in (1, 3, 7):
        said = [schedule(epochs=4, warmup_epochs=warmup).factor(step, steps) for step in range(4 * steps)]
        assert max(said) <= 1.0
        assert min(said) > 0.0


@pytest.mark.parametrize("decay", ["none", "plateau"])
def test_without_a_decay_the_rate_stays_where_the_warm_up_leads(decay):
    plan = schedule(epochs=4, warmup_epochs=1, decay=decay)
    assert [plan.factor(step, 5) for step in range(20)] == pytest.approx([0.2, 0.4, 0.6, 0.8, *[1.0] * 16])


@pytest.mark.parametrize("patience", [1, 2, 5])
@pytest.mark.parametrize("seed", range(5))
def test_a_plateau_is_torchs(patience, seed):
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.1, patience=patience)
    ours = Plateau()
    rng = np.random.default_rng(seed)
    for value in np.minimum.accumulate(rng.random(40)) * (1 + 2e-4 * rng.integers(-1, 2, 40)):
        theirs.step(float(value))
        ours.note(float(value), patience)
        assert ours.scale == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-7)  # torch leaves tinier changes out
    assert ours.scale < 1


class Words(torch.nn.Module):
    """Stands for a text encoder."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(12, 16)
        self.norm = torch.nn.LayerNorm(16)


def sequence_model():
    encoder = SequenceEncoder(
        features=3, longest=5, width=16, layers=1, heads=2, position_dropout=0.1, layer_dropout=0.1
    )
    return FeatureDecomposition({"t": Words(), "a": encoder}, {"t": 16, "a": 16}, {}, width=16, projector_dropout=0.1)


def test_weight_decay_leaves_biases_and_norms_alone():
    model = sequence_model()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decays = {
        names[id(parameter)]: group["weight_decay"]
        for group in make_optimiser(model, schedule(weight_decay=0.01)).param_groups
        for parameter in group["params"]
    }
    assert decays.keys() == dict(model.named_parameters()).keys()
    norms = {
        f"{path}.{part}"
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.LayerNorm)
        for part in ("weight", "bias")
    }
    spared = {name for name, decay in decays.items() if decay == 0.0}
    assert spared == norms | {name for name in decays if name.endswith(".bias")}
    assert {decay for name, decay in decays.items() if name not in spared} == {0.01}


# --- steps -----------------------------------------------------------------------------------------------------------


class Linear(torch.nn.Module):
    """y = w x + b."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)

    def forward(self, batch):
        return Outputs(self.layer(batch.inputs["t"]).squeeze(-1))


ROWS, SIZE = 26, 4  # seven batches, the last of two rows
X = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(0))
Y = 5 * X[:, 0] - 3


def batches(epoch):
    return View({"t": X}, {"y": Y}, np.arange(ROWS)).shuffled(SIZE, seed=1, epoch=epoch)


def trained(plan, *, maes=(1.0, 1.0, 1.0, 1.0)):
    """Parameters after a training, and the rates of its epochs."""
    torch.manual_seed(0)
    objective = Regression(Capabilities(("t",), 3.0, "mosi"), RegressionOptions())
    state = Training(Linear(), objective, plan, device=CPU, precision="float32")
    left = iter(maes)
    events = list(train(state, batches=batches, evaluate=lambda model: {"mae": next(left)}))
    rates = [event.learning_rate for event in events if isinstance(event, EpochEnd)]
    return [p.detach() for p in state.model.parameters()], rates


def by_hand(optimiser, *, epochs=2, accumulate=1, drop=False, clip=None):
    """The same with torch alone."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 1)
    steps = optimiser(layer.parameters())
    for epoch in range(1, epochs + 1):
        planned = batches(epoch).rows
        for first in range(0, len(planned), accumulate):
            window = planned[first : first + accumulate]
            if drop and len(window) < accumulate:
                continue
            steps.zero_grad()
            for rows in window:
                (layer(X[rows]).squeeze(-1) - Y[rows]).square().mean().backward()
                if clip:
                    clip(layer.parameters())
            steps.step()
    return [p.detach() for p in layer.parameters()]


STEADY = {"epochs": 2, "warmup_epochs": 0, "decay": "none", "learning_rate": 0.05, "decay_vectors": True}
LIKE_TORCH = {
    "adamw": ({"weight_decay": 0.3}, {}),
    "adam with L2": ({"optimiser": "adam", "weight_decay": 0.3}, {}),
    "two batches a step": ({"accumulate": 2, "weight_decay": 0.3}, {"accumulate": 2}),
    "three, a smaller step at the end": ({"accumulate": 3, "weight_decay": 0.3}, {"accumulate": 3}),
    "three, none at the end": (
        {"accumulate": 3, "leftover": "drop", "weight_decay": 0.3},
        {"accumulate": 3, "drop": True},
    ),
    "clipped by value": (
        {"accumulate": 2, "clip_value": 0.5, "weight_decay": 0.3},
        {"accumulate": 2, "clip": lambda p: torch.nn.utils.clip_grad_value_(p, 0.5)},
    ),
    "clipped by norm": (
        {"clip_norm": 0.5, "weight_decay": 0.3},
        {"clip": lambda p: torch.nn.utils.clip_grad_norm_(p, 0.5)},
    ),
}


@pytest.mark.parametrize(("keys", "torchs"), LIKE_TORCH.values(), ids=LIKE_TORCH)
def test_a_step_is_torchs(keys, torchs):
    kind = torch.optim.Adam if keys.get("optimiser") == "adam" else torch.optim.AdamW
    expected = by_hand(lambda parameters: kind(parameters, lr=0.05, weight_decay=0.3), **torchs)
    found, _ = trained(schedule(**STEADY | keys))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_each_way_of_stepping_leads_elsewhere():
    """Or the test above could compare anything with itself."""
    ends = [trained(schedule(**STEADY | keys))[0][0] for keys, _ in LIKE_TORCH.values()]
    for place, one in enumerate(ends):
        assert all((one - other).abs().max() > 1e-4 for other in ends[:place])


def test_the_rate_falls_where_validation_stays():
    plan = schedule(epochs=6, decay="plateau", plateau_patience=1, warmup_epochs=0, learning_rate=1.0)
    _, rates = trained(plan, maes=(0.9, 0.8, 0.8, 0.8, 0.8, 0.8))
    assert rates == pytest.approx([1, 1, 1, 1, 0.1, 0.1])


# --- groups ----------------------------------------------------------------------------------------------------------


def test_groups_have_rates_and_decays_of_their_own():
    model = sequence_model()
    groups = {"text": Group(learning_rate=1e-5), "audio": Group(weight_decay=0.5), "fusion": Group(1e-2, 0.0)}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        names[id(parameter)]: (group["peak"], group["weight_decay"])
        for group in make_optimiser(model, schedule(weight_decay=0.01, groups=groups)).param_groups
        for parameter in group["params"]
    }
    expected = {"encoders.t.": (1e-5, 0.01), "encoders.a.": (3e-3, 0.5), "fusion.": (1e-2, 0.0)}
    for name, parameter in model.named_parameters():
        rate, decay = next((value for start, value in expected.items() if name.startswith(start)), (3e-3, 0.01))
        assert found[name] == (rate, decay if parameter.ndim >= 2 else 0.0)


def test_vectors_are_decayed_where_that_is_asked_for():
    groups = make_optimiser(sequence_model(), schedule(weight_decay=0.01, decay_vectors=True)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.01]


def test_a_group_of_nothing_is_refused():
    with pytest.raises(InvalidRecipe, match=r"groups\.projector: there is nothing") as error:
        make_optimiser(sequence_model(), schedule(groups={"projector": Group()}))
    assert "text, audio, projectors, fusion" in error.value.remedy


def test_a_group_of_a_modality_that_is_not_there_is_none():
    """A recipe stays the same where the data, or `data.modalities`, have fewer."""
    plain, grouped = (make_optimiser(sequence_model(), schedule(groups=g)) for g in ({}, {"vision": Group(1.0)}))
    assert [group["peak"] for group in grouped.param_groups] == [group["peak"] for group in plain.param_groups]


@pytest.mark.parametrize(
    "keys",
    [
        {"accumulate": 0},
        {"clip_value": 0.0},
        {"clip_norm": -1.0},
        {"plateau_patience": 0},
    ],
    ids=str,
)
def test_values_that_mean_nothing_are_refused(keys):
    with pytest.raises(ValueError, match=next(iter(keys))):
        schedule(**keys)


@pytest.mark.parametrize("key", ["learning_rate", "weight_decay"])
def test_so_are_those_of_a_group(key):
    with pytest.raises(ValueError, match=f"{key}: -1 is below 0"):
        Group(**{key: -1})
