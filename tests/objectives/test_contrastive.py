"""Multi NT-Xent against equation (3), and ConFEDE's NT-Xent against equation (1), each written out pair by pair."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.objectives.contrastive import multi_nt_xent, nt_xent

POSITIVES = [("T_s", "V_s"), ("T_s", "A_s")]
NEGATIVES = [("T_s", "T_d"), ("T_s", "V_d"), ("T_s", "A_d")]
NAMES = ("T_s", "V_s", "A_s", "T_d", "V_d", "A_d")


def features(batch, width=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(batch, width, generator=generator) for name in NAMES}


def similarity(a, b):
    a, b = [float(v) for v in a], [float(v) for v in b]
    length = math.sqrt(sum(v * v for v in a)) * math.sqrt(sum(v * v for v in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / length


def slow_sample(features, row, positives, negatives, temperature):
    def over(pairs):
        return sum(math.exp(similarity(features[a][row], features[b][row]) / temperature) for a, b in pairs)

    return -math.log(over(positives) / (over(positives) + over(negatives)))


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@given(batch=st.integers(1, 5), seed=st.integers(0, 99))
def test_equal_to_the_equation_pair_by_pair(temperature, batch, seed):
    made = features(batch, seed=seed)
    losses = multi_nt_xent(made, POSITIVES, NEGATIVES, temperature=temperature)
    assert losses.shape == (batch,)
    slow = [slow_sample(made, row, POSITIVES, NEGATIVES, temperature) for row in range(batch)]
    assert losses.tolist() == pytest.approx(slow, abs=1e-5)


@pytest.mark.parametrize(
    "pairs", [(POSITIVES[:1], NEGATIVES[:2]), (POSITIVES, NEGATIVES[1:]), (POSITIVES[1:], NEGATIVES)]
)
def test_any_choice_of_pairs(pairs):
    made = features(3)
    slow = [slow_sample(made, row, *pairs, 0.5) for row in range(3)]
    assert multi_nt_xent(made, *pairs, temperature=0.5).tolist() == pytest.approx(slow, abs=1e-5)


def ideal(batch=2):
    """Similarity features that point one way, dissimilarity features that point the other."""
    one_way = torch.tensor([1.0, 2.0, -0.5]).expand(batch, 3)
    return {name: one_way if name.endswith("_s") else -3 * one_way for name in NAMES}


def test_its_infimum_is_reached_by_opposite_features():
    infimum = math.log(1 + 1.5 * math.exp(-4))
    losses = multi_nt_xent(ideal(), POSITIVES, NEGATIVES, temperature=0.5)
    assert losses.tolist() == pytest.approx([infimum, infimum], abs=1e-6)
    assert infimum == pytest.approx(0.0271, abs=5e-5)


@given(seed=st.integers(0, 999))
def test_nothing_lies_below_the_infimum(seed):
    losses = multi_nt_xent(features(4, width=2, seed=seed), POSITIVES, NEGATIVES, temperature=0.5)
    assert losses.min() >= math.log(1 + 1.5 * math.exp(-4)) - 1e-6


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_only_directions_count(scale, seed):
    made = features(3, seed=seed)
    scaled = made | {"V_d": made["V_d"] * scale, "T_s": made["T_s"] * scale}
    torch.testing.assert_close(
        multi_nt_xent(scaled, POSITIVES, NEGATIVES, temperature=0.5),
        multi_nt_xent(made, POSITIVES, NEGATIVES, temperature=0.5),
        atol=1e-5,
        rtol=0,
    )


@given(order=st.permutations(range(5)))
def test_each_sample_stands_on_its_own(order):
    made = features(5)
    shuffled = {name: feature[order] for name, feature in made.items()}
    losses = multi_nt_xent(made, POSITIVES, NEGATIVES, temperature=0.5)
    torch.testing.assert_close(multi_nt_xent(shuffled, POSITIVES, NEGATIVES, temperature=0.5), losses[order])


def test_a_low_temperature_stays_finite():
    made = {name: feature.requires_grad_() for name, feature in features(3).items()}
    losses = multi_nt_xent(made, POSITIVES, NEGATIVES, temperature=1e-3)
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    assert all(torch.isfinite(feature.grad).all() for feature in made.values())


def test_features_of_length_zero_stay_finite():
    made = {name: torch.zeros(2, 3, requires_grad=True) for name in NAMES}
    losses = multi_nt_xent(made, POSITIVES, NEGATIVES, temperature=0.5)
    losses.sum().backward()
    assert losses.tolist() == pytest.approx([math.log(2.5)] * 2)
    assert all(torch.isfinite(feature.grad).all() for feature in made.values())


def test_bfloat16_features_give_a_float32_loss():
    made = {name: feature.bfloat16() for name, feature in features(2).items()}
    assert multi_nt_xent(made, POSITIVES, NEGATIVES, temperature=0.5).dtype == torch.float32


# --- ConFEDE's NT-Xent, and equation (1) -----------------------------------------------------------------------------


def places(pairs):
    return [(NAMES.index(a), NAMES.index(b)) for a, b in pairs]


def nt_xent_of(made, positives=POSITIVES, negatives=NEGATIVES, temperature=0.5):
    together = torch.stack([made[name] for name in NAMES], dim=1)
    return nt_xent(together, places(positives), places(negatives), temperature=temperature)


def terms(made, row, positives, negatives, temperature, *, others):
    """A logarithm for each positive pair; `others`: whether its denominator holds the anchor's other positives."""

    def pull(pair):
        return math.exp(similarity(made[pair[0]][row], made[pair[1]][row]) / temperature)

    for pair in positives:
        against = [*(positives if others else [pair]), *negatives]
        yield -math.log(pull(pair) / sum(pull(other) for other in against if other[0] == pair[0]))


def equation_1(made, row, positives=POSITIVES, negatives=NEGATIVES, temperature=0.5):
    return sum(terms(made, row, positives, negatives, temperature, others=True))


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@given(batch=st.integers(1, 4), seed=st.integers(0, 99))
def test_nt_xent_is_a_mean_of_terms_without_the_other_positives(temperature, batch, seed):
    made = features(batch, seed=seed)
    positives, negatives = [*POSITIVES, ("V_s", "A_s")], [*NEGATIVES, ("V_s", "T_d")]
    slow = [list(terms(made, row, positives, negatives, temperature, others=False)) for row in range(batch)]
    found = nt_xent_of(made, positives, negatives, temperature)
    assert found.tolist() == pytest.approx([sum(one) / len(one) for one in slow], abs=1e-5)


@given(seed=st.integers(0, 99))
def test_nt_xent_is_equation_1_for_one_positive_pair_and_less_for_two(seed):
    made = features(1, seed=seed)
    assert nt_xent_of(made, POSITIVES[:1]).item() == pytest.approx(equation_1(made, 0, POSITIVES[:1]), abs=1e-5)
    assert nt_xent_of(made).item() < equation_1(made, 0) / 2


def test_equation_1_can_not_come_near_zero_but_both_losses_here_can():
    """Equation (1) sums one logarithm for each positive pair over all of them: its terms compete."""
    smallest = 2 * math.log(2 + 3 * math.exp(-4))
    assert smallest == pytest.approx(1.4405, abs=5e-5)
    assert equation_1(ideal(1), 0) == pytest.approx(smallest, abs=1e-6)
    assert nt_xent_of(ideal(1)).item() == pytest.approx(math.log(1 + 3 * math.exp(-4)), abs=1e-6)
    assert nt_xent_of(ideal(1)).item() == pytest.approx(0.0535, abs=5e-5)
    assert multi_nt_xent(ideal(1), POSITIVES, NEGATIVES, temperature=0.5).item() < smallest / 50
