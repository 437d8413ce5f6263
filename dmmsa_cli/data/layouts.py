"""Files of the field that hold the same things in another order: brought into the one that `validation` checks.

    {split: {key: values}}                          the field's own (MMSA), and MMSA-FET's `run_dataset`, with `config`
    {key: values}                                   a file without splits
    {key: values of one clip}                       MMSA-FET's `run_single`
    {split: {..., labels: (N, 1, 1), id: (N, 3)}}   MulT's and MultiBench's
    {split: [((words, vision, audio), label, id)]}  MAG-BERT's

Nothing is judged here: what is not recognised goes on as it is, and `validation` says what is wrong with it. Nothing is
lost without a word either: what is read as something else is counted among the repairs, what is left out is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from dmmsa_cli.data import memory
from dmmsa_cli.data.specs import SPLITS, DatasetSpec
from dmmsa_cli.data.validation import EMOTIONS, FEATURES, LABELS, Layout, check
from dmmsa_cli.data.validation.faults import some
from dmmsa_cli.data.validation.values import shape_of, size_of
from dmmsa_cli.data.videos import VIDEO_END
from dmmsa_cli.data.words import printable

WHOLE = "all"  # the name of the only split of a file without splits

Values = dict[str, Any]

_OWN_LABELS = LABELS["y"]
_KEYS = {"id", "raw_text", "labels", "text_bert", EMOTIONS, *FEATURES.values(), *LABELS.values()}
_VALID = ("dev", "val", "validation")
_ONE_CLIP = "clip"  # the id of a clip that comes without one


@dataclass
class Recognised:
    """A file in the field's own order."""

    splits: Any
    """By name, each its values by key; whatever was there, where it is of no known order."""
    repairs: Counter[str] = field(default_factory=Counter)
    """What was read as something else, and how often."""
    remarks: list[str] = field(default_factory=list)
    """What was left out, or recognised."""
    renamed: dict[str, str] = field(default_factory=dict)
    """What a split is called that the file calls otherwise."""

    @property
    def without_splits(self) -> bool:
        """Whether the file had none."""
        return isinstance(self.splits, dict) and set(self.splits) == {WHOLE}


def checked(found: Recognised, spec: DatasetSpec, *, whole: bool = True) -> Layout:
    """Check a recognised file as `validation.check` does, and return what both of them found.

    Raises:
        InvalidDataset: with a table of all faults.
    """
    layout = check(found.splits, spec, whole=whole)
    repairs = Counter(layout.repairs) + found.repairs
    return replace(layout, repairs=dict(repairs), warnings=(*found.remarks, *layout.warnings))


def recognise(raw: Any) -> Recognised:  # noqa: ANN401  (a stranger's)
    """Bring a file into the field's own order, as far as it is known.

    Args:
        raw: what was unpickled. Its dicts are not changed; arrays are shared.
    """
    found = Recognised(raw)
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        return found
    content = {name: _bare(values) for name, values in _without_settings(found, raw).items()}
    if _holds_values(content):
        content = _one_clip(found, content) if _is_one_clip(content) else {WHOLE: content}
    else:
        content = _with_usual_names(found, content)
    names = _names_by_time(content)
    found.splits = {name: _split(found, name, values, names.get(name)) for name, values in content.items()}
    return found


def _bare(value: Any) -> Any:  # noqa: ANN401
    """Return what an array without axes holds, as `numpy.load` gives them for texts, None and dicts."""
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _holds_values(content: Mapping[str, Any]) -> bool:
    """Whether keys of clips stand at the top, where splits should."""
    return bool(_KEYS & set(content)) and not any(isinstance(value, dict) for value in content.values())


def _without_settings(found: Recognised, raw: Mapping[str, Any]) -> Values:
    """Leave out dicts that are no splits, as MMSA-FET's `config`: nothing in them is of clips."""
    others = [
        key for key, value in raw.items() if key not in SPLITS and isinstance(value, dict) and not _of_clips(value)
    ]
    if len(others) == len(raw):
        return dict(raw)
    for name in others:
        found.remarks.append(f"{printable(name)} holds no clips ({some(map(str, raw[name]))}), and is left out.")
    return {key: value for key, value in raw.items() if key not in others}


def _of_clips(values: Mapping[Any, Any]) -> bool:
    """Whether a dict has a split's keys, with values and not with settings behind them."""
    return any(key in _KEYS and not isinstance(value, dict) for key, value in values.items() if isinstance(key, str))


def _with_usual_names(found: Recognised, content: Values) -> Values:
    names = [name for name in _VALID if name in content]
    if "valid" in content or len(names) != 1:
        return content
    found.repairs[f"split {names[0]}: read as valid"] += 1
    found.renamed[names[0]] = "valid"
    return {"valid" if key == names[0] else key: value for key, value in content.items()}


# --- one clip ---------------------------------------------------------------------------------------------------------


def _is_one_clip(content: Values) -> bool:
    """Whether features are those of a single clip, (T, F), as `run_single` of MMSA-FET writes them."""
    listed = [value for key in ("id", "raw_text") if (value := content.get(key)) is not None]
    if listed:
        return all(isinstance(value, str) for value in listed)
    shapes = [shape_of(content[key], 3) for key in FEATURES.values() if key in content]
    sizes = {shape[0] for shape in shapes if shape}
    mask = shape_of(content.get("text_bert"), 3)
    apart = len(sizes) > 1 or (mask is not None and len(mask) == 2 and mask[0] == 3)
    return bool(shapes) and apart and all(shape is not None and len(shape) == 2 for shape in shapes)


def _one_clip(found: Recognised, content: Values) -> Values:
    found.remarks.append("The file holds one clip.")
    clip = {
        key: value[None] if isinstance(value, np.ndarray) else [value]
        for key, value in content.items()
        if value is not None
    }
    return {WHOLE: {"id": [_ONE_CLIP]} | clip}


# --- one split --------------------------------------------------------------------------------------------------------


def _split(found: Recognised, name: str, values: Any, ids: list[str] | None) -> Any:  # noqa: ANN401
    if isinstance(values, list | tuple) and (listed := _examples(values, name)) is not None:
        found.repairs["list of ((words, vision, audio), label, id): read as keys (splits)"] += 1
        values = listed
    if not isinstance(values, dict):
        return values
    split = {key: _bare(value) for key, value in values.items()}
    if "labels" in split and _OWN_LABELS not in split:
        split[_OWN_LABELS] = split.pop("labels")
        found.repairs[f"labels: read as {_OWN_LABELS} (splits)"] += 1
    for key in LABELS.values():
        _flatten(found, split, key)
    if ids is not None:
        split["id"] = ids
        found.repairs["id: rows (video, start, end) read as video and number (splits)"] += 1
    _decode(found, split)
    for key in FEATURES.values():
        _frame(found, split, key)
        _pad(found, split, key)
    return split


def _flatten(found: Recognised, split: Values, key: str) -> None:
    """Read scores (N, 1) and (N, 1, 1) as (N,)."""
    shape = shape_of(split.get(key), 4)
    if shape is not None and len(shape) > 1 and shape[0] and prod(shape[1:]) == 1:
        split[key] = np.asarray(split[key]).reshape(shape[0])
        found.repairs[f"{key}: one column read as a vector (splits)"] += 1


def _names_by_time(content: Mapping[str, Any]) -> dict[str, list[str]]:
    """Name the clips of splits whose ids are rows (video, start, end), as MulT has them, `video$_$number`.

    Numbers go by the start where all starts of a video are numbers, over all splits of the file.

    Returns:
        By split, of those that have such ids.
    """
    rows = {name: found for name, split in content.items() if (found := _rows_of_ids(split)) is not None}
    clips: dict[str, list[tuple[str, str, int]]] = {}
    for name, ids in rows.items():
        for place, (video, *more) in enumerate(ids):
            clips.setdefault(video, []).append((more[0] if more else "", name, place))
    names = {name: [""] * len(ids) for name, ids in rows.items()}
    for video, listed in clips.items():
        with suppress(ValueError):
            listed.sort(key=lambda clip: float(clip[0]))
        for number, (_, name, place) in enumerate(listed, 1):
            alone = len(rows[name][place]) == 1
            names[name][place] = video if alone else f"{video}{VIDEO_END}{number}"
    return names


def _rows_of_ids(split: Any) -> list[list[str]] | None:  # noqa: ANN401
    """Return ids that are rows of texts, each with one at least; none elsewhere."""
    rows = split.get("id") if isinstance(split, dict) else None
    shape = shape_of(rows, 2)
    if rows is None or shape is None or len(shape) != 2 or shape[1] < 1:
        return None
    return [[part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part) for part in row] for row in rows]


def _decode(found: Recognised, split: Values) -> None:
    """Read bytes as the UTF-8 that they most likely are."""
    for key in ("id", "raw_text"):
        values = split.get(key)
        if values is not None and size_of(values) and all(isinstance(value, bytes) for value in values):
            try:
                split[key] = [value.decode() for value in values]
            except UnicodeDecodeError:
                continue
            found.repairs[f"{key}: bytes read as UTF-8 (splits)"] += 1


def _frame(found: Recognised, split: Values, key: str) -> None:
    """Read features (N, F) as sequences of one frame."""
    values = split.get(key)
    shape = shape_of(values, 3)
    if shape is None or len(shape) != 2 or not all(shape) or values is None:
        return
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "fiub":
            return
        split[key] = values[:, None]
    else:
        split[key] = [[row] for row in values]
    found.repairs[f"{key}: one vector a clip read as a sequence of one frame (splits)"] += 1


def _pad(found: Recognised, split: Values, key: str) -> None:
    """Fill sequences of several lengths up with zeros, where they fit into memory so."""
    values = split.get(key)
    if not size_of(values) or values is None or (isinstance(values, np.ndarray) and values.dtype != object):
        return
    rows = [np.asarray(row) if isinstance(row, np.ndarray) else row for row in values]
    if not rows or not all(isinstance(row, np.ndarray) and row.ndim == 2 and row.dtype.kind in "fiub" for row in rows):
        return
    lengths, widths = [len(row) for row in rows], {row.shape[1] for row in rows}
    if len(widths) != 1 or (len(set(lengths)) == 1 and not isinstance(values, np.ndarray)):
        return  # `validation` reads lists of one length, and says what is wrong with several widths
    (width,) = widths
    free = memory.available()
    if free is not None and 4 * len(rows) * max(lengths) * width > free / 2:
        return
    padded = np.zeros((len(rows), max(lengths), width), np.float32)
    for place, row in enumerate(rows):
        with np.errstate(over="ignore"):
            padded[place, : len(row)] = row
    split[key] = padded
    if key != "text":
        split.setdefault(f"{key}_lengths", lengths)
    found.repairs[f"{key}: sequences of several lengths, padded (splits)"] += 1


# --- MAG-BERT's -------------------------------------------------------------------------------------------------------


def _examples(values: Sequence[Any], name: str) -> Values | None:
    """Return a list of ((words, vision, audio), label, id) by keys; none where it is no such list."""
    parts = [_example(value) for value in values]
    if not parts or any(part is None for part in parts):
        return None
    words, vision, audio, scores, ids = zip(*(part for part in parts if part), strict=True)
    own = list(ids) if all(isinstance(one, str) for one in ids) and len(set(ids)) == len(ids) else None
    return {
        "id": own or [f"{name}-{row}" for row in range(len(parts))],
        "raw_text": list(words),
        "vision": list(vision),
        "audio": list(audio),
        _OWN_LABELS: np.array(scores),
    }


def _example(value: Any) -> tuple[str, Any, Any, float, Any] | None:  # noqa: ANN401
    if not (isinstance(value, list | tuple) and len(value) == 3 and isinstance(value[0], list | tuple)):
        return None
    inputs, label, name = value
    label = np.asarray(label) if isinstance(label, np.ndarray | int | float | np.number) else np.zeros(0)
    if len(inputs) != 3 or label.size != 1 or label.dtype.kind not in "fiub":
        return None
    words, vision, audio = inputs
    if size_of(words) is None or not all(isinstance(word, str) for word in words):
        return None
    return " ".join(words), vision, audio, float(label.reshape(())), name
