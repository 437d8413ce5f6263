"""Which clips are of one video, and which stand around one there: all that ids tell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

VIDEO_END = "$_$"  # the field's own: an id is `video$_$clip`
FORMS = f"video{VIDEO_END}clip, video[clip] or video_clip"

_NUMBER = re.compile(r"[0-9]{1,18}")
_OTHER_FORMS = re.compile(r"(.+)\[([0-9]{1,18})\]", re.DOTALL), re.compile(r"(.+)_([0-9]{1,18})", re.DOTALL)


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


def places_of(ids: Iterable[str]) -> list[Place | None]:
    """Return what ids tell of their clips, each; none for an id that names no video.

    `video$_$clip` is what the field writes, and is taken at its word where half of the ids are so. The CMU SDK's
    `video[3]`, and `video_3`, mean videos only where all ids together are so, of at least two videos, of which one has
    several clips: `train_1`, `train_2` are names with a number, not clips of a video called train.

    Args:
        ids: of the clips that are looked at together.
    """
    names = list(ids)
    found = [_split_at_mark(name) for name in names]
    if any(found) and 2 * sum(place is not None for place in found) >= len(names):
        return found
    for form in _OTHER_FORMS:
        matches = [form.fullmatch(name) for name in names]
        places = [Place(match[1], match[2]) for match in matches if match]
        clips = Counter(place.video for place in places)
        if len(places) == len(names) and 2 <= len(clips) < len(names):
            return [*places]
    return [None] * len(names)


def names_videos(ids: Iterable[str]) -> bool:
    """Say whether the ids of clips name videos; where they do not, each clip counts as a video of its own."""
    return any(places_of(ids))


def videos_of(ids: Iterable[str]) -> list[str]:
    """Return the video that each id names; the whole of an id that names none."""
    names = list(ids)
    return [place.video if place else name for name, place in zip(names, places_of(names), strict=True)]


def _split_at_mark(name: str) -> Place | None:
    video, mark, clip = name.partition(VIDEO_END)
    return Place(video, clip) if mark else None


def around(ids: Sequence[str], before: int, after: int) -> list[Around]:
    """Return the clips around each of a split.

    Numbers order the clips of a video, and need not be without gaps: where the split lacks a clip, the next that it has
    takes its place. A clip whose id names no video, or no number, has no others around it, and is around none.

    Args:
        ids: of the N clips of the split.
        before: how many earlier clips of the video at most, the nearest ones.
        after: how many later ones.

    Returns:
        N; rows of the same split.
    """
    videos: dict[str, list[tuple[int, int]]] = {}
    for row, place in enumerate(places_of(ids)):
        if place and place.number is not None:
            videos.setdefault(place.video, []).append((place.number, row))
    found = [Around((), ())] * len(ids)
    for clips in videos.values():
        rows = [row for _, row in sorted(clips)]
        for at, row in enumerate(rows):
            found[row] = Around(rows[max(0, at - before) : at], rows[at + 1 : at + 1 + after])
    return found
