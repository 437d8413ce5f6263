"""Scores: of the clip, and of each modality alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.data.specs import DatasetSpec
from dmmsa_cli.data.validation.faults import Findings, Report, counted, sentence, some
from dmmsa_cli.data.validation.layout import EMOTIONS, LABELS
from dmmsa_cli.data.validation.sequences import is_everywhere
from dmmsa_cli.data.validation.strings import Splits
from dmmsa_cli.data.validation.values import check_count, shape_of, vector

COLUMNS = ("sentiment", "happy", "sad", "anger", "surprise", "disgust", "fear")  # of CMU-MOSEI's labels
COLUMNS_IN_WORDS = (
    f"CMU-MOSEI's labels have these columns: {', '.join(COLUMNS)}. Keep column 0, the others as `{EMOTIONS}`"
)
ROUNDING = 1e-6  # how far, as a share of R, a label may lie outside for having been float32


def find_labels(
    findings: Findings, splits: Splits, rows: Mapping[str, int], modalities: tuple[str, ...], spec: DatasetSpec
) -> tuple[str, ...]:
    """Keys of the labels of a dataset, which must have them; what is wrong with them is a fault."""
    wanted = ["y", *(modalities if spec.unimodal_labels else ())]
    found = [key for key in wanted if is_everywhere(findings, splits, LABELS[key])]
    for key in found:
        findings.take(_look(splits, rows, LABELS[key], spec.score_range))
    if "y" not in found:
        for name, split in splits.items():
            findings.add(name, LABELS["y"], f"is missing; the split has {some(map(str, split), most=12)}")
        return ()
    absent = [LABELS[key] for key in wanted[1:] if key not in found]
    if 1 < len(found) < len(wanted):
        findings.add("all", ", ".join(absent), "is missing, while other modalities have labels of their own")
    return tuple(found)


def usable_labels(
    findings: Findings, splits: Splits, rows: Mapping[str, int], modalities: tuple[str, ...], spec: DatasetSpec
) -> tuple[str, ...]:
    """Keys of the labels of a file that needs none; those that can't be used are left out with a warning.

    Unlabelled clips are commonly given NaN.
    """
    wanted = ["y", *(modalities if spec.unimodal_labels else ())]
    usable = [key for key in wanted if _is_usable(findings, splits, rows, LABELS[key], spec.score_range)]
    return tuple(usable) if "y" in usable else ()


def _is_usable(findings: Findings, splits: Splits, rows: Mapping[str, int], key: str, limit: float) -> bool:
    looked = Findings()
    if not is_everywhere(looked, splits, key):
        return False
    looked.take(_look(splits, rows, key, limit))
    if not looked.faults:
        findings.take(looked)
        return True
    first = looked.faults[0]
    findings.warnings.append(sentence(f"{key} can't be used and is left out: in {first.split}, {first.what}."))
    return False


def _look(splits: Splits, rows: Mapping[str, int], key: str, limit: float) -> Findings:
    """What there is to say of one kind of labels."""
    findings = Findings()
    for name, split in splits.items():
        values = split.get(key)
        if values is None or not check_count(values, rows[name], findings.at(name, key)):
            continue
        shape = shape_of(values, 2)
        if shape is not None and len(shape) == 2 and shape[1] == len(COLUMNS):
            findings.add(name, key, f"has shape {shape} where (rows,) should be; {COLUMNS_IN_WORDS}")
            continue
        scores = vector(values, findings.at(name, key))
        if scores is None:
            continue
        _check_range(scores, limit, findings.at(name, key))
        if isinstance(values, list | tuple):
            findings.repairs[f"{key}: list read as an array (splits)"] += 1
    return findings


def _check_range(scores: NDArray[np.float64], limit: float, report: Report) -> None:
    unknown, outside = np.isnan(scores), np.abs(scores) > limit * (1 + ROUNDING)
    if unknown.any():
        report(f"{counted(int(unknown.sum()), 'label')} NaN, the first in row {unknown.argmax()}")
    if outside.any():
        row = int(outside.argmax())
        detail = f"outside [-{limit:g}, {limit:g}], the first in row {row}: {scores[row]:g}"
        report(f"{counted(int(outside.sum()), 'label')} {detail}")
