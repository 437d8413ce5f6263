"""Text encoders: made, found, fetched, refused in words, and pooled so that padding does not count."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig, BertModel

from dmmsa_cli.errors import EncoderUnavailable, InvalidRecipe
from dmmsa_cli.layers.dropout import Dropout
from dmmsa_cli.layers.pretrained import (
    copy_description,
    empty_encoder,
    encoder_width,
    find_encoder,
    fingerprint,
    load_encoder,
    make_tiny,
    tokenize,
)
from dmmsa_cli.layers.text import TinyOptions
from tests.ragged import one_group

TEXTS = ["The film was GREAT, truly great", "it was a dull film", "", "I did not like the plot at all", "great great"]
OPTIONS = TinyOptions(width=16, layers=2, heads=2, vocabulary=80)


def tiny(folder, texts=TEXTS, seed=1, max_tokens=16):
    make_tiny(folder, texts, OPTIONS, max_tokens=max_tokens, seed=seed)
    return folder


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("encoder") / "tiny")


@torch.no_grad()
def embed(encoder, tokens):
    return encoder.eval()(tokens.collate(np.arange(len(tokens.ids))))


# --- the tiny one ----------------------------------------------------------------------------------------------------


def test_a_tiny_encoder_is_the_same_every_time(tmp_path):
    one, two = tiny(tmp_path / "one"), tiny(tmp_path / "two")
    assert fingerprint(one) == fingerprint(two)
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes()


@pytest.mark.parametrize("change", [{"seed": 2}, {"texts": [*TEXTS, "something new"]}, {"max_tokens": 20}])
def test_another_seed_corpus_or_length_is_another_encoder(tmp_path, encoder_folder, change):
    assert fingerprint(tiny(tmp_path / "other", **change)) != fingerprint(encoder_folder)


def test_making_one_draws_from_nobody_elses_generator(tmp_path):
    before = torch.get_rng_state()
    tiny(tmp_path / "one")
    assert torch.equal(torch.get_rng_state(), before)


def test_its_width_and_vocabulary_are_those_asked_for(encoder_folder):
    assert encoder_width(encoder_folder) == 16
    encoder = load_encoder(encoder_folder, pooling="pooler")
    assert encoder.width == 16
    assert encoder.backbone.config.vocab_size <= 80
    assert encoder.backbone.config.max_position_embeddings == 16


@pytest.mark.parametrize(
    "content", ['{"hidden_', "[]", '{"hidden_size": "wide"}', None, "[" * 10**6], ids=lambda text: str(text)[:20]
)
def test_the_width_of_a_damaged_encoder(content, tmp_path):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(EncoderUnavailable, match=f"{tmp_path.name} holds no text encoder"):
        encoder_width(tmp_path)


def test_a_fingerprint_does_not_know_the_folders_name_but_every_byte(tmp_path, encoder_folder):
    moved = tiny(tmp_path / "moved")
    assert fingerprint(moved) == fingerprint(encoder_folder)
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps(config | {"hidden_dropout_prob": 0.3}))
    assert fingerprint(moved) != fingerprint(encoder_folder)


# --- tokens ----------------------------------------------------------------------------------------------------------


def ids_of(folder, texts, max_tokens=16):
    return [row.tolist() for row in tokenize(folder, texts, max_tokens).ids]


def test_transcripts_are_lower_cased(encoder_folder):
    assert ids_of(encoder_folder, ["GREAT Film"]) == ids_of(encoder_folder, ["great film"])


def test_a_transcript_is_between_its_marks_and_words_seen_often_are_whole(encoder_folder):
    (great,) = ids_of(encoder_folder, ["great film"])
    assert len(great) == 4
    assert (great[0], great[-1]) == (2, 3)  # [CLS] and [SEP]
    assert 1 not in great  # [UNK]


def test_an_empty_transcript_is_its_two_marks(encoder_folder):
    tokens = tokenize(encoder_folder, ["", "great film"], 16)
    assert tokens.lengths().tolist() == [2, 4]
    assert torch.isfinite(embed(load_encoder(encoder_folder, pooling="pooler"), tokens)).all()


def test_no_transcripts_are_no_tokens(encoder_folder):
    assert len(tokenize(encoder_folder, [], 16).ids) == 0


@pytest.mark.parametrize("max_tokens", [3, 5, 16, 500])
def test_long_transcripts_are_cut(encoder_folder, max_tokens):
    """At what is asked for, or at what the encoder has positions for."""
    limit = min(max_tokens, 16)
    whole, cut = (ids_of(encoder_folder, ["great film " * 40], n)[0] for n in (16, max_tokens))
    assert len(cut) == limit
    assert cut == [*whole[: limit - 1], 3]


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    (tmp_path / "bare").mkdir()
    with pytest.raises(EncoderUnavailable, match="holds no tokenizer"):
        tokenize(tmp_path / "bare", ["x"], 16)


# --- pooling ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["pooler", "mean"])
def encoder(request, encoder_folder):
    return load_encoder(encoder_folder, pooling=request.param).eval()


@given(extra=st.integers(1, 8), seed=st.integers(0, 9))
def test_embeddings_do_not_know_how_far_their_batch_is_padded(encoder, extra, seed):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([6, 2, 4])
    values = torch.randint(0, 20, (3, 6), generator=generator)
    noise = torch.randint(0, 20, (3, extra), generator=generator)
    with torch.no_grad():
        short, long = (encoder(one_group(x, lengths)) for x in (values, torch.cat([values, noise], 1)))
    torch.testing.assert_close(long, short, atol=1e-5, rtol=0)


def test_pooler_is_the_trained_cls_output_and_mean_the_mean_over_valid_tokens(encoder_folder):
    tokens = tokenize(encoder_folder, TEXTS, 16)
    backbone = BertModel.from_pretrained(encoder_folder).eval()
    pooled, mean = (embed(load_encoder(encoder_folder, pooling=kind), tokens) for kind in ("pooler", "mean"))
    for row, ids in enumerate(tokens.ids):
        with torch.no_grad():
            alone = backbone(input_ids=torch.from_numpy(ids)[None])
        torch.testing.assert_close(pooled[row], alone.pooler_output[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(mean[row], alone.last_hidden_state[0].mean(0), atol=1e-5, rtol=0)


def test_the_mean_leaves_no_pooler_to_be_stored_or_decayed(encoder_folder):
    names = {kind: load_encoder(encoder_folder, pooling=kind).state_dict().keys() for kind in ("pooler", "mean")}
    assert any("pooler" in name for name in names["pooler"])
    assert names["mean"] == {name for name in names["pooler"] if "pooler" not in name}


def test_dropout_is_the_encoders_own_unless_one_is_given(encoder_folder):
    def rates(**more):
        modules = load_encoder(encoder_folder, pooling="pooler", **more).modules()
        return {part.p for part in modules if isinstance(part, Dropout)}

    assert rates() == {0.1}
    assert rates(dropout=0.25) == {0.25}
    assert rates(dropout=0.0) == {0.0}


def test_a_description_has_its_name_once_it_is_whole(tmp_path, encoder_folder, monkeypatch):
    def broken_off(source, target):
        target.write_text("{")
        raise OSError("killed")

    monkeypatch.setattr("shutil.copyfile", broken_off)
    with pytest.raises(OSError, match="killed"):
        copy_description(encoder_folder, tmp_path / "text")
    assert list((tmp_path / "text").iterdir()) == []


@pytest.mark.parametrize("pooling", ["pooler", "mean"])
def test_an_empty_encoder_takes_the_weights_of_a_full_one(tmp_path, encoder_folder, pooling):
    copy_description(encoder_folder, tmp_path / "text")
    assert not list((tmp_path / "text").glob("*.safetensors"))
    full, again = load_encoder(encoder_folder, pooling=pooling), empty_encoder(tmp_path / "text", pooling=pooling)
    again.load_state_dict(full.state_dict())
    tokens, same = (tokenize(folder, TEXTS, 16) for folder in (encoder_folder, tmp_path / "text"))
    assert torch.equal(embed(again, same), embed(full, tokens))


@pytest.mark.parametrize("layers", [None, 0, 1, 2])
def test_frozen_layers_are_the_lowest_and_the_embeddings(encoder_folder, layers):
    encoder = load_encoder(encoder_folder, pooling="pooler")
    encoder.freeze(layers)
    trained = {name for name, parameter in encoder.backbone.named_parameters() if parameter.requires_grad}
    assert any(name.startswith("embeddings.") for name in trained) == (layers is None)
    for number in range(2):
        above = any(name.startswith(f"encoder.layer.{number}.") for name in trained)
        assert above == (layers is None or number >= layers)
    assert "pooler.dense.weight" in trained


def test_more_frozen_layers_than_there_are_is_refused(encoder_folder):
    with pytest.raises(InvalidRecipe, match="frozen_layers is 3.*2 layers"):
        load_encoder(encoder_folder, pooling="pooler").freeze(3)


# --- folders that are not what they seem -----------------------------------------------------------------------------


def bert(folder, **more):
    config = BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    BertModel(config, **more).save_pretrained(folder)
    return folder


def test_an_encoder_without_a_trained_pooler_is_refused_for_pooler_and_taken_for_mean(tmp_path):
    folder = bert(tmp_path / "bert", add_pooling_layer=False)
    with pytest.raises(EncoderUnavailable, match="no trained pooler") as refused:
        load_encoder(folder, pooling="pooler")
    assert "--set text.pooling=mean" in str(refused.value)
    assert load_encoder(folder, pooling="mean").width == 16


def test_weights_that_could_run_code_are_refused(tmp_path):
    folder = bert(tmp_path / "bert")
    (folder / "model.safetensors").unlink()
    torch.save(BertModel.from_pretrained(bert(tmp_path / "other")).state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(EncoderUnavailable, match="no text encoder that can be loaded") as refused:
        load_encoder(folder, pooling="mean")
    assert "safetensors" in str(refused.value)


@pytest.mark.parametrize("size", [0, 7, 300])
def test_damaged_weights_are_refused_in_words(tmp_path, size):
    weights = bert(tmp_path / "bert") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    with pytest.raises(EncoderUnavailable, match="no text encoder that can be loaded"):
        load_encoder(tmp_path / "bert", pooling="mean")


@pytest.mark.parametrize("config", ["", "{", "[]", '{"model_type": "no such thing"}'])
def test_a_damaged_configuration_is_refused_in_words(tmp_path, config):
    (bert(tmp_path / "bert") / "config.json").write_text(config)
    with pytest.raises(EncoderUnavailable, match="no text encoder that can be loaded"):
        load_encoder(tmp_path / "bert", pooling="mean")


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "~/no-such-folder-of-encoders"])
def test_a_folder_that_is_not_there_is_named(name):
    with pytest.raises(EncoderUnavailable, match="There is no folder") as refused:
        find_encoder(name)
    assert "--recipe default/tiny" in str(refused.value)


def test_a_local_folder_is_taken_as_it_is(encoder_folder):
    assert find_encoder(str(encoder_folder)) == encoder_folder


# --- the hub, by a stand-in on this machine --------------------------------------------------------------------------

SHA = "0123456789abcdef0123456789abcdef01234567"
FIND = """
import sys
from dmmsa_cli.errors import EncoderUnavailable
from dmmsa_cli.layers.pretrained import find_encoder, fingerprint, load_encoder, tokenize
try:
    folder = find_encoder(sys.argv[1])
except EncoderUnavailable as error:
    print(error)
    sys.exit(3)
if "load" in sys.argv:
    load_encoder(folder, pooling="pooler")
    tokenize(folder, ["great"], 9)
print(sorted(path.name for path in folder.iterdir()), fingerprint(folder))
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers what `snapshot_download` asks a hub for."""

    protocol_version = "HTTP/1.1"

    def __init__(self, folder, asked, *args):
        self.folder, self.asked = folder, asked
        super().__init__(*args)

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = self.path.partition("?")[0]
        self.asked.append(path)
        files = {file.name: file.read_bytes() for file in self.folder.iterdir()}
        api, resolve = "/api/models/some/bert", f"/some/bert/resolve/{SHA}/"
        if path in (api, f"{api}/revision/main"):
            names = [{"rfilename": name} for name in files]
            self.give(json.dumps({"id": "some/bert", "modelId": "some/bert", "sha": SHA, "siblings": names}).encode())
        elif path in (f"{api}/tree/{SHA}", f"{api}/tree/main"):
            listed = [{"type": "file", "path": n, "size": len(c), "oid": oid(c)} for n, c in files.items()]
            self.give(json.dumps(listed).encode())
        elif path.startswith(resolve) and path.removeprefix(resolve) in files:
            content = files[path.removeprefix(resolve)]
            self.give(content, {"X-Repo-Commit": SHA, "ETag": f'"{oid(content)}"'})
        else:
            self.give(b"", status=404)

    def give(self, content, headers=None, status=200):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


def oid(content):
    return hashlib.sha1(content).hexdigest()


@pytest.fixture
def hub(encoder_folder, tmp_path):
    """A hub that has `some/bert`, and the list of what it was asked for."""
    served = tmp_path / "served"
    served.mkdir()
    for path in encoder_folder.iterdir():
        (served / path.name).write_bytes(path.read_bytes())
    (served / "pytorch_model.bin").write_bytes(b"never to be fetched")
    asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, served, asked))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked, server
    server.shutdown()
    server.server_close()


def find(name, endpoint, home, *more):
    """Look for an encoder in a process of its own: the hub's address is read once, at import."""
    hidden = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE", "http_proxy", "HTTP_PROXY")
    env = {key: value for key, value in os.environ.items() if key not in hidden}
    env |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        [sys.executable, "-c", FIND, name, *more], env=env, capture_output=True, text=True, timeout=120
    )


def test_an_encoder_is_fetched_once_and_then_found_offline(hub, encoder_folder, tmp_path):
    endpoint, asked, server = hub
    first = find("some/bert", endpoint, tmp_path / "home", "load")
    assert first.returncode == 0, first.stderr
    assert fingerprint(encoder_folder) in first.stdout
    assert "pytorch_model.bin" not in first.stdout
    assert not any("pytorch_model.bin" in path for path in asked)
    count = len(asked)
    server.shutdown()
    second = find("some/bert", endpoint, tmp_path / "home")
    assert (second.returncode, second.stdout) == (0, first.stdout), second.stderr
    assert len(asked) == count


def assert_ways_out(process, name):
    assert process.returncode == 3, process.stderr
    assert f"The text encoder {name} is not on this machine and can't be fetched from the hub" in process.stdout
    for way in ("text.encoder=", "text.source=features", "default/minilm", "default/tiny", "HF_ENDPOINT"):
        assert way in process.stdout
    assert "Traceback" not in process.stderr


def test_a_hub_without_the_encoder_is_told_with_the_ways_out(hub, tmp_path):
    assert_ways_out(find("some/other", hub[0], tmp_path), "some/other")


def test_a_hub_that_can_not_be_reached_is_told_quickly(tmp_path):
    started = time.monotonic()
    process = find("some/bert", "http://127.0.0.1:9", tmp_path)
    assert_ways_out(process, "some/bert")
    assert time.monotonic() - started < 30


class HangsUp(http.server.BaseHTTPRequestHandler):
    """Reads the question and closes the line."""

    def handle(self):
        self.request.recv(1024)


def test_a_hub_that_hangs_up_is_told_with_the_ways_out(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), HangsUp)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert_ways_out(find("some/bert", f"http://127.0.0.1:{server.server_port}", tmp_path), "some/bert")
    finally:
        server.shutdown()
        server.server_close()


def test_a_name_that_no_hub_can_have_is_told_with_the_ways_out(tmp_path):
    assert_ways_out(find("a/b/c", "http://127.0.0.1:9", tmp_path), "a/b/c")
