"""Each baseline with MMSA's weights gives what MMSA's code gave (`baselines/` of the reference values)."""

import itertools

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from dmmsa_cli.data.ragged import Padded
from dmmsa_cli.data.views import Batch
from dmmsa_cli.layers.adaptation import AdaptationGate
from dmmsa_cli.models import MODELS

WITHIN = 1e-5
SUBNETS = {"text_subnet": "subnets.each.t", "audio_subnet": "subnets.each.a", "video_subnet": "subnets.each.v"}
SMALL = {"text_hidden": 8, "audio_hidden": 4, "vision_hidden": 6}


@pytest.fixture
def reference(golden, request):
    """Weights and what went in and came out, of the file of a name."""

    def load(name):
        tensors = load_file(golden / "baselines" / f"{name}.safetensors")
        parts = {"w": {}, "io": {}}
        for key, value in tensors.items():
            part, _, rest = key.partition(".")
            parts[part][rest] = value
        return parts["w"], parts["io"]

    return load


class Given(nn.Module):
    """Stands for an encoder: the block is what went in."""

    def forward(self, block):
        return block


def blocks(io, names="tav"):
    """The inputs, all positions of each valid."""
    found = {m: io[f"in{place}"] for place, m in enumerate(names)}
    return {m: Padded(x, torch.full((len(x),), x.shape[1])) for m, x in found.items()}


def batch_of(inputs):
    size = len(next(iter(inputs.values())).values)
    return Batch(torch.arange(size), inputs, {})


def build(name, inputs, **options):
    encoders = {m: Given() for m in inputs}
    widths = {m: x.values.shape[-1] for m, x in inputs.items()}
    return MODELS[name](encoders, widths, {}, **options).eval()


def renamed(weights, names):
    """Weights under our names; every one must find its place."""
    found = {}
    for key, value in weights.items():
        start = next((old for old in names if key == old or key.startswith(f"{old}.")), None)
        found[key if start is None else names[start] + key.removeprefix(start)] = value
    return found


LATE = {
    "lf_dnn": ({**SMALL, "text_width": 3, "fusion_width": 7}, {}, ()),
    "tfn": ({**SMALL, "text_width": 3, "fusion_width": 7}, {}, ("output_range", "output_shift")),
    "lmf": (
        {**SMALL, "rank": 3},
        {"text_factor": "factors.t", "audio_factor": "factors.a", "video_factor": "factors.v"},
        (),
    ),
}


@pytest.mark.parametrize("name", LATE)
def test_late_fusion_is_mmsas(reference, name):
    options, names, constants = LATE[name]
    weights, io = reference(name)
    inputs = blocks(io)
    model = build(name, inputs, **options)
    model.load_state_dict({k: v for k, v in renamed(weights, SUBNETS | names).items() if k not in constants})
    said = model(batch_of(inputs))
    torch.testing.assert_close(said.prediction, io["M"].squeeze(-1), atol=WITHIN, rtol=0)
    found = model.subnets(inputs)
    if "Feature_f" in io:
        torch.testing.assert_close(torch.cat(list(found.values()), -1), io["Feature_f"], atol=WITHIN, rtol=0)
    for m in found:
        if f"Feature_{m}" in io:
            torch.testing.assert_close(found[m], io[f"Feature_{m}"], atol=WITHIN, rtol=0)


class Cls(nn.Module):
    """A text encoder whose [CLS] is given."""

    def forward(self, block):
        return block


PARTS = {"fusion": "fusion", "text": "t", "audio": "a", "video": "v"}


def test_self_mm_is_mmsas(reference):
    weights, io = reference("self_mm")
    inputs = {
        "t": Padded(io["text_cls"].unsqueeze(1), torch.ones(5, dtype=torch.int64)),
        "a": Padded(io["audio"], io["audio_lengths"].long()),
        "v": Padded(io["vision"], io["vision_lengths"].long()),
    }
    sizes = {"audio_hidden": 4, "vision_hidden": 5, "audio_width": 3, "vision_width": 4}
    heads = {"fusion_head": 6, "text_head": 5, "audio_head": 3, "vision_head": 4}
    model = build("self_mm", inputs, **sizes, **heads)
    names = {"audio_model": "audio", "video_model": "vision"}
    names |= {f"post_{p}_layer_{n}": f"own.{ours}.layer_{n}" for p, ours in PARTS.items() for n in (1, 2, 3)}
    model.load_state_dict(renamed(weights, names))
    said = model(batch_of(inputs))
    for letter, found in {"M": said.prediction, **{m.upper(): said.unimodal[m] for m in "tav"}}.items():
        torch.testing.assert_close(found, io[letter].squeeze(-1), atol=WITHIN, rtol=0)
    for letter, name in {"f": "fusion", "t": "t", "a": "a", "v": "v"}.items():
        torch.testing.assert_close(said.features[name], io[f"Feature_{letter}"], atol=WITHIN, rtol=0)


def test_misa_is_mmsas(reference):
    weights, io = reference("misa")
    lengths = io["text_mask"].sum(1).long()
    inputs = {
        "t": Padded(io["text_features"], lengths),
        "v": Padded(io["vision"], torch.full((5,), 7)),
        "a": Padded(io["audio"], torch.full((5,), 7)),
    }
    model = build("misa", inputs, width=8, text_lengths=True)
    names = {}
    for m in "tva":
        names |= {f"project_{m}.project_{m}": f"project.{m}.0", f"project_{m}.project_{m}_layer_norm": f"project.{m}.2"}
        names |= {f"recon_{m}.recon_{m}_1": f"reconstruct.{m}"}
    names |= {f"private_{m}.private_{m}_{1 if m != 'a' else 3}": f"private.{m}" for m in "tva"}
    for m in "va":
        names |= {f"{m}rnn1": f"lstms.{m}.first", f"{m}rnn2": f"lstms.{m}.second", f"{m}layer_norm": f"lstms.{m}.norm"}
    names |= {"shared.shared_1": "shared", "transformer_encoder.layers.0": "transformer"}
    names |= {"fusion.fusion_layer_1": "fusion_layer_1", "fusion.fusion_layer_3": "fusion_layer_2"}
    unused = "sp_discriminator"  # computed there, and in no loss
    model.load_state_dict({k: v for k, v in renamed(weights, names).items() if not k.startswith(unused)})
    said = model(batch_of(inputs))
    torch.testing.assert_close(said.prediction, io["M"].squeeze(-1), atol=WITHIN, rtol=0)
    for kind, m in itertools.product(("private", "shared"), "tva"):
        torch.testing.assert_close(said.features[f"{kind}_{m}"], io[f"{kind}_{m}"], atol=WITHIN, rtol=0)
    for ours, theirs in {"similarity": "cmd", "difference": "difference", "reconstruction": "reconstruction"}.items():
        torch.testing.assert_close(said.losses[ours], io[f"loss_{theirs}"].squeeze(), atol=WITHIN, rtol=0)


def gate_of(weights, beta):
    gate = AdaptationGate(12, {"v": 6, "a": 5}, beta=beta, dropout=0.5).eval()
    names = {"LayerNorm": "norm", "W_v": "shifts.v", "W_a": "shifts.a", "W_hv": "gates.v", "W_ha": "gates.a"}
    gate.load_state_dict(renamed(weights, names))
    return gate


@pytest.mark.parametrize(
    ("name", "beta", "out"),
    [
        ("mag", 1.0, "out"),
        ("mag", 2.0, "out"),
        *(("mag_clamped", beta, f"out_beta_{beta}") for beta in (0.5, 1.0, 2.0)),
    ],
)
def test_the_gate_is_mmsas(reference, name, beta, out):
    weights, io = reference(name)
    found = gate_of(weights, beta)(io["text_embedding"], {"v": io["vision"], "a": io["audio"]})
    torch.testing.assert_close(found, io[out], atol=WITHIN, rtol=0)


def test_mfn_is_mmsas(reference):
    weights, io = reference("mfn")
    sizes = {"text_hidden": 6, "audio_hidden": 4, "vision_hidden": 5, "memory": 7, "attention_width": 8}
    sizes |= {"candidate_width": 9, "retain_width": 10, "update_width": 11, "fusion_width": 6}
    model = build("mfn", blocks(io), **sizes)
    names = {
        "lstm_l": "cells.t",
        "lstm_a": "cells.a",
        "lstm_v": "cells.v",
        "out_fc1": "output_1",
        "out_fc2": "output_2",
    }
    nets = {"att1": "attend", "att2": "candidate", "gamma1": "retain", "gamma2": "update"}
    names |= {f"{old}_fc{n}": f"{new}.{'inner' if n == 1 else 'outer'}" for old, new in nets.items() for n in (1, 2)}
    model.load_state_dict(renamed(weights, names))
    torch.testing.assert_close(model(batch_of(blocks(io))).prediction, io["M"].squeeze(-1), atol=WITHIN, rtol=0)


def test_mult_is_mmsas(reference):
    """Its own mask looks as far ahead as two sequences differ in length, so here they are as long as their blocks."""
    weights, io = reference("mult")
    inputs = blocks(io)
    model = build("mult", inputs, width=8, attention_heads=2, layers=2, text_kernel=3, audio_kernel=3, vision_kernel=1)
    names = {"proj1": "fusion_layer_1", "proj2": "fusion_layer_2", "out_layer": "output"}
    theirs = {"t": "l", "a": "a", "v": "v"}
    names |= {f"proj_{theirs[m]}": f"project.{m}" for m in "tav"}
    for m, n in itertools.permutations("tav", 2):
        names |= stack(f"trans_{theirs[m]}_with_{theirs[n]}", f"cross.{m}{n}")
    for m in "tav":
        names |= stack(f"trans_{theirs[m]}_mem", f"memory.{m}")
    model.load_state_dict({k: v for k, v in renamed(weights, names).items() if not k.endswith(".version")})
    said = model(batch_of(inputs))
    torch.testing.assert_close(said.prediction, io["M"].squeeze(-1), atol=WITHIN, rtol=0)


def stack(theirs, ours):
    parts = {
        "self_attn.in_proj_weight": "qkv.weight",
        "self_attn.in_proj_bias": "qkv.bias",
        "self_attn.out_proj": "out",
        "fc1": "up",
        "fc2": "down",
        "layer_norms.0": "attention_norm",
        "layer_norms.1": "feedforward_norm",
    }
    layers = {f"{theirs}.layers.{n}.{old}": f"{ours}.layers.{n}.{new}" for n in range(9) for old, new in parts.items()}
    return layers | {theirs: ours}
