"""Emotions for clips that nobody has labelled with any."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from dmmsa_cli.data.store import open_store
from dmmsa_cli.errors import DmmsaError, InvalidInput, InvalidRecipe
from dmmsa_cli.experiments.pseudo_emotions import check_gives, nearest_emotions
from dmmsa_cli.stages.prepare import prepare
from tests.conftest import SPEC

NAN = np.nan


def rows(scores, vectors, emotions=None):
    found = SimpleNamespace(labels={"y": np.float32(scores)}, vectors=torch.tensor(vectors), emotions=None)
    if emotions is not None:
        found.emotions = np.array(emotions, np.float32)
    return type("Rows", (), {"__len__": lambda self: len(scores), **vars(found)})()


def nearest(mine, theirs):
    return nearest_emotions(mine, theirs, lambda some: some.vectors)


def test_the_nearest_is_that_of_the_smallest_angle_whatever_the_lengths():
    mine = rows([1.0, 2.0], [[1.0, 0.1], [0.2, 1.0]])
    theirs = rows([0.1, 0.2], [[0.1, 0.0], [0.0, 50.0]], [[1, 0], [0, 1]])
    np.testing.assert_array_equal(nearest(mine, theirs), [[1, 0], [0, 1]])


def test_only_a_transcript_of_the_same_polarity_is_asked():
    same = [[1.0, 0.0]] * 3
    theirs = rows([-1.0, 0.0, 1.0], same, [[1, 0], [0, 1], [1, 1]])
    np.testing.assert_array_equal(nearest(rows([2.5, -0.2, 0.0], same), theirs), [[1, 1], [1, 0], [0, 1]])


def test_where_nobody_has_that_polarity_nothing_is_known():
    theirs = rows([1.0], [[1.0, 0.0]], [[1, 0]])
    found = nearest(rows([-1.0, 1.0], [[1.0, 0.0]] * 2), theirs)
    assert np.isnan(found[0]).all()
    assert found[1].tolist() == [1, 0]


def test_a_clip_of_which_nothing_is_known_is_passed_over_and_what_is_half_known_is_taken_so():
    theirs = rows([1.0, 1.0], [[1.0, 0.0], [0.9, 0.1]], [[NAN, NAN], [NAN, 1]])
    np.testing.assert_array_equal(nearest(rows([1.0], [[1.0, 0.0]]), theirs), [[NAN, 1]])


def test_more_clips_than_are_sought_at_a_time(monkeypatch):
    monkeypatch.setattr("dmmsa_cli.experiments.pseudo_emotions.CHUNK", 2)
    rng = np.random.default_rng(0)
    mine, theirs = rng.normal(size=(7, 4)), rng.normal(size=(9, 4))
    theirs[3] *= 100
    emotions = np.eye(9, dtype=np.float32)
    found = nearest(rows([1.0] * 7, mine), rows([1.0] * 9, theirs, emotions))
    cosines = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in theirs] for a in mine]
    assert found.argmax(1).tolist() == np.argmax(cosines, axis=1).tolist()


# --- through `prepare` ------------------------------------------------------------------------------------------------


@pytest.fixture
def data(corpus, tmp_path):
    """A dataset with emotions, `felt`, and the same without, `bare`."""
    bare = {name: {k: v for k, v in split.items() if k != "emotions"} for name, split in corpus.items()}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    for name, raw in (("felt", corpus), ("bare", bare)):
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(raw))
        prepare(
            name,
            data_dir=tmp_path / "data",
            source=str(tmp_path / f"{name}.pkl"),
            spec_file=tmp_path / "spec.yaml",
        )
    return tmp_path / "data"


def take(data, micro, name="bare", origin="felt", **more):
    return prepare(name, data_dir=data, emotions_from=origin, recipe=str(micro), runs_dir=data.parent / "runs", **more)


def test_clips_take_the_emotions_of_their_own_transcript_from_a_dataset_that_has_it(data, micro, corpus):
    before = open_store(data / "bare").manifest
    report = take(data, micro)
    manifest, origin = open_store(data / "bare").manifest, open_store(data / "felt").manifest
    given, found = corpus["train"]["emotions"], open_store(data / "bare").split("train").emotions
    known = ~np.isnan(given).any(axis=1)
    np.testing.assert_array_equal(found[known], given[known])
    assert not np.isnan(found).any()  # those of which nothing is known have those of another
    assert (report.written, manifest.data_hash) == (True, before.data_hash)
    record = manifest.pseudo_emotions
    assert record | {"encoder_hash": ""} == {
        "dataset": "felt",
        "data_hash": origin.data_hash,
        "emotions_hash": origin.emotions_hash,
        "encoder": "tiny",
        "encoder_hash": "",
        "max_tokens": 256,
    }
    assert len(record["encoder_hash"]) == 64
    assert set(report.emotions) == {"train"}
    assert report.emotions["train"].present["joy"] == int((found[:, 0] == 1).sum())


def test_the_second_time_nothing_is_done_and_without_asking_they_stay(data, micro):
    take(data, micro)
    train = open_store(data / "bare").manifest.files["train"]
    assert not take(data, micro).written
    assert not prepare("bare", data_dir=data).written
    assert open_store(data / "bare").manifest.files["train"] == train
    prepare("bare", data_dir=data, source=str(data.parent / "bare.pkl"), force=True)
    assert open_store(data / "bare").manifest.emotions == ()


def test_other_emotions_there_are_taken_anew(data, micro, corpus):
    take(data, micro)
    first = open_store(data / "bare").manifest
    for split in corpus.values():
        assert split["emotions"].shape[1] == 6
    raw = {name: split | {"emotions": 1 - split["emotions"]} for name, split in corpus.items()}
    (data.parent / "other.pkl").write_bytes(pickle.dumps(raw))
    prepare("felt", data_dir=data, source=str(data.parent / "other.pkl"), force=True)
    assert take(data, micro).written
    assert open_store(data / "bare").manifest.emotions_hash != first.emotions_hash


@pytest.mark.parametrize(
    ("name", "origin", "message"),
    [
        ("felt", "felt", "felt has emotions of its own"),
        ("bare", "bare", "bare has no emotions that somebody gave"),
    ],
)
def test_who_has_emotions_takes_none_and_who_has_none_gives_none(data, micro, name, origin, message):
    before = open_store(data / name).manifest
    with pytest.raises(InvalidInput, match=message):
        take(data, micro, name, origin)
    assert open_store(data / name).manifest == before


def test_pseudo_emotions_are_not_handed_on(data, micro):
    take(data, micro)
    with pytest.raises(InvalidInput, match="bare has no emotions that somebody gave"):
        check_gives(open_store(data / "bare"))


def test_a_recipe_without_a_text_encoder_tells_nothing_near(data, micro):
    recipe = yaml.safe_load(micro.read_text())
    recipe["text"] = {"source": "features"}
    path = data.parent / "features.yaml"
    path.write_text(yaml.safe_dump(recipe))
    with pytest.raises(InvalidRecipe, match="features reads no transcripts"):
        take(data, path)


def test_a_recipe_belongs_to_emotions(data, micro):
    with pytest.raises(InvalidInput, match="--recipe says which text encoder"):
        prepare("bare", data_dir=data, recipe=str(micro))


@pytest.mark.parametrize(("origin", "recipe"), [("nosuch", None), ("bare", None), ("felt", "nosuch")])
def test_what_can_not_be_is_told_before_anything_is_prepared(data, micro, origin, recipe):
    with pytest.raises(DmmsaError):
        prepare(
            "new",
            data_dir=data,
            source=str(data.parent / "felt.pkl"),
            spec_file=data.parent / "spec.yaml",
            emotions_from=origin,
            recipe=recipe or str(micro),
        )
    assert not (data / "new").exists()
