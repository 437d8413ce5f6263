"""All faults at once, and every repair counted."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dmmsa_cli.data import repair, validation
from dmmsa_cli.errors import InvalidDataset


def faults(raw, spec):
    with pytest.raises(InvalidDataset) as error:
        validation.check(raw, spec)
    return str(error.value)


def cleaned(raw, spec, split="train"):
    """Chunk of a split, and what was repaired in it."""
    layout = validation.check(raw, spec)
    repairs = Counter(layout.repairs)
    (chunk,) = repair.clean(raw[split], layout, repairs)
    return chunk, repairs


def test_a_sound_file(raw, spec):
    layout = validation.check(raw, spec)
    assert layout.modalities == ("t", "v", "a")
    assert layout.widths == {"v": 4, "a": 3}
    assert layout.labels == ("y", "t", "v", "a")
    assert layout.rows == {"train": 6, "valid": 4, "test": 5}
    assert (layout.repairs, layout.warnings, layout.transcripts) == ({}, (), True)


@pytest.mark.parametrize("value", [None, [], {}, "text", np.zeros(3), {"train": 5, "valid": None, "test": []}])
def test_what_is_no_dict_of_splits(value, spec):
    assert "should be" in faults(value, spec) or "missing" in faults(value, spec)


def test_all_faults_at_once(raw, spec):
    del raw["valid"]
    train, test = raw["train"], raw["test"]
    train["regression_labels"][2:4] = np.nan, 3.5
    train["id"][1] = train["id"][0]
    train["raw_text"][3] = 7
    train["audio"] = train["audio"][:4]
    test["vision"] = test["vision"][:, :, 0]
    test["id"][0] = train["id"][5]
    test["regression_labels_T"] = test["regression_labels_T"][:, None]
    del test["regression_labels_A"], test["audio_lengths"]
    told = faults(raw, spec)
    for part in (
        "valid  -",
        "the split is missing",
        "1 label is NaN, the first in row 2",
        "1 label is outside [-3, 3], the first in row 3: 3.5",
        "1 id is more than once: train0$_$0",
        "row 3 is a int where a string should be",
        "has 4 rows where the split has 6",
        "has shape (5, 9) where (rows, steps, width) should be",
        "1 id is also in train: train2$_$5",
        "has shape (5, 1) where (rows,) should be",
        "is missing, and is there in train",
    ):
        assert part in told, told
    assert "10 faults" in told or "11 faults" in told


FAULTY = {
    "missing ids": ("id", None, "id"),
    "ids of numbers": ("id", list(range(6)), "string should be"),
    "objects for features": ("audio", np.full((6, 7, 3), None), "array of object where numbers"),
    "strings for features": ("audio", np.full((6, 7, 3), "a"), "where numbers should be"),
    "no features": ("audio", "abc", "a str where 6 rows"),
    "another width in one split": ("audio", np.zeros((6, 7, 5), np.float32), "width differs: 5 in train, 3 in valid"),
    "rows of several shapes": ("audio", [np.zeros((n + 1, 3)) for n in range(6)], "make no array of numbers"),
    "zero width": ("vision", np.zeros((6, 7, 0), np.float32), "has shape (6, 7, 0)"),
    "lengths that are no numbers": ("audio_lengths", list("abcdef"), "numbers should be"),
    "lengths with a fraction": ("audio_lengths", [1.5] * 6, "no whole number"),
    "too few lengths": ("audio_lengths", [1, 2], "has 2 rows where the split has 6"),
    "labels of words": ("regression_labels", list("abcdef"), "numbers should be"),
    "ragged labels": ("regression_labels", [[1], [1, 2], 1, 1, 1, 1], "numbers should be"),
    "infinite labels": ("regression_labels", np.full(6, np.inf), "6 labels are outside"),
    "missing labels": ("regression_labels", None, "is missing"),
    "no text in one split": ("raw_text", None, "is missing, and is there in valid and test"),
}


@pytest.mark.parametrize(("key", "value", "part"), FAULTY.values(), ids=FAULTY)
def test_each_fault(raw, spec, key, value, part):
    if value is None:
        del raw["train"][key]
    else:
        raw["train"][key] = value
    told = faults(raw, spec)
    assert part in told
    assert "train" in told


def test_rounding_to_float32_is_no_fault(raw, spec):
    raw["train"]["regression_labels"][0] = np.nextafter(np.float32(3), np.float32(4))
    assert cleaned(raw, spec)[0].labels["y"][0] == 3


def test_a_missing_modality_is_a_property(raw, spec):
    for split in raw.values():
        del split["vision"], split["vision_lengths"]
    layout = validation.check(raw, spec)
    assert layout.modalities == ("t", "a")
    assert layout.labels == ("y", "t", "a")
    assert layout.warnings == ("Not in this file: vision.",)


def test_missing_unimodal_labels_are_a_property_but_some_of_them_a_fault(raw, spec):
    for split in raw.values():
        del split["regression_labels_T"]
    assert "regression_labels_T" in faults(raw, spec)
    for split in raw.values():
        del split["regression_labels_A"], split["regression_labels_V"]
    assert validation.check(raw, spec).labels == ("y",)
    assert not validation.check(raw, spec).unimodal_labels


def test_the_spec_leaves_out_what_it_does_not_name(raw, spec):
    layout = validation.check(raw, replace(spec, modalities=("t", "a"), unimodal_labels=False))
    assert (layout.modalities, layout.labels) == (("t", "a"), ("y",))
    assert "vision" in layout.warnings[0]


def test_other_split_sizes_are_a_warning_with_both(raw, spec):
    layout = validation.check(raw, replace(spec, split_sizes={"train": 6, "valid": 9, "test": 5}))
    assert "valid 4 (published: 9)" in layout.warnings[0]


def test_values_are_repaired_first_and_lengths_second(raw, spec):
    train = raw["train"]
    train["audio"][:] = 0
    train["audio"][:, :3] = 1
    train["audio"][0, 3:6] = -np.inf  # frames that are nothing else count as empty once repaired
    train["audio"][1, 0, 0] = np.nan
    train["audio"][2, 0, 1] = np.inf
    train["audio"][4] = 0
    train["audio_lengths"] = [0, 2, 99, -1, 5, 0]
    chunk, repairs = cleaned(raw, spec)
    lengths, frames = chunk.sequences["a"]
    assert lengths.tolist() == [3, 2, 3, 3, 0, 3]
    assert frames.shape == (14, 3)
    assert np.isfinite(frames).all()
    assert repairs == {
        "audio: -inf set to 0 (values)": 9,
        "audio: +inf set to 0 (values)": 1,
        "audio: NaN set to 0 (values)": 1,
        "audio_lengths: 0 or negative, recomputed (clips)": 3,
        "audio_lengths: above the array, recomputed (clips)": 1,
        "audio_lengths: of an all-zero clip, set to 0 (clips)": 1,
    }
    assert np.isneginf(train["audio"]).sum() == 9  # what was read stays as it was


def test_missing_lengths_are_recomputed(raw, spec):
    given_lengths = raw["train"].pop("vision_lengths")
    chunk, repairs = cleaned(raw, spec)
    assert chunk.sequences["v"][0].tolist() == given_lengths
    assert repairs == {"vision_lengths: missing, recomputed (clips)": 6}


def test_lists_and_float64_are_read_as_they_should_have_been(raw, spec):
    expected, _ = cleaned(raw, spec)
    raw["train"]["audio"] = raw["train"]["audio"].tolist()
    raw["train"]["vision"] = raw["train"]["vision"].astype(np.float64)
    raw["train"]["regression_labels"] = raw["train"]["regression_labels"].tolist()
    raw["train"]["audio_lengths"] = np.array(raw["train"]["audio_lengths"], np.float64)
    raw["train"]["id"] = np.array(raw["train"]["id"])
    raw["train"]["raw_text"] = np.array(raw["train"]["raw_text"], object)
    chunk, repairs = cleaned(raw, spec)
    assert repairs == {
        "audio: list read as an array (splits)": 1,
        "vision: float64 stored as float32 (splits)": 1,
        "regression_labels: list read as an array (splits)": 1,
    }
    assert (chunk.ids, chunk.texts) == (expected.ids, expected.texts)
    np.testing.assert_array_equal(chunk.labels["y"], expected.labels["y"])
    for modality in "va":
        for found, wanted in zip(chunk.sequences[modality], expected.sequences[modality], strict=True):
            np.testing.assert_array_equal(found, wanted)
            assert found.dtype == wanted.dtype


def test_text_features_follow_their_mask_or_else_the_non_zero_rows(raw_with_text, spec):
    train = raw_with_text["train"]
    mask = train["text_bert"][:, 1] > 0
    chunk, _ = cleaned(raw_with_text, spec)
    np.testing.assert_array_equal(chunk.sequences["t"][1], train["text"][mask])
    del train["text_bert"]
    train["text"][~mask] = 0
    chunk, _ = cleaned(raw_with_text, spec)
    assert chunk.sequences["t"][0].tolist() == mask.sum(axis=1).tolist()


def test_a_mask_of_another_shape_is_a_fault(raw_with_text, spec):
    raw_with_text["test"]["text_bert"] = np.zeros((5, 6))
    assert "text_bert" in faults(raw_with_text, spec)


JUNK = st.one_of(
    st.none(),
    st.text(max_size=3),
    st.integers(),
    st.lists(st.one_of(st.none(), st.floats(), st.text(max_size=2)), max_size=7),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    arrays.arrays(
        st.sampled_from([np.float32, np.float64, np.int64, np.bool_, "U3", object]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6),
        fill=st.nothing(),
    ),
)
KEYS = ["id", "raw_text", "regression_labels", "regression_labels_T", "audio", "audio_lengths", "text", "text_bert"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.dictionaries(st.sampled_from(KEYS), JUNK, min_size=1))
def test_junk_ends_in_a_table_of_faults_or_is_cleaned(raw_with_text, spec, junk):
    raw = raw_with_text | {"train": raw_with_text["train"] | junk}
    try:
        layout = validation.check(raw, spec)
    except InvalidDataset:
        return
    for chunk in repair.clean(raw["train"], layout, Counter()):
        for lengths, frames in chunk.sequences.values():
            assert lengths.sum() == len(frames)
            assert np.isfinite(frames).all()
