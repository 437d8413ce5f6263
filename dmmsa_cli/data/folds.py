"""Folds: a prepared dataset's training and validation clips, dealt anew by video; its test split stays untouched.

Where a validation split has few videos it judges settings badly (CMU-MOSI's has ten). Fold k of n tests on the k-th of
n parts of the videos, chooses the epoch on some of the others, and trains on the rest: over all folds every clip is
predicted once, by a run that has seen no clip of its video. A fold is a dataset, named `mosi-fold-1-of-5`, so that
whatever takes a dataset takes a fold; nothing is written for it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

import numpy as np

from dmmsa_cli.data.manifest import Manifest
from dmmsa_cli.data.specs import SPLITS
from dmmsa_cli.data.split import Split
from dmmsa_cli.data.store import Store, dataset_folder, open_store
from dmmsa_cli.data.videos import FORMS, places_of
from dmmsa_cli.errors import InvalidInput

POOL = ("train", "valid")
FEWEST = 4  # videos: half of them leave one to train and one to validate on
DEAL = 20  # seed of the order in which videos are dealt: the same for every recipe and system


@dataclass(frozen=True)
class Fold:
    """One of the folds of a dataset."""

    dataset: str
    number: int
    """Counted from 1."""
    folds: int

    def __str__(self) -> str:
        return f"{self.dataset}-fold-{self.number}-of-{self.folds}"


def folds_of(dataset: str, folds: int) -> list[Fold]:
    """Return all folds of a dataset.

    Raises:
        InvalidInput: fewer than two, or folds of a fold.
    """
    if folds < 2:
        raise InvalidInput(f"--folds {folds}: one part to test on leaves none to train on.", "Give 2 or more, as 5.")
    if fold_named(dataset):
        raise InvalidInput(f"{dataset} is a fold already.", "Leave --folds out, or name the whole dataset.")
    return [Fold(dataset, number, folds) for number in range(1, folds + 1)]


def fold_named(name: str) -> Fold | None:
    """Return the fold of that name; none where it is not a fold's."""
    found = re.fullmatch(r"(.+)-fold-(\d+)-of-(\d+)", name, re.ASCII)
    fold = Fold(found[1], int(found[2]), int(found[3])) if found else None
    return fold if fold and str(fold) == name and 1 <= fold.number <= fold.folds and fold.folds >= 2 else None


def whole_of(name: str) -> str:
    """Return the dataset that a name is of a fold of; the name itself where it is not a fold's."""
    fold = fold_named(name)
    return fold.dataset if fold else name


def open_dataset(data_dir: Path, name: str) -> Store:
    """Open a prepared dataset, or a fold of one.

    Raises:
        DatasetMissing, StoreMismatch: as `open_store`.
        InvalidInput: the name can't be a dataset's; ids name no videos, or too few.
    """
    folder, fold = dataset_folder(data_dir, name), fold_named(name)
    if fold is None or folder.exists():
        return open_store(folder)
    return deal(open_store(folder.with_name(fold.dataset)), fold)


def deal(store: Store, fold: Fold) -> Store:
    """Return a fold of a store, whose splits are slices of the store's: nothing is copied.

    Emotions stay where clips of both splits have such; pseudo-emotions, which training clips alone have, do not.

    Raises:
        InvalidInput: ids name no videos, or too few.
    """
    pool = [store.split(name) for name in POOL]
    videos = _videos(store, pool)
    parts = _parts(fold, _share_to_validate(videos), sorted({video for split in videos for video in split}))
    emotions = () if store.manifest.pseudo_emotions else store.manifest.emotions
    splits = {}
    for name, part in parts.items():
        wanted = [np.array([video in part for video in split], bool) for split in videos]
        pieces = [split.pieces(rows, emotions=bool(emotions)) for split, rows in zip(pool, wanted, strict=True)]
        splits[name] = Split(name, chain(*pieces))
    return Store(store.folder, _manifest(store.manifest, fold, splits, emotions), splits)


def _videos(store: Store, pool: Sequence[Split]) -> list[list[str]]:
    """Return the video of each clip, by split.

    Raises:
        InvalidInput: an id names none.
    """
    ids = [clip for split in pool for clip in split.ids]
    places = places_of(ids, store.video_form)
    for clip, place in zip(ids, places, strict=True):
        if place is None:
            raise InvalidInput(
                f"{store.spec.name} can't be dealt into folds: the id {clip!r} names no video ({FORMS}), and clips of "
                "one video must not be trained and tested on.",
                "Prepare it with such ids.",
            )
    videos = iter(place.video for place in places if place)
    return [list(islice(videos, len(split))) for split in pool]


def _share_to_validate(videos: Sequence[Sequence[str]]) -> float:
    """Return which share of the videos to choose the epoch by: the validation split's.

    Where a video has clips in both splits, as in CH-SIMS, which was split by clips, that share is of clips.
    """
    train, valid = map(set, videos)
    counted = videos if train & valid else (train, valid)
    return len(counted[1]) / sum(map(len, counted))


def _parts(fold: Fold, validating: float, videos: Sequence[str]) -> dict[str, set[str]]:
    """Which videos each split of a fold has.

    Args:
        fold: which.
        validating: share of what is not tested on that validates.
        videos: all, sorted.
    """
    if len(videos) < max(FEWEST, fold.folds):
        raise InvalidInput(
            f"{fold.dataset} has {len(videos)} videos to train and validate on: too few for {fold.folds} folds.",
            f"Take at most {len(videos)}." if len(videos) >= FEWEST else f"Folds need {FEWEST} videos at least.",
        )
    order = np.array_split(np.random.default_rng(DEAL).permutation(len(videos)), fold.folds)
    test = order[fold.number - 1]
    others = np.concatenate([*order[fold.number :], *order[: fold.number - 1]])
    valid = min(max(1, round(len(others) * validating)), len(others) - 1)  # one is left to train on
    dealt = {"train": others[valid:], "valid": others[:valid], "test": test}
    return {name: {videos[at] for at in dealt[name]} for name in SPLITS}


def _manifest(whole: Manifest, fold: Fold, splits: dict[str, Split], emotions: tuple[str, ...]) -> Manifest:
    content = f"{whole.data_hash} {DEAL} {fold.number} {fold.folds}"
    return replace(
        whole,
        spec=replace(whole.spec, name=str(fold), split_sizes=None),
        data_hash=hashlib.sha256(content.encode()).hexdigest(),
        rows={name: len(split) for name, split in splits.items()},
        notes={key: value for key, value in whole.notes.items() if not isinstance(value, dict)},  # which are by split
        emotions=emotions,
        emotions_hash=whole.emotions_hash if emotions else None,
        pseudo_emotions=None,
    )
