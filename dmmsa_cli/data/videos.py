"""Which clips are of one video, and which stand around one there: all that ids tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

VIDEO_END = "$_$"  # the field's own: an id is `video$_$clip`
FORMS = f"video{VIDEO_END}clip, video[clip] or video_clip"

_NUMBER = re.compile(r"[0-9]{1,18}")
_FORMS = {
    VIDEO_END: re.compile(rf"(.*?){re.escape(VIDEO_END)}(.*)", re.DOTALL),
    "[]": re.compile(r"(.+)\[([0-9]{1,18})\]", re.DOTALL),
    "_": re.compile(r"(.+)_([0-9]{1,18})", re.DOTALL),
}
FORM_NAMES = tuple(_FORMS)
_OF_SPLITS = {"train", "training", "valid", "validation", "val", "dev", "test", "clip", "id"}  # names of no video
CLIPS_A_VIDEO = 2  # on average at least, where ids alone have to show that they name videos


class Place(NamedTuple):
    """What an id tells of a clip: its video, and its own name there."""

    video: str
    clip: str

    @property
    def number(self) -> int | None:
        """Where the clip stands among those of its video; none where its name is no number."""
        return int(self.clip) if _NUMBER.fullmatch(self.clip) else None


@dataclass(frozen=True)
class Around:
    """The clips around one, as rows of its split, in the order of their numbers."""

    before: Sequence[int]
    after: Sequence[int]


def form_of(ids: Iterable[str]) -> str | None:
    """Return the form in which the ids of a dataset name videos; none where they do not.

    `video$_$clip` is what the field writes, and is taken at its word where half of the ids are so. The CMU SDK's
    `video[3]`, and `video_3`, mean videos only where all ids are so, of at least two videos with two clips each on
    average, and none is called as a split is: `train_1` is a name with a number, no clip of a video called train.

    Args:
        ids: of all clips that are looked at together.

    Returns:
        `$_$`, `[]` or `_`, as `places_of` takes it.
    """
    names = list(ids)
    if names and 2 * sum(VIDEO_END in name for name in names) >= len(names):
        return VIDEO_END
    for form in ("[]", "_"):
        places = _places(names, form)
        videos = {place.video for place in places if place}
        named = all(places) and not {video.lower() for video in videos} & _OF_SPLITS
        if named and len(videos) >= 2 and CLIPS_A_VIDEO * len(videos) <= len(names):
            return form
    return None


def places_of(ids: Iterable[str], form: str | None = "") -> list[Place | None]:
    """Return what ids tell of their clips, each; none for an id that names no video.

    Args:
        ids: of the clips.
        form: in which the whole dataset names videos, or None where it does not; without it, what these ids show.
    """
    names = list(ids)
    return _places(names, form_of(names) if form == "" else form)


def names_videos(ids: Iterable[str]) -> bool:
    """Say whether the ids of clips name videos; where they do not, each clip counts as a video of its own."""
    return form_of(ids) is not None


def videos_of(ids: Iterable[str], form: str | None = "") -> list[str]:
    """Return the video that each id names; the whole of an id that names none. Arguments as of `places_of`."""
    names = list(ids)
    return [place.video if place else name for name, place in zip(names, places_of(names, form), strict=True)]


def _places(names: Sequence[str], form: str | None) -> list[Place | None]:
    if form is None:
        return [None] * len(names)
    matches = (_FORMS[form].fullmatch(name) for name in names)
    return [Place(match[1], match[2]) if match else None for match in matches]


def around(ids: Sequence[str], before: int, after: int, form: str | None = "") -> list[Around]:
    """Return the clips around each of a split.

    Numbers order the clips of a video, and need not be without gaps: where the split lacks a clip, the next that it has
    takes its place. A clip whose id names no video, or no number, has no others around it, and is around none.

    Args:
        ids: of the N clips of the split.
        before: how many earlier clips of the video at most, the nearest ones.
        after: how many later ones.
        form: in which the whole dataset names videos, as of `places_of`.

    Returns:
        N; rows of the same split.
    """
    videos: dict[str, list[tuple[int, int]]] = {}
    for row, place in enumerate(places_of(ids, form)):
        if place and place.number is not None:
            videos.setdefault(place.video, []).append((place.number, row))
    found = [Around((), ())] * len(ids)
    for clips in videos.values():
        rows = [row for _, row in sorted(clips)]
        for at, row in enumerate(rows):
            found[row] = Around(rows[max(0, at - before) : at], rows[at + 1 : at + 1 + after])
    return found
