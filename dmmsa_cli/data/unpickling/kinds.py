"""What people have instead of a pickle, told by its first bytes: what it is, and what to do.

Sentences go on after the file's name. None of the signatures begins a pickle that any program writes; what is only text
might, so that it is looked at where no pickle could be read.
"""

from __future__ import annotations

import codecs
import json
import re

from dmmsa_cli.data.unpickling.faults import COMPARE
from dmmsa_cli.data.words import printable

Kind = tuple[str, str]  # what it is, what to do

_ARRAYS = "Read it where it was made, and pickle a dict of splits, each a dict of numpy arrays."
_UNPACK = "Unpack it, and give the pickle that is in it."
_PAGE = "Whatever was to be downloaded needs to be fetched by hand: with a browser, signed in where that is needed."

_SIGNATURES: dict[bytes, Kind] = {
    b"\x89HDF\r\n\x1a\n": ("is an HDF5 file (.h5, .csd)", "Read it with h5py, and pickle its arrays."),
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.": (
        "was written by torch.save",
        "Read it with torch.load, and pickle numpy arrays, not tensors.",
    ),
    b"\x93NUMPY": ("is one numpy array (.npy)", "Pickle a dict of splits, each a dict of arrays."),
    b"PAR1": ("is a Parquet table", _ARRAYS),
    b"ARROW1": ("is an Arrow table (Feather)", _ARRAYS),
    b"FEA1": ("is an Arrow table (Feather)", _ARRAYS),
    b"\xff\xff\xff\xff": ("is a stream of Arrow tables", _ARRAYS),
    b"MATLAB ": (
        "is a file of MATLAB (.mat)",
        "Read it with scipy.io.loadmat, or h5py from MATLAB 7.3 on, and pickle it.",
    ),
    b"\x1f\x8b": ("is compressed with gzip", "Unpack it: gunzip, or tar -xzf where it is a .tar.gz."),
    b"BZh": ("is compressed with bzip2", "Unpack it: bunzip2."),
    b"\xfd7zXZ\x00": ("is compressed with xz", "Unpack it: unxz."),
    b"\x28\xb5\x2f\xfd": ("is compressed with Zstandard", "Unpack it: unzstd."),
    **dict.fromkeys(
        (b"x\x01", b"x\x5e", b"x\x9c", b"x\xda"),  # by how hard it tried
        ("is compressed with zlib (joblib does that)", "Read it with joblib.load, and pickle its arrays."),
    ),
    b"7z\xbc\xaf'\x1c": ("is a 7z archive", f"{_UNPACK[:-1]}: 7z x."),
    b"Rar!\x1a\x07": ("is a RAR archive", f"{_UNPACK[:-1]}: unrar x."),
    b"RIFF": ("is a recording (.wav, .avi), not features of one", "Extract features first, and pickle their arrays."),
}
_TAR, _TAR_AT = b"ustar", 257
_LFS = b"version https://git-lfs"
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06")  # with something in it, and without
_ZIP_HEAD = 30  # bytes of an entry before its name
_COLUMNS = 4  # that a message names
_MOST_OF_A_LINE = 60
_MOST_OF_A_TEXT = 2000


def kind_of_file(start: bytes, size: int) -> Kind | None:
    """Say what a file is that is no pickle; none where it may be one.

    Args:
        start: its first bytes, or all.
        size: how many there are in all.
    """
    if size == 0:
        return "is truncated to nothing: it has 0 bytes", "Fetch or copy it again."
    if not start.strip(b"\0"):
        what = "holds nothing but zeros" if size == len(start) else "begins with zeros"
        return f"{what}: its download or copy was cut off", COMPARE
    for signature, kind in _SIGNATURES.items():
        if start.startswith(signature):
            return kind
    if start[_TAR_AT:].startswith(_TAR):
        return "is a tar archive", f"{_UNPACK[:-1]}: tar -xf."
    if start.startswith(_LFS):
        return _pointer(start)
    if start.startswith(_ZIPS):
        return _zip(start)
    if start[8:10] == b'{"' and int.from_bytes(start[:8], "little") < size:
        return "is a safetensors file", _ARRAYS
    return _answer(start)


def kind_of_table(start: bytes) -> Kind | None:
    """Say what a table of text is that could not be read as a pickle; none where it is no table."""
    first, *others = _lines(start) or [""]
    for name, separator in (("commas", ","), ("semicolons", ";"), ("tabs", "\t")):
        cells = first.split(separator)
        names = all(re.fullmatch(r"[\w .\"-]*", cell) for cell in cells)
        if len(cells) > 1 and names and others and separator in others[0]:
            named = printable(", ".join(cells[:_COLUMNS]))
            more = f" and {len(cells) - _COLUMNS} more" if cells[_COLUMNS:] else ""
            return (
                f"is a table of text (CSV, with {name}): its columns are {named}{more}",
                "Predictions are scored by evaluate (--predictions FILE), transcripts by predict (--csv FILE); of "
                "features pickle the arrays.",
            )
    return None


def kind_of_text(start: bytes) -> Kind | None:
    """Say how a text begins that could not be read as a pickle; none where it is no text."""
    lines = _lines(start)
    return (
        (f"is text, and no pickle: it begins with {printable(lines[0], _MOST_OF_A_LINE)!r}", _ARRAYS) if lines else None
    )


def _lines(start: bytes) -> list[str]:
    """Return the first lines of a text; none of what holds characters that no text does."""
    head = start[:_MOST_OF_A_TEXT].removeprefix(b"\xef\xbb\xbf")
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # which may end amid a character
    except UnicodeDecodeError:
        return []
    return [] if re.search(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]", text) else text.splitlines()


def _pointer(start: bytes) -> Kind:
    found = re.search(rb"^size (\d{1,15})", start, re.MULTILINE)
    size = f" of {int(found[1]):,} bytes" if found else ""
    return (
        f"is a Git LFS pointer: a few lines that stand for a file{size}",
        "`git lfs pull` fetches that, in the checkout.",
    )


def _zip(start: bytes) -> Kind:
    """Tell the archives that programs write by what comes first in them."""
    length = int.from_bytes(start[26:28], "little")
    name = start[_ZIP_HEAD : _ZIP_HEAD + length].decode("utf-8", errors="replace")
    if name.endswith(("/data.pkl", "/.format_version")):
        return "was written by torch.save", "Read it with torch.load, and pickle numpy arrays, not tensors."
    if name.endswith(".npy"):
        return (
            "holds several numpy arrays (.npz)",
            "Read it with numpy.load, and pickle a dict of splits, each a dict of arrays.",
        )
    return f"is a ZIP archive{f'; first in it is {printable(name)}' if name else ''}", _UNPACK


def _answer(start: bytes) -> Kind | None:
    """What a server sends instead of a file: a page, or an error in XML or JSON."""
    begin = start[:500].lstrip(b"\xef\xbb\xbf \r\n\t")
    lower = begin.lower()
    if lower.startswith((b"<!doctype html", b"<html", b"<head", b"<!doctype")):
        return "is a web page, not the file that was to be downloaded", _PAGE
    if lower.startswith((b"<?xml", b"<error")):
        return "is an answer in XML, not the file that was to be downloaded", _PAGE
    if begin[:1] not in (b"{", b"["):
        return None
    told = _message(start)
    if told:
        return f"is a server's answer, not the file that was to be downloaded; it says {printable(told, 200)!r}", _PAGE
    return "is JSON, and no pickle", "Where it is a server's error, fetch the file again; else pickle what it holds."


def _message(start: bytes) -> str:
    """Return the words of an error as Google Drive, among others, sends them; none where it is none."""
    try:
        answer = json.loads(start)
        error = answer["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
