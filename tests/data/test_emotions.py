"""Emotions of clips: what is taken, what is refused, and what a store gives back of them."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from dmmsa_cli import files
from dmmsa_cli.data import toy, validation
from dmmsa_cli.data.features import read_features
from dmmsa_cli.data.specs import EMOTIONS, SPECS, load_spec
from dmmsa_cli.data.store import open_store
from dmmsa_cli.data.writing import add_pseudo_emotions
from dmmsa_cli.errors import DiskFull, InvalidDataset, InvalidSpec, StoreMismatch
from tests.data.conftest import ROWS, make_raw
from tests.data.test_store import write

NAN = np.nan


def with_emotions(raw, seed=0):
    rng = np.random.default_rng(seed)
    for split in raw.values():
        values = rng.choice([0.0, 1.0, NAN], (len(split["id"]), 6)).astype(np.float32)
        split["emotions"] = values
    return raw


@pytest.fixture
def emotional(raw):
    return with_emotions(raw)


@pytest.mark.parametrize("listed", [False, True])
def test_the_store_gives_back_the_emotions_of_every_row(tmp_path, emotional, spec, monkeypatch, listed):
    monkeypatch.setattr("dmmsa_cli.data.chunks.CHUNK_ROWS", 2)
    expected = {name: split["emotions"] for name, split in emotional.items()}
    if listed:
        for split in emotional.values():
            split["emotions"] = split["emotions"].tolist()
    manifest = write(tmp_path / "mine", emotional, spec)
    opened = open_store(tmp_path / "mine")
    for name, values in expected.items():
        np.testing.assert_array_equal(opened.split(name).emotions, values)
        assert opened.split(name).emotions.dtype == np.float32
    assert (manifest.emotions, manifest.pseudo_emotions) == (EMOTIONS, None)
    assert manifest.repairs.get("emotions: list read as an array (splits)") == (3 if listed else None)


def test_what_does_not_look_at_emotions_stays_what_it_was_when_they_come_or_change(tmp_path, spec):
    plain, one, other = (write(tmp_path / name, raw, spec) for name, raw in (
        ("plain", make_raw()), ("one", with_emotions(make_raw())), ("other", with_emotions(make_raw(), seed=1))
    ))  # fmt: skip
    assert plain.data_hash == one.data_hash == other.data_hash
    assert (plain.emotions, plain.emotions_hash) == ((), None)
    assert open_store(tmp_path / "plain").split("train").emotions is None
    assert one.emotions_hash and one.emotions_hash != other.emotions_hash


def test_the_same_emotions_under_other_names_are_others(tmp_path, spec):
    named = replace(spec, emotions=("love", *EMOTIONS[1:]))
    one = write(tmp_path / "one", with_emotions(make_raw()), spec)
    assert one.emotions_hash != write(tmp_path / "other", with_emotions(make_raw()), named).emotions_hash


def spoiled(values, row, column, value):
    values = values.copy()
    values[row, column] = value
    return values


FAULTS = {
    "missing in one split": (lambda v: None, "is missing, and is there in"),
    "a degree": (lambda v: spoiled(v, 2, 1, 0.33), r"holds 0\.33 for sadness in row 2"),
    "infinite": (lambda v: spoiled(v, 1, 0, np.inf), "holds inf for joy in row 1"),
    "negative": (lambda v: spoiled(v, 0, 5, -1), "holds -1 for fear in row 0"),
    "too few columns": (lambda v: v[:, :5], r"has shape \(4, 5\) where \(rows, 6\) should be: joy, sadness"),
    "flat": (lambda v: v[:, 0], r"has shape \(4,\) where"),
    "too few rows": (lambda v: v[:3], "has 3 rows where the split has 4"),
    "names": (lambda v: np.full(v.shape, "joy"), "where numbers should be"),
    "names in lists": (lambda v: [["joy"] * 6] * 4, "where numbers should be"),
    "rows of several lengths": (lambda v: [[0.0] * 6] * 3 + [[0.0]], "rows of several lengths"),
    "no rows at all": (lambda v: 3, "where 4 rows should be"),
}


@pytest.mark.parametrize(("spoil", "message"), FAULTS.values(), ids=FAULTS)
def test_what_are_no_emotions_is_told_and_refused(emotional, spec, spoil, message):
    values = spoil(emotional["valid"]["emotions"])
    emotional["valid"]["emotions"] = values
    if values is None:
        del emotional["valid"]["emotions"]
    with pytest.raises(InvalidDataset, match=message):
        validation.check(emotional, spec)


def test_of_a_file_to_predict_unusable_emotions_are_left_out_with_a_warning(tmp_path, emotional, spec):
    emotional["valid"]["emotions"] = emotional["valid"]["emotions"] * 3
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(emotional))
    features = read_features(tmp_path / "x.pkl", spec)
    assert features.splits["train"].emotions is None
    (warning,) = [w for w in features.layout.warnings if "emotions" in w]
    assert "left out" in warning
    assert "valid" in warning


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("[love, hate]", ("love", "hate")),
        *((wrong, None) for wrong in ("[a, a]", "[]", "love", "[1, 2]", "['a b']", "[emotions]")),
    ],
)
def test_a_spec_names_the_columns(tmp_path, written, expected):
    path = tmp_path / "spec.yaml"
    path.write_text(f"score_range: 1\nemotions: {written}\n")
    if expected is None:
        with pytest.raises(InvalidSpec, match="emotions: must be a list of words"):
            load_spec(path, "mine")
    else:
        assert load_spec(path, "mine").emotions == expected


# --- pseudo-labels ---------------------------------------------------------------------------------------------------

ORIGIN = {"dataset": "other", "encoder": "some", "emotions_hash": "x"}


def labels(value=1.0):
    values = np.zeros((ROWS["train"], 6), np.float32)
    values[:, 0] = np.arange(ROWS["train"]) % 2
    values[0] = NAN
    values[1, 1] = value
    return values


def test_pseudo_emotions_are_the_training_split_s_alone(tmp_path, raw, spec, monkeypatch):
    monkeypatch.setattr("dmmsa_cli.data.chunks.CHUNK_ROWS", 4)
    folder = tmp_path / "mine"
    before = write(folder, raw, spec)
    for value in (1.0, 0.0):  # the second time in the place of the first
        manifest = add_pseudo_emotions(folder, EMOTIONS, labels(value), ORIGIN)
        opened = open_store(folder)
        assert opened.manifest == manifest
        np.testing.assert_array_equal(opened.split("train").emotions, labels(value))
        assert [opened.split(name).emotions for name in ("valid", "test")] == [None, None]
        np.testing.assert_array_equal(opened.split("train").labels["y"], raw["train"]["regression_labels"])
        audio, length = raw["train"]["audio"][5], raw["train"]["audio_lengths"][5]
        np.testing.assert_array_equal(opened.split("train").sequence("a", 5), audio[:length])
        assert (manifest.data_hash, manifest.pseudo_emotions) == (before.data_hash, ORIGIN)
    assert len(list(folder.glob("*.arrow*"))) == 3


def test_without_room_the_store_stays_as_it_was(tmp_path, raw, spec, monkeypatch):
    folder = tmp_path / "mine"
    before = write(folder, raw, spec)

    def full(*_):
        raise DiskFull("no room")

    monkeypatch.setattr(files, "write_json", full)
    with pytest.raises(DiskFull):
        add_pseudo_emotions(folder, EMOTIONS, labels(), ORIGIN)
    assert open_store(folder).manifest == before
    assert {path.name for path in folder.glob("*.arrow*")} == set(before.files.values())


@pytest.mark.parametrize(
    "change",
    [
        {"emotions": []},
        {"emotions_hash": None},
        {"emotions": ["joy"]},
        {"pseudo_emotions": None},
        {"pseudo_emotions": {}},
    ],
)
def test_a_manifest_that_does_not_fit_its_emotions_is_a_damaged_store(tmp_path, raw, spec, change):
    folder = tmp_path / "mine"
    write(folder, raw, spec)
    add_pseudo_emotions(folder, EMOTIONS, labels(), ORIGIN)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | change))
    with pytest.raises(StoreMismatch, match="damaged"):
        open_store(folder)


# --- the toy corpus --------------------------------------------------------------------------------------------------


def test_words_of_the_toy_corpus_tell_its_emotions():
    told = toy._emotions(
        ["the plot was nice", "the plot was not nice", "so so and really awful and not odd", "a dull, x"]
    )
    joy, disgust = EMOTIONS.index("joy"), EMOTIONS.index("disgust")
    expected = np.zeros((4, 6), np.float32)
    expected[0, joy] = expected[2, disgust] = 1
    np.testing.assert_array_equal(told, expected)


def test_every_emotion_is_present_in_every_split_of_the_toy_corpus_and_some_are_not_known():
    raw, _ = toy.generate()
    for split in raw.values():
        values = split["emotions"]
        assert (np.nansum(values, axis=0) > 5).all()
        unknown = np.flatnonzero(np.isnan(values).any(axis=1))
        assert unknown.tolist() == list(range(19, len(values), 20))
        assert (np.nansum(values, axis=1) == 0).mean() < 0.5
    words = {word for lexicon in (toy.POSITIVE, toy.NEGATIVE) for some in lexicon.values() for word in some}
    assert set(toy.EMOTION_OF) <= words
    validation.check(raw, SPECS["toy"])
