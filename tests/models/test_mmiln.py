"""MMILN's layers and network against the paper's equations, written out for one clip at a time."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dmmsa_cli.data.ragged import Padded
from dmmsa_cli.data.views import Batch
from dmmsa_cli.errors import Inapplicable
from dmmsa_cli.layers.gated import GatedResidual, GateTransformer, SagTransformer
from dmmsa_cli.models.mmiln import Mmiln
from dmmsa_cli.recipe import to_dict

D, HEADS = 8, 2
LENGTHS = {"t": [6, 3, 1, 4], "v": [7, 2, 40, 1], "a": [1, 30, 3, 2]}  # so unlike that attention goes in parts
WIDTHS = {"t": 10, "v": 5, "a": 3}


class Given(nn.Module):
    """Stands for an encoder: the block is what went in."""

    def forward(self, block):
        return block


def block_of(lengths, width, seed=0):
    """Sequences of some width, zeros behind the end of each."""
    lengths = torch.as_tensor(lengths)
    values = torch.randn(len(lengths), max(1, int(lengths.max())), width, generator=torch.Generator().manual_seed(seed))
    return Padded(values * Padded(values, lengths).mask().unsqueeze(-1), lengths)


def layer(kind, **more):
    torch.manual_seed(0)
    return spread(kind(width=D, heads=HEADS, dropout=0.3, **{"gates": True, **more})).eval()


def spread(module):
    """Weights, biases and norms of any value: none that is 0 or 1 hides what it does."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return module


# --- the equations, for one sequence (T, d) ---------------------------------------------------------------------------


def slow_attention(module, asks, answers):
    """MHA of (T, d) to (T', d), head by head."""
    d = asks.shape[1]
    w, b, size = module.qkv.weight, module.qkv.bias, d // module.heads
    q, k, v = asks @ w[:d].T + b[:d], answers @ w[d : 2 * d].T + b[d : 2 * d], answers @ w[2 * d :].T + b[2 * d :]
    found = []
    for h in range(module.heads):
        own = slice(h * size, (h + 1) * size)
        weights = torch.softmax(q[:, own] @ k[:, own].T / math.sqrt(size), dim=1)
        found.append(weights @ v[:, own])
    return module.out(torch.cat(found, dim=1))


def slow_summary(rnn, x):
    """Mean over time and directions of a GRU, cell by cell."""

    def one_way(steps, suffix):
        w_ih, w_hh, b_ih, b_hh = (
            getattr(rnn, f"{n}_l0{suffix}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        h, found = torch.zeros(rnn.hidden_size), []
        for step in steps:
            (r, z, n), (hr, hz, hn) = (w_ih @ step + b_ih).chunk(3), (w_hh @ h + b_hh).chunk(3)
            r, z = torch.sigmoid(r + hr), torch.sigmoid(z + hz)
            h = (1 - z) * torch.tanh(n + r * hn) + z * h
            found.append(h)
        return torch.stack(found).mean(0)

    return (one_way(x, "") + one_way(x.flip(0), "_reverse")) / 2


def slow_residual(module, x, found):
    """Equations 7 to 9, 11 and 12; 16, 19, 20, 22 and 23."""
    h = slow_summary(module.gates.rnn, x)
    g_r = torch.sigmoid(module.gates.retain.weight @ h + module.gates.retain.bias)
    g_c = torch.sigmoid(module.gates.compose.weight @ h + module.gates.compose.bias)
    inner = module.inner_norm(g_c * found + g_r * x)
    return module.outer_norm(inner + module.down(torch.relu(module.up(inner)))), h


def slow_gate_transformer(module, x):
    found = slow_attention(module.attention, x, x)
    return (*slow_residual(module.residual, x, found), found)


def slow_sag_transformer(module, x, other):
    asks = slow_attention(module.own, x, x)
    selected = torch.sigmoid(other @ module.select.weight.T + module.select.bias) * other
    return slow_residual(module.residual, x, slow_attention(module.cross, asks, selected))


def same(found, expected):
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_both_layers_are_their_equations_clip_by_clip():
    alone, fused = layer(GateTransformer), layer(SagTransformer)
    x, text = block_of(LENGTHS["a"], D), block_of(LENGTHS["t"], D, 1)
    after, attended, summary = alone(x)
    both, of_both = fused(text, attended)
    for row, (frames, words) in enumerate(zip(LENGTHS["a"], LENGTHS["t"], strict=True)):
        own, h, found = slow_gate_transformer(alone, x.values[row, :frames])
        same(after.values[row, :frames], own)
        same(attended.values[row, :frames], found)
        same(summary[row], h)
        pair, h_f = slow_sag_transformer(fused, text.values[row, :words], found)
        same(both.values[row, :words], pair)
        same(of_both[row], h_f)


# --- gates ------------------------------------------------------------------------------------------------------------


def hold(gate, value):
    """Hold a gate at 0 or 1."""
    with torch.no_grad():
        gate.weight.zero_()
        gate.bias.fill_(100.0 if value else -100.0)


def test_with_both_gates_at_one_it_is_a_plain_post_norm_layer_and_so_it_is_without_gates():
    module, bare = layer(GateTransformer), layer(GateTransformer, gates=False)
    hold(module.residual.gates.retain, 1)
    hold(module.residual.gates.compose, 1)
    plain = nn.TransformerEncoderLayer(D, HEADS, 4 * D, 0.3, batch_first=True).eval()
    names = {
        "attention.qkv.weight": "self_attn.in_proj_weight",
        "attention.qkv.bias": "self_attn.in_proj_bias",
        "attention.out": "self_attn.out_proj",
        "residual.inner_norm": "norm1",
        "residual.up": "linear1",
        "residual.down": "linear2",
        "residual.outer_norm": "norm2",
    }
    state = {k: v for k, v in module.state_dict().items() if ".gates." not in k}
    bare.load_state_dict(state)
    plain.load_state_dict(
        {
            next(new + k.removeprefix(old) for old, new in names.items() if k.startswith(old)): v
            for k, v in state.items()
        }
    )
    x = block_of(LENGTHS["a"], D)
    expected = plain(x.values, src_key_padding_mask=~x.mask())
    valid = x.mask()
    same(module(x)[0].values[valid], expected[valid])
    same(bare(x)[0].values[valid], expected[valid])
    assert bare(x)[2] is None


def test_where_the_compose_gate_is_shut_only_what_the_retain_gate_lets_pass_is_left():
    module = layer(GateTransformer)
    residual = module.residual
    hold(residual.gates.compose, 0)
    with torch.no_grad():
        for part in (residual.down.weight, residual.down.bias, residual.outer_norm.bias):
            part.zero_()
        residual.outer_norm.weight.fill_(1.0)
    x = block_of(LENGTHS["a"], D)
    g_r = residual.gates(x)[0].unsqueeze(1)
    assert ((g_r > 0.01) & (g_r < 0.99)).any()
    inner = residual.inner_norm(g_r * x.values)  # LN(g_r * x), (equation 11)
    expected = F.layer_norm(inner, (D,))
    same(module(x)[0].values[x.mask()], expected[x.mask()])


def test_the_selecting_gate_shut_lets_text_see_nothing_of_the_other():
    module = layer(SagTransformer)
    hold(module.select, 0)
    text = block_of(LENGTHS["t"], D)
    one, other = (module(text, block_of(LENGTHS["a"], D, seed))[0].values for seed in (1, 2))
    torch.testing.assert_close(one, other)
    hold(module.select, 1)
    one, other = (module(text, block_of(LENGTHS["a"], D, seed))[0].values for seed in (1, 2))
    assert not torch.allclose(one, other, atol=1e-3)


def test_gates_are_the_same_at_every_position_and_differ_by_channel():
    module = layer(GateTransformer).residual
    retain, compose, summary = module.gates(block_of(LENGTHS["a"], D))
    assert retain.shape == compose.shape == summary.shape == (4, D)
    assert retain[0].std() > 0.01


def test_dropout_acts_on_what_is_added_to_a_residual_and_not_on_the_residual():
    torch.manual_seed(0)
    module = GatedResidual(D, 0.9, gates=False).train()
    x = block_of([4], D)
    with torch.no_grad():
        module.down.weight.zero_()
        module.down.bias.zero_()
    nothing = torch.zeros_like(x.values)
    same(module(x, nothing)[0].values, module.outer_norm(module.inner_norm(x.values)))


# --- the network ------------------------------------------------------------------------------------------------------


def inputs(subset="tva", seed=0):
    return {m: block_of(LENGTHS[m], WIDTHS[m], seed) for m in subset}


def network(subset="tva", **options):
    torch.manual_seed(0)
    chosen = {"width": D, "attention_heads": HEADS, "layers": 2, "audio_hidden": 4, "vision_hidden": 6, **options}
    values = to_dict(dataclasses.replace(Mmiln.Options(), **chosen))
    return spread(Mmiln({m: Given() for m in subset}, {m: WIDTHS[m] for m in subset}, {}, **values)).eval()


def run(model, subset="tva", seed=0):
    found = inputs(subset, seed)
    return model(Batch(torch.arange(4), found, {}))


def slow_conv(conv, x):
    """A window of three around each position, nothing beyond the ends, (T, w) -> (T, d)."""
    around = F.pad(x, (0, 0, 1, 1))
    return torch.stack([torch.einsum("dwk,kw->d", conv.weight, around[i : i + 3]) for i in range(len(x))])


def slow_head(head, x):
    feature = torch.relu(head.layer_1.weight @ x + head.layer_1.bias)
    return feature, head.layer_3(torch.relu(head.layer_2(feature)))[0]


def slow_network(model, row, source, pooling):
    """The whole network for one clip: what its features, predictions and last summaries are."""
    blocks = {m: inputs()[m].values[row, : LENGTHS[m][row]] for m in "tva"}
    alone = {}
    for m, name in {"a": "audio", "v": "vision"}.items():
        alone[m] = slow_conv(model.project[m], getattr(model, name)(blocks[m].unsqueeze(0))[0][0])
    fused, summaries = dict.fromkeys("av", slow_conv(model.project["t"], blocks["t"])), {}
    for part in model.layers:
        for m in "av":
            after, summaries[m], found = slow_gate_transformer(part.alone[m], alone[m])
            seen = found if source == "attended" else after
            fused[m], summaries[f"t{m}"] = slow_sag_transformer(part.fused[m], fused[m], seen)
            alone[m] = after
    pooled = {m: x[0] if pooling == "first" else x.mean(0) for m, x in fused.items()}
    vectors = {"fusion": torch.cat([pooled["a"], pooled["v"]]), **{m: alone[m].mean(0) for m in "av"}}
    return {name: slow_head(model.own[name], x) for name, x in vectors.items()}, summaries


@pytest.mark.parametrize("source", ["attended", "states"])
@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_the_network_is_its_equations_clip_by_clip(source, pooling):
    model = network(source=source, pooling=pooling)
    said = run(model)
    of_all = []
    for row in range(4):
        found, summaries = slow_network(model, row, source, pooling)
        of_all.append(summaries)
        same(said.prediction[row], found["fusion"][1])
        for name, (feature, _) in found.items():
            same(said.features[name][row], feature)
        for m in "av":
            same(said.unimodal[m][row], found[m][1])
    h = {name: torch.stack([one[name] for one in of_all]) for name in of_all[0]}
    same(said.losses["similarity"], slow_cmd(h["ta"], h["tv"], 5))
    same(said.losses["difference"], slow_cosine(h["ta"], h["a"]) + slow_cosine(h["tv"], h["v"]))


def slow_cmd(one, other, moments):
    """Equation 24, with b - a = 1."""
    total = (one.mean(0) - other.mean(0)).norm()
    for k in range(2, moments + 1):
        central = [((x - x.mean(0)) ** k).mean(0) for x in (one, other)]
        total = total + (central[0] - central[1]).norm()
    return total


def slow_cosine(one, other):
    """Mean over pairs of channels of the squared sum over the batch of centred rows of length 1."""
    units = [F.normalize(x - x.mean(0), dim=1) for x in (one, other)]
    products = [sum(units[0][r, i] * units[1][r, j] for r in range(len(one))) ** 2 for i in range(D) for j in range(D)]
    return torch.stack(products).mean()


def slow_raw(one, other):
    """Equation 26 for one pair."""
    return torch.linalg.matrix_norm(one.T @ other, ord="fro") ** 2


def summaries_of(model):
    rows = [slow_network(model, row, "attended", "first")[1] for row in range(4)]
    return {name: torch.stack([one[name] for one in rows]) for name in rows[0]}


@pytest.mark.parametrize("moments", [1, 3])
def test_moments_and_the_raw_difference_are_options(moments):
    model = network(moments=moments, orthogonality="raw")
    h, said = summaries_of(model), run(model).losses
    same(said["similarity"], slow_cmd(h["ta"], h["tv"], moments))
    same(said["difference"], slow_raw(h["ta"], h["a"]) + slow_raw(h["tv"], h["v"]))


def test_without_gates_there_are_no_losses_and_no_gru():
    model = network(gates=False)
    assert run(model).losses == {}
    assert not [name for name, _ in model.named_modules() if "gates" in name or "select" in name]
    assert Mmiln.offers(Mmiln.Options(gates=False)) < Mmiln.offers(Mmiln.Options()) == Mmiln.gives


def test_no_gradient_of_audios_own_task_reaches_text_or_vision():
    model = network()
    model.zero_grad()
    run(model).unimodal["a"].sum().backward()
    touched = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(name.startswith("audio.") for name in touched)
    assert not [name for name in touched if name.startswith(("vision.", "project.t", "project.v")) or ".fused." in name]


def test_no_gradient_of_audios_own_task_reaches_the_text_encoder():
    model, given = network(), inputs()
    words = given["t"].values.clone().requires_grad_()
    given["t"] = dataclasses.replace(given["t"], values=words)
    said = model(Batch(torch.arange(4), given, {}))
    for m in "av":
        (slope,) = torch.autograd.grad(said.unimodal[m].sum(), words, retain_graph=True, allow_unused=True)
        assert slope is None
    (slope,) = torch.autograd.grad(said.prediction.sum(), words)
    assert slope.any()


@pytest.mark.parametrize("subset", ["ta", "tv"])
def test_with_one_beside_text_there_is_no_similarity(subset):
    said = run(network(subset), subset)
    assert said.losses["similarity"] == 0
    assert said.losses["difference"] > 0
    assert list(said.unimodal) == [subset[1]]


@pytest.mark.parametrize("modalities", [("t",), ("v", "a"), ("a",)])
def test_it_needs_text_and_something_beside_it(modalities):
    with pytest.raises(Inapplicable, match="needs text and one modality beside it"):
        Mmiln.check(modalities)


def test_a_layer_that_is_the_last_has_the_regularisers():
    """Of all layers' summaries those of the last one count."""
    model = network(layers=3)
    before = run(model).losses["difference"]
    with torch.no_grad():
        model.layers[-1].alone["a"].residual.gates.rnn.bias_ih_l0.add_(1.0)
    assert run(model).losses["difference"] != before
