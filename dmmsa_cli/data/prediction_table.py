"""Tables of predictions as CSV: whatever a transcript holds, what is read is what was written, to the last bit.

Text is quoted always, since transcripts hold line ends, quotes and commas. Numbers are never quoted, and have the
fewest digits that tell a float32 from its neighbours: 0.8, not 0.800000012. Control characters are spelled out, since a
file that holds NUL is binary to many programs, and ESC moves the cursor of who looks at it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from dmmsa_cli.errors import InvalidInput
from dmmsa_cli.files import atomic_path
from dmmsa_cli.metrics import Metrics, score

COLUMNS = ("id", "text", "y_true", "y_pred")  # of a finished run; columns of its model's heads follow
MADE_FROM = ("weights", "data")  # hashes of what the predictions were made from, the same in every row
_TEXT = ("split", "id", "text", *MADE_FROM)

# What a spreadsheet takes for the beginning of a formula, the full-width forms too. Such a cell gets an apostrophe, and
# so does one that would look as if it had been given one.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_ESCAPED = re.compile(r"'+[=+\-@\t\r\n＝＋－＠]")

# What a terminal would obey, and what makes other programs take a file for no text. Such a character is written as
# \x1b; backslashes before it, or before what looks as if it had been written so, are doubled.
_CONTROL, _WRITTEN = r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", r"x(?:0[0-8bcef]|1[0-9a-f]|7f|[89][0-9a-f])"
_TO_WRITE = re.compile(rf"(\\*)({_CONTROL})|(\\+)({_WRITTEN})")
_TO_READ = re.compile(rf"(\\+)({_WRITTEN})")


def alone_column(modality: str) -> str:
    """Name the column of what the pretrained encoder of a modality says alone: `text_alone`."""
    return f"{modality}_alone"


def write_predictions(path: Path, table: pd.DataFrame, *, mark: bool = False) -> None:
    """Write a table of predictions by rename.

    Args:
        path: the file.
        table: columns of text and of numbers, in any order; a number that is missing becomes an empty cell.
        mark: begin with the mark by which a spreadsheet knows UTF-8; others take it for a letter of the first name.

    Raises:
        DiskFull: there is no room.
    """
    columns = [_cells(table[name]) for name in table]
    encoding = "utf-8-sig" if mark else "utf-8"
    with atomic_path(path) as partial, partial.open("w", encoding=encoding, newline="") as file:
        file.write(",".join(map(str, table)) + "\n")
        file.writelines(",".join(row) + "\n" for row in zip(*columns, strict=True))


def read_predictions(path: Path) -> pd.DataFrame:
    """Read the predictions that `write_predictions` wrote of a run.

    Returns:
        Columns id and text (str), y_true, y_pred and one for each output of a head (float32, finite): at least one
        row, each of another clip.

    Raises:
        FileNotFoundError: there is no such file.
        InvalidInput: it is damaged; the message says by what.
    """
    try:
        table = _parsed(path)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # pyarrow's own errors among them
        raise InvalidInput(f"{path} is damaged: {error}") from error
    if fault := _fault(table):
        raise InvalidInput(f"{path} is damaged: {fault}.")
    return table


def metrics_of_tables(tables: Iterable[pd.DataFrame], *, metrics: str, score_range: float, of: str = "") -> Metrics:
    """Return the metrics of several runs' rows together, as if one run had predicted them all: no mean over runs.

    Args:
        tables: their predictions, with columns y_true and y_pred.
        metrics: which, as `score` takes it.
        score_range: of the labels.
        of: names them in a warning.
    """
    whole = pd.concat(tables)
    return score(whole["y_true"], whole["y_pred"], metrics=metrics, score_range=score_range, of=of)


def escape_formula(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would compute, so that it shows the text.

    Example:
        >>> [escape_formula(text) for text in ("=1+1", "'=1+1", "'Cause", "1+1")]
        ["'=1+1", "''=1+1", "'Cause", '1+1']
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_formula(text: str) -> str:
    """Return what `escape_formula` was given."""
    return text[1:] if _ESCAPED.match(text) else text


def escape_controls(text: str) -> str:
    r"""Write control characters, but tabs and ends of lines, so that they can be seen.

    Example:
        >>> print(escape_controls("a\0b"), escape_controls(r"a\x00b"))
        a\x00b a\\x00b
    """

    def written(found: re.Match[str]) -> str:
        if found[2]:
            return f"{found[1] * 2}\\x{ord(found[2]):02x}"
        return found[3] * 2 + found[4]

    return _TO_WRITE.sub(written, text)


def unescape_controls(text: str) -> str:
    """Return what `escape_controls` was given."""

    def read(found: re.Match[str]) -> str:
        kept, is_character = divmod(len(found[1]), 2)
        return "\\" * kept + (chr(int(found[2][1:], 16)) if is_character else found[2])

    return _TO_READ.sub(read, text)


def to_cell(text: str) -> str:
    """Return a text as it stands in a CSV: nothing that a spreadsheet computes or a terminal obeys."""
    return escape_formula(escape_controls(text))


def from_cell(text: str) -> str:
    """Return what `to_cell` was given."""
    return unescape_controls(unescape_formula(text))


def _cells(column: pd.Series[Any]) -> Iterable[str]:
    values = column.tolist()
    if pd.api.types.is_float_dtype(column):
        return ("" if math.isnan(value) else str(np.float32(value)).removesuffix(".0") for value in values)
    if pd.api.types.is_integer_dtype(column):
        return map(str, values)
    return (_quoted(to_cell(str(value))) for value in values)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _parsed(path: Path) -> pd.DataFrame:
    with path.open("rb") as file:
        names = csv.read_csv(pa.BufferReader(file.readline())).column_names
    if len(set(names)) < len(names):
        raise ValueError("a column stands there twice")
    table = csv.read_csv(
        path,
        read_options=csv.ReadOptions(block_size=path.stat().st_size),  # a row may be longer than the usual block
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types={name: pa.string() if name in _TEXT else pa.float32() for name in names},
            null_values=[],  # NA is a word like any other
        ),
    )
    return pd.DataFrame(
        {
            name: list(map(from_cell, table[name].to_pylist())) if name in _TEXT else table[name].to_numpy()
            for name in names
        }
    )


def _fault(table: pd.DataFrame) -> str:
    """Say what is wrong; nothing where all is well."""
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        return f"it lacks {', '.join(missing)}"
    if table.empty:
        return "it has no rows"
    numbers = table.drop(columns=[name for name in _TEXT if name in table])
    lacking = [name for name in numbers if not np.isfinite(numbers[name]).all()]
    if lacking:
        return f"a number of {lacking[0]} is missing or not finite"
    twice = table["id"][table["id"].duplicated()]
    return f"clip {twice.iloc[0]} stands there twice" if len(twice) else ""
