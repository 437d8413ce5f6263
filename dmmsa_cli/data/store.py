"""A prepared dataset, opened: a manifest, and one memory-mapped Arrow file a split, padding stripped."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from dmmsa_cli.data.manifest import Manifest, damaged, read_manifest
from dmmsa_cli.data.specs import DatasetSpec
from dmmsa_cli.data.split import Split


@dataclass(frozen=True)
class Store:
    """A prepared dataset, open.

    Attributes:
        folder: where it lies.
        manifest: what it holds.
    """

    folder: Path
    manifest: Manifest
    _splits: dict[str, Split] = field(default_factory=dict, repr=False, compare=False)

    @property
    def spec(self) -> DatasetSpec:
        """What was known of the dataset before its file was read."""
        return self.manifest.spec

    def split(self, name: str) -> Split:
        """Map one split; the second call gives the same object.

        Raises:
            StoreMismatch: the file is damaged.
        """
        if name not in self._splits:
            path = self.folder / self.manifest.files[name]
            try:
                reader = pa.ipc.open_file(pa.memory_map(str(path)))
                batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
            except (OSError, pa.ArrowInvalid) as error:
                raise damaged(path, str(error), self.spec.name) from error
            self._splits[name] = Split(name, batches)
        return self._splits[name]


def dataset_folder(data_dir: Path, name: str) -> Path:
    """Where the store of a dataset lies."""
    return data_dir / name


def open_store(folder: Path) -> Store:
    """Open a prepared dataset at once; its files are mapped when a split is asked for.

    Raises:
        DatasetMissing: nothing has been prepared there.
        StoreMismatch: written under another schema version, or damaged.
    """
    manifest = read_manifest(folder)
    _check_sizes(folder, manifest)
    return Store(folder, manifest)


def _check_sizes(folder: Path, manifest: Manifest) -> None:
    for split, name in manifest.files.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else 0
        if size != manifest.sizes[split]:
            told = f"it has {size:,} bytes where the manifest says {manifest.sizes[split]:,}"
            raise damaged(path, told, folder.name)
