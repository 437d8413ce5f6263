"""All faults at once, and every repair counted."""

import re
import time
import tracemalloc
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dmmsa_cli.data import chunks, memory, repair, validation
from dmmsa_cli.data.split import arrow_schema, record_batch
from dmmsa_cli.data.validation import sequences
from dmmsa_cli.errors import InvalidDataset

EXAMPLES = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


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
    message = faults(raw, spec)
    for part in (
        "valid  -",
        "the split is missing",
        "1 label is NaN, the first in row 2",
        "1 label is outside [-3, 3], the first in row 3: 3.5",
        "1 id is more than once: train0$_$0",
        "row 3 is an int where a string should be",
        "has 4 rows where the split has 6",
        "has shape (5, 9) where (rows, steps, width) should be",
        "1 id is also in train: train2$_$5",
        "has shape (5, 1) where (rows,) should be",
        "is missing, and is there in train",
    ):
        assert part in message, message
    assert "10 faults" in message or "11 faults" in message


def test_an_id_in_all_splits_is_told_of_the_first(raw, spec):
    for split in raw.values():
        split["id"][1] = "everywhere"
    message = faults(raw, spec)
    assert "valid  id   1 id is also in train: everywhere" in message
    assert "test   id   1 id is also in train: everywhere" in message


FAULTY = {
    "missing ids": ("id", None, "id"),
    "ids of numbers": ("id", list(range(6)), "string should be"),
    "objects for features": ("audio", np.full((6, 7, 3), None), "array of object where numbers"),
    "strings for features": ("audio", np.full((6, 7, 3), "a"), "where numbers should be"),
    "no features": ("audio", "abc", "a str where 6 rows"),
    "another width in one split": ("audio", np.zeros((6, 7, 5), np.float32), "width differs: 5 in train, 3 in valid"),
    "rows of several shapes": (
        "audio",
        [np.zeros((n + 1, 3)) for n in range(6)],
        "row 1 has shape (2, 3) where row 0 has (1, 3)",
    ),
    "rows of several widths": ("audio", [[[1.0], [1.0, 2.0]]] * 6, "row 0 has steps of several widths"),
    "rows too deep": ("audio", [[[[1.0]]]] * 6, "has shape (6, 1, 1, 1) where"),
    "rows that are flat": ("audio", [[1.0, 2.0]] * 6, "has shape (6, 2) where (rows, steps, width)"),
    "numbers as text in a list": ("audio", [[["1", "2", "3"]]] * 6, "row 0 holds a str where numbers should be"),
    "arrays of text in a list": ("audio", [np.full((2, 3), "1")] * 6, "row 0 holds an array of <U1"),
    "nothing in a list": ("audio", [[[1.0, None, 3.0]]] * 6, "row 0 holds nothing where numbers"),
    "bytes in a list": ("audio", [[[bytearray(9), 1, 2]]] * 6, "row 0 holds a bytearray where numbers"),
    "a number too large in a list": ("audio", [[[10**400]]] * 6, "make no array of numbers"),
    "zero width": ("vision", np.zeros((6, 7, 0), np.float32), "has shape (6, 7, 0)"),
    "lengths that are no numbers": ("audio_lengths", list("abcdef"), "numbers should be"),
    "a length too large": ("audio_lengths", [10**400] * 6, "too large for any float"),
    "lengths of text": ("audio_lengths", ["3"] * 6, "row 0 is a str where numbers should be"),
    "lengths of lists": ("audio_lengths", [[3]] * 6, "has shape (6, 1) where (rows,) should be"),
    "lengths with a fraction": ("audio_lengths", [1.5] * 6, "no whole number"),
    "too few lengths": ("audio_lengths", [1, 2], "has 2 rows where the split has 6"),
    "labels of numbers and a word in an array": (
        "regression_labels",
        [0.0, 1.0, 1.0, np.array("1"), 0.0, 0.0],
        "row 3 is an array of <U1 where numbers should be",
    ),
    "labels of words": ("regression_labels", list("abcdef"), "numbers should be"),
    "ragged labels": ("regression_labels", [[1], [1, 2], 1, 1, 1, 1], "numbers should be"),
    "infinite labels": ("regression_labels", np.full(6, np.inf), "6 labels are outside"),
    "missing labels": ("regression_labels", None, "is missing"),
    "half a character in an id": (
        "id",
        ["a", "b", "c\udcff", "d", "e", "f"],
        r"1 id is with half of a character, the first in row 2: c\udcff",
    ),
    "no text in one split": ("raw_text", None, "is missing, and is there in valid and test"),
}


@pytest.mark.parametrize(("key", "value", "part"), FAULTY.values(), ids=FAULTY)
def test_each_fault(raw, spec, key, value, part):
    if value is None:
        del raw["train"][key]
    else:
        raw["train"][key] = value
    message = faults(raw, spec)
    assert part in message
    assert "train" in message


def test_rounding_to_float32_is_no_fault(raw, spec):
    raw["train"]["regression_labels"][0] = np.nextafter(np.float32(3), np.float32(4))
    assert cleaned(raw, spec)[0].labels["y"][0] == 3


@pytest.mark.parametrize("kind", ["f4", "f8", "i8", "u1", "?"])
def test_numbers_in_arrays_of_their_own_are_numbers(raw, spec, kind):
    raw["train"]["regression_labels"] = [np.array(n % 2, kind) for n in range(6)]
    assert cleaned(raw, spec)[0].labels["y"].tolist() == [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]


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


@pytest.mark.filterwarnings("error")
def test_lengths_beyond_all_numbers_are_recomputed(raw, spec):
    expected, _ = cleaned(raw, spec)
    raw["train"]["audio_lengths"] = [np.inf, -np.inf, 1e30, -1e30, 2**63, -(2**63)]
    chunk, repairs = cleaned(raw, spec)
    assert chunk.sequences["a"][0].tolist() == expected.sequences["a"][0].tolist()
    assert repairs["audio_lengths: above the array, recomputed (clips)"] == 3
    assert repairs["audio_lengths: 0 or negative, recomputed (clips)"] == 3


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


MASKS = {
    "another shape": (np.zeros((5, 6)), "has shape (5, 6) where (5, 3, 6) should be"),
    "a ragged list": ([[[1, 2], [1], [0, 0]]] * 5, "row 0 has steps of several widths"),
    "rows of several lengths": ([[[1] * n] * 3 for n in range(5)], "row 1 has shape (3, 1) where row 0 has (3, 0)"),
    "a list of another shape": ([[[1] * 5] * 3] * 5, "has shape (5, 3, 5) where (5, 3, 6) should be"),
    "texts": ([[["1"] * 6] * 3] * 5, "row 0 holds a str where numbers should be"),
    "nothings": ([None] * 5, "has shape (5,) where (5, 3, 6) should be"),
    "a dict": ({}, "is a dict where an array of shape (5, 3, 6) should be"),
    "objects": (np.full((5, 3, 6), None), "is an array of object where numbers should be"),
    "no array of rows": (np.zeros(()), "is an array of float64 where an array of shape (5, 3, 6) should be"),
}


@pytest.mark.parametrize(("mask", "part"), MASKS.values(), ids=MASKS)
def test_a_mask_that_can_not_be_one_is_a_fault(raw_with_text, spec, mask, part):
    raw_with_text["test"]["text_bert"] = mask
    assert f"test   text_bert  {part}" in faults(raw_with_text, spec)


def test_a_mask_in_lists_is_a_mask(raw_with_text, spec):
    expected, _ = cleaned(raw_with_text, spec)
    raw_with_text["train"]["text_bert"] = raw_with_text["train"]["text_bert"].astype(int).tolist()
    chunk, _ = cleaned(raw_with_text, spec)
    np.testing.assert_array_equal(chunk.sequences["t"][1], expected.sequences["t"][1])


# --- what takes more than there is ------------------------------------------------------------------------------------


def shared(times, inner):
    """A list that holds one thing many times, at the price of one."""
    return [inner] * times


LARGE = {
    "features": ("audio", shared(6, shared(10**5, shared(10**5, 0.5)))),
    "the mask": ("text_bert", shared(6, shared(3, shared(10**6, shared(10**4, 0))))),
    "deep features": ("audio", shared(6, shared(300, shared(300, shared(10**5, 0.5))))),
    "arrays in features": ("audio", shared(6, shared(10**5, np.zeros(10**5, np.float32)))),
    "labels of lists": ("regression_labels", shared(6, shared(10**4, shared(10**5, 0.5)))),
    "labels of text": ("regression_labels", shared(6, "x" * 10**8)),
    "lengths of lists": ("audio_lengths", shared(6, shared(10**5, shared(10**5, 1)))),
    "a width that no file has": ("audio", np.zeros((6, 0, 2**31), np.float32)),
    "steps that no file has": ("audio", np.broadcast_to(np.float32(0), (6, 2**31, 1))),
}


@pytest.mark.parametrize(("key", "value"), LARGE.values(), ids=LARGE)
def test_what_would_be_larger_than_memory_is_a_fault_before_it_is_made(raw_with_text, spec, key, value, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 2**32)
    raw_with_text["train"][key] = value
    tracemalloc.start()
    message = faults(raw_with_text, spec)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    assert f"train  {key}" in message


def test_too_little_memory_for_a_chunk_is_no_fault_of_the_file(raw, spec, monkeypatch):
    """Where the system doesn't say how much there is, or another process takes it meanwhile."""
    raw["train"]["audio"] = raw["train"]["audio"].tolist()
    monkeypatch.setattr(sequences, "np", FewBytes())
    with pytest.raises(MemoryError):
        validation.check(raw, spec)


class FewBytes:
    """numpy on a machine without memory."""

    def __getattr__(self, name):
        return getattr(np, name)

    def asarray(self, values, dtype):
        raise MemoryError


def test_rows_in_lists_are_looked_at_a_chunk_at_a_time(raw, spec, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 4 * 7 * 3 * 2)
    raw["train"]["audio"] = raw["train"]["audio"].tolist()
    looked = Counting()
    monkeypatch.setattr(sequences, "np", looked)
    layout = validation.check(raw, spec)
    assert looked.rows == [2, 2, 2]
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 4 * 9 * 4 * 2)
    assert [len(chunk.ids) for chunk in repair.clean(raw["train"], layout, Counter())] == [2, 2, 2]


class Counting(FewBytes):
    def __init__(self):
        self.rows = []

    def asarray(self, values, dtype):
        self.rows.append(len(values))


def test_many_faults_and_names_that_terminals_obey_are_told_in_short(spec):
    raw = {f"\x1b[2J{number}": None for number in range(10_000)}
    with pytest.raises(InvalidDataset) as error:
        validation.check(raw, spec, whole=False)
    message = str(error.value)
    assert len(message) < 10_000
    assert "10,000 faults" in message
    assert "and 9,950 more" in message
    assert r"\x1b[2J0" in message
    assert "\x1b" not in message


def test_names_of_splits_that_are_no_text(raw, spec):
    for name, part in ((5, "is an int"), (None, "is nothing"), ("a\ud800", r"holds half of a character: a\ud800")):
        with pytest.raises(InvalidDataset, match=re.escape(f"the name of a split {part}")):
            validation.check({name: raw["train"]}, spec, whole=False)


def test_a_file_of_many_splits_is_checked_in_a_moment(raw, spec):
    """Ids are held against those of all splits before, at once."""
    train = raw["train"]
    splits = {f"s{number}": {key: values[:1] for key, values in train.items()} for number in range(10_000)}
    for number, split in enumerate(splits.values()):
        split["id"] = [f"clip {number}"]
    del splits["s7"]["audio"], splits["s8"]["vision"]
    began = time.process_time()
    with pytest.raises(InvalidDataset, match=r"is missing, and is there in s0 and s1 and s2, \.\.\."):
        validation.check(splits, spec, whole=False)
    assert time.process_time() - began < 15  # 2 s; with all ids of all splits held against each other, minutes


# --- labels that nobody needs -----------------------------------------------------------------------------------------

UNUSABLE = {
    "NaN": (np.full(6, np.nan), "in train, 6 labels are NaN, the first in row 0"),
    "one NaN": ([0, 1, np.nan, 0, 0, 0], "in train, 1 label is NaN, the first in row 2"),
    "nothing": ([None] * 6, "in train, row 0 is nothing where numbers should be"),
    "text": (["?"] * 6, "in train, row 0 is a str where numbers should be"),
    "another scale": (np.full(6, 5.0), "in train, 6 labels are outside [-3, 3]"),
    "another shape": (np.zeros((6, 7)), "in train, has shape (6, 7)"),
    "too few": ([0.5], "in train, has 1 rows where the split has 6"),
    "missing": (None, "in train, is missing, and is there in valid and test"),
}


@pytest.mark.parametrize(("labels", "part"), UNUSABLE.values(), ids=UNUSABLE)
@pytest.mark.parametrize("key", ["y", "a"])
def test_labels_that_nobody_needs_are_left_out_with_a_warning(raw, spec, key, labels, part):
    name = validation.LABELS[key]
    raw["train"][name] = labels
    layout = validation.check(raw, spec, whole=False)
    assert layout.labels == {"y": (), "a": ("y", "t", "v")}[key]
    assert any(f"{name} can't be used and is left out: {part}" in warning for warning in layout.warnings)
    (chunk,) = repair.clean(raw["train"], layout, Counter())
    assert set(chunk.labels) == set(layout.labels)
    assert name in faults(raw, spec)  # a dataset must have them


def test_labels_that_are_sound_are_taken_though_nobody_needs_them(raw, spec):
    layout = validation.check(raw, spec, whole=False)
    assert layout.labels == ("y", "t", "v", "a")
    assert layout.warnings == ()
    for split in raw.values():
        del split["regression_labels"]
    assert validation.check(raw, spec, whole=False).labels == ()
    assert validation.check(raw, spec, whole=False).warnings == ()


# --- any text ---------------------------------------------------------------------------------------------------------

HALVES = ["a\ud800", "\udc80b\udcff", "\ud83d\ude00", "\ude00\ud83d", "plain"]


def test_half_characters_in_a_transcript_are_replaced_and_told_with_their_row(raw, spec):
    raw["train"]["raw_text"] = ["fine", *HALVES]
    layout = validation.check(raw, spec)
    message = "raw_text: half of a character in 4 transcripts in train, the first in row 1: replaced by U+FFFD."
    assert layout.warnings == (message,)
    chunk, repairs = cleaned(raw, spec)
    assert chunk.texts == ["fine", "a\ufffd", "\ufffdb\ufffd", "😀", "\ufffd\ufffd", "plain"]
    assert repairs == {"raw_text: half of a character replaced by U+FFFD (clips)": 4}


ANY_TEXT = st.text(st.one_of(st.characters(), st.sampled_from("\r\n\0\u2028\x85\ud800\udfff\ude00")), max_size=12)
FORMS = st.sampled_from([list, tuple, lambda texts: np.array(texts, object), np.array])


@settings(max_examples=200, **EXAMPLES)
@given(ids=st.lists(ANY_TEXT, min_size=6, max_size=6), texts=st.lists(ANY_TEXT, min_size=6, max_size=6), form=FORMS)
def test_any_text_comes_through_whole_or_is_told(raw, spec, ids, texts, form):
    train = raw["train"] | {"id": form(ids), "raw_text": form(texts)}
    ids, texts = ([str(text) for text in train[key]] for key in ("id", "raw_text"))  # an array drops NULs at the end
    try:
        chunk, repairs = cleaned(raw | {"train": train}, spec)
    except InvalidDataset as error:
        halved = [row for row, one in enumerate(ids) if has_half(one)]
        assert halved or len(set(ids)) < 6
        assert not halved or f"the first in row {halved[0]}" in str(error)
        str(error).encode()
        return
    assert chunk.ids == ids
    assert not any(map(has_half, ids))
    assert all(found == text or has_half(text) for found, text in zip(chunk.texts, texts, strict=True))
    assert sum(repairs.values()) == sum(map(has_half, texts))
    schema = arrow_schema(validation.check(raw, spec))
    batch = record_batch(chunk, schema)
    assert batch.column("id").to_pylist() == ids
    assert batch.column("text").to_pylist() == chunk.texts


def has_half(text):
    return any("\ud800" <= letter <= "\udfff" for letter in text)


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


@settings(max_examples=150, **EXAMPLES)
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


def test_words_under_another_key_are_told(raw, spec):
    for split in raw.values():
        split["words"] = split.pop("raw_text")
        for key in ("text", "text_bert"):
            split.pop(key, None)
    told = validation.check(raw, spec).warnings
    assert "Not in this file: text. There are words under words; transcripts go under raw_text." in told
    for split in raw.values():
        split["text"] = split.pop("words")
    with pytest.raises(InvalidDataset, match="holds strings where features should be; transcripts go under raw_text"):
        validation.check(raw, spec)
