"""Files of the field in another order are read as what they are; whatever is not known goes on untouched."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.data import validation
from dmmsa_cli.data.layouts import WHOLE, checked, recognise
from dmmsa_cli.data.repair import clean
from dmmsa_cli.data.specs import DatasetSpec
from dmmsa_cli.errors import InvalidDataset
from tests.data.conftest import ROWS, make_raw

SPEC = DatasetSpec(name="mine", score_range=3.0)
Y = "regression_labels"


def chunks(raw):
    """The rows of each split as they are stored, after whatever repairs."""
    found = recognise(raw)
    layout = checked(found, SPEC)
    return {name: list(clean(values, layout, found.repairs)) for name, values in found.splits.items()}


def alike(one, two):
    """Whether two files are stored alike; lengths that are recomputed are the same lengths."""
    ours, theirs = chunks(one), chunks(two)
    assert list(ours) == list(theirs)
    for name, found in ours.items():
        for a, b in zip(found, theirs[name], strict=True):
            assert (a.ids, a.texts) == (b.ids, b.texts)
            np.testing.assert_array_equal(a.labels["y"], b.labels["y"])
            assert a.sequences.keys() == b.sequences.keys()
            for m, (lengths, frames) in a.sequences.items():
                np.testing.assert_array_equal(lengths, b.sequences[m][0])
                np.testing.assert_array_equal(frames, b.sequences[m][1])


@pytest.fixture
def plain():
    """A file whose sequences end with a frame that is not zero, so that recomputed lengths are the given ones."""
    raw = make_raw()
    for split in raw.values():
        for letter in "TVA":
            del split[f"{Y}_{letter}"]
    return raw


def _config(raw):
    raw["config"] = {"audio": {"tool": "librosa"}, "text": {"model": "bert"}, "video": {"fps": 25}}


def _dev(raw):
    raw["dev"] = raw.pop("valid")


def _val(raw):
    raw["val"] = raw.pop("valid")


def _columns(raw):
    for split in raw.values():
        split[Y] = split[Y][:, None]


def _mult_labels(raw):
    for split in raw.values():
        split["labels"] = split.pop(Y)[:, None, None]


def _listed_columns(raw):
    for split in raw.values():
        split[Y] = [[float(score)] for score in split[Y]]


def _bytes(raw):
    for split in raw.values():
        split["id"] = np.array([name.encode() for name in split["id"]])
        split["raw_text"] = [text.encode() for text in split["raw_text"]]


def _ragged(raw):
    for split in raw.values():
        rows = [frames[:length] for frames, length in zip(split["audio"], split.pop("audio_lengths"), strict=True)]
        split["audio"] = rows


def _ragged_objects(raw):
    _ragged(raw)
    for split in raw.values():
        rows = np.empty(len(split["audio"]), object)
        rows[:] = split["audio"]
        split["audio"] = rows


def _examples(raw):
    """MAG-BERT's: both feature sequences have a frame for each word."""
    for name, split in raw.items():
        raw[name] = [
            (
                (split["raw_text"][n].split(), split["vision"][n], split["audio"][n]),
                np.array([[split[Y][n]]]),
                split["id"][n],
            )
            for n in range(len(split["id"]))
        ]


@pytest.mark.parametrize(
    ("write", "repair"),
    [
        (_dev, "split dev: read as valid"),
        (_val, "split val: read as valid"),
        (_columns, "regression_labels: one column read as a vector (splits)"),
        (_listed_columns, "regression_labels: one column read as a vector (splits)"),
        (_mult_labels, "labels: read as regression_labels (splits)"),
        (_bytes, "raw_text: bytes read as UTF-8 (splits)"),
        (_ragged, "audio: sequences of several lengths, padded (splits)"),
        (_ragged_objects, "audio: sequences of several lengths, padded (splits)"),
        (_examples, "list of ((words, vision, audio), label, id): read as keys (splits)"),
    ],
)
def test_another_order_is_read_as_the_fields_own_and_counted(plain, write, repair):
    written = copy.deepcopy(plain)
    write(written)
    assert repair in recognise(written).repairs
    assert repair in checked(recognise(written), SPEC).repairs
    order = [name for name in ("train", "valid", "test") if name in recognise(written).splits]
    found = recognise(written).splits
    alike({name: found[name] for name in order}, plain)


def test_what_is_in_the_fields_own_order_is_left_as_it_is(plain):
    found = recognise(plain)
    assert (dict(found.repairs), found.remarks) == ({}, [])
    for name, split in plain.items():
        assert all(found.splits[name][key] is value for key, value in split.items())


def test_the_file_itself_is_not_changed(plain):
    for write in (_mult_labels, _ragged, _dev):
        write(plain)
    keys = {name: set(split) for name, split in plain.items()}
    recognise(plain)
    assert {name: set(split) for name, split in plain.items()} == keys


def test_settings_beside_the_splits_are_left_out_by_name(plain):
    _config(plain)
    found = recognise(plain)
    assert list(found.splits) == list(ROWS)
    assert found.remarks == ["config holds no clips (audio, text, video), and is left out."]


def test_ids_of_video_and_time_name_videos_and_their_clips(plain):
    for split in plain.values():
        rows = np.empty((len(split["id"]), 3), object)
        rows[:, 0], rows[:, 1], rows[:, 2] = ["v1", "v2", "v1", "v2", *["v3"] * len(rows)][: len(rows)], "0.5", "1.5"
        split["id"] = rows
    found = recognise(plain).splits
    assert found["train"]["id"][:5] == ["v1$_$1", "v2$_$1", "v1$_$2", "v2$_$2", "v3$_$1"]
    assert found["valid"]["id"][:2] == ["v1$_$3", "v2$_$3"]  # of the same video, in another split
    checked(recognise(plain), SPEC)


def test_clips_are_numbered_by_their_start_wherever_they_stand():
    starts = {"train": ["9.5", "100", "1e1"], "test": ["11", "2"]}
    raw = {name: {"id": np.array([["v", start, "0"] for start in of], object)} for name, of in starts.items()}
    raw["valid"] = {"id": np.array([["w", "b", "0"], ["w", "a", "0"]], object)}  # starts that are none: as they stand
    found = recognise(raw).splits
    assert found["train"]["id"] == ["v$_$2", "v$_$5", "v$_$3"]
    assert found["test"]["id"] == ["v$_$4", "v$_$1"]
    assert found["valid"]["id"] == ["w$_$1", "w$_$2"]


def test_arrays_without_axes_are_what_they_hold():
    """As `numpy.load` gives a text, None or a dict that was saved."""
    raw = {
        "id": np.array("film$_$1"),
        "raw_text": np.array("a film"),
        "audio": np.ones((4, 3)),
        "vision": np.array(None),
    }
    layout = checked(recognise(raw), SPEC, whole=False)
    assert layout.rows == {WHOLE: 1}
    whole = {"train": np.array(make_raw()["train"], object)}
    assert checked(recognise(whole), SPEC, whole=False).rows == {"train": 6}


@pytest.mark.parametrize("listed", [False, True])
def test_one_vector_a_clip_is_a_sequence_of_one_frame(plain, listed):
    vectors = {name: split["audio"][:, 0].copy() for name, split in plain.items()}
    for name, split in plain.items():
        del split["audio_lengths"]
        split["audio"] = vectors[name].tolist() if listed else vectors[name]
    for name, found in chunks(plain).items():
        lengths, frames = found[0].sequences["a"]
        assert lengths.tolist() == [1] * ROWS[name]
        np.testing.assert_array_equal(frames, vectors[name])


def test_a_single_clip_has_no_rows():
    """As MMSA-FET's run_single writes it."""
    rng = np.random.default_rng(0)
    raw = {
        "audio": rng.normal(size=(157, 5)),
        "vision": rng.normal(size=(49, 7)),
        "text": rng.normal(size=(24, 8)),
        "text_bert": np.ones((3, 24)),
    }
    _config(raw)
    found = recognise(raw)
    layout = checked(found, SPEC, whole=False)
    assert layout.rows == {WHOLE: 1}
    assert layout.widths == {"t": 8, "v": 7, "a": 5}
    assert "The file holds one clip." in found.remarks
    raw |= {"id": "film$_$3", "raw_text": "a film", "regression_labels": 1.5}
    (clip,) = clean(recognise(raw).splits[WHOLE], checked(recognise(raw), SPEC, whole=False), found.repairs)
    assert (clip.ids, clip.texts, clip.labels["y"].tolist()) == (["film$_$3"], ["a film"], [1.5])
    assert clip.sequences["a"][0].tolist() == [157]


def test_a_file_without_splits_has_one(plain):
    found = recognise(plain["train"])
    assert found.without_splits
    assert found.splits[WHOLE].keys() == plain["train"].keys()


def test_what_lacks_everything_is_refused_with_what_is_there():
    raw = {name: {"facet": np.zeros((2, 3)), "glove": np.zeros((2, 3))} for name in ROWS}
    with pytest.raises(InvalidDataset, match=r"none of raw_text.*the file has facet, glove"):
        checked(recognise(raw), SPEC)


def test_seven_columns_are_named(plain):
    for split in plain.values():
        split[Y] = np.repeat(split[Y][:, None], 7, axis=1)
    with pytest.raises(InvalidDataset, match=r"\(6, 7\) where \(rows,\).*sentiment, happy.*Keep column 0"):
        checked(recognise(plain), SPEC)


# --- strangers --------------------------------------------------------------------------------------------------------

ARRAYS = [np.array("x"), np.array(None), np.array({}), np.array(1), np.zeros(0), np.zeros((2, 1))]
ARRAYS += [np.zeros((2, 3), np.int8), np.array([None, "x"], object)]
KEYS = ["id", "text", "audio", "raw_text", "labels", Y, "config", 1]
SIMPLE = st.none() | st.integers(-3, 3) | st.floats() | st.text(max_size=3) | st.binary(max_size=3)
THINGS = st.recursive(
    SIMPLE | st.sampled_from(ARRAYS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner, inner) | st.dictionaries(st.sampled_from(KEYS), inner)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["train", "valid", "dev", "test", "id", "audio", "config"]), THINGS) | THINGS)
def test_whatever_a_file_holds_is_recognised_or_refused_in_words(raw):
    found = recognise(raw)
    for whole in (True, False):
        try:
            layout = checked(found, SPEC, whole=whole)
        except InvalidDataset:
            continue
        assert layout.rows


def test_without_it_a_file_of_another_order_is_refused(plain):
    """So that the tests above show what recognising is good for."""
    for write in (_dev, _columns, _mult_labels, _bytes, _ragged, _examples):
        written = copy.deepcopy(plain)
        write(written)
        with pytest.raises(InvalidDataset):
            validation.check(written, SPEC)
