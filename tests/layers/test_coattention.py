"""A fusion against the same written clip by clip, without padding, head by head."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dmmsa_cli.data.ragged import Padded
from dmmsa_cli.layers.coattention import Coattention

WIDTH, HEADS = 8, 2


def fusion(modalities="ta", layers=2):
    torch.manual_seed(0)
    made = Coattention(modalities, width=WIDTH, heads=HEADS, layers=layers, feedforward=12, dropout=0.4)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made.double().eval()


def blocks(modalities="ta", extra=0):
    generator = torch.Generator().manual_seed(1)
    lengths = {"t": (4, 1, 3), "a": (2, 5, 0)}
    made = {}
    for m in modalities:
        values = torch.randn(3, max(lengths[m]), WIDTH, generator=generator, dtype=torch.float64)
        made[m] = Padded(F.pad(values, (0, 0, 0, extra), value=9.0), torch.tensor(lengths[m]))
    return made


def slow_attention(part, x, source):
    """Of one clip: (T, d) looks at (T', d)."""
    q, k, v = (
        F.linear(values, weight, bias)
        for values, weight, bias in zip(
            (x, source, source), part.qkv.weight.chunk(3), part.qkv.bias.chunk(3), strict=True
        )
    )
    each = WIDTH // HEADS
    mixed = []
    for head in range(HEADS):
        its = slice(head * each, (head + 1) * each)
        weights = (q[:, its] @ k[:, its].T / math.sqrt(each)).softmax(-1)
        mixed.append(weights @ v[:, its])
    return norm(part.norm, x + part.out(torch.cat(mixed, dim=1)))


def norm(layer, x):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-12).sqrt() * layer.weight + layer.bias


def slow(made, rows):
    """Equations 2 to 4 for one clip, (T, d) by modality -> (d modalities,)."""
    x = {m: torch.cat([made.cls[m].unsqueeze(0), row]) for m, row in rows.items()}
    other = {"t": "a", "a": "t"}
    for layer in made.layers:
        came = x
        x = {m: slow_attention(layer[m].cross, came[m], came[other[m]]) for m in x} if len(x) > 1 else x
        x = {m: slow_attention(layer[m].within, x[m], x[m]) for m in x}
        x = {m: norm(layer[m].norm, x[m] + layer[m].down(layer[m].up(x[m]).clamp_min(0))) for m in x}
    return torch.cat([states[0] for states in x.values()])


@pytest.mark.parametrize("modalities", ["ta", "t", "a"])
@pytest.mark.parametrize("extra", [0, 2])
def test_equations_2_to_4(modalities, extra):
    made, given = fusion(modalities), blocks(modalities, extra)
    found = made(given)
    for row in range(3):
        rows = {m: block.values[row, : block.lengths[row]] for m, block in given.items()}
        torch.testing.assert_close(found[row], slow(made, rows))


def test_two_modalities_share_nothing_and_one_alone_has_no_cross_attention():
    made = fusion()
    made(blocks()).sum().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())
    alone, both = ({name for name, _ in one.named_parameters()} for one in (fusion("t"), made))
    assert alone == {name for name in both if not any(part in f".{name}." for part in (".a.", ".cross."))}


def test_dropout_acts_in_training():
    made, given = fusion(), blocks()
    assert torch.equal(made(given), made(given))
    made.train()
    assert not torch.equal(made(given), made(given))
