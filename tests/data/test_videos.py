"""Which clips stand around one: those of its own video, by their numbers, wherever they lie in the file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.data.videos import around, names_videos, place_of

IDS = ["a$_$3", "b$_$1", "a$_$1", "a$_$10", "b$_$2", "a$_$2"]


def of(ids, before, after):
    """The ids around each."""
    return {
        name: ([ids[row] for row in near.before], [ids[row] for row in near.after])
        for name, near in zip(ids, around(ids, before, after), strict=True)
    }


def test_clips_around_one_are_those_of_its_video_in_the_order_of_their_numbers():
    found = of(IDS, 2, 1)
    assert found["a$_$10"] == (["a$_$2", "a$_$3"], [])  # 4 to 9 are not there: the nearest that are
    assert found["a$_$3"] == (["a$_$1", "a$_$2"], ["a$_$10"])
    assert found["a$_$1"] == ([], ["a$_$2"])
    assert found["b$_$2"] == (["b$_$1"], [])


LONG = "a$_$" + "9" * 5000


@pytest.mark.parametrize(
    "name", ["a", "a$_$", "a$_$x", "a$_$-1", "a$_$1.5", "a$_$1$_$2", "a_1", "a$_$²", LONG], ids=len
)
def test_an_id_that_has_no_number_has_no_place_and_nothing_around_it(name):
    assert place_of(name) is None
    found = of([*IDS, name], 9, 9)
    assert found[name] == ([], [])
    assert all(name not in (*before, *after) for before, after in found.values())


def test_numbers_may_have_zeros_in_front():
    assert place_of("video_0001$_$0012") == ("video_0001", 12)


def test_ids_name_videos_where_one_of_them_does():
    assert names_videos(["a-1", "a$_$1"])
    assert not names_videos(["a-1", "a_2"])
    assert not names_videos([])


@given(
    places=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), unique=True),
    before=st.integers(0, 4),
    after=st.integers(0, 4),
)
def test_they_are_what_looking_at_every_pair_finds(places, before, after):
    found = around([f"{video}$_${number}" for video, number in places], before, after)
    assert len(found) == len(places)
    for (video, number), near in zip(places, found, strict=True):
        own = sorted(other for at, other in places if at == video)
        earlier, later = ([n for n in own if n < number], [n for n in own if n > number])
        assert [places[row] for row in near.before] == [(video, n) for n in (earlier[-before:] if before else [])]
        assert [places[row] for row in near.after] == [(video, n) for n in later[:after]]
