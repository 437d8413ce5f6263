"""Getting the one file of a dataset: from the field's public Google Drive folder, or from another address.

Nothing here reads what it fetched except to hash it. A broken download leaves a part, `<file>...part`, from which
the next try goes on.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import gdown
import pooch
import requests

from dmmsa_cli.data.manifest import prepare_command
from dmmsa_cli.data.progress import OnProgress
from dmmsa_cli.data.specs import DRIVE_FOLDER, DatasetSpec
from dmmsa_cli.errors import DiskFull, DownloadFailed, HashMismatch

DRIVE_LINK = "https://drive.google.com/drive/folders/{id}"  # for people
DRIVE_LISTING = "https://drive.google.com/embeddedfolderview?id={id}"  # one folder, one page, no sign-in
DRIVE_FILE = "https://drive.google.com/uc?id={id}"

_NETWORK = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
# Of published files by their SHA-256, where it is known; beside the specs, since stores hold those.
PUBLISHED_BYTES = {"c9e20c13ec0454d98bb9c1e520e490c75146bfa2dfeeea78d84de047dbdd442f": 1_228_189_774}  # CH-SIMS
RETRIES = 4
TIMEOUT = 30.0  # seconds without a byte
BLOCK = 2**20


@dataclass(frozen=True)
class Fetched:
    """A file that lies here now, with the SHA-256 of what it holds."""

    path: Path
    sha256: str


def fetch(spec: DatasetSpec, into: Path, progress: OnProgress) -> Fetched:
    """Fetch the published file of a dataset, and only that; a file fetched before is used again.

    Args:
        spec: a dataset with a `source`.
        into: folder of downloads; the file gets a folder of the dataset's name in it.
        progress: called as bytes come in.

    Raises:
        DownloadFailed: it could not be had; the message tells the way by hand.
        HashMismatch: what came is not the published file.
        DiskFull: no room.
    """
    assert spec.source is not None, f"dataset {spec.name} is published nowhere"
    target = into / spec.name / Path(spec.source.path).name
    if not _has_hash(target, spec.source.sha256, progress):
        with _in_words(by_hand(spec), target):
            url = DRIVE_FILE.format(id=find_in_drive(spec.source.path))
            _from_drive(url, target, spec.source.sha256, progress)
        _verify(target, spec.source.sha256, progress)
    return Fetched(target, spec.source.sha256)


def fetch_url(url: str, into: Path, sha256: str | None, progress: OnProgress) -> Fetched:
    """Fetch a file from any HTTP address.

    Args:
        url: its address.
        into: folder that the file is put in.
        sha256: what it must hash to; None takes what comes.
        progress: called as bytes come in.

    Raises:
        DownloadFailed, HashMismatch, DiskFull: as for `fetch`.
    """
    target = into / (Path(unquote(urlsplit(url).path)).name or "download")
    if sha256 is None or not _has_hash(target, sha256, progress):
        target.unlink(missing_ok=True)
        with _in_words("Check the address, or fetch the file by other means and give its path to --from.", target):
            _from_web(url, target, sha256, progress)
        if sha256 is None:
            return Fetched(target, hash_file(target, progress))
        _verify(target, sha256, progress)
    return Fetched(target, sha256)


def by_hand(spec: DatasetSpec) -> str:
    """Tell how to get a published file without this program."""
    assert spec.source is not None
    link = DRIVE_LINK.format(id=DRIVE_FOLDER)
    return (
        f"By hand: open {link} in a browser, download {spec.source.path}, then run\n"
        f"  {prepare_command(spec.name, **{'from': Path(spec.source.path).name})}"
    )


def published_size(spec: DatasetSpec) -> str:
    """Say how large the published file of a dataset is, as a sentence behind others; nothing where nobody knows."""
    size = PUBLISHED_BYTES.get(spec.source.sha256) if spec.source else None
    return f" The published file has {size:,} bytes." if size else ""


def hash_file(path: Path, progress: OnProgress) -> str:
    """Compute the SHA-256 of a file, hexadecimal."""
    digest, done, size = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            done += len(block)
            progress("check", done, size)
    return digest.hexdigest()


def _has_hash(path: Path, sha256: str, progress: OnProgress) -> bool:
    return path.is_file() and hash_file(path, progress) == sha256


def _verify(path: Path, expected: str, progress: OnProgress) -> None:
    found = hash_file(path, progress)
    if found == expected:
        return
    aside = path.replace(path.with_name(path.name + ".unexpected"))
    raise HashMismatch(
        f"The file that came is not the one expected.\n  expected SHA-256 {expected}\n  found    SHA-256 {found}",
        f"Nothing has read it; it lies in {aside}. If it is what you want all the same, give that path to --from.",
    )


@contextmanager
def _in_words(remedy: str, target: Path) -> Iterator[None]:
    """Turn what the libraries raise into errors for the person at the keyboard."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except _NETWORK as error:
        host = urlsplit(str(error.request.url)).hostname if error.request else None
        why = f"{host} can't be reached" if host else "the connection breaks off"
        raise DownloadFailed(f"{target.name} could not be downloaded: {why}.", remedy) from error
    except (requests.RequestException, gdown.exceptions.DownloadError) as error:
        raise DownloadFailed(f"{target.name} could not be downloaded: {error}", remedy) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(
            f"No room left on the disk to download {target}.",
            "Free some space and run the same command again: it goes on where it stopped.",
        ) from error


# --- Google Drive -----------------------------------------------------------------------------------------------


def find_in_drive(path: str) -> str:
    """Find the id of a file of the public folder, listing only the folders on its path.

    Args:
        path: such as `MOSI/Processed/unaligned_50.pkl`.

    Raises:
        DownloadFailed: a name on the path is not there.
    """
    found, walked = DRIVE_FOLDER, ""
    for name in path.split("/"):
        entries = list_folder(found)
        if name not in entries:
            listed = ", ".join(sorted(entries)) or "nothing"
            raise gdown.exceptions.DownloadError(f"there is no {name} in /{walked} of the folder, but {listed}")
        found, walked = entries[name], f"{walked}{name}/"
    return found


def list_folder(folder_id: str) -> dict[str, str]:
    """List one public Google Drive folder, not what lies in its folders: ids by name.

    gdown's only public way to list walks all folders below, which here are many GB deep; so this reads the page
    that gdown reads, once.
    """
    answer = requests.get(DRIVE_LISTING.format(id=folder_id), timeout=TIMEOUT)
    answer.raise_for_status()
    page = _FolderPage()
    page.feed(answer.text)
    return {name.strip(): entry for entry, name in page.entries}


class _FolderPage(HTMLParser):
    """Collects (id, name) of the files and folders that a listing links to."""

    _LINK = re.compile(r"/(?:file/d|folders)/([-\w]+)")

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[tuple[str, str]] = []
        self._open: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        link = self._LINK.search(dict(attrs).get("href") or "") if tag == "a" else None
        if link:
            self._open = link[1]
            self.entries.append((link[1], ""))

    def handle_data(self, data: str) -> None:
        if self._open:
            self.entries[-1] = (self._open, self.entries[-1][1] + data.strip())

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._open = None


def _from_drive(url: str, target: Path, sha256: str, progress: OnProgress) -> None:
    target.unlink(missing_ok=True)  # it is not the right one, and gdown would take it for done
    had = _part_size(target)
    try:
        _gdown(url, target, progress)
    except gdown.exceptions.FileURLRetrievalError:
        raise  # Drive refuses (a quota, mostly): what is here of the file stays good
    except gdown.exceptions.DownloadError as error:
        if error.__cause__ is not None or had == 0 or _part_size(target) != had:
            raise  # the network's fault: the next run goes on with the part
        _replace_stuck_part(url, target, sha256, progress)


def _replace_stuck_part(url: str, target: Path, sha256: str, progress: OnProgress) -> None:
    """Deal with a part that can't be gone on with: complete (killed before its renaming), or of another file."""
    part = _part(target)
    if part is not None and hash_file(part, progress) == sha256:
        part.replace(target)
    else:
        if part is not None:
            part.unlink()
        _gdown(url, target, progress)


def _part(target: Path) -> Path | None:
    return next(target.parent.glob(f"{target.name}*.part"), None)  # gdown puts random letters in between


def _part_size(target: Path) -> int:
    part = _part(target)
    return part.stat().st_size if part is not None else 0


def _gdown(url: str, target: Path, progress: OnProgress) -> None:
    gdown.download(
        url,
        str(target),
        quiet=True,
        resume=True,
        retries=RETRIES,
        timeout=TIMEOUT,
        progress=lambda done, total: progress("download", done, total),
    )


# --- any other address ------------------------------------------------------------------------------------------


def _from_web(url: str, target: Path, sha256: str | None, progress: OnProgress) -> None:
    """Fetch through pooch, which retries; each retry goes on where the last one broke off.

    pooch makes files with names of its own choice, and a kill would leave them: they lie in a folder that the next try
    removes.
    """
    part, shelf = target.with_name(target.name + ".part"), target.with_name(target.name + ".pooch")
    shutil.rmtree(shelf, ignore_errors=True)
    if sha256 is None:
        part.unlink(missing_ok=True)  # without a hash nothing would tell if it were another file's beginning
    if sha256 is None or not _has_hash(part, sha256, progress):  # or it was killed right before its renaming
        pooch.get_logger().setLevel("ERROR")
        fetching = pooch.create(
            shelf, base_url="", registry={target.name: None}, urls={target.name: url}, retry_if_failed=RETRIES
        )
        try:
            fetching.fetch(target.name, downloader=_Resuming(part, progress))
        finally:
            shutil.rmtree(shelf, ignore_errors=True)
    part.replace(target)


class _Resuming:
    """A downloader for pooch that puts what comes into a part of its own, and asks the server for the rest only."""

    def __init__(self, part: Path, progress: OnProgress) -> None:
        self._part = part
        self._progress = progress

    def __call__(self, url: str, output_file: str, _: pooch.Pooch) -> None:
        have = self._part.stat().st_size if self._part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                self._part.unlink()  # not a beginning of that file; the retry starts anew
            elif 400 <= answer.status_code < 500:
                raise DownloadFailed(
                    f"{url} answers {answer.status_code} {answer.reason}.", "Check the address given to --from."
                )
            answer.raise_for_status()
            self._receive(answer, have if answer.status_code == requests.codes.partial_content else 0)

    def _receive(self, answer: requests.Response, have: int) -> None:
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        with self._part.open("ab" if have else "wb") as file:
            for block in answer.iter_content(BLOCK):
                file.write(block)
                have += len(block)
                self._progress("download", have, total)
        if total is not None and have < total:
            raise requests.ConnectionError(f"the connection broke off after {have:,} of {total:,} bytes")
