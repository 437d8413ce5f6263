"""Features (N, T, F), and what tells their valid frames: lengths, and the mask of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dmmsa_cli.data.chunks import rows_within
from dmmsa_cli.data.specs import DatasetSpec
from dmmsa_cli.data.validation.faults import Findings, Report, some
from dmmsa_cli.data.validation.layout import FEATURES
from dmmsa_cli.data.validation.strings import Splits
from dmmsa_cli.data.validation.values import (
    Shape,
    check_count,
    check_numeric,
    check_room,
    corner_shape,
    shape_of,
    size_of,
    stranger_among,
    vector,
)
from dmmsa_cli.data.words import kind_of

_AXES = 3  # a list of lists of lists


def is_everywhere(findings: Findings, splits: Splits, key: str) -> bool:
    """Whether a key is in some split; where it is not in all, that is a fault."""
    having = [name for name, split in splits.items() if split.get(key) is not None]
    message = f"is missing, and is there in {some(having, between=' and ')}"
    for name, split in splits.items():
        if having and split.get(key) is None:
            findings.add(name, key, message)
    return bool(having)


def find_widths(findings: Findings, splits: Splits, rows: Mapping[str, int], spec: DatasetSpec) -> dict[str, int]:
    """Feature width of each modality that has sequences and that the spec lets in."""
    found: dict[str, int] = {}
    for modality, key in FEATURES.items():
        if not is_everywhere(findings, splits, key):
            continue
        if modality not in spec.modalities:
            findings.warnings.append(f"{key} is in the file, not among the dataset's modalities: left out.")
            continue
        widths = {name: _width(findings, name, key, split, rows[name]) for name, split in splits.items()}
        known = {name: width for name, width in widths.items() if width is not None}
        if len(set(known.values())) > 1:
            listed = ", ".join(f"{width} in {name}" for name, width in known.items())
            findings.add("all", key, f"its width differs: {listed}")
        if known:
            found[modality] = next(iter(known.values()))
    return found


def _width(findings: Findings, name: str, key: str, split: Mapping[str, Any], rows: int) -> int | None:
    """F of one array (N, T, F), looked at with what tells its valid frames; None where it is no such array."""
    values, report = split.get(key), findings.at(name, key)
    if values is None or not check_count(values, rows, report):
        return None
    shape = _sequences_shape(values, report)
    if shape is None:
        return None
    if isinstance(values, list | tuple):
        findings.repairs[f"{key}: list read as an array (splits)"] += 1
    elif values.dtype == np.float64:
        findings.repairs[f"{key}: float64 stored as float32 (splits)"] += 1
    if key == "text":
        _check_mask(findings.at(name, "text_bert"), split.get("text_bert"), (rows, 3, shape[1]))
    else:
        _check_lengths(findings.at(name, f"{key}_lengths"), split.get(f"{key}_lengths"), rows)
    return shape[2]


def _sequences_shape(values: Any, report: Report) -> Shape | None:  # noqa: ANN401
    """Shape (N, T, F) of features that can be used, or None after reporting why not."""
    shape = values.shape if isinstance(values, np.ndarray) else _listed_shape(values, report)
    if shape is None:
        return None
    if len(shape) == 1 and len(values) and isinstance(values[0], str):
        report("holds strings where features should be; transcripts go under raw_text")
        return None
    if len(shape) != _AXES or shape[2] == 0:
        report(f"has shape {shape} where (rows, steps, width) should be")
    elif check_room(shape[1:], report):
        if isinstance(values, np.ndarray):
            return shape if check_numeric(values, report) else None
        return shape if _check_listed(values, shape[1:], report) else None
    return None


def _listed_shape(values: list[Any] | tuple[Any, ...], report: Report) -> Shape | None:
    """Shape of what is stored as a list of rows, which must be the same for all; None after reporting why not."""
    first = None
    for row, value in enumerate(values):
        if not check_room(corner_shape(value, _AXES), report):
            return None
        shape = shape_of(value, _AXES)
        if shape is None:
            report(f"row {row} has steps of several widths: they make no array of numbers")
            return None
        first = shape if first is None else first
        if shape != first:
            report(f"row {row} has shape {shape} where row 0 has {first}: pad them to one")
            return None
    return (len(values), *(first or ()))


def _check_listed(values: list[Any] | tuple[Any, ...], row: Shape, report: Report) -> bool:
    """Whether rows (T, F) in lists are numbers, looked at in chunks; if not, that is reported."""
    for number, value in enumerate(values):
        stranger = stranger_among(value)
        if stranger is not None:
            report(f"row {number} holds {stranger} where numbers should be")
            return False
    step = rows_within(*row)
    for start in range(0, len(values), step):
        try:
            with np.errstate(over="ignore"):
                np.asarray(values[start : start + step], np.float32)
        except (TypeError, ValueError, OverflowError) as error:
            report(f"rows from {start} on make no array of numbers: {error}")
            return False
    return True


def _check_lengths(report: Report, values: Any, rows: int) -> None:  # noqa: ANN401
    if values is None or not check_count(values, rows, report):
        return
    lengths = vector(values, report)
    if lengths is not None and not np.array_equal(lengths, np.rint(lengths)):
        report("holds what is no whole number")


def _check_mask(report: Report, values: Any, expected: Shape) -> None:  # noqa: ANN401
    """Look at text_bert (N, 3, T): token ids, mask, segments."""
    if values is None:
        return
    if size_of(values) is None:
        report(f"is {kind_of(values)} where an array of shape {expected} should be")
        return
    found = values.shape if isinstance(values, np.ndarray) else _listed_shape(values, report)
    if found is None:
        return
    if found != expected:
        report(f"has shape {found} where {expected} should be")
    elif isinstance(values, np.ndarray):
        check_numeric(values, report)
    else:
        _check_listed(values, expected[1:], report)
