"""Writing a store so that a reader, or a process killed at any moment, finds the former store or the new one.

The manifest is the commit point. Files of splits get a random tag in their names, the manifest that names
them is renamed into place last, and files that it does not name are swept away.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dmmsa_cli import files
from dmmsa_cli.data import repair
from dmmsa_cli.data.manifest import MANIFEST, SCHEMA_VERSION, Manifest, read_manifest
from dmmsa_cli.data.progress import OnProgress, silent
from dmmsa_cli.data.repair import Chunk
from dmmsa_cli.data.split import arrow_schema, record_batch
from dmmsa_cli.data.store import open_store
from dmmsa_cli.data.validation import Layout
from dmmsa_cli.plain import read_json


def write_store(
    folder: Path,
    raw: dict[str, Any],
    layout: Layout,
    source: Mapping[str, Any],
    *,
    notes: Mapping[str, Any] | None = None,
    progress: OnProgress = silent,
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
        DiskFull: no room. After this and any other error the former store is there, untouched, and nothing of this one.
        InvalidDataset: a string of the file can't be encoded.
    """
    _sweep(folder, _named(folder))
    try:
        manifest = _write(folder, raw, layout, source, notes or {}, progress)
        files.write_json(folder / MANIFEST, manifest.to_json())
    finally:
        _sweep(folder, _named(folder))
    return manifest


def tidy(folder: Path) -> None:
    """Remove what a run that was killed once the store was whole has left of splits; the caller holds the folder."""
    with suppress(OSError):  # it may be an archive
        files.remove_partial(folder)
        _sweep(folder, _named(folder))


def _write(
    folder: Path,
    raw: dict[str, Any],
    layout: Layout,
    source: Mapping[str, Any],
    notes: Mapping[str, Any],
    progress: OnProgress,
) -> Manifest:
    """Write the splits under new names, and return the manifest that makes a store of them."""
    tag, digest, repairs = secrets.token_hex(4), hashlib.sha256(), Counter(layout.repairs)
    digest.update(f"{layout.spec.metrics} {layout.spec.score_range}\n".encode())  # the same scores, read otherwise
    longest, emotions = dict.fromkeys(layout.widths, 0), _emotions_hash(layout.emotions)
    written: dict[str, str] = {}
    for split in layout.rows:
        name = f"{split}-{tag}.arrow"
        with files.atomic_path(folder / name) as path:
            content = _write_split(path, split, raw.pop(split), layout, repairs, longest, emotions, progress)
        digest.update(f"{split}:{content}\n".encode())
        written[split] = name
    return Manifest(
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
        emotions=layout.emotions,
        emotions_hash=emotions.hexdigest() if layout.emotions else None,
        repairs=dict(repairs),
        files=written,
        sizes={split: (folder / name).stat().st_size for split, name in written.items()},
        notes=dict(notes),
    )


def _named(folder: Path) -> set[str]:
    """Files that the manifest of the present store names."""
    try:
        return set(read_json(folder / MANIFEST)["files"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
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
    emotions: Any,  # noqa: ANN401  (a hash, which has no public type)
    progress: OnProgress,
) -> str:
    """Write one split in chunks of rows and return the hash of its content; `longest`, `emotions` grow on the way."""
    schema, content, done = arrow_schema(layout), _ContentHash(), 0
    with pa.OSFile(os.fsencode(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for chunk in repair.clean(raw, layout, repairs):
            writer.write_batch(record_batch(chunk, schema))
            content.update(chunk)
            if chunk.emotions is not None:
                emotions.update(chunk.emotions)
            for modality, (lengths, _) in chunk.sequences.items():
                longest[modality] = max(longest[modality], int(lengths.max()))
            done += len(chunk.ids)
            progress(f"write {name}", done, layout.rows[name])
    return content.hexdigest()


def add_pseudo_emotions(
    folder: Path, names: tuple[str, ...], emotions: NDArray[np.float32], origin: Mapping[str, Any]
) -> Manifest:
    """Give the clips of a store's training split emotions, in the place of earlier ones; the caller holds the folder.

    All else stays as it is, the data hash too.

    Args:
        folder: the store's folder.
        names: of the C emotions.
        emotions: 1 where present, 0 where absent, NaN where not known, (N, C).
        origin: where they come from, for the manifest.

    Raises:
        DatasetMissing, StoreMismatch: there is no store, or a damaged one.
        DiskFull: no room; the store is as it was.
    """
    manifest, store = read_manifest(folder), open_store(folder)
    name = f"train-{secrets.token_hex(4)}.arrow"
    digest = _emotions_hash(names)
    digest.update(emotions)
    try:
        with files.atomic_path(folder / name) as path:
            write_batches(path, store.split("train").with_emotions(emotions))
        manifest = replace(
            manifest,
            files={**manifest.files, "train": name},
            sizes={**manifest.sizes, "train": (folder / name).stat().st_size},
            emotions=names,
            emotions_hash=digest.hexdigest(),
            pseudo_emotions=dict(origin),
        )
        files.write_json(folder / MANIFEST, manifest.to_json())
    finally:
        _sweep(folder, _named(folder))
    return manifest


def write_batches(path: Path, batches: Iterable[pa.RecordBatch]) -> None:
    """Write batches of one schema to a file; at least one."""
    first, *others = batches
    with pa.OSFile(os.fsencode(path), "wb") as sink, pa.ipc.new_file(sink, first.schema) as writer:
        for batch in (first, *others):
            writer.write_batch(batch)


def _emotions_hash(names: tuple[str, ...]) -> Any:  # noqa: ANN401  (a hash has no public type)
    return hashlib.sha256(" ".join(names).encode())


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
