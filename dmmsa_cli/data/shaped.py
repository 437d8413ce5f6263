"""A pickle with a dataset's shape, for measuring speed and memory where the dataset's own file is not at hand.

Every value in it is MADE UP: scores, words and features are noise of a seeded generator, so that nothing learned from
such a file says anything of sentiment. True to life are the sizes alone: rows, widths, the longest sequence, and the
durations of the clips, which decide how much of an array is padding. They are drawn from the quantiles of CMU-MOSI's
clips, whatever the shape; frames and words follow them.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.data.specs import SPLITS
from dmmsa_cli.files import atomic_path

SEED = 7
SYNTHETIC = "synthetic"  # every clip's id begins so, and so does every file's name
FEWEST = 8  # rows of a split, however few are asked for
CLIPS_A_VIDEO = 24

# Seconds of CMU-MOSI's clips at 0, 10, ..., 90 % of them, and closer where the few long ones are.
SHARES = (*(n / 10 for n in range(10)), 0.95, 0.98, 0.99, 0.998, 1.0)
DURATIONS = {
    "train": (0.2, 1.38, 1.78, 2.2, 2.61, 3.11, 3.73, 4.52, 5.68, 7.45, 9.12, 11.69, 13.49, 19.89, 38.59),
    "valid": (0.74, 1.56, 1.95, 2.27, 2.62, 3.01, 3.47, 4.11, 5.1, 6.7, 10.44, 12.39, 13.0, 14.4, 14.9),
    "test": (0.49, 1.67, 2.16, 2.68, 3.13, 3.98, 4.78, 5.73, 7.05, 9.3, 11.29, 14.59, 16.77, 29.98, 31.96),
}
WORDS_A_SECOND = 3.0  # of the same clips: the median, and the standard deviation of its logarithm
SPEECH_SPREAD = 0.34

LEXICON = 3000  # words
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
BERT_WIDTH, BERT_TOKENS, BERT_VOCABULARY = 768, 50, 30_000
FIRST_TOKEN, LAST_TOKEN = 101, 102  # [CLS] and [SEP]

Array = NDArray[np.float64]
Frames = NDArray[np.float32]


@dataclass(frozen=True)
class Sequences:
    """One modality's array: at most T frames, F wide, so many a second."""

    longest: int
    width: int
    rate: float


@dataclass(frozen=True)
class Shape:
    """Sizes of a dataset's published, unaligned file."""

    rows: tuple[int, int, int]
    """Of the training, validation and test splits."""
    audio: Sequences
    vision: Sequences
    score_range: float
    """R: scores lie in [-R, R]."""
    unimodal_labels: bool = False


SHAPES = {
    "mosi": Shape((1284, 229, 686), Sequences(375, 5, 12.5), Sequences(500, 20, 15.0), 3.0),
    "mosei": Shape((16326, 1871, 4659), Sequences(500, 74, 20.0), Sequences(500, 35, 15.0), 3.0),
    "sims": Shape((1368, 456, 457), Sequences(400, 33, 43.0), Sequences(55, 709, 8.0), 1.0, unimodal_labels=True),
}


def write_shaped(path: Path, shape: str, *, rows: int | None = None, text: bool = True, seed: int = SEED) -> None:
    """Write a made-up pickle in the field's layout, by rename; the same arguments give the same bytes.

    Args:
        path: the file.
        shape: a key of `SHAPES`.
        rows: training rows at most; the other splits shrink alike.
        text: with BERT-like features `text` (N, 50, 768) and `text_bert` (N, 3, 50), four fifths of MOSI's file.
        seed: of everything in it.

    Raises:
        DiskFull: no room.
    """
    content = generate(shape, rows=rows, text=text, seed=seed)
    with atomic_path(path) as partial, partial.open("wb") as file:
        pickle.dump(content, file, protocol=4)


def generate(shape: str, *, rows: int | None = None, text: bool = True, seed: int = SEED) -> dict[str, Any]:
    """Return what `write_shaped` writes: splits by name, each its values by key."""
    wanted = SHAPES[shape]
    share = min(1.0, rows / wanted.rows[0]) if rows else 1.0
    sizes = [max(FEWEST, round(size * share)) for size in wanted.rows]
    streams = np.random.default_rng(seed).spawn(len(SPLITS))
    lexicon = _lexicon(np.random.default_rng(seed))
    return {
        name: _split(rng, name, size, wanted, lexicon, text=text)
        for name, size, rng in zip(SPLITS, sizes, streams, strict=True)
    }


def _split(
    rng: np.random.Generator, split: str, rows: int, shape: Shape, lexicon: list[str], *, text: bool
) -> dict[str, Any]:
    limit = shape.score_range
    score, said, seen, heard = rng.uniform(-limit, limit, (4, rows)).astype(np.float32)
    seconds = durations(rng, split, rows)
    words = _word_counts(rng, seconds)
    audio, audio_lengths = _sequences(rng, seconds, shape.audio)
    vision, vision_lengths = _sequences(rng, seconds, shape.vision)
    content = {
        "id": [f"{SYNTHETIC}-{split}-{row // CLIPS_A_VIDEO}$_${row % CLIPS_A_VIDEO + 1}" for row in range(rows)],
        "raw_text": [_transcript(rng, count, lexicon) for count in words],
        "regression_labels": score,
        "audio": audio,
        "audio_lengths": audio_lengths,
        "vision": vision,
        "vision_lengths": vision_lengths,
    }
    if shape.unimodal_labels:
        content |= {"regression_labels_T": said, "regression_labels_V": seen, "regression_labels_A": heard}
    return content | (_bert_like(rng, words) if text else {})


def durations(rng: np.random.Generator, split: str, rows: int) -> Array:
    """Draw how long a split's clips are, in seconds, (rows,): one from each of as many equal parts of all clips."""
    shares = (rng.permutation(rows) + rng.uniform(size=rows)) / rows
    drawn: Array = np.interp(shares, SHARES, DURATIONS[split])
    return drawn


def _word_counts(rng: np.random.Generator, seconds: Array) -> NDArray[np.int64]:
    rate = WORDS_A_SECOND * np.exp(rng.normal(0, SPEECH_SPREAD, len(seconds)))
    return np.maximum(1, np.rint(seconds * rate)).astype(np.int64)


def _sequences(rng: np.random.Generator, seconds: Array, wanted: Sequences) -> tuple[Frames, list[int]]:
    """Make frames (N, T, F), zero beyond each clip's end, and their lengths, N."""
    lengths = np.clip(np.ceil(seconds * wanted.rate), 1, wanted.longest).astype(int).tolist()
    frames = np.zeros((len(lengths), wanted.longest, wanted.width), np.float32)
    for row, length in enumerate(lengths):
        frames[row, :length] = rng.standard_normal((length, wanted.width), np.float32)
    return frames, lengths


def _bert_like(rng: np.random.Generator, words: NDArray[np.int64]) -> dict[str, Frames]:
    """Make `text` (N, 50, 768), and `text_bert` (N, 3, 50): token ids, mask, segments."""
    text = np.zeros((len(words), BERT_TOKENS, BERT_WIDTH), np.float32)
    tokens = np.zeros((len(words), 3, BERT_TOKENS), np.float32)
    for row, length in enumerate(np.minimum(words + 2, BERT_TOKENS)):
        text[row, :length] = rng.standard_normal((length, BERT_WIDTH), np.float32)
        tokens[row, 0, :length] = [FIRST_TOKEN, *rng.integers(1000, BERT_VOCABULARY, length - 2), LAST_TOKEN]
        tokens[row, 1, :length] = 1
    return {"text": text, "text_bert": tokens}


def _lexicon(rng: np.random.Generator) -> list[str]:
    """Make words of two to four syllables that mean nothing."""
    return ["".join(rng.choice(SYLLABLES, rng.integers(2, 5))) for _ in range(LEXICON)]


def _transcript(rng: np.random.Generator, words: int, lexicon: list[str]) -> str:
    # Few words are frequent and many are rare, as in any language.
    places = np.minimum(rng.zipf(1.3, words) - 1, LEXICON - 1)
    return " ".join(lexicon[place] for place in places)
