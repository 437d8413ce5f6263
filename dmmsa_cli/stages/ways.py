"""The ways to a dataset's splits: a generator, the published file, an address, a file, as it is or dealt out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dmmsa_cli.data import sources, toy, unpickling
from dmmsa_cli.data.layouts import Recognised, recognise
from dmmsa_cli.data.manifest import prepare_command
from dmmsa_cli.data.progress import OnProgress
from dmmsa_cli.data.specs import DRIVE_FOLDER, DatasetSpec
from dmmsa_cli.data.splitting import Shares, deal_out
from dmmsa_cli.errors import DamagedPickle, HashMismatch, InvalidInput

ANY_HASH = "any"


@dataclass(frozen=True)
class Obtained:
    """Splits as recognised or made, the manifest's record of where they came from, and its other notes."""

    found: Recognised
    source: dict[str, Any]
    notes: dict[str, Any]


@dataclass(frozen=True)
class Way:
    """Where a dataset comes from.

    Attributes:
        name: the same, in words.
        look: raise at once if it can't be.
        same: whether a store's record of its source is of this one.
        obtain: get it, given the folder of downloads.
    """

    name: str
    look: Callable[[], None]
    same: Callable[[dict[str, Any], OnProgress], bool]
    obtain: Callable[[Path, OnProgress], Obtained]


def way_to(spec: DatasetSpec, source: str | None, sha256: str | None, shares: Shares | None = None) -> Way:
    """Find the way to a dataset's splits.

    Args:
        spec: the dataset.
        source: a local pickle or an HTTP address; None for the published file, or what a generator makes.
        sha256: what the file of `source` must hash to; `any` takes what comes.
        shares: how a file of `source` that has no splits is dealt out.

    Raises:
        InvalidInput: a generator is given a source.
    """
    if spec.synthetic:
        return _generated(spec, source)
    if source is None:
        return _published(spec)
    address = re.match(r"https?://", source)
    file = _address(spec, source, sha256) if address else _local_file(spec, Path(source).expanduser().resolve(), sha256)
    return _whole(file) if shares is None else _dealt_out(file, shares)


def _whole(way: Way) -> Way:
    """Return a way to a file as it is: a store of the same file that was dealt out is another."""
    return replace(way, same=lambda recorded, progress: "split" not in recorded and way.same(recorded, progress))


def _dealt_out(way: Way, shares: Shares) -> Way:
    """Return a way to the same file in three splits."""

    def same(recorded: dict[str, Any], progress: OnProgress) -> bool:
        return recorded.items() >= shares.record().items() and way.same(recorded, progress)

    def obtain(into: Path, progress: OnProgress) -> Obtained:
        obtained = way.obtain(into, progress)
        if not obtained.found.without_splits:
            raise InvalidInput(f"--split: {way.name} has splits of its own.", "Leave --split out.")
        obtained.found.splits = deal_out(obtained.found.splits, shares)
        return replace(obtained, source=obtained.source | shares.record())

    return Way(f"{way.name} ({shares_in_words(shares.record())})", way.look, same, obtain)


def shares_in_words(record: Mapping[str, Any]) -> str:
    """Return the options that a store's record of its source tells, of a file that was dealt out."""
    return f"--split {record['split']} --by {record['by']} --split-seed {record['split_seed']}"


def _generated(spec: DatasetSpec, source: str | None) -> Way:
    if source is not None:
        raise InvalidInput(f"{spec.name} is made by a generator, not read from a file.", "Leave out --from.")
    record = {"generator": spec.name, "version": toy.VERSION, "seed": toy.SEED, "published": False}

    def obtain(into: Path, progress: OnProgress) -> Obtained:
        raw, notes = toy.generate()
        return Obtained(Recognised(raw), record, notes)

    name = f"version {toy.VERSION} of the generator"
    return Way(name, _nothing, lambda recorded, _: recorded == record, obtain)


def _published(spec: DatasetSpec) -> Way:
    def look() -> None:
        if spec.source is None:
            raise InvalidInput(
                f"{spec.name} is published nowhere that dmmsa knows.",
                f"Give its file: `{prepare_command(spec.name, spec=None, **{'from': 'FILE'})}`.",
            )

    def obtain(into: Path, progress: OnProgress) -> Obtained:
        assert spec.source is not None  # `look` came first
        fetched = sources.fetch(spec, into, progress)
        link = sources.DRIVE_LINK.format(id=DRIVE_FOLDER)
        return _read(fetched, spec, {"url": link, "inside": spec.source.path}, progress)

    # Whoever names no source takes what is there.
    return Way("the published file", look, lambda recorded, _: True, obtain)


def _address(spec: DatasetSpec, url: str, sha256: str | None) -> Way:
    expected = sha256.lower() if sha256 else spec.source.sha256 if spec.source else None
    expected = None if expected == ANY_HASH else expected

    def same(recorded: dict[str, Any], _: OnProgress) -> bool:
        return recorded.get("url") == url and expected in (None, recorded.get("sha256"))

    def obtain(into: Path, progress: OnProgress) -> Obtained:
        fetched = sources.fetch_url(url, into / spec.name, expected, progress)
        return _read(fetched, spec, {"url": url}, progress)

    return Way(url, _nothing, same, obtain)


def _local_file(spec: DatasetSpec, path: Path, sha256: str | None) -> Way:
    def look() -> None:
        if path.is_dir():
            raise unpickling.is_folder(path)
        if not path.is_file():
            raise InvalidInput(f"There is no file {path}.", "Check the path given to --from.")

    def same(recorded: dict[str, Any], progress: OnProgress) -> bool:
        look()
        if recorded.items() >= _identity(path).items():
            return True
        return bool(recorded.get("sha256") == sources.hash_file(path, progress))

    def obtain(into: Path, progress: OnProgress) -> Obtained:
        found = sources.hash_file(path, progress)
        if sha256 not in (None, ANY_HASH) and found != str(sha256).lower():
            raise HashMismatch(
                f"{path} is not the file that --sha256 names.\n  expected {sha256}\n  found    {found}",
                "Fetch or copy it again, or leave out --sha256.",
            )
        return _read(sources.Fetched(path, found), spec, {}, progress)

    return Way(str(path), look, same, obtain)


def _nothing() -> None:
    pass


def _identity(path: Path) -> dict[str, Any]:
    """Tell a file from others, and from itself changed, without reading it."""
    state = path.stat()
    return {"path": str(path), "bytes": state.st_size, "mtime_ns": state.st_mtime_ns}


def _read(fetched: sources.Fetched, spec: DatasetSpec, where: dict[str, Any], progress: OnProgress) -> Obtained:
    published = spec.source is not None and fetched.sha256 == spec.source.sha256
    record = where | _identity(fetched.path) | {"sha256": fetched.sha256, "published": published}
    progress("read", 0, None)
    try:
        found = recognise(unpickling.load(fetched.path))
    except DamagedPickle as error:
        raise type(error)(error.what, f"{error.remedy}{sources.published_size(spec)}") from error
    progress("read", 1, 1)
    return Obtained(found, record, {})
