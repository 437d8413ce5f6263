"""The rows of one split as Arrow holds them: what is written, and what is read back without a copy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dmmsa_cli.data.repair import Chunk
from dmmsa_cli.data.specs import MODALITIES
from dmmsa_cli.data.validation import EMOTIONS, Layout
from dmmsa_cli.errors import InvalidDataset
from dmmsa_cli.plain import shown


class Split:
    """The rows of one split, in memory or in a mapped file.

    Attributes:
        name: `train`, `valid`, `test`; in a file of features, whatever it names its splits.
    """

    def __init__(self, name: str, batches: Iterable[pa.RecordBatch]) -> None:
        self.name = name
        self._batches = tuple(batches)
        self._starts = np.array([0, *accumulate(batch.num_rows for batch in self._batches)])
        self._frames: dict[str, list[tuple[NDArray[np.int32], NDArray[np.float32]]]] = {}
        self._columns: list[str] = self._batches[0].schema.names if self._batches else []

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

    @cached_property
    def emotions(self) -> NDArray[np.float32] | None:
        """1 where an emotion is present, 0 where absent, NaN where not known, (N, C); none without such labels."""
        if EMOTIONS not in self._columns:
            return None
        return np.concatenate([_rows(batch.column(EMOTIONS)) for batch in self._batches])

    def with_emotions(self, emotions: NDArray[np.float32]) -> Iterator[pa.RecordBatch]:
        """Yield the rows with these emotions (N, C), in the place of earlier ones."""
        for batch, start in zip(self._batches, self._starts[:-1], strict=True):
            others = batch.select([name for name in batch.schema.names if name != EMOTIONS])
            kind = pa.field(EMOTIONS, pa.list_(pa.float32(), emotions.shape[1]), nullable=False)
            yield others.append_column(kind, fixed_lists(emotions[start : start + batch.num_rows]))

    def pieces(self, wanted: NDArray[np.bool_], *, emotions: bool) -> Iterator[pa.RecordBatch]:
        """Yield the wanted rows, (N,), as slices: those that stand in a row together, nothing is copied.

        Args:
            wanted: which.
            emotions: whether with those, where there are any.
        """
        names = [name for name in self._columns if emotions or name != EMOTIONS]
        for batch, start in zip(self._batches, self._starts[:-1], strict=True):
            edges = np.flatnonzero(np.diff(wanted[start : start + batch.num_rows], prepend=False, append=False))
            for begin, end in edges.reshape(-1, 2).tolist():
                yield batch.select(names).slice(begin, end - begin)

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

    def frames(self, modality: str) -> Iterator[NDArray[np.float32]]:
        """Yield all rows' frames in one modality behind each other, (m, F), a batch at a time, not copied."""
        for offsets, frames in self._sequences(modality):
            yield frames[offsets[0] : offsets[-1]]

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


def _rows(column: pa.FixedSizeListArray) -> NDArray[np.float32]:
    return _numbers(column.flatten()).reshape(-1, column.type.list_size)  # `values` of a slice would be those of all


def _numbers(column: pa.Array) -> NDArray[Any]:
    """View a column without nulls, not copied; its own `to_numpy` would import pandas, half a second at start."""
    return np.from_dlpack(column)


def arrow_schema(layout: Layout) -> pa.Schema:
    """Return the columns of a split of a file that has been checked."""
    return split_schema(layout.labels, layout.widths, len(layout.emotions))


def split_schema(labels: Iterable[str], widths: Mapping[str, int], emotions: int = 0) -> pa.Schema:
    """Return the columns of a split: id, text, y, y_t ..., emotions, and x_t ... as lists of frames of one width."""
    columns = [("id", pa.string()), ("text", pa.string())]
    columns += [("y" if key == "y" else f"y_{key}", pa.float32()) for key in labels]
    columns += [(EMOTIONS, pa.list_(pa.float32(), emotions))] if emotions else []
    columns += [(f"x_{m}", pa.list_(pa.list_(pa.float32(), width))) for m, width in widths.items()]
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns])


def record_batch(chunk: Chunk, schema: pa.Schema) -> pa.RecordBatch:
    """Turn repaired rows into Arrow's.

    Raises:
        InvalidDataset: a string can't be encoded.
    """
    columns = [_text("id", chunk.ids), _text("raw_text", chunk.texts)]
    columns += [pa.array(values) for values in chunk.labels.values()]
    columns += [] if chunk.emotions is None else [fixed_lists(chunk.emotions)]
    for modality, (lengths, frames) in chunk.sequences.items():
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        kind = schema.field(f"x_{modality}").type
        flat = pa.FixedSizeListArray.from_arrays(pa.array(frames.reshape(-1)), type=kind.value_type)
        columns.append(pa.ListArray.from_arrays(pa.array(offsets), flat, type=kind))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def fixed_lists(values: NDArray[np.float32]) -> pa.FixedSizeListArray:
    """Turn (n, C) into a column of lists of C numbers each."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _text(key: str, strings: list[str]) -> pa.Array:
    """Turn strings into Arrow's, which are UTF-8: half of a surrogate pair, as `surrogateescape` makes it, is none."""
    try:
        return pa.array(strings, pa.string())
    except UnicodeEncodeError as error:
        raise InvalidDataset(
            f"{key} holds what is no text, {shown(error.object)}: {error.reason} at character {error.start}.",
            "Decode the file's texts by their own encoding, or leave these characters out.",
        ) from error
