"""A prepared dataset, opened: a manifest, and one memory-mapped Arrow file a split, padding stripped."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from dmmsa_cli.data.manifest import MANIFEST, VIDEO_FORM, Manifest, damaged, not_prepared, read_manifest
from dmmsa_cli.data.specs import DatasetSpec
from dmmsa_cli.data.split import Split, split_schema
from dmmsa_cli.data.videos import form_of
from dmmsa_cli.errors import InvalidInput, StoreMismatch, is_out_of_memory

DOWNLOADS = "downloads"  # folder inside the data folder, so no dataset's name


@dataclass(frozen=True)
class Store:
    """A prepared dataset, open: it stays as it was opened, whatever replaces it on the disk.

    Attributes:
        folder: where it lies.
        manifest: what it holds.
    """

    folder: Path
    manifest: Manifest
    _splits: Mapping[str, Split] = field(repr=False, compare=False)

    @property
    def spec(self) -> DatasetSpec:
        """What was known of the dataset before its file was read."""
        return self.manifest.spec

    @property
    def video_form(self) -> str | None:
        """The form in which ids name videos, of all its clips together, as `places_of` takes it."""
        if VIDEO_FORM in self.manifest.notes:
            form: str | None = self.manifest.notes[VIDEO_FORM]
            return form
        # A store, or what a run kept of one, of before this was noted.
        return form_of(name for split in self._splits.values() for name in split.ids) if self._splits else ""

    def split(self, name: str) -> Split:
        """Return one split, always the same object.

        Raises:
            DatasetMissing: the rows are not at hand; all that is known of them is what a run has kept.
        """
        if name not in self._splits:
            raise not_prepared(self.folder)
        return self._splits[name]


def dataset_folder(data_dir: Path, name: str) -> Path:
    """Return where the store of a dataset lies.

    Raises:
        InvalidInput: `name` can't be a dataset's.
    """
    check_name(name)
    return data_dir / name


def check_name(name: str) -> None:
    """See that a name is one word that can be a folder's, and so can't lead anywhere else.

    Raises:
        InvalidInput: it is none.
    """
    if not re.fullmatch(r"\w[\w.-]*", name) or name == DOWNLOADS:
        raise InvalidInput(
            f"{name!r} can't be a dataset's name.",
            "Use letters, digits, '-', '_' and '.', beginning with a letter. --data-dir says where datasets lie.",
        )


def open_store(folder: Path) -> Store:
    """Open a prepared dataset: all its files are mapped, none is read. Its name is its folder's.

    Raises:
        DatasetMissing: nothing has been prepared there.
        StoreMismatch: written under another schema version, or damaged.
    """
    manifest = read_manifest(folder)
    try:
        return _mapped(folder, manifest)
    except StoreMismatch:
        latest = read_manifest(folder)
        if latest == manifest:
            raise
        return _mapped(folder, latest)  # the store was replaced after its manifest had been read


def keeps_manifest(folder: Path) -> bool:
    """Say whether a run's folder keeps what was known of its dataset; those of an older dmmsa do not."""
    return (folder / MANIFEST).exists()


def known_from(folder: Path, *, of: Path) -> Store:
    """Return what a run's folder keeps of its dataset: the manifest, and no rows.

    Args:
        folder: of the run.
        of: where the store itself would lie.

    Raises:
        StoreMismatch: written under another schema version, or damaged.
    """
    manifest = read_manifest(folder)
    return Store(of, replace(manifest, spec=replace(manifest.spec, name=of.name)), {})


def _mapped(folder: Path, manifest: Manifest) -> Store:
    return Store(folder, manifest, {name: _map(folder, manifest, name) for name in manifest.files})


def _map(folder: Path, manifest: Manifest, name: str) -> Split:
    path = folder / manifest.files[name]
    size = path.stat().st_size if path.is_file() else 0
    if size != manifest.sizes[name]:
        found = f"it has {size:,} bytes where the manifest says {manifest.sizes[name]:,}"
        raise damaged(path, found)
    try:
        split = Split(name, mapped_batches(path, split_schema(("y",), manifest.widths, manifest.emotions_in(name))))
    except (OSError, ValueError, pa.ArrowException) as error:
        if is_out_of_memory(error):
            raise
        raise damaged(path, str(error)) from error
    if len(split) != manifest.rows[name]:
        found = f"it has {len(split):,} rows where the manifest says {manifest.rows[name]:,}"
        raise damaged(path, found)
    return split


def mapped_batches(path: Path, columns: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Map a file, and see that it can be read to its end: frames and scores may be anything, offsets may not."""
    reader = pa.ipc.open_file(pa.memory_map(os.fsencode(path)))
    names = reader.schema.names
    if len(set(names)) < len(names) or not set(columns) <= set(reader.schema):
        raise ValueError("its columns are not those that the manifest says")
    for number in range(reader.num_record_batches):
        batch = reader.get_batch(number)
        batch.validate(full=True)
        yield batch
