"""What would spoil a result is told, with counts; what is as it should be is not."""

import math

import numpy as np
import pytest

from dmmsa_cli.data.inspection import HUGE, REPEATED, inspect, inspect_dataset
from dmmsa_cli.data.layouts import checked, recognise
from dmmsa_cli.data.repair import clean
from dmmsa_cli.data.specs import SPECS, DatasetSpec
from dmmsa_cli.data.split import Split, arrow_schema, record_batch
from tests.data.conftest import make_raw

SPEC = DatasetSpec(name="mine", score_range=3.0)


def look(raw, spec=SPEC, whole=True):
    """Every remark on a file, those of the file itself first."""
    found = recognise(raw)
    layout = checked(found, spec, whole=whole)
    schema = arrow_schema(layout)
    splits = {
        name: Split(name, [record_batch(chunk, schema) for chunk in clean(values, layout, found.repairs)])
        for name, values in found.splits.items()
    }
    if not whole:
        return list(layout.warnings), inspect(splits, layout.widths, transcripts=layout.transcripts)
    return list(layout.warnings), inspect_dataset(splits, spec, layout.widths, transcripts=layout.transcripts)


def sound(rows=None):
    """A file of which there is nothing to say."""
    raw = make_raw(rows or {"train": 6, "valid": 4, "test": 5})
    for split in raw.values():
        split["regression_labels"][:2] = 2.5, -1.0
        for letter in "TVA":
            del split[f"regression_labels_{letter}"]
    return raw


def say(remarks):
    return [remark.text for remark in remarks]


def test_of_sound_data_nothing_is_said():
    assert look(sound()) == ([], [])
    assert look(sound(), whole=False) == ([], [])


def _texts(raw):
    raw["train"]["raw_text"][:5] = ["", "  ", "NaN", "None", "null"]
    raw["test"]["raw_text"] = ["nan"] * 5


def _silence(raw):
    raw["train"]["audio"][2] = 0
    raw["test"]["audio"][:] = 0


def _huge(raw):
    raw["valid"]["vision"][1, 0, :2] = 2 * HUGE, -1e30


def _shared(raw):
    raw["test"]["id"] = [f"train0$_${n + 10}" for n in range(5)]


def _shared_with_valid(raw):
    raw["valid"]["id"] = [f"train0$_${n + 10}" for n in range(4)]


def _nameless(raw):
    for name, split in raw.items():
        split["id"] = [f"{name}{n}" for n in range(len(split["id"]))]


def _repeated(raw):
    raw["test"]["raw_text"][0] = raw["train"]["raw_text"][3].upper().replace(" ", "  ") + " "
    raw["test"]["regression_labels"][0] = raw["train"]["regression_labels"][3]


def _class_ids(raw):
    for split in raw.values():
        split["regression_labels"][:] = np.arange(len(split["id"])) % 3


def _narrow(raw):
    for split in raw.values():
        split["regression_labels"] = split["regression_labels"].clip(-1, 1)


@pytest.mark.parametrize(
    ("spoil", "words", "decides"),
    [
        (_texts, "Transcripts without a word (empty, or nan, None, null): 10 of 15 (train 5, test all 5).", False),
        (_silence, "Clips whose audio is zero throughout: 6 of 15 (train 1, test all 5).", False),
        (_huge, "Values of vision beyond 1,000,000, up to 1e+30: valid 2.", False),
        (_shared, "1 of 5 videos have clips in more than one split (train0), 1 of them in test: a speaker", True),
        (_shared_with_valid, "1 of 6 videos have clips in more than one split (train0), none of them in test.", False),
        (_nameless, "Ids name no videos (video$_$clip, video[clip] or video_clip): every clip counts", False),
        (
            _repeated,
            "Clips that repeat a training clip, its words and its score (of 12 letters or more): test 1",
            True,
        ),
        (_class_ids, "All scores are whole numbers from 0 to 2, as the ids of classes are:", True),
        (_narrow, "Scores reach 1 where the range is 3 (score_range):", True),
    ],
)
def test_what_would_spoil_a_result_is_told(spoil, words, decides):
    raw = sound()
    spoil(raw)
    warnings, (remark,) = look(raw)
    assert not warnings
    assert remark.text.startswith(words)
    assert remark.decides == decides


@pytest.mark.parametrize("spoil", [_texts, _silence, _huge])
def test_a_file_to_predict_is_looked_at_too(spoil):
    raw = sound()
    spoil(raw)
    of_dataset, of_file = look(raw), look(raw, whole=False)
    assert of_file == of_dataset


def test_a_short_answer_in_two_splits_means_nothing():
    raw = sound()
    for name in ("train", "test"):
        raw[name]["raw_text"][0] = "oh my god"
        raw[name]["regression_labels"][0] = -1
    assert look(raw) == ([], [])


def test_the_same_words_with_another_score_are_no_repetition():
    raw = sound()
    _repeated(raw)
    raw["test"]["regression_labels"][0] += 0.5
    assert look(raw) == ([], [])


def test_a_few_repeated_clips_are_told_and_decide_nothing():
    raw = sound({"train": 6, "valid": 4, "test": math.ceil(1 / REPEATED) + 1})
    _repeated(raw)
    _, (remark,) = look(raw)
    assert remark.text.endswith("test 1 of 101.")
    assert not remark.decides


def test_other_sizes_than_the_published_ones_are_told_and_of_ones_own_data_the_expected():
    published = look(sound(), SPECS["mosi"])[1]
    assert published[0].text.startswith("The splits have not the sizes that are published: train 6 (published: 1,284),")
    assert published[0].decides
    own = DatasetSpec(name="mine", score_range=3.0, split_sizes={"train": 6, "valid": 9, "test": 5})
    assert say(look(sound(), own)[1]) == [
        "The splits have not the sizes that are expected: train 6 (expected: 6), valid 4 (expected: 9), "
        "test 5 (expected: 5)."
    ]


# --- what only the file shows -----------------------------------------------------------------------------------------


def test_annotations_that_contradict_scores_are_counted():
    raw = sound()
    for split in raw.values():
        signs = np.sign(split["regression_labels"])
        split["annotations"] = [{-1: "Negative", 0: "Neutral", 1: "Positive"}[sign] for sign in signs]
    assert look(raw) == ([], [])
    for row, wrong in enumerate(("Negative", "positive ")):  # beside 2.5 and -1
        raw["train"]["annotations"][row] = wrong
    raw["train"]["annotations"][2] = "Neutral"  # no contradiction, where somebody rounds
    (warning,), _ = look(raw)
    assert warning.startswith("annotations contradict the scores of 2 of 15 clips (train 2)")


@pytest.mark.parametrize("said", [["Negative"], "Negative", None, [None] * 6, np.zeros((6, 2))])
def test_annotations_of_another_form_say_nothing(said):
    raw = sound()
    raw["train"]["annotations"] = said
    assert look(raw) == ([], [])


def test_text_features_without_a_mask_are_told():
    raw = make_raw(text=True)
    spec = DatasetSpec(name="mine", score_range=3.0, unimodal_labels=True)
    assert look(raw, spec)[0] == []
    for split in raw.values():
        del split["text_bert"]
    (warning,) = look(raw, spec)[0]
    assert warning.startswith("text has no mask (text_bert)")


def test_unimodal_labels_that_are_not_used_are_told():
    (warning,) = look(make_raw())[0]
    names = ", ".join(f"regression_labels_{letter}" for letter in "TVA")
    assert warning.startswith(f"In the file, and not used: {names}.")
