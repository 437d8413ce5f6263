"""Dropout and attention: what they compute does not depend on how they are made fast."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.layers.attention import Block, TransformerLayer, attention
from dmmsa_cli.layers.dropout import Dropout, dropout
from dmmsa_cli.runtime import autocast

# --- dropout ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["float32", "bf16"])
def precision(request):
    """Under autocast half of the elements are drawn by a bit each, on a way of their own."""
    with autocast(torch.device("cpu"), request.param):
        yield request.param


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9, 1 / 3])
def test_the_share_that_is_dropped_is_p_and_the_mean_stays(p):
    torch.manual_seed(0)
    x = torch.ones(1_000_001)  # no multiple of the elements that share a draw
    dropped = dropout(x, p, training=True)
    spread = math.sqrt(p * (1 - p) / len(x))
    assert abs((dropped == 0).double().mean().item() - p) < 5 * spread + 2**-16
    assert abs(dropped.double().mean().item() - 1) < 5 * math.sqrt(p / (1 - p) / len(x))
    kept = dropped[dropped != 0]
    assert kept.unique().numel() == 1
    assert kept[0].item() == pytest.approx(1 / (1 - p), abs=2**-14 / (1 - p) ** 2)


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize("p", [0.5, 0.1])
def test_elements_are_dropped_independently(p):
    """Neighbours share a draw of 64 bits, so it is they that could be correlated; and rows a draw apart."""
    torch.manual_seed(0)
    kept = (dropout(torch.ones(4_000_000), p, training=True) != 0).double()
    octets = -(-len(kept) // 7 // 8) * 8  # of seven elements each, the last of which are drawn with the first
    for apart in (1, 2, 3, 4, 7, 8, 16, 768, octets, 2 * octets, 6 * octets):
        a, b = kept[:-apart], kept[apart:]
        covariance = (a * b).mean() - a.mean() * b.mean()
        assert abs(covariance.item()) < 5 * p * (1 - p) / math.sqrt(len(a))
    for lane in range(8):
        assert abs(kept[lane::8].mean().item() - (1 - p)) < 5 * math.sqrt(p * (1 - p) / (len(kept) / 8)) + 2**-16


@pytest.mark.usefixtures("precision")
def test_the_gradient_goes_where_the_values_went():
    torch.manual_seed(0)
    x = torch.randn(50, 40, requires_grad=True)
    y = dropout(x, 0.5, training=True)
    y.backward(torch.full_like(y, 3.0))
    torch.testing.assert_close(x.grad, torch.where(y == 0, 0.0, 6.0))
    torch.testing.assert_close(y, torch.where(y == 0, 0.0, 2 * x))


@pytest.mark.usefixtures("precision")
def test_the_seed_decides_and_every_call_draws_anew():
    x = torch.ones(3, 1000)
    torch.manual_seed(5)
    first, second = dropout(x, 0.5, training=True), dropout(x, 0.5, training=True)
    torch.manual_seed(5)
    assert torch.equal(dropout(x, 0.5, training=True), first)
    assert not torch.equal(first, second)


@given(
    shape=st.lists(st.integers(0, 5), max_size=3),
    p=st.sampled_from([0.5, 0.2, 0.999999]),
    precision=st.sampled_from(["float32", "bf16"]),
)
def test_any_shape_and_type_keeps_itself(shape, p, precision):
    for kind in (torch.float32, torch.bfloat16, torch.float64):
        x = torch.randn(shape, dtype=kind)
        with autocast(torch.device("cpu"), precision):
            dropped = dropout(x, p, training=True)
        assert (dropped.shape, dropped.dtype) == (x.shape, kind)
        assert dropped.isfinite().all()


def test_nothing_is_dropped_outside_training_or_with_a_share_of_zero():
    x = torch.randn(10)
    before = torch.get_rng_state()
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0, training=True) is x
    assert Dropout(0.5).eval()(x) is x
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(Dropout(0.5).train()(x), x)


# --- attention -------------------------------------------------------------------------------------------------------


def inputs(n=3, heads=2, t=5, width=4):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, n, heads, t, width, generator=generator)


MASK = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [True] + [False] * 4])


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "some"])
def test_attention_with_dropout_is_attention_on_average(mask):
    """The weights that are dropped are scaled, so the mean over many draws is what there is without dropout."""
    qkv = inputs()
    expected = F.scaled_dot_product_attention(*qkv, None if mask is None else mask[:, None, None, :])
    torch.testing.assert_close(attention(qkv, mask, 0.0), expected)
    torch.manual_seed(0)
    draws = torch.stack([attention(qkv, mask, 0.5) for _ in range(4000)])
    noise = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - expected).abs() <= 5 * noise + 1e-6).all()
    assert (draws.std(0)[0] > 0).all()


def test_attention_weights_are_dropped_one_by_one():
    """With the unit vectors for values, the output is the weights themselves: zero, or twice what they were."""
    qkv = inputs(t=4)
    qkv[2] = torch.eye(4)
    whole = attention(qkv, None, 0.0)
    torch.manual_seed(0)
    dropped = attention(qkv, None, 0.5)
    torch.testing.assert_close(dropped, torch.where(dropped == 0, 0.0, 2 * whole))
    assert 0 < (dropped == 0).sum() < dropped.numel()


def test_no_position_sees_another_sequence():
    torch.manual_seed(0)
    layer = TransformerLayer(width=8, heads=2, feedforward=8, dropout=0.5).eval()
    blocks = [Block(2, 3), Block(1, 4, torch.tensor([[True, True, False, False]]))]
    x = torch.randn(10, 8)
    before = layer(x, blocks)
    for start, end in ((0, 3), (3, 6), (6, 10)):
        changed = x.clone()
        changed[start:end] += 1
        after = layer(changed, blocks)
        moved = ~torch.isclose(after, before).all(1)
        assert moved[start:end].all()
        assert moved.sum() == end - start
    behind = x.clone()
    behind[8:] += 1  # what lies behind a sequence's end is attended by none
    torch.testing.assert_close(layer(behind, blocks)[:8], before[:8])


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="3 attention heads do not divide a width of 8"):
        TransformerLayer(width=8, heads=3, feedforward=8, dropout=0.0)
