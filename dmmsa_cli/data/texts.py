"""Transcripts that somebody typed, or keeps in a CSV, as the rows of a split without frames and labels."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from dmmsa_cli.data.features import WHOLE
from dmmsa_cli.data.prediction_table import from_cell
from dmmsa_cli.data.split import Split, split_schema
from dmmsa_cli.errors import InvalidInput
from dmmsa_cli.plain import shown

WHAT_IS_NEEDED = "Give a CSV in UTF-8, commas between its columns, with a column `text`; `id` may be beside it."


def given_texts(texts: Sequence[str]) -> Split:
    """Return texts as rows, called 1, 2, ...

    Raises:
        InvalidInput: one is empty, or no text.
    """
    for number, text in enumerate(texts, 1):
        _check(text, f"--text number {number}")
    return _rows([str(number) for number in range(1, len(texts) + 1)], list(texts))


def read_texts(path: Path) -> Split:
    """Return the rows of a CSV with the columns `text` and, where it has one, `id`; others are passed over.

    Rows without an id are called 1, 2, ... An apostrophe that stands before what a spreadsheet would take for a
    formula, as dmmsa itself writes it, is taken away.

    Raises:
        InvalidInput: the file can't be read, has no such column or no row, a text is empty, an id is there twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            found = list(_read(path, file))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not in UTF-8.", WHAT_IS_NEEDED) from error
    except csv.Error as error:
        raise InvalidInput(f"{path} can't be read as CSV: {error}.", WHAT_IS_NEEDED) from error
    except OSError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}.", WHAT_IS_NEEDED) from error
    if not found:
        raise InvalidInput(f"{path} has no rows.", WHAT_IS_NEEDED)
    ids = [one for one, _ in found]
    twice = [one for one, count in Counter(ids).items() if count > 1]
    if twice:
        raise InvalidInput(f"{path}: id {shown(twice[0])} is in it twice.", "Give each text an id of its own, or none.")
    return _rows(ids, [text for _, text in found])


def _read(path: Path, lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Yield id and text of each row; empty lines between them are none."""
    reader = csv.reader(lines, strict=True)
    header = [name.strip() for name in next(reader, [])]
    for name in ("id", "text"):
        if header.count(name) > 1:
            raise InvalidInput(f"{path} has {header.count(name)} columns called {name}.", WHAT_IS_NEEDED)
    if "text" not in header:
        raise InvalidInput(
            f"{path} has no column `text`; its columns are {', '.join(map(shown, header)) or 'none'}.", WHAT_IS_NEEDED
        )
    at = header.index("text")
    named = header.index("id") if "id" in header else None
    number = 0
    for cells in filter(None, reader):
        number, where = number + 1, f"{path}, line {reader.line_num}"
        if len(cells) != len(header):
            raise InvalidInput(
                f"{where}: {len(cells)} cell{'s' * (len(cells) != 1)} under {len(header)} columns.",
                "A text that holds a comma needs quotes.",
            )
        text = from_cell(cells[at])
        _check(text, f"{where}: the text")
        yield str(number) if named is None else from_cell(cells[named]), text


def _check(text: str, what: str) -> None:
    if not text.strip():
        raise InvalidInput(f"{what} is empty.", "A prediction needs words.")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half of a character, as Python makes of bytes in another encoding
        raise InvalidInput(f"{what} is no text in UTF-8: {shown(text)}.", "Give it in UTF-8.") from error


def _rows(ids: list[str], texts: list[str]) -> Split:
    schema = split_schema((), {})
    columns = [pa.array(ids, pa.string()), pa.array(texts, pa.string())]
    return Split(WHOLE, [pa.RecordBatch.from_arrays(columns, schema=schema)])
