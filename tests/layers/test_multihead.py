"""Attention between padded blocks: torch's own, whatever parts a batch is cut into."""

import pytest
import torch
from torch import nn

from dmmsa_cli.data.ragged import Padded
from dmmsa_cli.layers import multihead
from dmmsa_cli.layers.multihead import MultiheadAttention

LENGTHS, OTHER = [5, 1, 30, 3, 0, 2], [2, 40, 1, 6, 3, 0]


def block(lengths, seed):
    lengths = torch.as_tensor(lengths)
    values = torch.randn(len(lengths), int(lengths.max()) + 2, 8, generator=torch.Generator().manual_seed(seed))
    return Padded(values, lengths)


@pytest.mark.parametrize("crossed", [False, True])
@pytest.mark.parametrize("waste", [0.0, 0.3, float("inf")])
def test_it_is_torchs_own_in_any_parts(monkeypatch, waste, crossed):
    monkeypatch.setattr(multihead, "WASTE", waste)
    torch.manual_seed(0)
    ours, theirs = MultiheadAttention(8, 2, 0.5).eval(), nn.MultiheadAttention(8, 2, batch_first=True).eval()
    with torch.no_grad():
        for own, other in ((theirs.in_proj_weight, ours.qkv.weight), (theirs.in_proj_bias, ours.qkv.bias.normal_())):
            own.copy_(other)
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    x = block(LENGTHS, 0)
    source = block(OTHER, 1) if crossed else x
    found = ours(x, source) if crossed else ours(x)
    assert found.shape == x.values.shape
    hidden = ~Padded(source.values, source.lengths.clamp_min(1)).mask()
    expected = theirs(x.values, source.values, source.values, key_padding_mask=hidden)[0]
    valid = x.mask()
    torch.testing.assert_close(found[valid], expected[valid], atol=1e-6, rtol=1e-5)
    assert torch.isfinite(found).all()


def test_weights_are_dropped_in_training_alone():
    torch.manual_seed(0)
    attention, x = MultiheadAttention(8, 2, 0.5), block(LENGTHS, 0)
    assert not torch.equal(attention(x), attention(x))
    attention.eval()
    assert torch.equal(attention(x), attention(x))
