"""Which clips stand around one: those of its own video, by their numbers, wherever they lie in the file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.data.videos import Place, around, form_of, names_videos, places_of, videos_of

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
    (place,) = places_of([name])
    assert place is None or place.number is None
    found = of([*IDS, name], 9, 9)
    assert found[name] == ([], [])
    assert all(name not in (*before, *after) for before, after in found.values())


def test_numbers_may_have_zeros_in_front():
    (place,) = places_of(["video_0001$_$0012"])
    assert (place, place.number) == (Place("video_0001", "0012"), 12)


def test_ids_name_videos_where_half_of_them_do():
    assert names_videos(["a-1", "a$_$1"])
    assert videos_of(["a-1", "a$_$1"]) == ["a-1", "a"]
    assert not names_videos(["a-1", "a-2", "a$_$1"])  # a chance among others
    assert not names_videos(["a-1", "a-2"])
    assert not names_videos([])


@pytest.mark.parametrize("form", ["{}$_${}", "{}[{}]", "{}_{}"])
def test_the_forms_of_the_field_name_the_same_videos_and_neighbours(form):
    """The CMU SDK writes `video[clip]`, others `video_clip`; names of videos hold such marks too."""
    clips = [("-a_1", 3), ("b[2]", 1), ("-a_1", 1), ("-a_1", 10), ("b[2]", 2), ("-a_1", 2)]
    ids = [form.format(*clip) for clip in clips]
    assert videos_of(ids) == [video for video, _ in clips]
    assert [place.number for place in places_of(ids)] == [number for _, number in clips]
    assert around(ids, 2, 1)[3].before == [5, 0]


@pytest.mark.parametrize("form", ["{}[{}]", "{}_{}"])
@pytest.mark.parametrize(
    "names",
    [
        [("train", number) for number in range(5)],  # one name with numbers, as of a split, is no video
        [(split, number) for split in ("Train", "valid", "test") for number in range(5)],  # nor are those of all splits
        [("one", number) for number in range(5)],
        [*((f"clip{number}", 1) for number in range(5)), ("clip0", 2)],  # a chance pair among many
        [(f"clip{number}", 1) for number in range(5)],  # and where none has a second clip, nothing is shared
    ],
)
def test_names_with_numbers_are_no_videos(form, names):
    ids = [form.format(*name) for name in names]
    assert not names_videos(ids)
    assert videos_of(ids) == ids


@pytest.mark.parametrize("odd", ["a", "a_", "a_x", "_1", "a_1.5", "a[1", "a[]", "a_²"])
def test_one_id_of_no_form_and_none_is_taken_for_a_clip_of_a_video(odd):
    for form in ("{}[{}]", "{}_{}"):
        assert not names_videos([form.format(video, clip) for video in "ab" for clip in (1, 2)] + [odd])


@pytest.mark.parametrize(("form", "name"), [("{}$_${}", "$_$"), ("{}[{}]", "[]"), ("{}_{}", "_")])
def test_the_form_of_a_dataset_holds_for_a_part_of_it_too(form, name):
    """A file of one film, or a split of one video, can't show by itself what its ids mean."""
    ids = [form.format(video, number) for video in "ab" for number in (1, 2, 3)]
    assert form_of(ids) == name
    film = [form.format("new", number) for number in (1, 2, 3)]
    assert around(film, 2, 0, name)[2].before == [0, 1]
    assert videos_of(film, name) == ["new"] * 3
    assert around(ids, 2, 0, None)[2].before == ()
    assert places_of(["odd"], name) == [None]


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
