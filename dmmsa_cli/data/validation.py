"""Is an unpickled file what it should be? All faults are told at once.

They are looked for over the whole file, without reading feature values; those are repaired while rows stream by
(`data/repair.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.data.specs import MODALITIES, SPLITS, DatasetSpec
from dmmsa_cli.errors import InvalidDataset

FEATURES = {
    "t": "text",
    "v": "vision",
    "a": "audio",
}  # key of each modality's sequences in the field's layout
LABELS = {
    "y": "regression_labels",
    "t": "regression_labels_T",
    "v": "regression_labels_V",
    "a": "regression_labels_A",
}
CHUNK_ROWS = 256
ROUNDING = 1e-6  # how far, as a share of R, a label may lie outside for having been float32


class Fault(NamedTuple):
    """Something that can't be repaired: in which split, under which key, what."""

    split: str
    key: str
    what: str


@dataclass(frozen=True)
class Layout:
    """What a checked file holds.

    Attributes:
        spec: the dataset it was checked against.
        modalities: which of `t`, `v`, `a` there are.
        transcripts: whether there are words.
        widths: feature width of each modality that has sequences.
        labels: keys of `LABELS` that are there.
        rows: rows by split.
        repairs: repairs that concern a whole array (lists, float64), counted.
        warnings: what the reader should know, and nothing had to be refused for.
    """

    spec: DatasetSpec
    modalities: tuple[str, ...]
    transcripts: bool
    widths: dict[str, int]
    labels: tuple[str, ...]
    rows: dict[str, int]
    repairs: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def unimodal_labels(self) -> bool:
        """Whether there are labels of each modality alone."""
        return len(self.labels) > 1


def check(raw: Any, spec: DatasetSpec, *, whole: bool = True) -> Layout:  # noqa: ANN401  (a stranger's pickle)
    """Find every fault of a file in the field's layout.

    Args:
        raw: what was unpickled, `{split: {key: values}}`.
        spec: the dataset that it should be.
        whole: whether all three splits and their labels must be there; otherwise any splits, labels or not.

    Raises:
        InvalidDataset: with a table of all faults.
    """
    if not isinstance(raw, dict) or not raw:
        raise _invalid([Fault("-", "-", f"the file holds {_kind(raw)} where a dict of splits should be")])
    checker = _Checker(spec, whole)
    names = SPLITS if whole else tuple(map(str, raw))
    splits = {name: raw[name] for name in names if checker.is_split(raw, name)}
    rows = {name: checker.rows(name, split) for name, split in splits.items()}
    for name, split in splits.items():
        checker.strings(name, split, rows[name])
    checker.unique_ids(splits)
    transcripts = checker.everywhere(splits, "raw_text")
    widths = checker.widths(splits, rows)
    modalities = tuple(m for m in MODALITIES if m in widths or (m == "t" and transcripts and m in spec.modalities))
    labels = checker.labels(splits, rows, modalities)
    if not modalities:
        checker.add("all", "-", "none of raw_text, text, vision, audio is there")
    if checker.faults:
        raise _invalid(checker.faults)
    checker.compare_with_spec(rows, modalities, labels)
    return Layout(
        spec=spec,
        modalities=modalities,
        transcripts=transcripts,
        widths=widths,
        labels=labels,
        rows=rows,
        repairs=dict(checker.repairs),
        warnings=tuple(checker.warnings),
    )


def _invalid(faults: list[Fault]) -> InvalidDataset:
    head = Fault("split", "key", "what")
    first, second = (max(len(fault[i]) for fault in [head, *faults]) for i in (0, 1))
    lines = [f"  {split:<{first}}  {key:<{second}}  {what}" for split, key, what in [head, *faults]]
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return InvalidDataset(
        f"The file can't be used; it has {count}:\n" + "\n".join(lines),
        "Correct the file, or check that it is the one you meant and, for a dataset of your own, its --spec.",
    )


class _Checker:
    """Collects what is wrong, what is repaired and what should be said."""

    def __init__(self, spec: DatasetSpec, whole: bool) -> None:
        self.spec = spec
        self.whole = whole
        self.faults: list[Fault] = []
        self.repairs: Counter[str] = Counter()
        self.warnings: list[str] = []

    def add(self, split: str, key: str, what: str) -> None:
        self.faults.append(Fault(split, key, what))

    def is_split(self, raw: Mapping[str, Any], name: str) -> bool:
        if name not in raw:
            self.add(name, "-", "the split is missing")
        elif not isinstance(raw[name], dict):
            self.add(name, "-", f"is {_kind(raw[name])} where a dict of keys should be")
        else:
            return True
        return False

    def rows(self, name: str, split: Mapping[str, Any]) -> int:
        """Rows of a split: those of its ids, else of the first key that can be counted."""
        for key in ("id", LABELS["y"], "raw_text", *FEATURES.values()):
            size = _size(split.get(key))
            if size is not None:
                if size == 0:
                    self.add(name, key, "has no rows")
                return size
        return 0

    def strings(self, name: str, split: Mapping[str, Any], rows: int) -> None:
        for key in ("id", "raw_text"):
            if key not in split:
                if key == "id":
                    self.add(name, key, "is missing")
            elif self._counted(name, key, split[key], rows):
                bad = next((row for row, value in enumerate(split[key]) if not isinstance(value, str)), None)
                if bad is not None:
                    self.add(name, key, f"row {bad} is {_kind(split[key][bad])} where a string should be")

    def unique_ids(self, splits: Mapping[str, Mapping[str, Any]]) -> None:
        seen: dict[str, str] = {}
        for name, split in splits.items():
            ids = [one for one in _listed(split.get("id")) if isinstance(one, str)]
            twice = [one for one, count in Counter(ids).items() if count > 1]
            if twice:
                self.add(name, "id", f"{_number(len(twice), 'id')} more than once: {_some(twice)}")
            for other in dict.fromkeys(seen.values()):
                shared = [one for one in dict.fromkeys(ids) if seen.get(one) == other]
                if shared:
                    self.add(name, "id", f"{_number(len(shared), 'id')} also in {other}: {_some(shared)}")
            seen = dict.fromkeys(ids, name) | seen

    def everywhere(self, splits: Mapping[str, Mapping[str, Any]], key: str) -> bool:
        """Whether a key is in all splits; in some only is a fault."""
        having = [name for name, split in splits.items() if split.get(key) is not None]
        for name in splits:
            if having and name not in having:
                self.add(name, key, f"is missing, and is there in {' and '.join(having)}")
        return bool(having)

    def widths(self, splits: Mapping[str, Mapping[str, Any]], rows: Mapping[str, int]) -> dict[str, int]:
        """Feature width of each modality that has sequences and that the spec lets in."""
        found: dict[str, int] = {}
        for modality, key in FEATURES.items():
            if not self.everywhere(splits, key):
                continue
            if modality not in self.spec.modalities:
                self.warnings.append(f"{key} is in the file, not among the dataset's modalities: left out.")
                continue
            by_split = {name: self._sequences(name, key, split, rows[name]) for name, split in splits.items()}
            widths = {name: width for name, width in by_split.items() if width is not None}
            if len(set(widths.values())) > 1:
                told = ", ".join(f"{width} in {name}" for name, width in widths.items())
                self.add("all", key, f"its width differs: {told}")
            if widths:
                found[modality] = next(iter(widths.values()))
        return found

    def _sequences(self, name: str, key: str, split: Mapping[str, Any], rows: int) -> int | None:
        """Check one array (N, T, F) and what tells its valid frames; F, or None where it is no such array."""
        values = split.get(key)
        if values is None or not self._counted(name, key, values, rows):
            return None
        shape = self._list_shape(name, key, values) if isinstance(values, list | tuple) else np.shape(values)
        if shape is None:
            return None
        if len(shape) != 3 or shape[2] == 0:
            self.add(name, key, f"has shape {shape} where (rows, steps, width) should be")
            return None
        if not isinstance(values, list | tuple) and not self._numeric(name, key, values):
            return None
        if key == "text":
            self._text_mask(name, split, (rows, shape[1]))
        else:
            self._lengths(name, f"{key}_lengths", split, rows)
        return int(shape[2])

    def _list_shape(self, name: str, key: str, values: Any) -> tuple[int, ...] | None:  # noqa: ANN401
        """Shape of an array that is stored as a list, looked at in chunks."""
        shapes: set[tuple[int, ...]] = set()
        for start in range(0, len(values), CHUNK_ROWS):
            try:
                with np.errstate(over="ignore"):
                    shapes.add(np.asarray(values[start : start + CHUNK_ROWS], np.float32).shape[1:])
            except (TypeError, ValueError) as error:
                self.add(name, key, f"rows from {start} on make no array of numbers: {error}")
                return None
        if len(shapes) > 1:
            self.add(name, key, f"rows differ in shape: {_some(sorted(map(str, shapes)))}; pad them to one")
            return None
        self.repairs[f"{key}: list read as an array (splits)"] += 1
        return len(values), *(shapes.pop() if shapes else ())

    def _lengths(self, name: str, key: str, split: Mapping[str, Any], rows: int) -> None:
        if split.get(key) is None or not self._counted(name, key, split[key], rows):
            return
        lengths = self._vector(name, key, split[key])
        if lengths is not None and not np.array_equal(lengths, np.rint(lengths)):
            self.add(name, key, "holds what is no whole number")

    def _text_mask(self, name: str, split: Mapping[str, Any], shape: tuple[int, int]) -> None:
        if split.get("text_bert") is None:
            return
        found = np.shape(split["text_bert"])
        if found != (shape[0], 3, shape[1]):
            self.add(name, "text_bert", f"has shape {found} where {(shape[0], 3, shape[1])} should be")
        else:
            self._numeric(name, "text_bert", np.asarray(split["text_bert"]))

    def labels(
        self,
        splits: Mapping[str, Mapping[str, Any]],
        rows: Mapping[str, int],
        modalities: tuple[str, ...],
    ) -> tuple[str, ...]:
        """Keys of the labels that are there and can be used."""
        wanted = ["y", *(modalities if self.spec.unimodal_labels else ())]
        found = [key for key in wanted if self._labels_everywhere(splits, LABELS[key])]
        for key in found:
            for name, split in splits.items():
                if split.get(LABELS[key]) is not None:
                    self._scores(name, LABELS[key], split[LABELS[key]], rows[name])
        if self.whole and "y" not in found:
            for name in splits:
                self.add(name, LABELS["y"], "is missing")
        absent = [LABELS[key] for key in wanted[1:] if key not in found]
        if self.whole and "y" in found and 1 < len(found) < len(wanted):
            self.add("all", ", ".join(absent), "is missing, while other modalities have labels of their own")
        return tuple(found) if "y" in found else ()

    def _labels_everywhere(self, splits: Mapping[str, Mapping[str, Any]], key: str) -> bool:
        if self.whole:
            return self.everywhere(splits, key)
        return bool(splits) and all(split.get(key) is not None for split in splits.values())

    def _scores(self, name: str, key: str, values: Any, rows: int) -> None:  # noqa: ANN401
        if not self._counted(name, key, values, rows):
            return
        scores = self._vector(name, key, values)
        if scores is None:
            return
        limit = self.spec.score_range
        unknown, outside = np.isnan(scores), np.abs(scores) > limit * (1 + ROUNDING)
        if unknown.any():
            self.add(name, key, f"{_number(int(unknown.sum()), 'label')} NaN, the first in row {unknown.argmax()}")
        if outside.any():
            row = int(outside.argmax())
            told = f"outside [-{limit:g}, {limit:g}], the first in row {row}: {scores[row]:g}"
            self.add(name, key, f"{_number(int(outside.sum()), 'label')} {told}")
        if isinstance(values, list | tuple):
            self.repairs[f"{key}: list read as an array (splits)"] += 1

    def _vector(self, name: str, key: str, values: Any) -> NDArray[np.float64] | None:  # noqa: ANN401
        """Numbers as float64 (N,), or None after telling why not."""
        try:
            vector = np.asarray(values)
        except ValueError:
            vector = np.empty(0, object)  # rows of several lengths
        if not self._numeric(name, key, vector):
            return None
        if vector.ndim != 1:
            self.add(name, key, f"has shape {vector.shape} where (rows,) should be")
            return None
        return vector.astype(np.float64)

    def _numeric(self, name: str, key: str, values: Any) -> bool:  # noqa: ANN401
        dtype = getattr(values, "dtype", None)
        if dtype is None or dtype.kind not in "fiub":
            self.add(name, key, f"is {_kind(values)} where numbers should be")
            return False
        if dtype == np.float64 and isinstance(values, np.ndarray) and values.ndim == 3:
            self.repairs[f"{key}: float64 stored as float32 (splits)"] += 1
        return True

    def _counted(self, name: str, key: str, values: Any, rows: int) -> bool:  # noqa: ANN401
        size = _size(values)
        if size is None:
            self.add(name, key, f"is {_kind(values)} where {rows} rows should be")
        elif size != rows:
            self.add(name, key, f"has {size} rows where the split has {rows}")
        return size == rows

    def compare_with_spec(self, rows: Mapping[str, int], modalities: tuple[str, ...], labels: tuple[str, ...]) -> None:
        expected = self.spec.split_sizes
        if expected is not None and dict(expected) != dict(rows):
            told = ", ".join(f"{name} {rows[name]} (published: {expected[name]})" for name in rows)
            self.warnings.append(f"The split sizes are not the published ones: {told}.")
        absent = [FEATURES[m] for m in self.spec.modalities if m not in modalities]
        if absent:
            self.warnings.append(f"Not in this file: {', '.join(absent)}.")
        if self.whole and self.spec.unimodal_labels and len(labels) < 2:
            self.warnings.append("No unimodal labels in this file.")


def _size(values: Any) -> int | None:  # noqa: ANN401
    """Rows of a list, a tuple or an array; None for anything else."""
    if isinstance(values, np.ndarray):
        return values.shape[0] if values.ndim else None
    return len(values) if isinstance(values, list | tuple) else None


def _listed(values: Any) -> list[Any]:  # noqa: ANN401
    return list(values) if _size(values) is not None else []


def _kind(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    return "nothing" if value is None else f"a {type(value).__name__}"


def _number(count: int, noun: str) -> str:
    return f"1 {noun} is" if count == 1 else f"{count} {noun}s are"


def _some(values: list[str], most: int = 3) -> str:
    return ", ".join(values[:most]) + (", ..." if len(values) > most else "")
