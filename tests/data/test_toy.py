import hashlib

import numpy as np
import pytest

from dmmsa_cli.data import toy, validation
from dmmsa_cli.data.specs import SPECS

SUMMED = ("audio", "vision", *(f"regression_labels{letter}" for letter in ("", "_T", "_V", "_A")))
SUMS = {
    "train": (1606.53, 3906.93, 11.96, -30.90, 81.80, 45.06),
    "valid": (155.81, -1374.34, -1.83, 2.25, -15.14, 2.43),
    "test": (-311.41, 1977.18, -1.98, -16.95, 47.29, -22.03),
}
LENGTHS = {"train": (15419, 18911), "valid": (4013, 4876), "test": (7777, 9399)}


@pytest.fixture(scope="module")
def corpus():
    return toy.generate()


def mae(one, other):
    return float(np.abs(one - other).mean())


def time_means(split, key):
    return split[key].sum(axis=1) / np.array(split[f"{key}_lengths"])[:, None]


def linear(fit_on, answer, predict_on):
    """Least squares with an intercept."""
    train, test = (np.column_stack([x, np.ones(len(x))]) for x in (fit_on, predict_on))
    return test @ np.linalg.lstsq(train, answer, rcond=None)[0]


def test_the_same_corpus_each_time(corpus):
    again, _ = toy.generate()
    for name, split in corpus[0].items():
        for key, values in split.items():
            np.testing.assert_array_equal(values, again[name][key])


def test_this_version_makes_these_clips(corpus):
    """What differs here needs another `VERSION`: people's toy corpora and the runs on them carry its number."""
    raw, notes = corpus
    texts = "\n".join(text for split in raw.values() for text in split["raw_text"])
    assert hashlib.sha256(texts.encode()).hexdigest().startswith("9bc4f1a0e5595ea14ef548ed0ec7a194")
    found = {name: [float(split[key].sum(dtype=np.float64)) for key in SUMMED] for name, split in raw.items()}
    assert found == {name: pytest.approx(sums, abs=0.01) for name, sums in SUMS.items()}
    assert {name: (sum(s["audio_lengths"]), sum(s["vision_lengths"])) for name, s in raw.items()} == LENGTHS
    assert [raw["test"]["id"][clip] for clip in (0, 19, 20)] == ["toy38$_$1", "toy38$_$20", "toy39$_$1"]
    assert (notes["synthetic"], notes["seed"], notes["generator_version"], toy.VERSION) == (True, toy.SEED, 2, 2)
    present = {name: np.nansum(split["emotions"], axis=0).astype(int).tolist() for name, split in raw.items()}
    assert present == {
        "train": [92, 104, 82, 84, 53, 21],
        "valid": [20, 22, 21, 25, 15, 8],
        "test": [48, 53, 52, 48, 35, 15],
    }


def test_another_seed_makes_another_corpus(corpus):
    assert toy.generate(seed=1)[0]["train"]["raw_text"] != corpus[0]["train"]["raw_text"]


def test_it_passes_as_a_file_of_the_field(corpus):
    layout = validation.check(corpus[0], SPECS["toy"])
    assert layout.rows == SPECS["toy"].split_sizes
    assert layout.unimodal_labels
    assert layout.warnings == ()
    assert layout.repairs == {}


def test_no_video_is_in_two_splits(corpus):
    videos = [{clip.split("$_$")[0] for clip in split["id"]} for split in corpus[0].values()]
    assert len(set.union(*videos)) == sum(map(len, videos))


def test_every_word_of_the_other_splits_is_in_the_training_split(corpus):
    words = {name: {word for text in split["raw_text"] for word in text.split()} for name, split in corpus[0].items()}
    assert words["valid"] | words["test"] <= words["train"]
    assert 100 <= len(words["train"]) <= 200


def test_the_best_reachable_error_is_that_of_the_noise(corpus):
    raw, notes = corpus
    for name, split in raw.items():
        told = sum(
            weight * split[f"regression_labels_{m.upper()}"].astype(np.float64)
            for m, weight in notes["weights"].items()
        )
        assert mae(told, split["regression_labels"]) == pytest.approx(notes["best_reachable_mae"][name], abs=1e-3)
        assert notes["best_reachable_mae"][name] == pytest.approx(notes["noise_sd"] * np.sqrt(2 / np.pi), rel=0.15)


def test_modalities_disagree_with_the_whole_in_part(corpus):
    train = corpus[0]["train"]
    for letter in "TVA":
        agree = np.sign(train[f"regression_labels_{letter}"]) == np.sign(train["regression_labels"])
        assert 0.55 < agree.mean() < 0.9


def test_fusing_beats_each_modality_and_far_beats_the_mean(corpus):
    train, test = corpus[0]["train"], corpus[0]["test"]
    y, y_test = train["regression_labels"], test["regression_labels"]

    def inputs(split, letters):
        own = {
            "T": split["regression_labels_T"][:, None],
            "V": time_means(split, "vision"),
            "A": time_means(split, "audio"),
        }
        return np.column_stack([own[letter] for letter in letters])

    errors = {k: mae(linear(inputs(train, k), y, inputs(test, k)), y_test) for k in ("T", "V", "A", "TVA")}
    assert errors["TVA"] < 0.25 * mae(y.mean(), y_test)
    assert errors["TVA"] < 0.5 * min(errors[k] for k in "TVA")
    assert errors["T"] < errors["V"]
    assert errors["T"] < errors["A"]
