"""Clips around one, behind its tokens: as the tokenizer itself writes pairs, never at the clip's cost, never pooled."""

import copy
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast

from dmmsa_cli.data.sequences import ONE_GROUP, Tokens
from dmmsa_cli.data.videos import Around, around
from dmmsa_cli.errors import EncoderUnavailable
from dmmsa_cli.layers.context import PairForm, in_context
from dmmsa_cli.layers.packing import PACKED
from dmmsa_cli.layers.pretrained import make_tiny, tokenize
from dmmsa_cli.layers.text import ContextOptions, TextEncoder, TextOptions, TinyOptions
from tests.layers.test_packing import PADDING, backbone, tiles

WORDS = ["one", "two", "three", "four", "five", "great", "film", "a", "b"]
TEXTS = ["one one", "two", "three great film", "four four", "five", "film"]
IDS = ["x$_$1", "x$_$2", "x$_$3", "x$_$5", "x$_$6", "y$_$4"]

# Kind of encoder -> its marks, how it puts a second text behind a first, and the token type of that.
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
ROBERTA = ("<pad>", "<unk>", "<s>", "</s>")
KINDS = {
    "bert": (BERT, lambda cls, sep: processors.BertProcessing(sep, cls), 1),
    "electra": (BERT, lambda cls, sep: processors.BertProcessing(sep, cls), 1),
    "distilbert": (BERT, lambda cls, sep: processors.BertProcessing(sep, cls), 0),  # knows no token types
    "roberta": (ROBERTA, lambda cls, sep: processors.RobertaProcessing(sep, cls), 0),
    "mpnet": (ROBERTA, lambda cls, sep: template("<s> $A </s>", "<s>:0 $A:0 </s>:0 </s>:0 $B:1 </s>:1", cls, sep), 0),
}


def template(single, pair, *special):
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=list(special))


def written(folder, kind, marks, processor):
    """An encoder's configuration and a tokenizer that splits at spaces, in a folder."""
    tokens = {token: number for number, token in enumerate([*marks, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(tokens, unk_token=marks[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if processor:
        tokenizer.post_processor = processor(*((mark, tokens[mark]) for mark in marks[2:]))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), marks, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)
    more = {"type_vocab_size": 1} if kind == "roberta" else {}
    AutoConfig.for_model(kind, vocab_size=len(tokens), max_position_embeddings=64, **more).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=KINDS)
def encoder(request, tmp_path_factory):
    """A folder of each kind, and what is expected of it."""
    marks, processor, segment = KINDS[request.param]
    return written(tmp_path_factory.mktemp(request.param), request.param, marks, processor), marks[2:], segment


def read(folder, tokens):
    """Tokens in words."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [" ".join(tokenizer.convert_ids_to_tokens(row.tolist())) for row in tokens.ids]


def tokenized(folder, before, after, max_tokens=64, texts=TEXTS, ids=IDS):
    return tokenize(folder, texts, max_tokens, around(ids, before, after))


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_earlier_clips_stand_behind_a_clip_in_the_order_of_time(encoder):
    folder, (cls, sep), segment = encoder
    apart = f"{sep} {sep}" if sep == "</s>" else sep
    found = tokenized(folder, 2, 0)
    assert read(folder, found) == [
        f"{cls} one one {sep}",
        f"{cls} two {apart} one one {sep}",
        f"{cls} three great film {apart} one one {sep} two {sep}",
        f"{cls} four four {apart} two {sep} three great film {sep}",  # 4 is of another video
        f"{cls} five {apart} three great film {sep} four four {sep}",
        f"{cls} film {sep}",
    ]
    assert found.own.tolist() == [4, 3, 5, 4, 3, 3]
    assert found.segment == segment


def test_later_clips_stand_behind_the_earlier_ones(encoder):
    folder, (cls, sep), _ = encoder
    apart = f"{sep} {sep}" if sep == "</s>" else sep
    found = read(folder, tokenized(folder, 1, 2))
    assert found[1] == f"{cls} two {apart} one one {sep} three great film {sep} four four {sep}"
    assert found[0] == f"{cls} one one {apart} two {sep} three great film {sep}"


def test_one_clip_behind_another_is_the_tokenizers_own_pair(encoder):
    folder, _, segment = encoder
    tokenizer, found = AutoTokenizer.from_pretrained(folder), tokenized(folder, 1, 0)
    group = found.collate(np.array([2])).groups[0]
    pair = tokenizer(TEXTS[2], TEXTS[1], return_token_type_ids=True)
    assert found.ids[2].tolist() == group.values[0].tolist() == pair["input_ids"]
    if segment:
        assert group.types()[0].tolist() == pair["token_type_ids"]
    else:
        assert not group.types().any()


def test_our_tiny_tokenizer_which_knows_no_pairs_has_them_as_bert(tmp_path):
    make_tiny(tmp_path, TEXTS, TinyOptions(width=8, layers=1, heads=1), max_tokens=32, seed=0)
    found = tokenized(tmp_path, 2, 0)
    assert read(tmp_path, found)[2] == "[CLS] three great film [SEP] one one [SEP] two [SEP]"
    assert (found.own.tolist(), found.segment) == ([4, 3, 5, 4, 3, 3], 1)


def test_without_context_nothing_is_marked(encoder):
    folder, *_ = encoder
    plain = tokenize(folder, TEXTS, 64)
    assert plain.own is None
    assert all(group.own is None and not group.segment for group in plain.collate(np.arange(6)).groups)
    nobody = tokenized(folder, 2, 2, ids=["x1", "x2", "x3", "x5", "x6", "y4"])
    assert [row.tolist() for row in nobody.ids] == [row.tolist() for row in plain.ids]
    assert nobody.own.tolist() == plain.lengths().tolist()


def test_an_empty_neighbour_adds_nothing_not_even_a_mark(encoder):
    folder, (cls, sep), _ = encoder
    apart = f"{sep} {sep}" if sep == "</s>" else sep
    found = tokenized(folder, 3, 0, texts=["one", "", "three", "four"], ids=IDS[:4])
    assert read(folder, found)[3] == f"{cls} four {apart} one {sep} three {sep}"
    assert read(folder, found)[1] == f"{cls} {apart} one {sep}"


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (13, "[CLS] four four [SEP] one one [SEP] two [SEP] three great film [SEP]"),
        (12, "[CLS] four four [SEP] one [SEP] two [SEP] three great film [SEP]"),
        (11, "[CLS] four four [SEP] two [SEP] three great film [SEP]"),  # of the farthest nothing is left, nor its mark
        (10, "[CLS] four four [SEP] two [SEP] three great film [SEP]"),
        (9, "[CLS] four four [SEP] three great film [SEP]"),
        (8, "[CLS] four four [SEP] three great film [SEP]"),
        (7, "[CLS] four four [SEP] great film [SEP]"),
        (6, "[CLS] four four [SEP] film [SEP]"),
        (5, "[CLS] four four [SEP]"),
        (4, "[CLS] four four [SEP]"),
        (3, "[CLS] four [SEP]"),  # as it is cut without context
    ],
)
def test_context_is_cut_where_it_is_farthest_and_the_clip_never_for_it(tmp_path, limit, expected):
    folder = written(tmp_path, "bert", BERT, KINDS["bert"][1])
    assert read(folder, tokenized(folder, 4, 0, limit))[3] == expected


def cut_slowly(pieces, room):
    """Take the outermost token of the farthest piece until there is room; a piece of none goes with its mark."""
    pieces = [[distance, list(text)] for distance, text in pieces if text]

    def size():
        return sum(len(text) for _, text in pieces) + max(0, len(pieces) - 1)

    while pieces and size() > room:
        farthest = max(pieces, key=lambda piece: (abs(piece[0]), piece[0] > 0))
        farthest[1].pop(0 if farthest[0] < 0 else -1)
        pieces = [piece for piece in pieces if piece[1]]
    joined = []
    for _, text in pieces:
        joined += [*([3] if joined else []), *text]
    return joined


@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=7),
    at=st.integers(0, 6),
    middle=st.sampled_from([(), (3,)]),
    limit=st.integers(3, 40),
)
def test_what_is_left_of_a_context_is_what_taking_token_by_token_leaves(lengths, at, middle, limit):
    at = min(at, len(lengths) - 1)
    numbers = iter(range(10, 100))
    texts = [[next(numbers) for _ in range(length)] for length in lengths]
    near = Around(range(at), range(at + 1, len(texts)))
    alone = [2, *texts[at], 3][:limit]
    found = in_context(alone, texts, near, PairForm(middle, 3, (3,), 0), limit)
    pieces = [(row - at, text) for row, text in enumerate(texts) if row != at]
    context = cut_slowly(pieces, limit - len(alone) - len(middle) - 1)
    assert found == ([*alone, *middle, *context, 3] if context else alone)
    assert len(found) <= limit


@pytest.mark.parametrize(
    ("single", "pair"),
    [
        ("$A [SEP] [CLS]", "$A [SEP] $B:1 [SEP]:1 [CLS]:1"),  # as XLNet has them
        ("[CLS] $A [SEP]", "[SEP] $A [SEP] $B:1 [SEP]:1"),
    ],
)
def test_a_tokenizer_whose_pairs_do_not_begin_with_the_clip_as_it_is_alone_is_refused(tmp_path, single, pair):
    folder = written(tmp_path, "bert", BERT, lambda cls, sep: template(single, pair, cls, sep))
    with pytest.raises(EncoderUnavailable, match=r"pairs do not begin with .* text\.context"):
        tokenized(folder, 1, 0)


def test_a_tokenizer_that_has_nothing_to_set_texts_apart_is_refused(tmp_path):
    written(tmp_path, "bert", BERT, None)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(tmp_path)
    with pytest.raises(EncoderUnavailable, match=r"no token that sets texts apart.*text\.context"):
        tokenized(tmp_path, 1, 0)


def test_a_context_is_named_by_its_clips():
    words = {(0, 0): "", (1, 0): "1 clip before", (2, 0): "2 clips before", (0, 1): "1 clip after"}
    words |= {(2, 1): "2 clips before and 1 after", (1, 3): "1 clip before and 3 after"}
    for (before, after), expected in words.items():
        context = ContextOptions(before, after)
        assert context.in_words() == expected
        assert context.wanted == bool(expected)


def test_features_have_no_context():
    TextOptions(source="features", context=ContextOptions())
    with pytest.raises(ValueError, match=r"^context: 2 clips before can't be read where source is features"):
        TextOptions(source="features", context=ContextOptions(before=2))


# --- what an encoder gives for them ----------------------------------------------------------------------------------

LENGTHS = (50, 9, 7, 7, 12, 3, 11, 30)  # with context
OWN = (5, 9, 3, 7, 2, 1, 11, 12)
OTHERS = ("albert", "distilbert", "mpnet")
TYPED = {"bert", "electra", "albert"}


def clips(kind, lengths=LENGTHS, own=OWN, waste=0.0):
    generator = np.random.default_rng(0)
    ids = [generator.integers(5, 50, length) for length in LENGTHS]
    ids = [row[:length] for row, length in zip(ids, lengths, strict=True)]
    return Tokens(ids, PADDING, waste, own=np.array(own), segment=int(kind in TYPED))


@torch.no_grad()
def one_by_one(model, tokens):
    """What `transformers` itself gives for each."""
    outputs = []
    for ids, own in zip(tokens.ids, tokens.own, strict=True):
        row = torch.from_numpy(ids)[None]
        types = {"token_type_ids": (torch.arange(len(ids)) >= own).long()[None]} if tokens.segment else {}
        outputs.append(model(input_ids=row, attention_mask=torch.ones_like(row), **types))
    return outputs


@pytest.mark.parametrize("waste", [0.0, 0.15, ONE_GROUP])
@pytest.mark.parametrize(
    ("kind", "cut"),
    [*((kind, nullcontext) for kind in sorted(PACKED) + sorted(OTHERS)), *((kind, tiles) for kind in sorted(PACKED))],
)
@torch.no_grad()
def test_states_and_means_are_those_of_a_clips_own_tokens_which_have_seen_the_others(kind, cut, waste):
    more = {} if kind not in PACKED - TYPED else {"type_vocab_size": 1}
    model = backbone(kind, **more).eval()
    tokens = clips(kind, waste=waste)
    batch = tokens.collate(np.arange(len(OWN)))
    expected = one_by_one(copy.deepcopy(model), tokens)
    encoder = TextEncoder(copy.deepcopy(model), pooling="mean").eval()
    with cut():
        states, means = encoder.states(batch), encoder(batch)
    assert states.lengths.tolist() == list(OWN)
    assert states.values.shape[1] == max(OWN)
    alone = clips(kind, lengths=OWN, waste=waste)
    unseen = encoder(alone.collate(np.arange(len(OWN))))
    for row, (output, own) in enumerate(zip(expected, OWN, strict=True)):
        found = output.last_hidden_state[0, :own]
        torch.testing.assert_close(states.values[row, :own], found, atol=1e-5, rtol=0)
        assert not states.values[row, own:].any()
        torch.testing.assert_close(means[row], found.mean(0), atol=1e-5, rtol=0)
        assert torch.allclose(means[row], unseen[row], atol=1e-4) == (own == LENGTHS[row])
    if getattr(model, "pooler", None) is not None:
        with cut():
            pooled = TextEncoder(copy.deepcopy(model), pooling="pooler").eval()(batch)
        torch.testing.assert_close(pooled, torch.cat([one.pooler_output for one in expected]), atol=1e-5, rtol=0)


def test_clips_are_grouped_by_their_length_with_context():
    tokens = clips("bert")
    batch = tokens.collate(np.arange(len(OWN)))
    assert [group.values.shape[1] for group in batch.groups] == sorted(set(LENGTHS), reverse=True)
    assert batch.real == batch.slots == sum(LENGTHS)
    for group, rows in zip(batch.groups, batch.clips(), strict=True):
        assert group.own.tolist() == [OWN[row] for row in rows]
        chosen = group.select(torch.tensor([0]))
        assert (chosen.own.tolist(), chosen.segment) == ([OWN[rows[0]]], 1)
        assert group.to(torch.device("cpu")).own.tolist() == group.own.tolist()


def test_gradients_reach_the_words_of_the_context():
    """It is trained on: what stands behind a clip is looked at, not only carried along."""
    encoder = TextEncoder(backbone("bert"), pooling="mean").eval()
    tokens = Tokens([np.array([5, 6, 7, 8])], PADDING, own=np.array([2]), segment=1)
    encoder(tokens.collate(np.array([0])))[0, 0].backward()
    words = encoder.backbone.get_input_embeddings().weight.grad
    assert all(words[word].any() for word in (5, 6, 7, 8))
