"""A report in GitHub's Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Protocol
from urllib.parse import quote

from dmmsa_cli.plain import spelled_out
from dmmsa_cli.reporting.comparison import by_place
from dmmsa_cli.reporting.contents import Cell, Mark, Report, Row, Table
from dmmsa_cli.reporting.notes import METHOD
from dmmsa_cli.reporting.tunings import ABOUT as TUNING

MARKS: dict[Mark, str] = {"": "{}", "best": "**{}**", "second": "<u>{}</u>"}
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&$#])")


class Shown(Protocol):
    """What is shown of a figure."""

    @property
    def title(self) -> str:
        """In a few words."""

    @property
    def caption(self) -> str:
        """In a sentence or more."""


def to_markdown(report: Report, figures: Sequence[tuple[str, Shown]] = ()) -> str:
    """Write a report as one document.

    Args:
        report: what to write.
        figures: path of each picture, as seen from the document, and what it shows.
    """
    return "\n".join(_lines(report, figures)) + "\n"


def _lines(report: Report, figures: Sequence[tuple[str, Shown]]) -> Iterator[str]:
    yield "# dmmsa report"
    yield from ("", *(f"{escape(name.capitalize())}: {escape(value)}  " for name, value in report.made.items()))
    yield from ("", *(f"- **{escape(note)}**" for note in report.notes))
    for title, tables in (
        ("Our own runs", [table for table in report.tables if not table.source]),
        ("Tables of the papers", [table for table in report.tables if table.source]),
    ):
        yield from ("", f"## {title}") if tables else ()
        for table in tables:
            yield from _table(table)
    if report.comparisons:
        yield from ("", "## Is the difference real?", "", escape(METHOD))
    for place, found in by_place(report.comparisons).items():
        yield from ("", f"### On {plain(place)}") if place else ()
        yield from ("", *(f"- {escape(comparison.finding)}" for comparison in found))
    yield from ("", "## Tuning", "", escape(TUNING)) if report.tunings else ()
    for tuned in report.tunings:
        yield from ("", f"### {plain(tuned.title)}", "", *(f"- {escape(sentence)}" for sentence in tuned.sentences))
    yield from ("", "## Figures") if figures else ()
    for path, figure in figures:
        yield from ("", f"### {plain(figure.title)}", "", f"![{plain(figure.title)}]({quote(path)})", "")
        yield plain(figure.caption)


def _table(table: Table) -> Iterator[str]:
    yield from ("", f"### {plain(table.title)}", "")
    yield _line(["", *(plain(column.heading) for column in table.columns)])
    yield _line(["---", *("---:" for _ in table.columns)])
    for row in table.rows:
        yield from (_line([""] * (1 + len(table.columns))),) if row.begins else ()  # Markdown has no lines
        yield _row(row)
    yield ""
    if table.source:
        yield f"- Published: {escape(table.source)}"
    yield from (f"- {escape(note)}" for note in table.notes)


def _row(row: Row) -> str:
    label = plain(row.label)
    return _line([f"*{label}*" if row.ours else label, *(_cell(cell) for cell in row.cells)])


def _cell(cell: Cell) -> str:
    parts = zip(cell.text.split("/"), cell.marks, strict=True)
    text = "/".join(MARKS[mark].format(part) for part, mark in parts)
    return f"{text} ± {cell.spread}" if cell.spread else text


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escape(text: str) -> str:
    r"""Keep Markdown from reading a sentence's words; what stands in backticks stays code.

    Example:
        >>> escape("w/o a_b | `--seed 1`")
        'w/o a\\_b \\| `--seed 1`'
    """
    pieces = " ".join(spelled_out(text).split()).split("`")
    closed = len(pieces) % 2  # an odd backtick is none that opens code
    return "`".join(
        piece if i % 2 and (closed or i < len(pieces) - 1) else _SPECIAL.sub(r"\\\1", piece)
        for i, piece in enumerate(pieces)
    )


def plain(text: str) -> str:
    r"""Keep Markdown from reading what somebody named, backticks too.

    Example:
        >>> plain("a_b `c`")
        'a\\_b \\`c\\`'
    """
    return _SPECIAL.sub(r"\\\1", " ".join(spelled_out(text).split()))
