"""A synthetic corpus, made offline in about a second by a seeded generator: every clip of it is made up.

A clip has three intensities, of what is said, seen and heard, each in [-3, 3]. They share a mood and differ around
it, so that a modality often disagrees with the whole, as in Figure 2 of the DMMSA paper. The score is

    y = clip(0.5 y_t + 0.25 y_v + 0.25 y_a + e, -3, 3),  e ~ N(0, 0.2)

The words tell y_t exactly to someone who knows how strong each is; averages over time of some channels tell y_v and y_a
but for frame noise. What cannot be told from the inputs is e, so the mean of |y - clip(0.5 y_t + ...)| is the best
MAE that can be reached, known for each split.

Words tell emotions too: one is present where a word of it is said and not denied. Of one clip in twenty they are not
known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.data.specs import EMOTIONS

VERSION = 2  # of the generator: another version makes other clips
SEED = 20240
RANGE = 3.0
ROWS = {"train": 600, "valid": 150, "test": 300}
CLIPS_A_VIDEO = 20
WEIGHTS = {"t": 0.5, "v": 0.25, "a": 0.25}
SHARED, OWN = 1.0, 1.3  # standard deviations: of a clip's mood, of what a modality adds to it
NOISE = 0.2  # standard deviation of e

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class _Shape:
    """How one modality shows its intensity: F channels, at most T frames, frames a word, noise of a frame."""

    steps: int
    width: int
    rate: float
    noise: float


AUDIO = _Shape(steps=40, width=8, rate=1.8, noise=1.0)
VISION = _Shape(steps=50, width=12, rate=2.2, noise=1.2)

# Words by strength of sentiment, in thirds of the range.
POSITIVE = {
    1: ("okay", "decent", "nice", "fine", "pleasant", "watchable", "neat", "likeable", "alright", "tidy"),
    2: ("good", "fun", "great", "enjoyable", "clever", "lovely", "moving", "smart", "warm", "witty"),
    3: ("amazing", "brilliant", "superb", "perfect", "stunning", "wonderful", "fantastic", "flawless"),
}
NEGATIVE = {
    1: ("slow", "odd", "flat", "bland", "uneven", "long", "thin", "plain", "dated", "loud"),
    2: ("bad", "dull", "boring", "weak", "silly", "messy", "lazy", "clumsy", "cheap", "stale"),
    3: ("awful", "terrible", "horrible", "dreadful", "unbearable", "worthless", "atrocious", "hopeless"),
}
# Which emotion a word tells, by its place in the order of `EMOTIONS`; words that tell none are not here.
EMOTION_OF = {
    **dict.fromkeys(("nice", "fun", "great", "lovely", "warm", "wonderful", "perfect", "superb"), "joy"),
    **dict.fromkeys(("slow", "bland", "long", "dull", "boring", "weak", "hopeless"), "sadness"),
    **dict.fromkeys(("loud", "silly", "lazy", "clumsy", "worthless", "unbearable"), "anger"),
    **dict.fromkeys(("odd", "neat", "clever", "stunning", "amazing", "fantastic", "brilliant"), "surprise"),
    **dict.fromkeys(("messy", "cheap", "stale", "awful", "atrocious"), "disgust"),
    **dict.fromkeys(("dreadful", "horrible", "terrible"), "fear"),
}
UNKNOWN_EVERY = 20  # clips

ADVERBS = {"slightly": -0.4, "rather": -0.2, "": 0.0, "really": 0.2, "utterly": 0.4}
NEGATED = -0.5  # "not good" is half as strong as "bad"
NEGATIONS = 0.15  # share of the phrases that are looked for among negated ones

THINGS = ("movie", "film", "plot", "story", "acting", "cast", "ending", "script", "music", "dialogue", "hero")
NEUTRAL = (
    "it came out on friday",
    "we saw it at home",
    "the director made two others",
    "it runs for two hours",
    "my brother came along",
    "they filmed it in spain",
)
OPENERS = ("", "well", "so", "honestly", "um", "you know", "i think", "okay so")
TEMPLATES = (
    "{open} the {thing} was {first} and {second}",
    "{open} i found the {thing} {first} and the {other} {second}",
    "{open} the {thing} is {first} and {filler} and the {other} is {second}",
    "{open} {filler} and the {thing} was {first} and {second}",
    "{open} {filler} but the {thing} seemed {first} to me and {second} too",
)


def generate(seed: int = SEED) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make the corpus.

    Returns:
        Splits in the field's layout, and what is known of them: `weights`, `noise_sd`, `best_reachable_mae` and
        `mean_predictor_mae` by split (that of always answering with the mean of the training scores).
    """
    raw: dict[str, Any] = {}
    best: dict[str, float] = {}
    streams = np.random.default_rng(seed).spawn(len(ROWS))
    first_video = 0
    for (name, rows), rng in zip(ROWS.items(), streams, strict=True):
        raw[name], best[name] = _split(rng, rows, first_video)
        first_video += -(-rows // CLIPS_A_VIDEO)
    mean = raw["train"]["regression_labels"].mean()
    notes = {
        "synthetic": True,
        "generator_version": VERSION,
        "seed": seed,
        "weights": WEIGHTS,
        "noise_sd": NOISE,
        "best_reachable_mae": best,
        "mean_predictor_mae": {
            name: float(np.abs(split["regression_labels"] - mean).mean()) for name, split in raw.items()
        },
    }
    return raw, notes


def _split(rng: np.random.Generator, rows: int, first_video: int) -> tuple[dict[str, Any], float]:
    mood = rng.normal(0, SHARED, rows)
    intended = np.clip(mood + rng.normal(0, OWN, rows), -RANGE, RANGE)
    sentences, expressed = zip(*(_sentence(rng, value) for value in intended), strict=True)
    parts = {
        "t": np.asarray(expressed),
        "v": np.clip(mood + rng.normal(0, OWN, rows), -RANGE, RANGE),
        "a": np.clip(mood + rng.normal(0, OWN, rows), -RANGE, RANGE),
    }
    exact = np.clip(sum(WEIGHTS[m] * values for m, values in parts.items()), -RANGE, RANGE)
    score = np.clip(exact + rng.normal(0, NOISE, rows), -RANGE, RANGE)
    words = np.array([len(sentence.split()) for sentence in sentences])
    audio, audio_lengths = _sequences(rng, parts["a"], words, AUDIO)
    vision, vision_lengths = _sequences(rng, parts["v"], words, VISION)
    videos = [divmod(row, CLIPS_A_VIDEO) for row in range(rows)]
    split: dict[str, Any] = {
        "id": [f"toy{first_video + video:02d}$_${clip + 1}" for video, clip in videos],
        "raw_text": list(sentences),
        "audio": audio,
        "audio_lengths": audio_lengths,
        "vision": vision,
        "vision_lengths": vision_lengths,
        "regression_labels": score.astype(np.float32),
        "regression_labels_T": parts["t"].astype(np.float32),
        "regression_labels_V": parts["v"].astype(np.float32),
        "regression_labels_A": parts["a"].astype(np.float32),
        "emotions": _emotions(sentences),
    }
    return split, float(np.abs(score - exact).mean())


def _sentence(rng: np.random.Generator, intended: float) -> tuple[str, float]:
    """Write a sentence of about the intended intensity; give the intensity that its words have."""
    (first, one), (second, two) = _phrase(rng, intended), _phrase(rng, intended)
    thing, other = rng.permutation(len(THINGS))[:2]
    sentence = _one_of(rng, TEMPLATES).format(
        open=_one_of(rng, OPENERS),
        thing=THINGS[thing],
        other=THINGS[other],
        filler=_one_of(rng, NEUTRAL),
        first=first,
        second=second,
    )
    return " ".join(sentence.split()), (one + two) / 2


def _emotions(sentences: Sequence[str]) -> NDArray[np.float32]:
    """Tell which emotions the words have, (N, 6)."""
    present = np.zeros((len(sentences), len(EMOTIONS)), np.float32)
    for row, sentence in enumerate(sentences):
        for before, word in pairwise(["", *sentence.split()]):
            if word in EMOTION_OF and before != "not":
                present[row, EMOTIONS.index(EMOTION_OF[word])] = 1
    present[UNKNOWN_EVERY - 1 :: UNKNOWN_EVERY] = np.nan
    return present


def _one_of(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _phrase(rng: np.random.Generator, intended: float) -> tuple[str, float]:
    """Choose a phrase of about the intended intensity, and give the one it has."""
    phrases = _NEGATED if rng.random() < NEGATIONS and abs(intended) < -NEGATED * RANGE else _STATED
    strengths = np.array([strength for _, strength in phrases])
    return phrases[int(np.argmin(np.abs(strengths - intended) + rng.uniform(0, 0.3, len(strengths))))]


_GRADED = [
    (word, sign * float(strength))
    for sign, lexicon in ((1, POSITIVE), (-1, NEGATIVE))
    for strength, words in lexicon.items()
    for word in words
]
_STATED = [
    (f"{adverb} {word}".strip(), float(np.clip(strength * (1 + shift), -RANGE, RANGE)))
    for word, strength in _GRADED
    for adverb, shift in ADVERBS.items()
] + [("so so", 0.0)]
_NEGATED = [(f"not {word}", NEGATED * strength) for word, strength in _GRADED]


def _sequences(
    rng: np.random.Generator, values: Array, words: Ints, shape: _Shape
) -> tuple[NDArray[np.float32], list[int]]:
    """Make sequences (N, T, F) whose channels follow the values, and their lengths.

    The first quarter of the channels holds the value throughout, the second swings with it around zero in a rhythm
    of four frames, the rest is noise.
    """
    rows, quarter = len(values), shape.width // 4
    lengths = np.clip(np.rint(words * shape.rate * rng.uniform(0.7, 1.3, rows)), 4, shape.steps).astype(int)
    frames = rng.normal(0, shape.noise, (rows, shape.steps, shape.width))
    rhythm = np.sign(np.sin((np.arange(shape.steps) + 0.5) * np.pi / 2))  # (T,)
    frames[:, :, :quarter] += 0.5 * values[:, None, None]
    frames[:, :, quarter : 2 * quarter] += 0.5 * (values[:, None] * rhythm)[:, :, None]
    frames[np.arange(shape.steps) >= lengths[:, None]] = 0
    return frames.astype(np.float32), [int(length) for length in lengths]
