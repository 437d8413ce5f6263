"""What would spoil a result, or make it another than its reader believes, and yet is no fault: it is told, with counts.

Looked for in rows that have been checked and repaired, a dataset's or a file's to predict. What only the file itself
shows (annotations, masks, labels that are left out) is found where that is checked (`data/validation`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from dmmsa_cli.data.layouts import WHOLE
from dmmsa_cli.data.specs import MODALITY_NAMES, SPLITS, DatasetSpec
from dmmsa_cli.data.split import Split
from dmmsa_cli.data.validation.faults import some
from dmmsa_cli.data.videos import FORMS, names_videos, videos_of

NO_WORDS = frozenset(("", "nan", "none", "null"))
"""What stands for a transcript that is not there, in small letters and without spaces around it."""
HUGE = 1e6
"""A feature beyond this, of either sign, was not measured but went wrong: the field's own stay below some thousands."""
TELLING = 12
"""Letters that a transcript needs for its being in two splits to mean anything; `Oh my God` is in all of them."""
REPEATED = 0.01
"""Of the test clips: so many of them again must be training clips for that to decide how a number is read."""
SMALL_SHARE = 0.5
"""Of the range: scores that all lie within it were hardly meant for that range."""
MOST_CLASSES = 7


@dataclass(frozen=True)
class Remark:
    """Something to know about a dataset or a file."""

    text: str
    decides: bool = False
    """Whether a number that is measured on these rows can't be read without it, so that `evaluate` says it again."""


def inspect(splits: Mapping[str, Split], widths: Iterable[str], *, transcripts: bool) -> list[Remark]:
    """Look at the rows of a file, labelled or not.

    Args:
        splits: by name.
        widths: modalities that have sequences.
        transcripts: whether there are words.
    """
    found = [_without_words(splits)] if transcripts else []
    for modality in widths:
        found += [_without_frames(splits, modality), _huge(splits, modality)]
    return [remark for remark in found if remark]


def inspect_dataset(
    splits: Mapping[str, Split], spec: DatasetSpec, widths: Iterable[str], *, transcripts: bool
) -> list[Remark]:
    """Look at a whole dataset: at its rows as `inspect` does, and at what its splits have to do with each other.

    Args:
        splits: all three.
        spec: what is known of it.
        widths: modalities that have sequences.
        transcripts: whether there are words.
    """
    return [*inspect(splits, widths, transcripts=transcripts), *decisive(splits, spec, transcripts=transcripts)]


def decisive(splits: Mapping[str, Split], spec: DatasetSpec, *, transcripts: bool) -> list[Remark]:
    """Look for what decides how a number measured on a dataset has to be read; frames are not looked at."""
    found = [
        _sizes(splits, spec),
        _shared_videos(splits),
        _repeated(splits) if transcripts else None,
        _scores(splits, spec),
    ]
    return [remark for remark in found if remark]


# --- one row by itself ------------------------------------------------------------------------------------------------


def _without_words(splits: Mapping[str, Split]) -> Remark | None:
    empty = {name: [text.strip().lower() in NO_WORDS for text in split.texts] for name, split in splits.items()}
    clips = _counted(splits, {name: sum(rows) for name, rows in empty.items()})
    return Remark(f"Transcripts without a word (empty, or nan, None, null): {clips}.") if clips else None


def _without_frames(splits: Mapping[str, Split], modality: str) -> Remark | None:
    clips = _counted(splits, {name: int(np.sum(split.lengths(modality) == 0)) for name, split in splits.items()})
    return Remark(f"Clips whose {MODALITY_NAMES[modality]} is zero throughout: {clips}.") if clips else None


def _huge(splits: Mapping[str, Split], modality: str) -> Remark | None:
    largest, counts = 0.0, Counter[str]()
    for name, split in splits.items():
        for frames in split.frames(modality):
            if frames.size and (peak := float(max(frames.max(), -frames.min()))) > HUGE:
                counts[name] += int((np.abs(frames) > HUGE).sum())
                largest = max(largest, peak)
    if not counts:
        return None
    where = ", ".join(f"{count:,}" if name == WHOLE else f"{name} {count:,}" for name, count in counts.items())
    return Remark(
        f"Values of {MODALITY_NAMES[modality]} beyond {HUGE:,.0f}, up to {largest:.3g}: {where}. They drown all "
        "others, standardised or not."
    )


def _counted(splits: Mapping[str, Split], counts: Mapping[str, int]) -> str:
    """Say how many clips are concerned, of how many, by split; nothing where none is."""
    total = sum(counts.values())
    if not total:
        return ""
    of_how_many = f"{total:,} of {sum(map(len, splits.values())):,}"
    if set(splits) == {WHOLE}:
        return of_how_many
    parts = (
        f"{name} all {count:,}" if count == len(splits[name]) else f"{name} {count:,}"
        for name, count in counts.items()
        if count
    )
    return f"{of_how_many} ({', '.join(parts)})"


# --- splits beside each other -----------------------------------------------------------------------------------------


def _sizes(splits: Mapping[str, Split], spec: DatasetSpec) -> Remark | None:
    expected = spec.split_sizes
    if expected is None or all(len(split) == expected[name] for name, split in splits.items()):
        return None
    whose = "published" if spec.source else "expected"
    sizes = ", ".join(f"{name} {len(split):,} ({whose}: {expected[name]:,})" for name, split in splits.items())
    return Remark(f"The splits have not the sizes that are {whose}: {sizes}.", decides=True)


def _shared_videos(splits: Mapping[str, Split]) -> Remark | None:
    ids = [name for split in splits.values() for name in split.ids]
    if not names_videos(ids):
        return Remark(
            f"Ids name no videos ({FORMS}): every clip counts as one by itself, so intervals are over clips, and there "
            "are no folds and no context."
        )
    held: dict[str, dict[str, None]] = {}
    names = chain.from_iterable([name] * len(split) for name, split in splits.items())
    for video, name in zip(videos_of(ids), names, strict=True):
        held.setdefault(video, {})[name] = None
    shared = [video for video, where in held.items() if len(where) > 1]
    if not shared:
        return None
    tested = sum("test" in held[video] for video in shared)
    return Remark(
        f"{len(shared):,} of {len(held):,} videos have clips in more than one split ({some(shared)}), "
        + (f"{tested:,} of them in test: a speaker is trained and tested on." if tested else "none of them in test."),
        decides=tested > 0,
    )


def _repeated(splits: Mapping[str, Split]) -> Remark | None:
    """Clips of the other splits that training clips are again, word for word and to the score."""
    known = set(_words_and_scores(splits["train"]))
    counts = {name: sum(one in known for one in _words_and_scores(splits[name])) for name in SPLITS if name != "train"}
    clips = ", ".join(f"{name} {count:,} of {len(splits[name]):,}" for name, count in counts.items() if count)
    if not clips:
        return None
    return Remark(
        f"Clips that repeat a training clip, its words and its score (of {TELLING} letters or more): {clips}.",
        decides=counts["test"] >= REPEATED * len(splits["test"]),
    )


def _words_and_scores(split: Split) -> Iterator[tuple[str, float]]:
    for text, score in zip(split.texts, split.labels["y"].tolist(), strict=True):
        words = " ".join(text.lower().split())
        if len(words) >= TELLING:
            yield words, score


def _scores(splits: Mapping[str, Split], spec: DatasetSpec) -> Remark | None:
    scores = np.concatenate([split.labels["y"] for split in splits.values()])
    different = np.unique(scores)
    if _are_class_ids(different.tolist()):
        return Remark(
            f"All scores are whole numbers from 0 to {different[-1]:.0f}, as the ids of classes are: 0 should be a "
            "neutral clip, and a negative one below it.",
            decides=True,
        )
    largest = float(np.abs(scores).max())
    if 0 < largest < SMALL_SHARE * spec.score_range:
        return Remark(
            f"Scores reach {largest:g} where the range is {spec.score_range:g} (score_range): the classes that "
            "accuracies count are cut for the whole range.",
            decides=True,
        )
    return None


def _are_class_ids(different: Sequence[float]) -> bool:
    return 2 <= len(different) <= MOST_CLASSES and list(different) == list(range(len(different)))
