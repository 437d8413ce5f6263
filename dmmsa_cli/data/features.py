"""A file of features in memory, checked and repaired as a dataset is: what `dmmsa predict` reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from dmmsa_cli.data import unpickling, validation
from dmmsa_cli.data.repair import clean
from dmmsa_cli.data.specs import DatasetSpec
from dmmsa_cli.data.split import Split, arrow_schema, record_batch
from dmmsa_cli.data.validation import Layout

WHOLE = "all"  # the name of the only split of a file without splits


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


def read_features(path: Path, spec: DatasetSpec) -> Features:
    """Read a pickle of the same layout; labels, splits and the level of splits itself may be missing.

    Args:
        path: the pickle.
        spec: the dataset whose range and modalities hold.

    Raises:
        UnsafePickle, DamagedPickle, InvalidDataset: as in `dmmsa prepare`.
    """
    raw = unpickling.load(path)
    if isinstance(raw, dict) and not all(isinstance(value, dict) for value in raw.values()):
        raw = {WHOLE: raw}
    layout = validation.check(raw, replace(spec, split_sizes=None), whole=False)
    schema, repairs = arrow_schema(layout), Counter(layout.repairs)
    splits = {
        name: Split(name, [record_batch(chunk, schema) for chunk in clean(raw.pop(name), layout, repairs)])
        for name in layout.rows
    }
    return Features(splits, layout, dict(repairs))
