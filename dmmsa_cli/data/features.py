"""A file of features in memory, checked and repaired as a dataset is: what `dmmsa predict` reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dmmsa_cli.data import unpickling
from dmmsa_cli.data.layouts import WHOLE, Recognised, checked, recognise
from dmmsa_cli.data.repair import clean
from dmmsa_cli.data.specs import DatasetSpec
from dmmsa_cli.data.split import Split, arrow_schema, record_batch
from dmmsa_cli.data.validation import Layout
from dmmsa_cli.data.validation.faults import some
from dmmsa_cli.data.validation.values import size_of
from dmmsa_cli.errors import InvalidInput

__all__ = ["WHOLE", "Features", "read_features"]


@dataclass(frozen=True)
class Features:
    """A pickle of features, checked and repaired, in memory: what `dmmsa predict` reads.

    Attributes:
        splits: by name; `all` where the file has none.
        layout: what there is: `modalities`, `transcripts`, `widths`, `unimodal_labels`.
        repairs: how often what was repaired.
    """

    splits: dict[str, Split]
    layout: Layout
    repairs: dict[str, int]


def read_features(path: Path, spec: DatasetSpec, split: str | None = None) -> Features:
    """Read a pickle of a layout that is known; labels, splits and the level of splits itself may be missing.

    Args:
        path: the pickle.
        spec: the dataset whose range and modalities hold.
        split: the only one to look at; none for all that have rows.

    Raises:
        InvalidInput: there is no such split.
        UnsafePickle, DamagedPickle, InvalidDataset: as in `dmmsa prepare`.
    """
    found = recognise(unpickling.load(path))
    if isinstance(found.splits, dict):
        found.splits = _chosen(found, split, path)
    layout = checked(found, replace(spec, split_sizes=None), whole=False)
    schema, repairs, raw = arrow_schema(layout), Counter(layout.repairs), found.splits
    splits = {
        name: Split(name, [record_batch(chunk, schema) for chunk in clean(raw.pop(name), layout, repairs)])
        for name in layout.rows
    }
    return Features(splits, layout, dict(repairs))


def _chosen(found: Recognised, split: str | None, path: Path) -> dict[Any, Any]:
    """Return the one split that is wanted; else all, but for those without rows where others have some."""
    splits: dict[Any, Any] = found.splits
    if split is not None:
        split = found.renamed.get(split, split)
        if split not in splits:
            raise InvalidInput(f"{path} has no split {split}.", f"It has {some(map(str, splits))}.")
        return {split: splits[split]}
    empty = [name for name, values in splits.items() if _is_empty(values)]
    if empty and len(empty) < len(splits):
        found.remarks.append(f"Without rows, and left out: {some(map(str, empty))}.")
        return {name: values for name, values in splits.items() if name not in empty}
    return splits


def _is_empty(values: object) -> bool:
    """Whether a split is nothing, or holds lists and arrays without rows and nothing else."""
    if not isinstance(values, Mapping):
        return values is None
    return all(size_of(value) == 0 for value in values.values())
