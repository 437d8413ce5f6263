"""Emotions: which of some are present in a clip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.data.validation.faults import Findings, Report, sentence
from dmmsa_cli.data.validation.layout import EMOTIONS
from dmmsa_cli.data.validation.sequences import is_everywhere
from dmmsa_cli.data.validation.strings import Splits
from dmmsa_cli.data.validation.values import check_count, check_numeric, shape_of, stranger_among


def find_emotions(
    findings: Findings, splits: Splits, rows: Mapping[str, int], names: tuple[str, ...]
) -> tuple[str, ...]:
    """Names of the emotions of a dataset, none where it has no such labels; what is wrong with them is a fault."""
    if not is_everywhere(findings, splits, EMOTIONS):
        return ()
    for name, split in splits.items():
        values = split.get(EMOTIONS)
        if values is not None and check_count(values, rows[name], findings.at(name, EMOTIONS)):
            _look(values, names, findings.at(name, EMOTIONS))
            if isinstance(values, list | tuple):
                findings.repairs[f"{EMOTIONS}: list read as an array (splits)"] += 1
    return names


def usable_emotions(
    findings: Findings, splits: Splits, rows: Mapping[str, int], names: tuple[str, ...]
) -> tuple[str, ...]:
    """Names of the emotions of a file that needs none; those that can't be used are left out with a warning."""
    looked = Findings()
    found = find_emotions(looked, splits, rows, names)
    if not looked.faults:
        findings.take(looked)
        return found
    first = looked.faults[0]
    findings.warnings.append(sentence(f"{EMOTIONS} can't be used and is left out: in {first.split}, {first.what}."))
    return ()


def _look(values: Any, names: tuple[str, ...], report: Report) -> None:  # noqa: ANN401  (a stranger's)
    array = _array(values, report)
    if array is None:
        return
    if array.ndim != 2 or array.shape[1] != len(names):
        report(f"has shape {array.shape} where (rows, {len(names)}) should be: {', '.join(names)}")
        return
    wrong = ~(np.isnan(array) | (array == 0) | (array == 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        held = f"{array[row, column]:g} for {names[column]} in row {row}"
        report(f"holds {held}, where 1 is present, 0 absent and NaN not known (of degrees, any above 0 is present)")


def _array(values: Any, report: Report) -> NDArray[np.float64] | None:  # noqa: ANN401
    """Return what is there as numbers, or nothing after reporting why not."""
    if isinstance(values, np.ndarray):
        return values.astype(np.float64) if check_numeric(values, report) else None
    if shape_of(values, 2) is None:
        report("has rows of several lengths: they make no array of numbers")
        return None
    stranger = stranger_among(values)
    if stranger is not None:
        report(f"holds {stranger} where numbers should be")
        return None
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        report(f"makes no array of numbers: {error}")
        return None
