"""From the pickle to the store: unpickling, preparing, opening. Nothing here imports torch, as `prepare` does not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import numpy as np

from dmmsa_cli.bench.place import Place
from dmmsa_cli.bench.process import Facts, peak_memory
from dmmsa_cli.data import unpickling
from dmmsa_cli.data.shaped import write_shaped
from dmmsa_cli.data.sources import hash_file
from dmmsa_cli.data.specs import SPLITS
from dmmsa_cli.data.store import dataset_folder, open_store
from dmmsa_cli.errors import InvalidInput, StoreMismatch
from dmmsa_cli.stages.prepare import prepare


def found(place: Place) -> Facts:
    """Make the pickle up where it is not there, and say which one it is."""
    place.folder.mkdir(parents=True, exist_ok=True)
    if place.made_up and not place.file.exists():
        write_shaped(place.file, place.shape, rows=place.rows)
    return {
        "shape": place.shape,
        "made_up": True if place.made_up else None,  # of a given file nothing is known
        "file": place.file.name,
        "file_bytes": place.file.stat().st_size,
        "sha256": hash_file(place.file, lambda what, done, total: None),
    }


def unpickled(place: Place) -> Facts:
    """Measure what `prepare` can't do without: reading the whole pickle into memory."""
    began = time.perf_counter()
    content = unpickling.load(place.file)
    return {
        "unpickle_seconds": time.perf_counter() - began,
        "unpickled_bytes": array_bytes(content),
        "unpickle_peak_rss_bytes": peak_memory(),
    }


def array_bytes(content: object) -> int:
    """Return the bytes of all arrays in nested mappings."""
    if isinstance(content, Mapping):
        return sum(array_bytes(value) for value in content.values())
    return content.nbytes if isinstance(content, np.ndarray) else 0


def prepared(place: Place, into: Path) -> Facts:
    """Measure `prepare` into a data folder, imports apart; where the store is there already, nothing is done.

    Raises:
        InvalidInput: the folder holds a store of another file.
    """
    began = time.perf_counter()
    try:
        report = prepare(place.dataset, data_dir=into, source=str(place.file), spec_file=place.spec())
    except StoreMismatch as error:
        raise InvalidInput(error.what, "Give another --folder, or empty this one.") from error
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "peak_rss_bytes": peak_memory(),
        "rows": sum(report.manifest.rows.values()),
        "store_bytes": sum(report.manifest.sizes.values()),
    }


def opened(place: Place, repeats: int) -> Facts:
    """Measure opening the store and mapping its splits, imports apart: the median of several times."""
    return {"seconds": median(_open(place) for _ in range(repeats))}


def _open(place: Place) -> float:
    began = time.perf_counter()
    store = open_store(dataset_folder(place.data_dir, place.dataset))
    for split in SPLITS:
        store.split(split)
    return time.perf_counter() - began
