"""A file without splits is dealt out: by videos, seeded, near the shares, and no row is lost or twice there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.data.layouts import WHOLE
from dmmsa_cli.data.splitting import Shares, deal_out
from dmmsa_cli.data.videos import videos_of
from dmmsa_cli.errors import InvalidInput


def whole(videos=20, clips=5):
    ids = [f"v{video}$_${clip}" for video in range(videos) for clip in range(clips)]
    rows = len(ids)
    return {WHOLE: {"id": ids, "audio": np.arange(rows * 6.0).reshape(rows, 2, 3), "odd": "kept"}}


def ids_of(splits):
    return {name: list(split["id"]) for name, split in splits.items()}


@given(
    st.lists(st.integers(1, 12), min_size=3, max_size=30),
    st.tuples(*[st.floats(0.05, 1)] * 3),
    st.integers(0, 9),
    st.sampled_from(["video", "clip"]),
)
def test_every_clip_is_in_one_split_and_no_video_in_two(sizes, parts, seed, by):
    ids = [f"v{video}$_${clip}" for video, size in enumerate(sizes) for clip in range(size)]
    shares = Shares.parse(",".join(map(str, parts)), by, seed)
    found = ids_of(deal_out({WHOLE: {"id": ids}}, shares))
    assert list(found) == ["train", "valid", "test"]
    assert sorted(name for split in found.values() for name in split) == sorted(ids)
    assert all(found.values())
    if by == "video":
        videos = [set(videos_of(split)) for split in found.values()]
        assert sum(map(len, videos)) == len(sizes)


def test_shares_are_near_those_that_are_asked_for():
    found = ids_of(deal_out(whole(), Shares.parse("7,1,2")))
    assert [len(split) for split in found.values()] == [70, 10, 20]
    found = ids_of(deal_out(whole(), Shares.parse("0.7,0.1,0.2", "clip")))
    assert [len(split) for split in found.values()] == [70, 10, 20]


def test_rows_go_with_their_ids():
    for split in deal_out(whole(), Shares.parse("7,1,2")).values():
        for name, row in zip(split["id"], split["audio"], strict=True):
            video, clip = (int(part) for part in name[1:].split("$_$"))
            assert row[0, 0] == (5 * video + clip) * 6
        assert split["odd"] == "kept"


def test_the_seed_decides():
    first, again, other = (ids_of(deal_out(whole(), Shares.parse("7,1,2", seed=seed))) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("text", ["", "0.7,0.3", "0.7,0.1,0.1,0.1", "a,b,c", "1,0,1", "1,-1,1", "nan,1,1", "inf,1,1"])
def test_shares_that_are_none_are_refused(text):
    with pytest.raises(InvalidInput, match="not three positive numbers"):
        Shares.parse(text)


@pytest.mark.parametrize(
    ("values", "by", "words"),
    [
        ({"audio": np.zeros((9, 2, 3))}, "video", "no list of them"),
        ({"id": [1, 2, 3]}, "video", "no list of them"),
        ({"id": [f"a{n}" for n in range(9)]}, "video", "ids name no videos"),
        ({"id": ["a$_$1", "a$_$2", "b$_$1", "b$_$2"]}, "video", "2 videos can't be dealt out to three splits"),
        ({"id": ["a", "b"]}, "clip", "2 clips can't be dealt out"),
    ],
)
def test_what_can_not_be_dealt_out_is_refused(values, by, words):
    with pytest.raises(InvalidInput, match=words):
        deal_out({WHOLE: values}, Shares.parse("7,1,2", by))


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_that_are_none_are_refused(seed):
    with pytest.raises(InvalidInput, match="is no seed"):
        Shares.parse("7,1,2", "video", seed)


def test_by_what_nobody_knows_is_refused():
    with pytest.raises(InvalidInput, match="neither video nor clip"):
        Shares.parse("7,1,2", "speaker")
