"""The network against the released ConFEDE's: its weights, mapped onto ours, give its outputs."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from dmmsa_cli.data.views import Batch
from dmmsa_cli.layers.dropout import Dropout
from dmmsa_cli.layers.heads import Head
from dmmsa_cli.layers.sequence import SequenceEncoder, _chunks
from dmmsa_cli.models.feature_decomposition import FeatureDecomposition, FeatureDecompositionOptions
from tests.ragged import one_group, regrouped

WIDTH, HEADS, LAYERS = 32, 4, 2
NAMES = {"T": "t", "V": "v", "A": "a"}
KINDS = {"s": "simi", "d": "dissimi"}

LAYER = {
    "qkv.weight": "self_attn.in_proj_weight",
    "qkv.bias": "self_attn.in_proj_bias",
    "out": "self_attn.out_proj",
    "attention_norm": "norm1",
    "up": "linear1",
    "down": "linear2",
    "feedforward_norm": "norm2",
}


def both(ours, theirs):
    """A module's weight and bias."""
    return {f"{ours}.{part}": f"{theirs}.{part}" for part in ("weight", "bias")}


def encoder_names(modality, theirs):
    ours = f"encoders.{modality}"
    names = {
        f"{ours}.cls": f"{theirs}.encoder.pos_encoder.cls_token",
        f"{ours}.positions": f"{theirs}.encoder.pos_encoder.position_embeddings",
        **both(f"{ours}.project", f"{theirs}.encoder.pos_encoder.proj"),
        **both(f"{ours}.norm", f"{theirs}.layernorm"),
    }
    for number in range(LAYERS):
        below = f"{theirs}.encoder.transformer_encoder.layers.{number}"
        for own, other in LAYER.items():
            name, source = f"{ours}.layers.{number}.{own}", f"{below}.{other}"
            names |= {name: source} if "." in own else both(name, source)
    return names


def all_names():
    names = encoder_names("v", "vision_encoder") | encoder_names("a", "audio_encoder")
    for letter in NAMES:
        for kind, long in KINDS.items():
            for number in (0, 1):
                names |= both(f"projectors.{letter}_{kind}.{number}", f"{letter}_{long}_proj.fc.{number}")
    for number in (0, 2, 4, 6, 8):
        names |= both(f"fusion.{number}", f"TVA_decoder.MLP.{number}")
    for number in (0, 2, 4):
        names |= both(f"heads.unimodal.{number}", f"mono_decoder.MLP.{number}")
    return names


def sequence_encoder(frames):
    _, longest, features = frames.shape
    return SequenceEncoder(
        features=features,
        longest=longest,
        width=WIDTH,
        layers=LAYERS,
        heads=HEADS,
        position_dropout=0.5,
        layer_dropout=0.5,
    )


@pytest.fixture(scope="module")
def released(golden):
    """Our network with the released weights, and what each gives for the same input."""
    tensors = load_file(golden / "confede_forward.safetensors")
    io = {name.removeprefix("io."): value for name, value in tensors.items() if name.startswith("io.")}
    model = FeatureDecomposition(
        {"v": sequence_encoder(io["vision"]), "a": sequence_encoder(io["audio"])},
        {m: WIDTH for m in "tva"},
        {"unimodal": Head(1, "feature")},
        width=WIDTH,
        projector_dropout=0.5,
    )
    state = {ours: tensors[f"w.{theirs}"] for ours, theirs in all_names().items()}
    state = {name: value[0] if name.endswith("positions") else value for name, value in state.items()}
    left = model.load_state_dict(state, strict=False)
    statistics = {f"encoders.{m}.{name}" for m in "va" for name in ("mean", "deviation")}
    assert set(left.missing_keys) == statistics  # they feed frames as they are
    assert not left.unexpected_keys
    full = {m: one_group(io[name], [io[name].shape[1]] * 4) for m, name in (("v", "vision"), ("a", "audio"))}
    batch = Batch(torch.arange(4), {"t": io["text"], **full}, {})
    with torch.no_grad():
        outputs = model.eval()(batch)
    return SimpleNamespace(model=model, io=io, batch=batch, outputs=outputs)


def assert_equal(said, expected):
    torch.testing.assert_close(said, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("modality", "name"), [("v", "vision"), ("a", "audio")])
def test_the_encoders_embeddings(released, modality, name):
    with torch.no_grad():
        said = released.model.encoders[modality](released.batch.inputs[modality])
    assert_equal(said, released.io[f"{name}_embedding"])


@pytest.mark.parametrize("feature", ["T_s", "V_s", "A_s", "T_d", "V_d", "A_d"])
def test_the_six_features(released, feature):
    assert_equal(released.outputs.features[feature], released.io[feature.replace("_", "")])


def test_the_prediction(released):
    assert_equal(released.outputs.prediction, released.io["prediction"])


def test_the_six_unimodal_predictions(released):
    """Row by row in the order of the features: T_s V_s A_s T_d V_d A_d."""
    assert_equal(released.outputs.heads["unimodal"].squeeze(-1).T, released.io["unimodal"])


def test_every_released_weight_is_used_but_for_those_that_its_own_network_ignores(released, golden):
    theirs = {n.removeprefix("w.") for n in load_file(golden / "confede_forward.safetensors") if n.startswith("w.")}
    unused = theirs - set(all_names().values())
    assert {name.split(".", 1)[1].split(".")[0] for name in unused} == {"fc", "dense", "cls_embedding"}


# --- without the released weights ------------------------------------------------------------------------------------


def small(modalities, heads=None, width=WIDTH):
    widths = {m: 12 for m in modalities}
    return FeatureDecomposition({}, widths, heads or {}, width=width, projector_dropout=0.5).eval()


@pytest.mark.parametrize("modalities", ["t", "v", "tv", "ta", "tva"])
def test_features_come_in_the_order_of_the_concatenation(modalities):
    model = small(modalities, {"unimodal": Head(1, "feature")})
    batch = Batch(torch.arange(3), {m: torch.randn(3, 12) for m in modalities}, {})
    outputs = model(batch)
    assert list(outputs.features) == [f"{m.upper()}_{kind}" for kind in "sd" for m in modalities]
    together = torch.cat(list(outputs.features.values()), dim=1)
    torch.testing.assert_close(model.fusion(together).squeeze(-1), outputs.prediction)
    for place, feature in enumerate(outputs.features.values()):
        torch.testing.assert_close(model.heads["unimodal"](feature), outputs.heads["unimodal"][:, place])


def test_heads_are_shaped_as_the_method_says():
    model = small("tva", {"msc_3": Head(3, "fusion"), "unimodal": Head(1, "feature")}, width=64)

    def widths(head):
        linear = [layer for layer in head if hasattr(layer, "in_features")]
        return [linear[0].in_features, *(layer.out_features for layer in linear)]

    assert widths(model.fusion) == [3 * 64, 64, 32, 16, 8, 1]
    assert widths(model.heads["msc_3"]) == [3 * 64, 64, 32, 16, 8, 3]
    assert widths(model.heads["unimodal"]) == [32, 16, 8, 1]
    assert [type(layer).__name__ for layer in model.projectors["A_d"]] == ["LayerNorm", "Linear", "Tanh", "Dropout"]
    assert model.projectors["A_d"][1].out_features == 32


def test_dropout_follows_each_projector_and_no_head():
    model = small("tva", {"unimodal": Head(1, "feature")}).train()
    assert sum(isinstance(part, Dropout) for part in model.modules()) == 6
    assert {part.p for part in model.modules() if isinstance(part, Dropout)} == {0.5}


@pytest.mark.parametrize("options", [{"width": 8}, {"width": 40}, {"projector_dropout": 1.0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        FeatureDecompositionOptions(**options)


def test_an_encoder_refuses_frames_of_another_width_or_too_many():
    encoder = sequence_encoder(torch.zeros(1, 5, 3))
    with pytest.raises(ValueError, match="4 wide.*made for 3"):
        encoder(one_group(torch.zeros(2, 5, 4), [5, 5]))
    with pytest.raises(ValueError, match="6 frames.*5 positions"):
        encoder(one_group(torch.zeros(2, 6, 3), [6, 6]))


def test_frames_are_scaled_by_the_statistics_that_travel_with_the_weights():
    values = torch.randn(2, 5, 3)
    frames = one_group(values, [5, 3])
    encoder, scaled = sequence_encoder(values).eval(), sequence_encoder(values).eval()
    encoder.standardise_by(torch.tensor([1.0, -2.0, 0.5]), torch.tensor([2.0, 0.5, 3.0]))
    scaled.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(scaled(frames), encoder(frames))
    encoder.standardise_by(torch.zeros(3), torch.ones(3))
    by_hand = (values - torch.tensor([1.0, -2.0, 0.5])) / torch.tensor([2.0, 0.5, 3.0])
    torch.testing.assert_close(encoder(one_group(by_hand, [5, 3])), scaled(frames))


def test_cls_starts_at_one_and_positions_at_zero():
    encoder = sequence_encoder(torch.zeros(1, 5, 3))
    assert encoder.cls.eq(1).all()
    assert encoder.positions.shape == (6, WIDTH)
    assert encoder.positions.eq(0).all()


def test_a_batch_is_encoded_in_parts_as_it_is_whole(monkeypatch):
    """Whatever fits into a part, each clip's embedding and the weights' gradients are the same."""
    values, lengths = torch.randn(6, 5, 3), [5, 2, 5, 1, 0, 4]
    frames = regrouped(one_group(values, lengths), 0.0)
    encoder = sequence_encoder(values).eval()
    found = {}
    for chunk in (1, 7, 13, 10_000):
        monkeypatch.setattr("dmmsa_cli.layers.sequence.CHUNK", chunk)
        encoder.zero_grad()
        embedded = encoder(frames)
        embedded.sum().backward()
        found[chunk] = (embedded.detach(), encoder.project.weight.grad.clone(), len(list(_chunks(frames.groups))))
    whole = found.pop(10_000)
    assert whole[2] == 1
    assert [parts for *_, parts in found.values()] == [5, 3, 2]
    for embedded, slope, _ in found.values():
        torch.testing.assert_close(embedded, whole[0])
        torch.testing.assert_close(slope, whole[1], atol=1e-5, rtol=1e-4)
