"""What a model says, in words: the right word for the right number."""

import numpy as np
import pytest

from dmmsa_cli.data.classes import CLASS_COUNTS, class_names
from dmmsa_cli.data.specs import DatasetSpec
from dmmsa_cli.experiments.columns import HeadValues
from dmmsa_cli.experiments.wording import in_words, probability_columns

MOSI = DatasetSpec(name="mine", score_range=3.0)
SIMS = DatasetSpec(name="mine", score_range=1.0, metrics="sims")


def classes(count, *rows):
    return {f"msc_{count}": HeadValues(tuple(f"msc_{count}_{n}" for n in range(count)), np.array(rows), classes=True)}


def test_a_score_has_a_polarity():
    said = in_words(np.float32([-0.01, 0, 2]), {}, MOSI, probabilities=False)
    assert {key: list(values) for key, values in said.items()} == {"polarity": ["negative", "neutral", "positive"]}


@pytest.mark.parametrize(
    ("spec", "count", "scores", "expected"),
    [
        (MOSI, 3, [-0.5, -0.6, 0.4, 0.6, 3], ["neutral", "negative", "neutral", "positive", "positive"]),
        (SIMS, 3, [-0.1, 0.1, 0.2], ["negative", "neutral", "positive"]),
        (MOSI, 2, [-0.1, 0, 1], ["negative", "not negative", "not negative"]),
        (SIMS, 2, [0, 0.1], ["not positive", "positive"]),
        (MOSI, 7, [-3, -2, -1, 0, 1, 2, 3], class_names(7, "mosi")),
        (SIMS, 5, [-1, -0.4, 0, 0.4, 1], class_names(5, "sims")),
    ],
)
def test_the_class_that_a_score_lies_in_stands_beside_the_likeliest(spec, count, scores, expected):
    """As the field's accuracies have it; what the classes' head says is another thing, and may contradict it."""
    likeliest = np.eye(count)[[count - 1] * len(scores)]
    said = in_words(np.float32(scores), classes(count, *likeliest), spec, probabilities=False)
    assert list(said) == ["polarity", f"class_{count}", f"class_{count}_of_score"]
    assert list(said[f"class_{count}_of_score"]) == list(expected)
    assert set(said[f"class_{count}"]) == {class_names(count, spec.metrics)[-1]}


def test_the_likeliest_class_is_the_one_of_the_highest_probability():
    said = in_words(
        np.zeros(3, np.float32), classes(3, [0.8, 0.1, 0.1], [0, 0.9, 0.1], [0.2, 0.3, 0.5]), MOSI, probabilities=True
    )
    assert list(said["class_3"]) == ["negative", "neutral", "positive"]
    assert said["class_3_negative"].tolist() == np.float32([0.8, 0, 0.2]).tolist()
    assert said["class_3_positive"].tolist() == np.float32([0.1, 0.1, 0.5]).tolist()
    assert said["class_3_negative"].dtype == np.float32


def test_columns_of_probabilities_are_those_that_are_written():
    heads = classes(7, [1 / 7] * 7) | {"intensity": HeadValues(("intensity",), np.zeros((1, 1)))}
    names = probability_columns(heads, MOSI)
    assert names[0] == "class_7_highly_negative"
    assert set(names) < set(in_words(np.zeros(1, np.float32), heads, MOSI, probabilities=True))
    assert not set(names) & set(in_words(np.zeros(1, np.float32), heads, MOSI, probabilities=False))


def test_features_are_called_by_their_modality():
    heads = {"unimodal": HeadValues(("uni_T_s", "uni_V_d", "other"), np.float32([[1, 2, 3]]))}
    said = in_words(np.zeros(1, np.float32), heads, MOSI, probabilities=False)
    assert {key: float(said[key][0]) for key in list(said)[1:]} == {
        "text_similar": 1,
        "vision_dissimilar": 2,
        "other": 3,
    }


@pytest.mark.parametrize("metrics", sorted(CLASS_COUNTS))
def test_every_number_of_classes_has_as_many_names(metrics):
    for count in CLASS_COUNTS[metrics]:
        assert len(set(class_names(count, metrics))) == count
