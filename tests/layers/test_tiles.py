"""Attention in tiles is attention, whatever is filled up, and its gradient is that of the written-out one."""

import random

import pytest
import torch

from dmmsa_cli.data.ragged import Padded, Ragged
from dmmsa_cli.layers.attention import Block, TransformerLayer
from dmmsa_cli.layers.sequence import SequenceEncoder
from dmmsa_cli.layers.tiles import POSITIONS, attention_in_tiles, products, tiling
from dmmsa_cli.runtime import autocast
from tests.shapes import Shapes

CPU = torch.device("cpu")
LENGTHS = [5, 5, 30, 30, 30, 70, 300]
VALID = [5, 5, 30, 7, 1, 70, 300]
TOTAL = sum(LENGTHS)


def _blocks():
    mask = torch.arange(30)[None] < torch.tensor(VALID[2:5])[:, None]
    return [Block(2, 5), Block(3, 30, mask), Block(1, 70), Block(1, 300)]


def _layer(dropout=0.0):
    torch.manual_seed(0)
    layer = TransformerLayer(width=48, heads=4, feedforward=48, dropout=dropout).double()
    torch.nn.init.normal_(layer.qkv.bias)  # so that a position of no sequence has queries, keys and values too
    return layer


def test_outputs_and_gradients_are_those_of_attention_block_by_block():
    layer = _layer()
    x = torch.randn(TOTAL, 48, dtype=torch.float64, requires_grad=True)
    valid = torch.cat([torch.arange(n) < v for n, v in zip(LENGTHS, VALID, strict=True)])
    gradient = torch.randn(TOTAL, 48, dtype=torch.float64) * valid.unsqueeze(1)
    expected = layer(x, _blocks())
    wanted = torch.autograd.grad(expected, [x, *layer.parameters()], gradient)
    filled = torch.cat([x, torch.randn(9, 48, dtype=torch.float64)])
    found = layer(filled, tiling(LENGTHS, VALID, 4))[:TOTAL]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    given = torch.autograd.grad(found, [x, *layer.parameters()], gradient)
    for one, other in zip(given, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


def test_nothing_comes_of_positions_of_no_sequence_and_nothing_goes_back_to_them():
    qkv = torch.randn(TOTAL + 4, 3 * 48, dtype=torch.float64, requires_grad=True)
    out = attention_in_tiles(qkv, tiling(LENGTHS, LENGTHS, 4), 0.0)
    assert not out[TOTAL:].any()
    out.backward(torch.randn_like(out))
    assert qkv.grad[:TOTAL].abs().sum(1).all() and not qkv.grad[TOTAL:].any()


@pytest.mark.parametrize("drop", [0.25, 0.3])
def test_the_gradient_under_dropout_is_that_of_the_weights_that_were_kept(drop):
    qkv = torch.randn(40, 3 * 8, dtype=torch.float64, requires_grad=True)

    def attend(qkv):
        torch.manual_seed(3)
        return attention_in_tiles(qkv, tiling([17, 23], [17, 20], 2), drop)

    assert torch.autograd.gradcheck(attend, qkv)
    assert not torch.equal(attend(qkv), attention_in_tiles(qkv, tiling([17, 23], [17, 20], 2), 0.0))


def test_dropout_leaves_the_mean_as_it_is():
    torch.manual_seed(1)
    qkv = torch.randn(20, 3 * 8, dtype=torch.float64)
    layout = tiling([20], [20], 2)
    mean = torch.stack([attention_in_tiles(qkv, layout, 0.5) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(mean, attention_in_tiles(qkv, layout, 0.0), rtol=0, atol=0.06)


def test_a_length_is_filled_up_to_the_next_of_a_few():
    filled = {n: tiling([n], [n], 1).tiles[0].length for n in (1, 16, 17, 24, 25, 32, 33, 48, 49, 64, 128, 129, 501)}
    assert list(filled.values()) == [16, 16, 24, 24, 32, 32, 48, 48, 64, 64, 128, 192, 512]


def test_many_lengths_make_few_sizes():
    tiles = [tile for n in range(1, 501) for tile in tiling([n, n + 1], [n, 1], 1).tiles]
    shapes = {(tile.count, tile.length) for tile in tiles}
    assert len(shapes) == 11
    assert all(count * t <= POSITIONS or count == 1 for count, t in shapes)
    assert all(len(tile.bias) % tile.count == 0 for tile in tiles)


def test_places_that_are_left_over_are_fewer_than_a_product_takes():
    layout = tiling([30] * 9, [30] * 9, 2)
    (tile,) = layout.tiles
    assert tile.bias.shape == (12, 32) and tile.count == 4
    assert int(layout.real.sum()) == 2 * 9 * 30


@pytest.mark.parametrize(("parts", "sizes"), [(1, [1]), (3, [1] * 3), (4, [4]), (9, [4, 4, 1]), (11, [4, 4, 1, 1, 1])])
def test_a_product_is_in_parts_of_two_sizes(parts, sizes, monkeypatch):
    a, b, taken = torch.randn(2 * parts, 5, 3), torch.randn(2 * parts, 3, 4), []
    multiply = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda a, b, out: taken.append(len(a) // 2) or multiply(a, b, out=out))
    out = torch.empty(2 * parts, 5, 4)
    products(a, b, out, 2)
    torch.testing.assert_close(out, a @ b)
    assert taken == sizes


def test_every_piece_has_one_place_of_its_own():
    layout = tiling(LENGTHS, VALID, 3)
    row = torch.arange(TOTAL * 2 * 3 * 5).view(TOTAL, -1)
    tiled = layout.take(row, 2)
    assert torch.equal(layout.in_a_row(tiled, TOTAL), row)
    assert int(layout.real.sum()) == TOTAL * 3 == len(layout.places.unique())
    assert torch.equal(layout.real.nonzero().squeeze(1), layout.places.flatten().sort().values)
    assert all((tile.bias == 0).any(1).all() for tile in layout.tiles)  # no softmax over nothing, without a sequence


def test_a_tile_holds_its_sequences_head_by_head():
    """Sequences of 30, 5, 30 positions, two heads: that of 5 has a tile, those of 30 the next."""
    layout = tiling([30, 5, 30], [30, 5, 30], 2)
    row = torch.arange(65 * 2).view(65, 2)  # a piece is one number, 2 position + head
    short, long = layout.split(layout.take(row, 1)[0])
    assert short.shape == (16, 16, 1) and long.shape == (8, 32, 1)
    assert short[:2, :5, 0].tolist() == [[2 * t + h for t in range(30, 35)] for h in range(2)]
    begins = [0, 0, 35, 35]
    assert long[:4, :30, 0].tolist() == [[2 * (b + t) + n % 2 for t in range(30)] for n, b in enumerate(begins)]


def _encoder():
    torch.manual_seed(0)
    return SequenceEncoder(
        features=5, longest=400, width=64, layers=2, heads=4, position_dropout=0.0, layer_dropout=0.0
    )


def _frames(lengths):
    groups = tuple(Padded(torch.randn(1, n, 5), torch.tensor([n])) for n in lengths)
    return Ragged(groups, torch.arange(len(lengths)))


def test_an_encoder_in_bfloat16_gives_what_it_gives_in_float32_but_for_rounding():
    encoder, frames = _encoder(), _frames([3, 40, 41, 399, 120, 1, 350, 380, 390, 300])
    expected = encoder(frames)
    with autocast(CPU, "bf16"):
        found = encoder(frames)
    assert found.shape == expected.shape
    assert (found.float() - expected).norm() / expected.norm() < 0.01


def test_batches_of_ever_other_lengths_have_few_shapes_of_products_in_bfloat16():
    encoder, generator = _encoder(), random.Random(1)
    with Shapes() as shapes, autocast(CPU, "bf16"):
        for _ in range(30):
            encoder(_frames([generator.randint(1, 400) for _ in range(12)])).sum().backward()
    # Multiples of 128 up to 2,048, and the last part's; 10 sizes of tiles, two products ahead and four back, one at a
    # time or four, which never come at once for every size.
    assert len(shapes.found) < 16 * 10 + 10 * 6


def test_gradients_summed_over_the_parts_of_a_batch_in_bfloat16_are_as_good_as_those_of_one_part():
    """Parts of 2,048 positions are encoded one by one; what each gives a weight is added up in bfloat16."""
    encoder = _encoder()
    many = _frames([400 - n for n in range(40)])  # seven parts
    exact = _gradient(encoder, many, "float32")
    summed = _gradient(encoder, many, "bf16")
    alone = [(_gradient(encoder, part, "float32"), _gradient(encoder, part, "bf16")) for part in _parts(many)]
    of_one = max((found - wanted).norm() / wanted.norm() for wanted, found in alone)
    assert (summed - exact).norm() / exact.norm() < 1.5 * of_one < 0.05


def _parts(frames, clips=5):
    for first in range(0, len(frames.groups), clips):
        part = frames.groups[first : first + clips]
        yield Ragged(part, torch.arange(len(part)))


def _gradient(encoder, frames, precision):
    weights = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    with autocast(CPU, precision):
        embedded = encoder(frames)
    torch.manual_seed(2)
    aim = torch.randn(embedded.shape)
    found = torch.autograd.grad((embedded.float() - aim).square().sum(), weights)
    return torch.cat([gradient.flatten().double() for gradient in found])
