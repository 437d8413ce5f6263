"""Encoders that read a batch in one row: each transcript gets what it would get alone, whatever stands beside it."""

import copy
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel

from dmmsa_cli.data.sequences import ONE_GROUP, Tokens
from dmmsa_cli.layers import packing
from dmmsa_cli.layers.dropout import Dropout
from dmmsa_cli.layers.packing import PACKED
from dmmsa_cli.layers.text import TextEncoder
from tests.shapes import Shapes

POSITIONS, PADDING = 60, 1
OTHERS = ("albert", "distilbert", "mpnet")  # read group by group
LENGTHS = (50, 3, 7, 7, 12, 1, 11, 3, 40, 7, 50)  # two windows, more than there are positions


def backbone(kind, seed=0, **more):
    sizes = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = AutoConfig.for_model(
        kind, **sizes, intermediate_size=40, max_position_embeddings=POSITIONS, pad_token_id=PADDING, **more
    )
    torch.manual_seed(seed)
    return AutoModel.from_config(config)


def transcripts(lengths=LENGTHS, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.integers(5, 50, length) for length in lengths]


def batch(ids, waste=0.0):
    return Tokens(ids, PADDING, waste).collate(np.arange(len(ids)))


def alone(model, ids):
    """What `transformers` itself gives for one transcript."""
    tokens = torch.from_numpy(ids)[None]
    return model(input_ids=tokens, attention_mask=torch.ones_like(tokens))


@pytest.mark.parametrize("waste", [0.0, 0.15, ONE_GROUP])
@pytest.mark.parametrize("kind", sorted(PACKED) + sorted(OTHERS))
@torch.no_grad()
def test_states_and_pooled_outputs_are_those_of_each_transcript_alone(kind, waste):
    model = backbone(kind).eval()
    found = [alone(copy.deepcopy(model), ids) for ids in transcripts()]
    encoder = TextEncoder(copy.deepcopy(model), pooling="mean").eval()
    assert encoder.packed == (kind in PACKED)
    tokens = batch(transcripts(), waste)
    states, means = encoder.states(tokens), encoder(tokens)
    for row, output in enumerate(found):
        own = output.last_hidden_state[0]
        torch.testing.assert_close(states.values[row, : len(own)], own, atol=1e-5, rtol=0)
        assert not states.values[row, len(own) :].any()
        torch.testing.assert_close(means[row], own.mean(0), atol=1e-5, rtol=0)
    if getattr(model, "pooler", None) is not None:
        pooled = TextEncoder(model, pooling="pooler").eval()(tokens)
        torch.testing.assert_close(pooled, torch.cat([o.pooler_output for o in found]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_gradients_are_the_sum_of_those_of_each_transcript_alone(kind):
    """In training, on the way that has dropout, with a share of it that drops next to nothing."""
    model = backbone(kind, hidden_dropout_prob=0.0, attention_probs_dropout_prob=1e-6).train()
    encoder, weights = TextEncoder(copy.deepcopy(model), pooling="pooler"), torch.randn(len(LENGTHS), 32)
    for ids, weight in zip(transcripts(), weights, strict=True):
        (alone(model, ids).pooler_output[0] @ weight).backward()
    (encoder(batch(transcripts())) * weights).sum().backward()
    for (name, one), other in zip(model.named_parameters(), encoder.backbone.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, atol=1e-5, rtol=1e-4, msg=lambda text, n=name: f"{n}: {text}")


def test_weights_are_gone_through_once_however_many_lengths_there_are():
    encoder, calls = TextEncoder(backbone("bert"), pooling="pooler"), []
    encoder.backbone.encoder.layer[0].output.dense.register_forward_hook(lambda *given: calls.append(given[1][0].shape))
    encoder(batch(transcripts()))
    assert calls == [(1, sum(LENGTHS), 40)]  # nothing of it is padding


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_dropout_within_attention_is_the_encoders(share):
    """Its share, whatever the other dropout is; without any, training gives what evaluation gives."""
    model = backbone("bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=share)
    encoder, tokens = TextEncoder(model, pooling="mean"), batch(transcripts())
    rates = {part.p for part in encoder.modules() if isinstance(part, Dropout)}
    assert rates == {0.0, share}
    with torch.no_grad():
        evaluated = encoder.eval()(tokens)
        trained = [encoder.train()(tokens) for _ in range(2)]
    assert torch.equal(*trained) == (share == 0)
    assert torch.allclose(trained[0], evaluated, atol=1e-5) == (share == 0)


@pytest.mark.parametrize("training", [False, True])
def test_a_transcript_without_any_token_spoils_nothing(training):
    """A tokenizer without marks makes none of an empty transcript."""
    model = backbone("bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=1e-6)
    encoder, ids = TextEncoder(model, pooling="mean").train(training), transcripts()
    whole = encoder(batch([*ids, np.zeros(0, np.int64)]))
    torch.testing.assert_close(whole[:-1], encoder(batch(ids)), atol=1e-5, rtol=0)
    assert not whole[-1].any()
    whole.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())


@contextmanager
def tiles():
    """What bfloat16 has on a CPU, a row that is filled up and attention in tiles, but in full precision."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "products_are_compiled", lambda device: True)
        yield


@pytest.mark.parametrize("waste", [0.0, 0.15, ONE_GROUP])
@pytest.mark.parametrize("kind", sorted(PACKED))
@torch.no_grad()
def test_in_tiles_states_are_those_of_each_transcript_alone(kind, waste):
    model = backbone(kind).eval()
    encoder, tokens = TextEncoder(copy.deepcopy(model), pooling="mean").eval(), batch(transcripts(), waste)
    with tiles():
        states = encoder.states(tokens)
    for row, ids in enumerate(transcripts()):
        own = alone(model, ids).last_hidden_state[0]
        torch.testing.assert_close(states.values[row, : len(own)], own, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_in_tiles_gradients_are_those_of_windows(kind):
    model = backbone(kind, hidden_dropout_prob=0.0, attention_probs_dropout_prob=1e-6).train()
    encoder, tokens = TextEncoder(model, pooling="pooler"), batch([*transcripts(), np.zeros(0, np.int64)])
    weights, parameters = torch.randn(len(LENGTHS) + 1, 32), list(model.parameters())
    expected = torch.autograd.grad((encoder(tokens) * weights).sum(), parameters)
    with tiles():
        found = torch.autograd.grad((encoder(tokens) * weights).sum(), parameters)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_in_tiles_what_changes_words_sees_those_and_nothing_that_fills_up():
    encoder, tokens, seen = TextEncoder(backbone("bert"), pooling="mean").eval(), batch(transcripts(), 0.15), {}

    def change(number, words):
        seen.setdefault(number, []).append(words)
        return 2 * words

    expected = encoder(tokens, change)
    with tiles():
        torch.testing.assert_close(encoder(tokens, change), expected, atol=1e-5, rtol=0)
    assert all(torch.equal(*both) for both in seen.values()) and len(seen) == len(tokens.groups)


@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_in_bf16_it_is_the_same_but_for_rounding(training):
    model = backbone("bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=1e-6)
    encoder, tokens = TextEncoder(model, pooling="pooler").train(training), batch(transcripts())
    precise = encoder(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = encoder(tokens)
    torch.testing.assert_close(rounded.float(), precise, atol=0.02, rtol=0)


def test_in_bf16_batches_of_ever_other_lengths_have_few_shapes_of_products():
    """The pooler has one transcript a row; everything else has a multiple of 32 tokens, 352 at most, or is in tiles."""
    encoder, generator = TextEncoder(backbone("bert"), pooling="mean").train(), np.random.default_rng(1)
    with Shapes() as shapes, torch.autocast("cpu", torch.bfloat16):
        for seed in range(30):
            encoder(batch(transcripts(generator.integers(1, 40, 8), seed))).sum().backward()
    assert len(shapes.found) < 11 * 9 + 4 * 6 * 2
    rows = {shape[1][0] for shape in shapes.found if shape[0] == "mm"}
    assert all(n % packing.ROUND == 0 or n in (32, 40) for n in rows)


@pytest.mark.parametrize("widest", [1, 20, 64, 10_000])
@torch.no_grad()
def test_how_the_row_is_cut_changes_nothing(widest, monkeypatch):
    encoder, tokens = TextEncoder(backbone("roberta"), pooling="mean").eval(), batch(transcripts())
    before = encoder(tokens)
    monkeypatch.setattr(packing, "WINDOW", widest)
    torch.testing.assert_close(encoder(tokens), before, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("widest", "sizes"), [(9, [12, 7, 6]), (10, [12, 10, 3]), (14, [12, 13]), (22, [22, 3]), (25, [25])]
)
def test_windows_end_between_transcripts_and_are_as_wide_as_they_may_be(widest, sizes):
    groups = batch(transcripts((12, 3, 7, 3))).groups
    assert packing._windows(groups, widest).sizes == sizes


def test_before_transformers_allows_it_nothing_is_packed(monkeypatch):
    monkeypatch.setattr("transformers.__version__", "4.57.6")
    encoder = TextEncoder(backbone("bert"), pooling="pooler").eval()
    assert not encoder.packed
    with torch.no_grad():
        pooled = encoder(batch(transcripts(), 0.15))
        found = torch.cat([alone(encoder.backbone, ids).pooler_output for ids in transcripts()])
    torch.testing.assert_close(pooled, found, atol=1e-5, rtol=0)
