"""What encoders learn of the data before their first step, statistics and vocabulary: of used training rows only."""

import json
from functools import cache
from itertools import chain

import numpy as np
import pytest

from tests.interception import given_by
from tests.training_runs import open_mini, prepare_mini

SEED = 5  # of shared encoders
# Fraction, per_seed, the run's seed, and the seed that chooses the fraction's rows.
CASES = [(1.0, False, 1, SEED), (0.5, False, 1, SEED), (0.5, False, 12, SEED), (0.5, True, 1, 1), (0.5, True, 12, 12)]

every_case = pytest.mark.parametrize(("fraction", "per_seed", "seed", "encoders"), CASES)


def word(split, row):
    """The word that one transcript alone has."""
    return f"{split}{chr(97 + row // 26)}{chr(97 + row % 26)}"


@pytest.fixture(scope="module")
def worded(corpus):
    """The corpus, each of whose transcripts has a word of its own."""
    return {
        name: split | {"raw_text": [f"{text} {word(name, row)}" for row, text in enumerate(split["raw_text"])]}
        for name, split in corpus.items()
    }


@pytest.fixture(scope="module")
def look(worded, micro, tmp_path_factory):
    """What every stage of a run is given, by stage, and where its runs lie: a folder of its own for each call."""
    data = prepare_mini(worded, tmp_path_factory.mktemp("worded"))

    @cache
    def given(fraction=1.0, per_seed=False, seed=1, *settings, from_scratch=False):
        runs = tmp_path_factory.mktemp("given")
        changes = {"data.fraction": fraction, "pretraining.per_seed": per_seed, "pretraining.seed": SEED}
        experiment = open_mini(data, micro, runs, "text.tiny.vocabulary=2000", *settings, **changes)
        return given_by(experiment, "changed", seed, from_scratch=from_scratch), runs / "mini"

    return given


def used(fraction, seed, rows=48):
    return np.sort(np.random.default_rng([seed, rows]).permutation(rows)[: round(rows * fraction)]).tolist()


# --- statistics -----------------------------------------------------------------------------------------------------


def statistics_of(split, name, rows):
    """Mean and deviation of each feature over the real frames of some rows, by numpy alone."""
    frames = np.concatenate([split[name][row][: split[f"{name}_lengths"][row]] for row in rows]).astype(np.float64)
    return frames.mean(0), frames.std(0)


def check_statistics(weights, name, expected):
    for buffer, values in zip(("mean", "deviation"), expected, strict=True):
        np.testing.assert_allclose(weights[f"encoders.{name[0]}.{buffer}"], values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["vision", "audio"])
@every_case
def test_frames_are_scaled_by_the_used_training_rows_alone(look, worded, name, fraction, per_seed, seed, encoders):
    expected = statistics_of(worded["train"], name, used(fraction, encoders))
    pretrained, scratch = (look(fraction, per_seed, seed, from_scratch=flag)[0] for flag in (False, True))
    check_statistics(pretrained[name].initial, name, expected)
    check_statistics(pretrained["fusion"].initial, name, expected)
    check_statistics(scratch["fusion"].initial, name, expected)


def test_the_statistics_of_other_rows_are_others(worded):
    """Or else the test above would prove nothing."""
    of_test = statistics_of(worded["test"], "audio", range(24))
    of_rows = [statistics_of(worded["train"], "audio", used(*case)) for case in ((1.0, SEED), (0.5, SEED), (0.5, 1))]
    means = [mean for mean, _ in (of_test, *of_rows)]
    assert all(np.abs(one - other).max() > 1e-3 for one in means for other in means if one is not other)


@pytest.mark.parametrize("from_scratch", [False, True])
def test_frames_that_are_not_scaled_are_left_as_they_are(look, from_scratch):
    given, _ = look(1.0, False, 1, "data.standardise=false", from_scratch=from_scratch)
    for name in ("vision", "audio"):
        for stage in given.keys() & {name, "fusion"}:
            check_statistics(given[stage].initial, name, (0.0, 1.0))


# --- vocabulary -----------------------------------------------------------------------------------------------------


def vocabulary_of(folder):
    return json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"].keys()


def words_of(texts):
    """Every word and every character, as a vocabulary of WordPieces that has room for all holds them."""
    words = {*chain.from_iterable(text.lower().split() for text in texts)}
    characters = {*chain.from_iterable(words)}
    return {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *characters, *(f"##{c}" for c in characters)}


@pytest.mark.parametrize("from_scratch", [False, True])
@every_case
def test_the_tiny_encoder_knows_the_words_of_the_used_training_transcripts_alone(
    look, worded, from_scratch, fraction, per_seed, seed, encoders
):
    given, runs = look(fraction, per_seed, seed, from_scratch=from_scratch)
    (tiny,) = (path for path in runs.glob("encoders/tiny-*") if path.is_dir())
    folders = [tiny] if from_scratch else [tiny, given["text"].run.path / "text"]
    rows = used(fraction, encoders)
    for folder in folders:
        vocabulary = vocabulary_of(folder)
        assert {word(split, row) for split in worded for row in range(48)} & vocabulary == {
            word("train", row) for row in rows
        }
        assert vocabulary == words_of(worded["train"]["raw_text"][row] for row in rows)
