"""The bytes of a pickle, a window at a time; what is larger than the window is read from the file in one piece."""

from __future__ import annotations

from typing import BinaryIO

from dmmsa_cli.data.memory import Headroom
from dmmsa_cli.data.unpickling.faults import damaged, truncated

WINDOW = 2**18
LARGE = 2**24  # a piece of this size is held against the memory there is before it is read


class Stream:
    """Gives a pickle's bytes in order. A size that a pickle claims is held against the file before anything is made.

    Args:
        file: the open file, at its beginning.
        size: its bytes.
        headroom: the memory that reading may take.

    Attributes:
        window: bytes around the present place.
        at: the present place within it.
    """

    def __init__(self, file: BinaryIO, size: int, headroom: Headroom) -> None:
        self.size = size
        self._file = file
        self._headroom = headroom
        self._start = 0  # of the window within the file
        self.window = file.read(WINDOW)
        self.at = 0

    @property
    def position(self) -> int:
        """The present place within the file."""
        return self._start + self.at

    def byte(self) -> int:
        """Return the next byte."""
        if self.at >= len(self.window):
            self._move(self.position)
            if not self.window:
                raise truncated()
        self.at += 1
        return self.window[self.at - 1]

    def take(self, count: int) -> bytes:
        """Return the next bytes, all of them.

        Raises:
            DamagedPickle: the file holds fewer.
            MemoryError: there is no room for them.
        """
        end = self.at + count
        if count >= 0 and end <= len(self.window):
            taken = self.window[self.at : end]
            self.at = end
            return taken
        return self._beyond(count)

    def skip(self, count: int) -> None:
        """Leave bytes that belong to opcodes to come, after looking whether they are there (a frame)."""
        if count > self.size - self.position:
            raise truncated()

    def line(self, most: int | None = None) -> bytes:
        """Return what stands before the next line feed, and move behind it.

        Raises:
            DamagedPickle: there is none, or it is longer than `most`.
        """
        end = self.window.find(b"\n", self.at)
        if end >= 0:
            line, self.at = self.window[self.at : end], end + 1
        else:
            self._file.seek(self.position)
            line = self._file.readline() if most is None else self._file.readline(most + 2)
            self._move(self.position + len(line))
            if not line.endswith(b"\n") and (most is None or len(line) <= most):
                raise truncated()
            line = line.removesuffix(b"\n")
        if most is not None and len(line) > most:
            raise damaged(f"is no pickle: a number or name in it is longer than {most:,} characters")
        return line

    def _beyond(self, count: int) -> bytes:
        """Bytes that the window does not hold, not copied where they are many."""
        if not 0 <= count <= self.size - self.position:
            raise truncated()
        if count > LARGE:
            self._headroom.check(count)
        position = self.position
        self._file.seek(position)
        taken = self._file.read(count)
        if len(taken) < count:
            raise truncated()  # it shrank meanwhile
        self._move(position + count)
        return taken

    def _move(self, position: int) -> None:
        self._file.seek(position)
        self._start, self.at = position, 0
        self.window = self._file.read(WINDOW)
