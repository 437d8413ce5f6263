"""A prepared dataset: one memory-mapped Arrow file a split, padding stripped, and a manifest that names them.

The manifest is the commit point. Files of splits get a random tag in their names, the manifest that names
them is renamed into place last, and files that it does not name are swept away: a reader, or a process killed
at any moment, finds the former store or the new one.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dmmsa_cli import files
from dmmsa_cli.data import repair
from dmmsa_cli.data.repair import Chunk
from dmmsa_cli.data.specs import ALIGNED, MODALITIES, DatasetSpec, from_dict, to_dict
from dmmsa_cli.data.validation import Layout
from dmmsa_cli.errors import DatasetMissing, StoreMismatch

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"

Progress = Callable[[str, int, int | None], None]  # what is being done, how far, out of how much (None: unknown)


def _silent(what: str, done: int, total: int | None) -> None:
    pass


@dataclass(frozen=True)
class Manifest:
    """What a store holds; everything but the rows themselves.

    Attributes:
        schema_version: version of the layout of the files.
        spec: what was known of the dataset before its file was read.
        source: where the file came from, its `sha256`, and `published`: whether it is the field's own.
        data_hash: SHA-256 over the content of the splits: same content, same hash.
        modalities: which of `t`, `v`, `a` there are.
        transcripts: whether there are words (without them, `t` means the pickled BERT features).
        widths: feature width by modality; `t` only where there are pickled BERT features.
        longest: longest sequence over all splits by modality, in frames.
        rows: rows by split.
        unimodal_labels: whether there are labels of each modality alone.
        repairs: how often what was repaired.
        files: file name by split.
        sizes: bytes of that file by split.
        notes: other facts, each under its own key (toy: its noise and the best MAE that can be reached).
    """

    schema_version: int
    spec: DatasetSpec
    source: dict[str, Any]
    data_hash: str
    modalities: tuple[str, ...]
    transcripts: bool
    widths: dict[str, int]
    longest: dict[str, int]
    rows: dict[str, int]
    unimodal_labels: bool
    repairs: dict[str, int]
    files: dict[str, str]
    sizes: dict[str, int]
    notes: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Turn into what JSON can hold."""
        return asdict(self) | {"spec": to_dict(self.spec), "modalities": list(self.modalities)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Manifest:
        """Turn what `to_json` gave back."""
        read = {"spec": from_dict(values["spec"]), "modalities": tuple(values["modalities"])}
        return cls(**(dict(values) | read))


class Split:
    """The rows of one split, in memory or in a mapped file.

    Attributes:
        name: `train`, `valid`, `test`; in a file of features, whatever it names its splits.
    """

    def __init__(self, name: str, batches: Iterable[pa.RecordBatch]) -> None:
        self.name = name
        self._batches = tuple(batches)
        sizes = [batch.num_rows for batch in self._batches]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self._frames: dict[str, list[tuple[NDArray[np.int32], NDArray[np.float32]]]] = {}
        self._columns = set(self._batches[0].schema.names) if self._batches else set()

    def __len__(self) -> int:
        return int(self._starts[-1])

    @cached_property
    def ids(self) -> list[str]:
        """Names of the clips, N."""
        return self._strings("id")

    @cached_property
    def texts(self) -> list[str]:
        """Transcripts, N; empty strings where the file has none."""
        return self._strings("text")

    @cached_property
    def labels(self) -> dict[str, NDArray[np.float32]]:
        """Scores (N,) under `y`, unimodal ones under `t`, `v`, `a`; empty where there are none."""
        columns = {"y": "y", **{modality: f"y_{modality}" for modality in MODALITIES}}
        return {key: self._numbers(column) for key, column in columns.items() if column in self._columns}

    def lengths(self, modality: str) -> NDArray[np.int64]:
        """Frames of each row in one modality, (N,)."""
        parts = [np.diff(offsets) for offsets, _ in self._sequences(modality)]
        return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)

    def sequence(self, modality: str, row: int) -> NDArray[np.float32]:
        """One row's frames in one modality, (n, F), not copied; for `t`, the pickled BERT features."""
        batch = int(np.searchsorted(self._starts, row, side="right")) - 1
        if not 0 <= row < len(self):
            raise IndexError(f"Row {row} of {len(self)} in split {self.name}.")
        offsets, frames = self._sequences(modality)[batch]
        within = row - int(self._starts[batch])
        return frames[offsets[within] : offsets[within + 1]]

    def _sequences(self, modality: str) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """Per batch: offsets (n + 1,) into frames (m, F)."""
        if modality not in self._frames:
            self._frames[modality] = [_frames(batch.column(f"x_{modality}")) for batch in self._batches]
        return self._frames[modality]

    def _strings(self, column: str) -> list[str]:
        return [value for batch in self._batches for value in batch.column(column).to_pylist()]

    def _numbers(self, column: str) -> NDArray[np.float32]:
        return np.concatenate([_numbers(batch.column(column)) for batch in self._batches])


def _frames(column: pa.ListArray) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    width = column.type.value_type.list_size
    return _numbers(column.offsets), _numbers(column.values.values).reshape(-1, width)


def _numbers(column: pa.Array) -> NDArray[Any]:
    """View a column without nulls, not copied; its own `to_numpy` would import pandas, half a second at start."""
    return np.from_dlpack(column)


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
                raise _damaged(path, str(error), self.spec.name) from error
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
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetMissing(
            f"Dataset {folder.name} is not prepared: there is no {path}.",
            f"Run `{prepare_command(folder.name)}`, or point --data-dir at the folder that holds it.",
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _damaged(path, str(error), folder.name) from error
    found = values.get("schema_version") if isinstance(values, dict) else None
    if found != SCHEMA_VERSION:
        raise StoreMismatch(
            f"The store {folder} has schema version {found}; this dmmsa reads version {SCHEMA_VERSION}.",
            f"Write it anew: `{prepare_command(folder.name)} --force`.",
        )
    try:
        manifest = Manifest.from_json(values)
    except (KeyError, TypeError) as error:
        raise _damaged(path, f"its keys are not those of a manifest ({error})", folder.name) from error
    _check_sizes(folder, manifest)
    return Store(folder, manifest)


def _check_sizes(folder: Path, manifest: Manifest) -> None:
    for split, name in manifest.files.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else 0
        if size != manifest.sizes[split]:
            told = f"it has {size:,} bytes where the manifest says {manifest.sizes[split]:,}"
            raise _damaged(path, told, folder.name)


def _damaged(path: Path, why: str, name: str) -> StoreMismatch:
    return StoreMismatch(f"{path} is damaged: {why}.", f"Write it anew: `{prepare_command(name)} --force`.")


def prepare_command(name: str) -> str:
    """Give the command line that prepares a dataset."""
    return f"dmmsa prepare {name.removesuffix(ALIGNED)}{' --aligned' if name.endswith(ALIGNED) else ''}"


def write_store(
    folder: Path,
    raw: dict[str, Any],
    layout: Layout,
    source: Mapping[str, Any],
    *,
    notes: Mapping[str, Any] | None = None,
    progress: Progress = _silent,
) -> Manifest:
    """Write a checked dataset, replacing what `folder` held in one step; the caller holds the folder.

    Args:
        folder: the store's folder.
        raw: splits as unpickled; EMPTIED on the way, so that each split's memory is freed once it is written.
        layout: what `validation.check` found in `raw`.
        source: where the data came from, for the manifest.
        notes: other facts for the manifest.
        progress: called after each chunk.

    Raises:
        DiskFull: no room; the former store is untouched.
    """
    _sweep(folder, _named(folder))
    tag, digest, repairs = secrets.token_hex(4), hashlib.sha256(), Counter(layout.repairs)
    digest.update(f"{layout.spec.metrics} {layout.spec.score_range}\n".encode())  # the same scores, read otherwise
    longest = dict.fromkeys(layout.widths, 0)
    written: dict[str, str] = {}
    for split in layout.rows:
        name = f"{split}-{tag}.arrow"
        with files.atomic_path(folder / name) as path:
            content = _write_split(path, split, raw.pop(split), layout, repairs, longest, progress)
        digest.update(f"{split}:{content}\n".encode())
        written[split] = name
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        spec=layout.spec,
        source=dict(source),
        data_hash=digest.hexdigest(),
        modalities=layout.modalities,
        transcripts=layout.transcripts,
        widths=dict(layout.widths),
        longest=longest,
        rows=dict(layout.rows),
        unimodal_labels=layout.unimodal_labels,
        repairs=dict(repairs),
        files=written,
        sizes={split: (folder / name).stat().st_size for split, name in written.items()},
        notes=dict(notes or {}),
    )
    files.write_json(folder / MANIFEST, manifest.to_json())
    _sweep(folder, set(written.values()))
    return manifest


def _named(folder: Path) -> set[str]:
    """Files that the manifest of the present store names."""
    try:
        return set(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"].values())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError):
        return set()  # no store, or one that nothing can open any more


def _sweep(folder: Path, keep: set[str]) -> None:
    """Remove files of splits that no manifest names: the replaced ones, and what a killed run left."""
    for path in folder.glob("*.arrow*"):
        if path.name not in keep:
            path.unlink(missing_ok=True)


def _write_split(
    path: Path,
    name: str,
    raw: dict[str, Any],
    layout: Layout,
    repairs: Counter[str],
    longest: dict[str, int],
    progress: Progress,
) -> str:
    """Write one split in chunks of rows and return the hash of its content; `longest` grows on the way."""
    schema, content, done = arrow_schema(layout), _ContentHash(), 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for chunk in repair.clean(raw, layout, repairs):
            writer.write_batch(record_batch(chunk, schema))
            content.update(chunk)
            for modality, (lengths, _) in chunk.sequences.items():
                longest[modality] = max(longest[modality], int(lengths.max()))
            done += len(chunk.ids)
            progress(f"write {name}", done, layout.rows[name])
    return content.hexdigest()


def arrow_schema(layout: Layout) -> pa.Schema:
    """Return the columns of a split: id, text, y, y_t ..., and x_t ... as lists of frames of one width."""
    columns = [("id", pa.string()), ("text", pa.string())]
    columns += [("y" if key == "y" else f"y_{key}", pa.float32()) for key in layout.labels]
    columns += [(f"x_{m}", pa.list_(pa.list_(pa.float32(), width))) for m, width in layout.widths.items()]
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns])


def record_batch(chunk: Chunk, schema: pa.Schema) -> pa.RecordBatch:
    """Turn repaired rows into Arrow's."""
    columns = [pa.array(chunk.ids, pa.string()), pa.array(chunk.texts, pa.string())]
    columns += [pa.array(values) for values in chunk.labels.values()]
    for modality, (lengths, frames) in chunk.sequences.items():
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        kind = schema.field(f"x_{modality}").type
        flat = pa.FixedSizeListArray.from_arrays(pa.array(frames.reshape(-1)), type=kind.value_type)
        columns.append(pa.ListArray.from_arrays(pa.array(offsets), flat, type=kind))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


class _ContentHash:
    """A hash for each column, fed in row order, so that neither chunks nor file names enter it."""

    def __init__(self) -> None:
        self._columns: dict[str, Any] = {}

    def update(self, chunk: Chunk) -> None:
        for key, strings in (("id", chunk.ids), ("text", chunk.texts)):
            self._feed(key, json.dumps(strings)[1:-1].encode() + b", ")
        for key, labels in chunk.labels.items():
            self._feed(f"y_{key}", labels)
        for modality, (lengths, frames) in chunk.sequences.items():
            self._feed(f"n_{modality}", lengths)
            self._feed(f"x_{modality}:{frames.shape[1]}", frames)

    def _feed(self, column: str, content: Any) -> None:  # noqa: ANN401  (whatever has a buffer)
        self._columns.setdefault(column, hashlib.sha256()).update(content)

    def hexdigest(self) -> str:
        listed = "".join(f"{column}={digest.hexdigest()}\n" for column, digest in sorted(self._columns.items()))
        return hashlib.sha256(listed.encode()).hexdigest()
