"""The way through a file: its splits, then what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dmmsa_cli.data.specs import MODALITIES, SPLITS, DatasetSpec
from dmmsa_cli.data.validation.emotions import find_emotions, usable_emotions
from dmmsa_cli.data.validation.faults import Fault, Findings, invalid, some
from dmmsa_cli.data.validation.labels import find_labels, usable_labels
from dmmsa_cli.data.validation.layout import FEATURES, LABELS, Layout
from dmmsa_cli.data.validation.remarks import remark
from dmmsa_cli.data.validation.sequences import find_widths, is_everywhere
from dmmsa_cli.data.validation.strings import Splits, check_strings, is_encodable
from dmmsa_cli.data.validation.values import size_of
from dmmsa_cli.data.words import kind_of, printable


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
        raise invalid([Fault("-", "-", f"the file holds {kind_of(raw)} where a dict of splits should be")])
    findings = Findings()
    splits = _find_splits(findings, raw, SPLITS if whole else tuple(raw))
    rows = {name: _count_rows(findings, name, split) for name, split in splits.items()}
    check_strings(findings, splits, rows)
    transcripts = is_everywhere(findings, splits, "raw_text")
    widths = find_widths(findings, splits, rows, spec)
    modalities = tuple(m for m in MODALITIES if m in widths or (m == "t" and transcripts and m in spec.modalities))
    labels = (find_labels if whole else usable_labels)(findings, splits, rows, modalities, spec)
    emotions = (find_emotions if whole else usable_emotions)(findings, splits, rows, spec.emotions)
    if splits and not modalities:
        keys = dict.fromkeys(str(key) for split in splits.values() for key in split)
        findings.add("all", "-", f"none of raw_text, text, vision, audio is there; the file has {some(keys, most=12)}")
    findings.raise_faults()
    absent = [FEATURES[m] for m in spec.modalities if m not in modalities]
    if absent:
        named = dict.fromkeys(str(key) for split in splits.values() for key in split if _is_words(key, split[key]))
        beside = f" There are words under {some(list(named))}; transcripts go under raw_text." if named else ""
        findings.warnings.append(f"Not in this file: {', '.join(absent)}.{beside if 't' not in modalities else ''}")
    remark(findings, splits, rows, modalities=modalities, labels=labels, widths=widths)
    if whole and spec.unimodal_labels and len(labels) < 2:
        findings.warnings.append("No unimodal labels in this file.")
    return Layout(
        spec=spec,
        modalities=modalities,
        transcripts=transcripts,
        widths=widths,
        labels=labels,
        rows=rows,
        emotions=emotions,
        repairs=dict(findings.repairs),
        warnings=tuple(findings.warnings),
    )


def _find_splits(findings: Findings, raw: Mapping[Any, Any], names: tuple[Any, ...]) -> Splits:
    """Splits of these names that are dicts, as they should be."""
    found = {}
    for name in names:
        if not isinstance(name, str):
            findings.add("-", "-", f"the name of a split is {kind_of(name)} where a string should be")
        elif not is_encodable(name):
            findings.add("-", "-", f"the name of a split holds half of a character: {printable(name)}")
        elif name not in raw:
            findings.add(name, "-", f"the split is missing; the file has {some(map(str, raw))}")
        elif not isinstance(raw[name], dict):
            findings.add(name, "-", f"is {kind_of(raw[name])} where a dict of keys should be")
        else:
            found[name] = raw[name]
    return found


def _count_rows(findings: Findings, name: str, split: Mapping[str, Any]) -> int:
    """Rows of a split: those of its ids, else of the first key that can be counted."""
    for key in ("id", LABELS["y"], "raw_text", *FEATURES.values()):
        size = size_of(split.get(key))
        if size is not None:
            if size == 0:
                findings.add(name, key, "has no rows")
            return size
    return 0


def _is_words(key: object, values: object) -> bool:
    """Whether a key that means nothing here holds a text for each clip."""
    known = ("id", "raw_text", "annotations")
    return key not in known and isinstance(values, list | np.ndarray) and len(values) > 0 and isinstance(values[0], str)
