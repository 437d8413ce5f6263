"""Files come into being by rename, and one process writes a folder at a time."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dmmsa_cli.errors import DiskFull, FolderBusy

PARTIAL = ".partial"  # ending of what is still being written, and of what a kill left
_TOKEN_BYTES = 4
# Only age tells what a kill left from what another process is writing: process ids mean nothing to another machine or
# container with the same folder, and a lock would not stay with the file (safetensors puts another in its place).
# A writer touches its file until it has flushed it, which takes seconds.
STALE_SECONDS = 600
_TOKEN = "[0-9a-f]" * 2 * _TOKEN_BYTES
_OF_SAFETENSORS = ".tmp" + "[0-9A-Za-z]" * 6  # what it writes to, beside the path that it is given

# The writers of safetensors and Arrow wrap the system's error each in its own way; all keep its words.
_NO_ROOM = (
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
    "os error 28",
    "os error 122",
    "os error 27",
)


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a path to write to; on success it is flushed to disk and renamed to `target`, else removed.

    Every writer has a path of its own, so of several at a time the last to end is found. A reader, or a process killed
    at any moment, finds the former file or a new one, never a part.

    Raises:
        DiskFull: no room, in words that name the file.
    """
    if not target.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    partial = target.with_name(f"{target.name}.{secrets.token_hex(_TOKEN_BYTES)}{PARTIAL}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(target.parent, target.name)
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        _open_to_others(partial)
        partial.replace(target)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if any(words in str(error) for words in _NO_ROOM):
            raise DiskFull(
                f"No room left on the disk to write {target}.",
                "Free some space, or write elsewhere (--out, --data-dir, --runs-dir); nothing half-written was left.",
            ) from error
        raise


_UMASK = os.umask(0o077)  # what the user takes from others; the system tells only who sets it
os.umask(_UMASK)


def _open_to_others(path: Path) -> None:
    """Give a file that its writer made for its owner alone the modes that others of the user have."""
    with suppress(OSError):  # not every file system has such modes
        if path.stat().st_mode & 0o777 == 0o600:
            path.chmod(0o666 & ~_UMASK)


def remove_stale(folder: Path, name: str | None = None) -> None:
    """Remove what killed writers left of one file or folder, or of all in `folder`; the young may be in the making."""
    for path in _parts(folder) if name is None else folder.glob(f"{glob.escape(name)}.{_TOKEN}{PARTIAL}"):
        with suppress(OSError):  # gone meanwhile, or not ours to remove
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                _remove(path)


def remove_partial(folder: Path) -> None:
    """Remove all that killed writers left in `folder`, however young; the caller holds it, as any writer does."""
    for path in _parts(folder):
        with suppress(OSError):
            _remove(path)


def _parts(folder: Path) -> list[Path]:
    return [*folder.glob(f"*.{_TOKEN}{PARTIAL}"), *folder.glob(_OF_SAFETENSORS)]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8, by rename."""
    with atomic_path(target) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:  # noqa: ANN401  (JSON is what it is)
    """Write `value` as JSON that a person can read, by rename."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # The name of a file may hold bytes that are no UTF-8; Python keeps each as half of a surrogate pair.
    encodable = re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)
    write_text(target, encodable + "\n")


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal; a file that has not changed is read once a process.

    Files come into being by rename, so one with other content has another inode or another time.
    """
    found = path.stat()
    return _content_hash(path, found.st_ino, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=1024)
def _content_hash(path: Path, inode: int, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def writable(folder: Path) -> bool:
    """Whether a folder can be written, or made; an archive that is mounted to be read can't."""
    nearest = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    return os.access(nearest, os.W_OK)


@contextmanager
def exclusive(folder: Path, *, wait: bool = False, reading: bool = False) -> Iterator[None]:
    """Hold `folder` for this process; the lock goes with the process, however it ends.

    What killed writers left in the folder is removed.

    Args:
        folder: made if it is missing.
        wait: until another process lets go of it.
        reading: hold it only to read, so that one which can't be written needs no lock.

    Raises:
        FolderBusy: another process holds it, and there is no waiting.
    """
    if reading and not writable(folder):
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout as error:
        raise FolderBusy(
            f"Another dmmsa process is writing {folder}.",
            "Wait until it has ended, or give this run a --name of its own.",
        ) from error
    try:
        remove_stale(folder)
        yield
    finally:
        lock.release()
