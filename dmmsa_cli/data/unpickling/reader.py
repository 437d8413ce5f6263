"""From a path to what its pickle holds, or to words that say why not."""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path
from typing import Any, BinaryIO

from dmmsa_cli.data.memory import Headroom
from dmmsa_cli.data.unpickling.faults import COMPARE, damaged, truncated
from dmmsa_cli.data.unpickling.machine import Machine
from dmmsa_cli.data.unpickling.settling import settle
from dmmsa_cli.data.unpickling.stream import Stream
from dmmsa_cli.data.words import printable
from dmmsa_cli.errors import DamagedPickle, InvalidInput, UnsafePickle

_WEB_PAGE = ("is a web page, not the file that was to be downloaded", "Fetch it with a browser, signed in.")

# What people have instead of a pickle, by its first bytes: what it is, and what to do.
_OTHERS = {
    b"version https://git-lfs": (
        "is a Git LFS pointer: a few lines that stand for a file",
        "`git lfs pull` fetches it.",
    ),
    b"\x89HDF\r\n\x1a\n": ("is an HDF5 file (.h5, .csd)", "Read it with h5py, and pickle its arrays."),
    b"PK\x03\x04": ("is a ZIP archive (.zip, .npz, torch's .pt)", "Unpack it, or read it and pickle its arrays."),
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.": ("was written by torch.save", "Pickle numpy arrays, not tensors."),
    b"\x1f\x8b": ("is compressed with gzip", "Unpack it: gunzip."),
    b"BZh": ("is compressed with bzip2", "Unpack it: bunzip2."),
    b"\xfd7zXZ\x00": ("is compressed with xz", "Unpack it: unxz."),
    b"\x93NUMPY": ("is one numpy array (.npy)", "Pickle a dict of splits, each a dict of arrays."),
    b"\0\0\0\0\0\0\0\0": ("begins with zeros: its download or copy was cut off", COMPARE),
    b"<!doctype": _WEB_PAGE,
    b"<html": _WEB_PAGE,
}
_LONGEST = max(map(len, _OTHERS))

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
    except OSError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}.", "Check the path given to --from.") from error
    except (DamagedPickle, UnsafePickle) as error:
        raise type(error)(f"{path} {error.what}", error.remedy) from error
    except MemoryError as error:
        raise InvalidInput(
            f"There is not enough memory to read {path}.",
            "End other programs, or take a machine with more: a pickle is held in memory as a whole.",
        ) from error


def _read(file: BinaryIO) -> Any:  # noqa: ANN401
    headroom = Headroom()
    stream = Stream(file, os.fstat(file.fileno()).st_size, headroom)
    _refuse_others(stream.window)
    try:
        left = Machine(stream, headroom).run()
    except _NONSENSE as error:
        where = f"near byte {stream.position:,}"
        raise damaged(f"is no pickle, or a broken one ({where}: {printable(str(error))})") from error
    headroom.check()
    return settle(left, stream.size, headroom)


def _refuse_others(start: bytes) -> None:
    """Tell what is no pickle at all by its first bytes."""
    if not start:
        raise truncated()
    begin = start[:_LONGEST].lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    for signature, (what, remedy) in _OTHERS.items():
        if start.startswith(signature) or (signature[:1] == b"<" and begin.startswith(signature)):
            raise damaged(what, remedy)
