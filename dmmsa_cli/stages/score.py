"""`dmmsa evaluate --predictions`: anybody's predictions under a dataset's metrics."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dmmsa_cli.commands import DATA
from dmmsa_cli.data.folds import open_dataset
from dmmsa_cli.data.manifest import prepare_command
from dmmsa_cli.data.specs import SPECS, DatasetSpec
from dmmsa_cli.data.words import printable
from dmmsa_cli.errors import DatasetMissing, InvalidInput
from dmmsa_cli.metrics import Metrics, score

NAMES = ("id", "y_true", "y_pred")
_OTHERS = {"index": "id", "truth": "y_true", "prediction": "y_pred"}  # as MMSA writes them
_SEPARATORS = (",", ";", "\t")


def evaluate_predictions(path: Path, dataset: str, *, data_dir: Path = DATA) -> tuple[DatasetSpec, int, Metrics]:
    """Score a CSV with the columns id, y_true, y_pred under a dataset's metrics.

    Semicolons and tabs may stand between columns, with a comma for the decimal point then, and MMSA's Index, Truth and
    Prediction for their names.

    Returns:
        What is known of the dataset, the number of rows, and the metrics.

    Raises:
        InvalidInput: the file can't be read, a column is missing, or a value is no number.
    """
    spec, table = _spec_of(dataset, data_dir), _read(path)
    _check_ids(path, table)
    labels, predictions = (_numbers(path, table, name) for name in ("y_true", "y_pred"))
    if (np.abs(labels) > np.float32(spec.score_range)).any():
        raise InvalidInput(
            f"{path}: y_true reaches {np.abs(labels).max():g}, beyond the range of {spec.name}, {spec.score_range:g}.",
            "Is it the right --dataset?",
        )
    found = score(labels, predictions, metrics=spec.metrics, score_range=spec.score_range, of=path.name)
    return spec, len(table), found


def _read(path: Path) -> pd.DataFrame:
    """Read a table of texts, whatever stands between its columns."""
    needed = "Give a CSV in UTF-8 with the columns id, y_true, y_pred."
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InvalidInput(f"There is no file {path}.", "Check the path given to --predictions.") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{path} is not in UTF-8 (byte {error.start:,} is none of it).",
            "Save it as UTF-8, or convert it, here from Chinese Windows' encoding: iconv -f GBK -t UTF-8 FILE",
        ) from error
    except OSError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}.", needed) from error
    head = text.lstrip("\r\n").partition("\n")[0]
    separator = max(_SEPARATORS, key=head.count)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # transcripts may stand beside the numbers
    try:
        header, *rows = filter(None, csv.reader(StringIO(text, newline=""), delimiter=separator))
    except (csv.Error, ValueError) as error:  # ValueError: there is no row at all
        why = error if isinstance(error, csv.Error) else "it is empty"
        raise InvalidInput(f"{path} can't be read as CSV: {why}.", needed) from error
    uneven = next((number for number, row in enumerate(rows, 1) if len(row) != len(header)), None)
    if uneven is not None:
        raise InvalidInput(
            f"{path}, row {uneven}: {len(rows[uneven - 1])} cells under {len(header)} columns.",
            "Decimal commas want semicolons or tabs between columns, and text with commas wants quotes.",
        )
    names = [_OTHERS.get(name.strip().lower(), name.strip()) for name in header]
    table = pd.DataFrame(rows, columns=pd.Index(names), dtype=str)
    missing = [name for name in NAMES if name not in table]
    if missing:
        found = ", ".join(map(printable, header))
        raise InvalidInput(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has {found}.",
            "Needed are id, y_true and y_pred.",
        )
    twice = [name for name in NAMES if list(table.columns).count(name) > 1]
    if twice:
        raise InvalidInput(f"{path} has the column {twice[0]} twice.", "Needed are id, y_true and y_pred, once each.")
    return table


def _check_ids(path: Path, table: pd.DataFrame) -> None:
    if table.empty:
        raise InvalidInput(f"{path} has no rows.", "Give one row for each clip.")
    twice = table["id"][table["id"].duplicated()]
    if len(twice):
        raise InvalidInput(f"{path}: id {printable(twice.iloc[0])} is in it twice.", "Give one row for each clip.")


def _numbers(path: Path, table: pd.DataFrame, name: str) -> NDArray[np.float32]:
    """Return a column's numbers, (N,)."""
    given = table[name].str.strip()
    with np.errstate(over="ignore"):  # beyond float32 is not finite either
        read = pd.to_numeric(given.str.replace(",", ".", regex=False), errors="coerce")
        numbers = read.to_numpy(np.float64).astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        value = given.iloc[wrong[0]]
        is_what = f"is {printable(value)}, not a finite number" if value else "is missing"
        count = f" ({len(wrong):,} such rows)" if len(wrong) > 1 else ""
        raise InvalidInput(
            f"{path}, row {wrong[0] + 1}: {name} {is_what}{count}.", "Every clip needs a label and a prediction."
        )
    return numbers


def _spec_of(dataset: str, data_dir: Path) -> DatasetSpec:
    """What is known of a dataset; a user's own is known by its store."""
    if dataset in SPECS:
        return SPECS[dataset]
    try:
        return open_dataset(data_dir, dataset).spec
    except DatasetMissing as error:
        raise DatasetMissing(
            f"{dataset} is neither prepared nor one of {', '.join(SPECS)}.",
            f"Prepare it: `{prepare_command(dataset)}`.",
        ) from error
