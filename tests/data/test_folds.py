"""Folds: dealt by video, every clip tested once, never the test split, the same rows as the store's."""

import numpy as np
import pytest

from dmmsa_cli.data.folds import Fold, deal, fold_named, folds_of, open_dataset
from dmmsa_cli.data.specs import SPLITS
from dmmsa_cli.data.store import open_store
from dmmsa_cli.errors import DatasetMissing, InvalidInput
from dmmsa_cli.stages.prepare import prepare
from tests.conftest import cut
from tests.training_runs import prepare_mini


def videos(split):
    return {clip.split("$_$")[0] for clip in split.ids}


@pytest.fixture(scope="module")
def store(prepared):
    return open_store(prepared / "mini")


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_every_clip_is_tested_once_and_none_of_the_test_split(store, folds):
    dealt = [deal(store, fold) for fold in folds_of("mini", folds)]
    tested = [clip for fold in dealt for clip in fold.split("test").ids]
    assert sorted(tested) == sorted([*store.split("train").ids, *store.split("valid").ids])
    assert not set(tested) & set(store.split("test").ids)


@pytest.mark.parametrize("folds", [2, 5])
def test_no_video_stands_on_two_sides(store, folds):
    whole = videos(store.split("train")) | videos(store.split("valid"))
    share = len(videos(store.split("valid"))) / len(whole)
    for fold in folds_of("mini", folds):
        parts = {name: videos(deal(store, fold).split(name)) for name in SPLITS}
        assert set.union(*parts.values()) == whole
        assert sum(map(len, parts.values())) == len(whole)
        assert all(parts.values())
        assert abs(len(parts["valid"]) - share * len(parts["train"] | parts["valid"])) <= 0.5
        assert abs(len(parts["test"]) - len(whole) / folds) < 1


def test_rows_are_those_of_the_store(store):
    rows = {clip: (split, row) for split in map(store.split, SPLITS) for row, clip in enumerate(split.ids)}
    for name in SPLITS:
        found = deal(store, Fold("mini", 2, 3)).split(name)
        assert len(found) == len(found.ids) == len(found.texts) == len(found.labels["y"])
        for at, clip in enumerate(found.ids):
            split, row = rows[clip]
            assert found.texts[at] == split.texts[row]
            assert {key: y[at] for key, y in found.labels.items()} == {key: y[row] for key, y in split.labels.items()}
            np.testing.assert_array_equal(found.emotions[at], split.emotions[row])
            for modality in ("v", "a"):
                np.testing.assert_array_equal(found.sequence(modality, at), split.sequence(modality, row))
                assert found.lengths(modality)[at] == split.lengths(modality)[row]


def test_a_fold_is_a_dataset_of_its_own_name_and_content(prepared, store):
    first, second = (open_dataset(prepared, f"mini-fold-{number}-of-3") for number in (1, 2))
    assert first.spec.name == "mini-fold-1-of-3"
    assert first.spec.recipes == store.spec.recipes
    hashes = {one.manifest.data_hash for one in (store, first, second, open_dataset(prepared, "mini-fold-1-of-2"))}
    assert len(hashes) == 4
    assert first.manifest.data_hash == open_dataset(prepared, "mini-fold-1-of-3").manifest.data_hash
    assert first.manifest.rows == {name: len(first.split(name)) for name in SPLITS}
    assert open_dataset(prepared, "mini").manifest == store.manifest


def test_what_is_known_by_split_is_not_known_of_a_fold(prepared, tmp_path):
    prepare("toy", data_dir=tmp_path)
    assert "best_reachable_mae" in open_dataset(tmp_path, "toy").manifest.notes
    assert "best_reachable_mae" not in open_dataset(tmp_path, "toy-fold-1-of-5").manifest.notes


@pytest.mark.parametrize(
    "name",
    ["mini-fold-0-of-3", "mini-fold-4-of-3", "mini-fold-1-of-1", "mini-fold-01-of-3", "mini-fold-1", "fold-1-of-2"],
)
def test_what_is_no_folds_name_is_a_dataset_that_is_not_there(prepared, name):
    assert fold_named(name) is None
    with pytest.raises(DatasetMissing, match=name):
        open_dataset(prepared, name)


def test_of_a_dataset_that_is_not_there_it_is_told_which(prepared):
    with pytest.raises(DatasetMissing, match="Dataset other is not prepared"):
        open_dataset(prepared, "other-fold-1-of-2")


def test_a_folder_that_bears_a_folds_name_comes_first(prepared, tmp_path):
    (tmp_path / "mini-fold-1-of-2").symlink_to(prepared / "mini")
    assert len(open_dataset(tmp_path, "mini-fold-1-of-2").split("train")) == 48


@pytest.mark.parametrize(
    ("dataset", "folds", "message"),
    [("mini", 1, "leaves none to train on"), ("mini", 0, "leaves none"), ("mini-fold-1-of-2", 2, "a fold already")],
)
def test_folds_that_make_no_sense_are_refused(dataset, folds, message):
    with pytest.raises(InvalidInput, match=message):
        folds_of(dataset, folds)


def test_clips_without_videos_are_refused(corpus, tmp_path):
    nameless = {
        name: {**split, "id": [f"{name}{row}" for row in range(len(split["id"]))]} for name, split in corpus.items()
    }
    data = prepare_mini(nameless, tmp_path)
    with pytest.raises(InvalidInput, match="'train0' names no video"):
        open_dataset(data, "mini-fold-1-of-2")


def test_too_few_videos_are_refused(store):
    count = len(videos(store.split("train")) | videos(store.split("valid")))
    deal(store, Fold("mini", 1, count))
    with pytest.raises(
        InvalidInput, match=f"has {count} videos .*: too few for {count + 1} folds.\nTake at most {count}"
    ):
        deal(store, Fold("mini", 1, count + 1))


def test_three_videos_are_too_few_for_any(corpus, tmp_path):
    data = prepare_mini(cut(corpus, {"train": 32, "valid": 8, "test": 8}), tmp_path)
    with pytest.raises(InvalidInput, match="has 3 videos .*: too few for 2 folds.\nFolds need 4 videos at least"):
        open_dataset(data, "mini-fold-1-of-2")


def rename(split, videos):
    """The same clips, said to be of some videos in turn."""
    ids = [f"{videos[row % len(videos)]}$_${row}-{videos[0]}" for row in range(len(split["id"]))]
    return {**split, "id": ids}


def test_where_splits_were_made_by_clips_there_is_enough_to_train_on(corpus, tmp_path):
    """As in CH-SIMS: nearly every video has clips in the training and in the validation split."""
    names = [f"v{number:02d}" for number in range(12)]
    shared = {**corpus, "train": rename(corpus["train"], names), "valid": rename(corpus["valid"], names[::-1])}
    store = open_store(prepare_mini(shared, tmp_path) / "mini")
    assert videos(store.split("train")) == videos(store.split("valid"))
    for fold in folds_of("mini", 3):
        parts = {name: videos(deal(store, fold).split(name)) for name in SPLITS}
        assert {name: len(some) for name, some in parts.items()} == {"train": 5, "valid": 3, "test": 4}
        assert not parts["train"] & parts["valid"] and not parts["train"] & parts["test"]


def test_one_video_is_left_to_train_on_however_many_validate(corpus, tmp_path):
    lopsided = {**corpus, "train": rename(corpus["train"], ["a"]), "valid": rename(corpus["valid"], ["b", "c", "d"])}
    store = open_store(prepare_mini(lopsided, tmp_path) / "mini")
    for fold in folds_of("mini", 2):
        assert [len(videos(deal(store, fold).split(name))) for name in SPLITS] == [1, 1, 2]
