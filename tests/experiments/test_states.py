"""Cached token states: what a model reads is what the frozen encoder gives, written once, in parts, and mapped."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dmmsa_cli.data.specs import SPLITS
from dmmsa_cli.experiments import states
from dmmsa_cli.experiments.build import Fused
from dmmsa_cli.experiments.cache import cached_embeddings
from dmmsa_cli.experiments.encoders import Encoders
from dmmsa_cli.experiments.inputs import Inputs, embedded_views, labelled, tokens
from dmmsa_cli.experiments.states import cached_states
from dmmsa_cli.training.run import RunFolder
from tests.training_runs import open_mini

READS = ("model.name=tfn", "objective=regression", "pretraining=null")
TFN = {"name": "tfn", "text_hidden": 8, "audio_hidden": 4, "vision_hidden": 4, "text_width": 4, "fusion_width": 8}


@pytest.fixture
def encoders(prepared, micro, tmp_path):
    def opened(*settings, seed=1):
        recipe = yaml.safe_load(micro.read_text()) | {"model": TFN, "objective": "regression", "pretraining": None}
        path = tmp_path / "tfn.yaml"
        path.write_text(yaml.safe_dump(recipe))
        return Encoders(open_mini(prepared, path, tmp_path / "runs", *settings), RunFolder(tmp_path / "run"), seed, {})

    return opened


def rows_of(encoders, name):
    return tokens(encoders.experiment, encoders.text_folder, encoders.experiment.store.split(name))


def read(encoders):
    return cached_states(encoders, lambda name: rows_of(encoders, name))


@pytest.mark.parametrize("chunk", [5, 1024])
def test_states_are_those_of_the_encoder_row_by_row(encoders, monkeypatch, chunk):
    monkeypatch.setattr(states, "CHUNK", chunk)
    monkeypatch.setattr(states, "BATCH", 3)
    found = encoders()
    cached, encoder = read(found), found.frozen_text().eval()
    assert set(cached) == set(SPLITS)
    for name, split in cached.items():
        rows = rows_of(found, name)
        assert list(split.lengths("t")) == list(rows.lengths())
        for row in range(len(split)):
            with torch.no_grad():
                alone = encoder.states(rows.collate(np.array([row]))).values[0]
            np.testing.assert_allclose(split.sequence("t", row), alone.numpy(), atol=2e-3)


def test_the_model_is_given_them_as_they_are(encoders):
    """In the order of the split, under the rows that a batch names."""
    found = encoders()
    view, split = Fused(found).inputs.split("valid"), read(found)["valid"]
    named = (7, 2, 11)
    batch = view.batch(np.array(named))
    (group,), (clips,) = batch.inputs["t"].groups, batch.inputs["t"].clips()
    for place, clip in enumerate(clips.tolist()):
        expected = split.sequence("t", named[clip]).astype(np.float32)
        np.testing.assert_array_equal(group.values[place, : group.lengths[place]].numpy(), expected)
    assert sorted(clips.tolist()) == [0, 1, 2]


def test_padding_has_states_of_its_own_where_it_counts(encoders):
    plain, padded = encoders(), encoders("data.padded=true", "text.max_tokens=40")
    short = encoders("text.max_tokens=40")
    filled = lambda name: replace(rows_of(padded, name), filled=40)  # noqa: E731
    whole, real = cached_states(padded, filled)["valid"], read(short)["valid"]
    assert set(whole.lengths("t")) == {40}
    for row in range(len(real)):
        own = real.sequence("t", row)
        np.testing.assert_allclose(whole.sequence("t", row)[: len(own)], own, atol=2e-3)
        assert np.abs(whole.sequence("t", row)[len(own) :]).min() > 0
    folder = plain.experiment.folder / "cache"
    assert len({path.name.rsplit("-", 1)[0] for path in folder.glob("states-*")}) == 2  # `plain` was never read


def test_they_are_written_once_and_again_where_they_are_damaged(encoders):
    found = encoders()
    before = read(found)["test"].sequence("t", 3).copy()
    again = cached_states(found, lambda name: pytest.fail("it is cached"))
    assert np.array_equal(again["test"].sequence("t", 3), before)
    (path,) = (found.experiment.folder / "cache").glob("states-*-test.arrow")
    content = path.read_bytes()
    path.unlink()  # what was mapped stays
    path.write_bytes(content[:100])
    asked = []
    after = cached_states(found, lambda name: asked.append(name) or rows_of(found, name))
    assert asked == ["test"]
    assert np.array_equal(after["test"].sequence("t", 3), before)


def test_what_decides_them_is_what_decides_embeddings(encoders, micro, prepared, tmp_path):
    """And no run reads the states of another encoder, or embeddings in their place."""
    names = {}
    for settings in ((), ("text.max_tokens=9",), ("text.tiny.width=32",), ("data.fraction=0.5",)):
        found = encoders(*settings)
        read(found)
        names[settings] = {path.name for path in (found.experiment.folder / "cache").glob("states-*")} - set().union(
            *names.values()
        )
    assert all(len(made) == 3 for made in names.values())
    cached_embeddings(encoders(), lambda: {"train": torch.ones(1, 1)})
    assert not [name for made in names.values() for name in made if name.startswith("text-")]


@pytest.mark.parametrize("native", [True, False])
def test_frozen_text_is_encoded_in_the_arithmetic_of_the_run_where_the_hardware_has_it(encoders, monkeypatch, native):
    monkeypatch.setattr("dmmsa_cli.runtime._cpu_has", lambda question: native)
    found, taken = encoders("precision=bf16"), []
    frozen, rows = found.frozen_text(), rows_of(found, "valid")
    frozen.backbone.register_forward_pre_hook(lambda *given: taken.append(torch.is_autocast_enabled("cpu")))
    monkeypatch.setattr(Encoders, "frozen_text", lambda self: frozen)
    inputs, split = Inputs(found), found.experiment.store.split("valid")
    view = labelled(found.experiment, "valid", 1, {"t": rows})
    for encode in (
        lambda: read(found),
        lambda: inputs.encoded(rows, frozen),
        lambda: inputs._embed({"": split})[""],
        lambda: embedded_views(found.experiment, frozen, {"valid": view})["valid"].inputs["t"],
    ):
        taken.clear()
        encoded = encode()
        assert set(taken) == {native}
        assert not isinstance(encoded, torch.Tensor) or encoded.dtype == torch.float32


MEASURE = """
import sys
from pathlib import Path
import numpy as np
import torch
from transformers import BertConfig, BertModel
from dmmsa_cli.bench.process import AnonymousPeak
from dmmsa_cli.data.sequences import ONE_GROUP, Frames, Tokens
from dmmsa_cli.experiments.states import read_states, state_batches, write_states
from dmmsa_cli.layers.text import TextEncoder

rows, path = int(sys.argv[1]), Path(sys.argv[2])
rng = np.random.default_rng(0)
lengths = np.clip(rng.lognormal(3, 0.6, rows).astype(int), 3, 256)  # as CMU-MOSEI's transcripts: 24 words, some 200
tokens = Tokens([rng.integers(5, 900, n) for n in lengths], padding=0)
config = BertConfig(vocab_size=1000, hidden_size=768, num_hidden_layers=1, intermediate_size=768)
encoder = TextEncoder(BertModel(config), pooling="mean")
with AnonymousPeak() as peak:
    before = peak.bytes
    write_states(path, state_batches(encoder, tokens, device=torch.device("cpu")), 768)
print("writing", peak.bytes - before)
with AnonymousPeak() as peak:
    before = peak.bytes
    split = read_states("train", path)
    frames = Frames(split, "t", 768, waste=ONE_GROUP)
    for start in range(0, rows, 64):
        frames.collate(np.arange(start, min(start + 64, rows)))
print("reading", peak.bytes - before)
print("size", path.stat().st_size, int(lengths.sum()))
"""


@pytest.mark.slow
def test_the_states_of_cmu_mosei_need_not_fit_into_memory(tmp_path):
    """16,326 transcripts, 768 wide: written in parts, and read without loading them."""
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell how much memory is a process's own")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, "16326", str(tmp_path / "states.arrow")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = {words[0]: [int(word) for word in words[1:]] for words in map(str.split, done.stdout.splitlines())}
    size, count = told["size"]
    assert size >= 2 * 768 * count > 500e6
    assert told["writing"][0] < 2**30
    assert told["reading"][0] < 2**28 < size
