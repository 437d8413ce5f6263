"""Which clips are of one video, and which stand around one there: all that ids tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

VIDEO_END = "$_$"  # an id is `video$_$clip`

_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class Around:
    """The clips around one, as rows of its split, in the order of their numbers."""

    before: Sequence[int]
    after: Sequence[int]


def names_videos(ids: Iterable[str]) -> bool:
    """Say whether the ids of clips name videos; where they do not, each clip counts as a video of its own."""
    return any(VIDEO_END in name for name in ids)


def video_of(name: str) -> str:
    """Return the video that an id names; the whole of an id that names none."""
    return name.partition(VIDEO_END)[0]


def place_of(name: str) -> tuple[str, int] | None:
    """Return video and clip number of an id; none where it is not `video$_$number`."""
    video, _, clip = name.partition(VIDEO_END)
    return (video, int(clip)) if _NUMBER.fullmatch(clip) else None


def around(ids: Sequence[str], before: int, after: int) -> list[Around]:
    """Return the clips around each of a split.

    Numbers order the clips of a video, and need not be without gaps: where the split lacks a clip, the next that it has
    takes its place. A clip whose id is not `video$_$number` has no others around it, and is around none.

    Args:
        ids: of the N clips of the split.
        before: how many earlier clips of the video at most, the nearest ones.
        after: how many later ones.

    Returns:
        N; rows of the same split.
    """
    videos: dict[str, list[tuple[int, int]]] = {}
    for row, name in enumerate(ids):
        if place := place_of(name):
            videos.setdefault(place[0], []).append((place[1], row))
    found = [Around((), ())] * len(ids)
    for clips in videos.values():
        rows = [row for _, row in sorted(clips)]
        for at, row in enumerate(rows):
            found[row] = Around(rows[max(0, at - before) : at], rows[at + 1 : at + 1 + after])
    return found
