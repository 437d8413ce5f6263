"""No head has a layer without units: it would predict a constant, unsaid."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.layers.heads import NARROWEST, mlp, regression_head
from dmmsa_cli.layers.text import TinyOptions
from dmmsa_cli.models.unimodal import Unimodal


@given(width=st.integers(1, 100), outputs=st.integers(1, 7))
def test_every_layer_of_a_head_has_units_or_the_encoder_is_refused(width, outputs):
    if width < NARROWEST:
        with pytest.raises(InvalidRecipe, match=f"is {width} wide.*\\n.*at least {NARROWEST} wide"):
            regression_head(width, outputs)
        return
    head = regression_head(width, outputs)
    assert all(parameter.numel() for parameter in head.parameters())
    assert [layer.out_features for layer in head if isinstance(layer, nn.Linear)] == [
        width // 2,
        width // 4,
        width // 8,
        outputs,
    ]
    assert head(torch.randn(3, width)).shape == (3, outputs)


def test_a_modality_alone_is_refused_on_too_narrow_an_encoder():
    with pytest.raises(InvalidRecipe, match="The encoder is 4 wide"):
        Unimodal({"t": nn.Identity()}, {"t": 4})


@pytest.mark.parametrize("widths", [[8, 0, 1], [0, 1], [4, 2, 0]])
def test_a_layer_without_units_is_refused_wherever_it_is(widths):
    with pytest.raises(ValueError, match="without units"):
        mlp(widths)


@pytest.mark.parametrize("width", [1, 4, 7])
def test_a_tiny_encoder_is_wide_enough_for_its_head(width):
    with pytest.raises(ValueError, match=f"width: {width} is below 8; a head"):
        TinyOptions(width=width, heads=1)
    assert TinyOptions(width=NARROWEST).width == 8
