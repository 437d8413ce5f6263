"""Which columns of a table stand beside each other on a terminal: labels may break, numbers never do."""

from __future__ import annotations

from collections.abc import Sequence

EASY_LABEL = 26  # labels are given so much before headings have to break
LABEL = 20  # at least so wide is the column of the labels; where no room is left for it, the table is parted


def parts(widths: Sequence[int], longest: int, width: int, gap: int) -> list[list[int]]:
    """Part the columns of a table into as few tables below each other as a terminal needs.

    Args:
        widths: of the columns of numbers, in characters.
        longest: of the labels.
        width: of the terminal.
        gap: between columns.

    Returns:
        The places of the columns that stand beside each other, table by table.

    Example:
        >>> parts([11, 11, 6, 6], longest=30, width=60, gap=2)
        [[0, 1, 2], [3]]
    """
    room = width - min(longest, LABEL)
    found: list[list[int]] = [[]]
    for place, wide in enumerate(widths):
        if found[-1] and sum(widths[i] + gap for i in found[-1]) + wide + gap > room:
            found.append([])
        found[-1].append(place)
    return found
