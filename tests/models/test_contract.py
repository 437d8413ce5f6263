"""One contract for all models: every entry of the table, under every objective, with every subset of the modalities."""

import copy
import dataclasses
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertModel

from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.specs import EMOTIONS
from dmmsa_cli.data.views import Batch
from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.layers import recurrent
from dmmsa_cli.layers.frames import FrameReader
from dmmsa_cli.layers.sequence import SequenceEncoder
from dmmsa_cli.layers.text import TextEncoder, TextStates
from dmmsa_cli.models import MODELS
from dmmsa_cli.models.base import SHARED, Outputs
from dmmsa_cli.objectives import OBJECTIVES
from dmmsa_cli.objectives.auxiliary import AUXILIARY
from dmmsa_cli.objectives.emotions import EmotionOptions
from dmmsa_cli.recipe import to_dict
from dmmsa_cli.training.run import RunFolder
from tests.ragged import one_group, regrouped

SUBSETS = ["".join(subset) for size in (1, 2, 3) for subset in itertools.combinations("tva", size)]


def fits(name, subset, objective):
    """Whether a model takes the modalities, and gives what an objective needs."""
    try:
        MODELS[name].check(tuple(subset))
    except InvalidRecipe:
        return False
    return OBJECTIVES[objective].needs(OBJECTIVES[objective].Options()) <= MODELS[name].gives


CASES = [case for case in itertools.product(MODELS, SUBSETS, OBJECTIVES) if fits(*case)]
contract = pytest.mark.parametrize(("name", "subset", "objective"), CASES, ids=["-".join(case) for case in CASES])

WIDTH, TEXT_WIDTH, LONGEST, FEATURES = 32, 16, 12, {"v": 5, "a": 3}
SMALL = {"width": WIDTH, "attention_heads": 4, "layers": 1, "memory": 20}  # options of models, where they have them
LENGTHS = {"t": [6, 3, 1, 4], "v": [7, 2, 5, 1], "a": [1, 6, 3, 2]}


def text_encoder(pooling="pooler"):
    config = BertConfig(
        vocab_size=30,
        hidden_size=TEXT_WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=LONGEST,
    )
    return TextEncoder(BertModel(config), pooling=pooling)


def sequence_encoder(modality):
    encoder = SequenceEncoder(
        features=FEATURES[modality],
        longest=LONGEST,
        width=WIDTH,
        layers=1,
        heads=2,
        position_dropout=0.5,
        layer_dropout=0.5,
    )
    encoder.standardise_by(torch.full((FEATURES[modality],), 0.5), torch.full((FEATURES[modality],), 2.0))
    return encoder


def capabilities(subset):
    return Capabilities(tuple(subset), 3.0, "mosi", emotions=EMOTIONS)


def objective_for(subset, objective):
    options = OBJECTIVES[objective].Options(**({"emotions": EmotionOptions(True)} if objective == "multitask" else {}))
    return OBJECTIVES[objective](capabilities(subset), options)


def reader(modality):
    if modality == "t":
        return TextStates(text_encoder("mean"))
    reader = FrameReader(FEATURES[modality])
    reader.standardise_by(torch.full((FEATURES[modality],), 0.5), torch.full((FEATURES[modality],), 2.0))
    return reader


def build(name, subset, objective, *, embedded=(), seed=0, heads=None):
    """A small model with all the dropout it can have, in evaluation mode; `embedded` modalities have no encoder."""
    torch.manual_seed(seed)
    options = MODELS[name].Options()
    changes = {field.name: 0.3 for field in dataclasses.fields(options) if field.name.endswith("dropout")}
    changes |= {field.name: SMALL[field.name] for field in dataclasses.fields(options) if field.name in SMALL}
    options = dataclasses.replace(options, **changes)
    encoders, widths = {}, {}
    for m in subset:
        encoded = text_encoder if m == "t" else lambda m=m: sequence_encoder(m)
        reads = MODELS[name].reads[m]
        encoders[m] = reader(m) if reads == "sequence" else encoded()
        widths[m] = TEXT_WIDTH if m == "t" else WIDTH if reads == "embedding" else FEATURES[m]
    encoders = {m: encoder for m, encoder in encoders.items() if m not in embedded}
    heads = objective_for(subset, objective).heads if heads is None else heads
    return MODELS[name](encoders, widths, heads, **to_dict(options)).eval()


def sequences(modality, lengths, extra=0, seed=0):
    """Random sequences; what lies behind their ends is noise, of which no output may know."""
    generator = torch.Generator().manual_seed(seed)
    t, noise = max(1, *lengths), torch.Generator().manual_seed(seed + 1 + extra)
    if modality == "t":
        values = torch.randint(5, 30, (len(lengths), t), generator=generator)
        behind = torch.randint(0, 30, (len(lengths), t + extra), generator=noise)
    else:
        values = torch.randn(len(lengths), t, FEATURES[modality], generator=generator)
        behind = 100 * torch.randn(len(lengths), t + extra, FEATURES[modality], generator=noise)
    ragged = one_group(behind, lengths)
    valid = ragged.groups[0].mask()
    behind[valid] = values[valid[:, :t]]
    return ragged


def batch_of(subset, lengths=None, extra=0, seed=0):
    lengths = lengths or LENGTHS
    size = len(next(iter(lengths.values())))
    labels = torch.randn(4, size, generator=torch.Generator().manual_seed(seed)).abs()
    labels[:, :1] *= -1  # some of either sign, but not as many
    inputs = {m: sequences(m, lengths[m], extra, seed) for m in subset}
    emotions = (torch.rand(size, len(EMOTIONS), generator=torch.Generator().manual_seed(seed)) > 0.6).float()
    emotions[-1, 0] = torch.nan
    return Batch(
        torch.arange(size), inputs, {**dict(zip(("y", "t", "v", "a"), labels, strict=True)), "emotions": emotions}
    )


def rows(batch, order):
    """The same clips in another order, or some of them."""
    inputs = {m: one_group(x.groups[0].values[order], x.groups[0].lengths[order]) for m, x in batch.inputs.items()}
    return Batch(batch.rows[order], inputs, {name: label[order] for name, label in batch.labels.items()})


def without_padding(batch, waste=0.0):
    """The same clips in groups of like length."""
    return dataclasses.replace(batch, inputs={m: regrouped(x, waste) for m, x in batch.inputs.items()})


def flat(outputs):
    """Every tensor of the outputs, by name."""
    kinds = {"features": outputs.features, "heads": outputs.heads, "unimodal": outputs.unimodal}
    parts = {f"{kind}.{name}": x for kind, found in kinds.items() for name, x in found.items()}
    return {"prediction": outputs.prediction, **parts}


@torch.no_grad()
def run(model, batch):
    return flat(model(batch))


def assert_close(said, expected, within=1e-5):
    assert said.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(said[name], value, atol=within, rtol=within, msg=lambda text, n=name: f"{n}: {text}")


@contract
@pytest.mark.parametrize("size", [1, 4])
def test_shapes_also_of_a_batch_of_one(name, subset, objective, size):
    outputs = build(name, subset, objective)(rows(batch_of(subset), list(range(size))))
    assert isinstance(outputs, Outputs)
    assert outputs.prediction.shape == (size,)
    assert all(feature.ndim == 2 and len(feature) == size for feature in outputs.features.values())
    wanted = objective_for(subset, objective).heads
    assert outputs.heads.keys() == wanted.keys()
    for head, spec in wanted.items():
        each = (len(outputs.features),) if spec.over == "feature" else ()
        assert outputs.heads[head].shape == (size, *each, spec.outputs)


class Training:
    """The training split as an objective sees it: the rows of a batch."""

    def __init__(self, batch):
        self.rows, self.labels = batch.rows.numpy(), batch.labels

    def embeddings(self):
        return torch.randn(len(self.rows), 8, generator=torch.Generator().manual_seed(0))


def gradients(model, subset, objective, batch):
    """By parameter, in training mode and in the third epoch: in the first, some tasks do not count yet."""
    torch.manual_seed(0)
    task = objective_for(subset, objective)
    for epoch in (1, 2, 3):
        task.begin_epoch(epoch, Training(batch))
        losses = task(model.train()(batch), batch)
    task.total(losses).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def uses_all(name, objective):
    """Whether an objective wants everything that a model gives; else some parts of it have nothing to learn."""
    return OBJECTIVES[objective].needs(OBJECTIVES[objective].Options()) == MODELS[name].gives - {SHARED}


@contract
def test_clips_that_go_apart_get_what_they_get_together(name, subset, objective, monkeypatch):
    model, batch = build(name, subset, objective), batch_of(subset)
    together = run(model, batch)
    monkeypatch.setattr(recurrent, "PIECE", 1)
    assert_close(run(model, batch), together)


@contract
def test_every_parameter_has_a_finite_gradient(name, subset, objective):
    odd = rows(batch_of(subset), [0, 1, 2])  # as many errors above as below would leave an absolute error no gradient
    found = gradients(build(name, subset, objective), subset, objective, odd)
    used = {n: gradient for n, gradient in found.items() if gradient is not None}
    if uses_all(name, objective):
        assert used.keys() == found.keys()
    found = used
    assert found
    assert [n for n, gradient in found.items() if not torch.isfinite(gradient).all()] == []
    unmoved = [n for n, gradient in found.items() if not gradient.any() and not n.startswith("encoders.t.")]
    assert unmoved == []


def with_all_tasks(subset, objective):
    """An objective with every task that it can have, each weighed by itself."""
    options = OBJECTIVES[objective].Options()
    more = {n: dataclasses.replace(getattr(options, n), enabled=True) for n in AUXILIARY if hasattr(options, n)}
    more |= {"uni": dataclasses.replace(options.uni, each=True)} if hasattr(options, "uni") else {}
    return OBJECTIVES[objective](capabilities(subset), dataclasses.replace(options, **more))


WEIGHED = [c for c in CASES if SHARED in MODELS[c[0]].gives and hasattr(OBJECTIVES[c[2]].Options(), "weighting")]


@pytest.mark.parametrize(("name", "subset", "objective"), WEIGHED, ids=["-".join(case) for case in WEIGHED])
def test_all_tasks_pass_through_the_features_of_a_model_that_says_so(name, subset, objective):
    """What a loss gives to anything before the features, it gives through them: with them fixed, nothing."""
    task, batch = with_all_tasks(subset, objective), batch_of(subset)
    model = build(name, subset, objective, heads=task.heads)
    outputs = model(batch)
    features = tuple(outputs.features.values())
    before = [p for n, p in model.named_parameters() if not n.startswith(("fusion.", "heads.", "score."))]
    losses = task(outputs, batch)

    def slopes(target, at, given=None):
        found = torch.autograd.grad(target, at, given, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(x) if g is None else g for g, x in zip(found, at, strict=True)]

    for loss in losses.values():
        through = slopes(features, before, slopes(loss, features))
        for whole, part in zip(slopes(loss, before), through, strict=True):
            torch.testing.assert_close(whole, part, atol=1e-6, rtol=1e-4)
    assert any(slope.any() for slope in slopes(sum(losses.values()), before))


@contract
def test_weights_go_through_a_file(name, subset, objective, tmp_path):
    model, other = build(name, subset, objective, seed=1), build(name, subset, objective, seed=2)
    expected, before = run(model, batch_of(subset)), run(other, batch_of(subset))
    assert not torch.equal(before["prediction"], expected["prediction"])
    RunFolder(tmp_path).save_weights(model.state_dict())
    RunFolder(tmp_path).load_weights(other)
    after = run(other, batch_of(subset))
    assert after.keys() == expected.keys()
    assert all(torch.equal(after[part], value) for part, value in expected.items())


@contract
@settings(max_examples=15)
@given(extra=st.integers(1, LONGEST - 7), seed=st.integers(0, 99))
def test_outputs_do_not_know_how_far_their_batch_is_padded(name, subset, objective, extra, seed):
    model = build(name, subset, objective)
    assert_close(run(model, batch_of(subset, extra=extra, seed=seed)), run(model, batch_of(subset, seed=seed)))


@contract
@pytest.mark.parametrize("waste", [0.0, 0.3])
def test_it_does_not_matter_how_sequences_are_grouped(name, subset, objective, waste):
    """Neither for outputs nor for gradients, with a clip that has no frame among them."""
    lengths = {m: [*LENGTHS[m], 7, 3 if m == "t" else 0, 7] for m in subset}
    batch, model = batch_of(subset, lengths, extra=2), build(name, subset, objective)
    grouped = without_padding(batch, waste)
    assert_close(run(model, grouped), run(model, batch))

    def slopes(batch):
        model.zero_grad()
        sum(value.sum() for value in flat(model(batch)).values()).backward()
        return {name: parameter.grad for name, parameter in model.named_parameters()}

    assert_close(slopes(grouped), slopes(batch), 1e-4)


@contract
def test_a_clip_alone_is_what_it_is_among_others(name, subset, objective):
    model, batch = build(name, subset, objective), batch_of(subset)
    together = run(model, batch)
    for row in range(len(batch)):
        said = run(model, without_padding(rows(batch, [row])))
        assert_close(said, {part: value[row : row + 1] for part, value in together.items()})


@contract
@settings(max_examples=15)
@given(order=st.permutations(range(4)))
def test_the_order_of_the_batch_does_not_matter(name, subset, objective, order):
    model, batch = build(name, subset, objective), batch_of(subset)
    expected = {part: value[order] for part, value in run(model, batch).items()}
    assert_close(run(model, rows(batch, order)), expected)


@contract
def test_clips_without_a_frame_are_taken(name, subset, objective):
    """Text always has at least its [CLS]; audio and vision of a clip, or of all clips, can be empty."""
    for lengths in ([0, 2, 0, 3], [0, 0, 0, 0]):
        batch = batch_of(subset, {m: LENGTHS["t"] if m == "t" else lengths for m in subset})
        model = build(name, subset, objective)
        said = run(model, batch)
        assert all(torch.isfinite(value).all() for value in said.values())
        if lengths[1]:
            alone = run(model, rows(batch, [0]))
            assert_close(alone, {part: value[:1] for part, value in said.items()})
        found = gradients(model, subset, objective, batch)
        used = [gradient for gradient in found.values() if gradient is not None]
        assert len(used) == len(found) or not uses_all(name, objective)
        assert all(torch.isfinite(gradient).all() for gradient in used)


@pytest.mark.parametrize(
    ("name", "subset", "objective"), [case for case in CASES if "embedding" in MODELS[case[0]].reads.values()]
)
def test_embeddings_stand_in_for_the_sequences_of_any_modality(name, subset, objective):
    """As where an encoder is frozen: same outputs, though the model never sees a sequence of it."""
    whole, batch = build(name, subset, objective), batch_of(subset)
    expected = run(whole, batch)
    for modality in subset:
        prefix = f"encoders.{modality}."
        assert any(n.startswith(prefix) for n in whole.state_dict())
        with torch.no_grad():
            embedding = whole.encoders[modality](batch.inputs[modality])
        given = dataclasses.replace(batch, inputs={**batch.inputs, modality: embedding})
        assert_close(run(whole, given), expected)
        without = build(name, subset, objective, embedded=(modality,))
        assert not [n for n in without.state_dict() if n.startswith(prefix)]
        rest = {n: x for n, x in whole.state_dict().items() if not n.startswith(prefix)}
        without.load_state_dict(rest)
        assert_close(run(without, given), expected)


@contract
def test_evaluation_is_deterministic_and_training_drops_out(name, subset, objective):
    model, batch = build(name, subset, objective), batch_of(subset)
    assert torch.equal(run(model, batch)["prediction"], run(model, batch)["prediction"])
    noisy = copy.deepcopy(model).train()
    assert not torch.equal(run(noisy, batch)["prediction"], run(noisy, batch)["prediction"])


@contract
def test_bfloat16_comes_close(name, subset, objective):
    model, batch = build(name, subset, objective), batch_of(subset)
    with torch.autocast("cpu", torch.bfloat16):
        said = run(model, batch)
    torch.testing.assert_close(said["prediction"].float(), run(model, batch)["prediction"], atol=0.05, rtol=0.1)
