"""From a path to what its pickle holds, or to words that say why not."""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path
from typing import Any, BinaryIO

from dmmsa_cli.data.memory import Headroom
from dmmsa_cli.data.unpickling.faults import COMPARE, NoPickle, damaged
from dmmsa_cli.data.unpickling.kinds import kind_of_file, kind_of_table, kind_of_text
from dmmsa_cli.data.unpickling.machine import Machine
from dmmsa_cli.data.unpickling.settling import settle
from dmmsa_cli.data.unpickling.stream import Stream
from dmmsa_cli.data.words import printable
from dmmsa_cli.errors import DamagedPickle, DmmsaError, InvalidInput, UnsafePickle

NAMED = 5  # files of a folder

# What Python raises on numbers and texts that are none, and where the stack or the memo lacks what a program wants.
_NONSENSE = (ArithmeticError, LookupError, TypeError, ValueError)  # UnicodeError is a ValueError


def load(path: Path) -> Any:  # noqa: ANN401  (a stranger's pickle: `validation.check` says what it is)
    """Read a pickle without letting it run anything.

    Returns:
        What it holds. Arrays stand on the bytes that were read, and are read-only.

    Raises:
        InvalidInput: there is no such file, it can't be read, or there is too little memory for it.
        UnsafePickle: it asks for something other than arrays and plain values; the message names it.
        DamagedPickle: it is truncated, no pickle, or out of all proportion.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise damaged("is no regular file", "Write it to a file first.")
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
            return _read(file)
    except IsADirectoryError as error:
        raise is_folder(path) from error
    except OSError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}.", "Check the path given to --from.") from error
    except (DamagedPickle, UnsafePickle) as error:
        remedy = f"It has {path.stat().st_size:,} bytes. {COMPARE}" if error.remedy == COMPARE else error.remedy
        raise type(error)(f"{path} {error.what}", remedy) from error
    except MemoryError as error:
        raise InvalidInput(
            f"There is not enough memory to read {path}.",
            "End other programs, or take a machine with more: a pickle is held in memory as a whole.",
        ) from error


def _read(file: BinaryIO) -> Any:  # noqa: ANN401
    headroom, size = Headroom(), os.fstat(file.fileno()).st_size
    stream = Stream(file, size, headroom)
    start = stream.window
    if other := kind_of_file(start, size):
        raise damaged(*other)
    try:
        left = Machine(stream, headroom).run()
    except (DamagedPickle, UnsafePickle, *_NONSENSE) as error:
        raise _in_words(error, start, stream.position) from error
    headroom.check()
    return settle(left, size, headroom)


def _in_words(error: Exception, start: bytes, position: int) -> DmmsaError:
    """Return what is wrong with a program; with none at all, what kind of text it is."""
    ours = isinstance(error, DamagedPickle | UnsafePickle)
    no_pickle = isinstance(error, NoPickle) or not ours
    text = kind_of_table(start) or (kind_of_text(start) if no_pickle else None)
    if text:
        return damaged(*text)
    if isinstance(error, DamagedPickle | UnsafePickle):
        return error
    return damaged(f"is no pickle, or a broken one (near byte {position:,}: {printable(str(error))})")


def is_folder(path: Path) -> InvalidInput:
    """Return the error for a folder where a file should be; it names a few of the pickles that lie in it."""
    found = sorted(one.name for one in path.iterdir() if one.suffix in (".pkl", ".pickle", ".p"))
    names = ", ".join(map(printable, found[:NAMED])) + (f" and {len(found) - NAMED} more" if found[NAMED:] else "")
    holds = f"in it {'lies' if len(found) == 1 else 'lie'} {names}" if found else "no pickle lies in it"
    return InvalidInput(f"{path} is a folder; {holds}.", "Give the path of one file to --from.")
