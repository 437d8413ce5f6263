r"""A report in LaTeX: one document that compiles by itself, one table after the other (booktabs).

A table that is longer than a page is a `longtable`, which goes on from page to page under its header.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence

from dmmsa_cli.reporting.comparison import by_place
from dmmsa_cli.reporting.contents import Cell, Mark, Report, Row, Table
from dmmsa_cli.reporting.formats.markdown import Shown
from dmmsa_cli.reporting.notes import METHOD

MARKS: dict[Mark, str] = {"": "%s", "best": r"\textbf{%s}", "second": r"\underline{%s}"}
LONG_TABLE = 60  # printed lines; more have no room on a page, and go on over several
SIZES = {
    r"\small": 90,
    r"\footnotesize": 102,
    r"\scriptsize": 118,
}  # characters that a line of a long table has room for
TURNED = 1.5  # how many times as many on a page that is turned on its side
LONG_LABEL = 34  # characters; beyond them, labels are broken
LONG_WORD = 24  # characters; beyond them, words may be broken after their slashes, as paths

PREAMBLE = r"""\documentclass[10pt]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage[a4paper, margin=22mm]{geometry}
\usepackage{array, booktabs, caption, float, graphicx, lmodern, longtable, lscape, textcomp}
\captionsetup{font=small, labelformat=empty, justification=raggedright, singlelinecheck=false, skip=4pt}
\setlength{\parindent}{0pt}
\setlength{\emergencystretch}{3em}
\setlength{\LTleft}{0pt}
\setlength{\LTright}{0pt plus 1fill}
% A mean with the standard deviation below it.
\newcommand{\spread}[2]{\begin{tabular}[t]{@{}r@{}}#1\\[-2pt]{\scriptsize$\pm$#2}\end{tabular}}
% What is too wide or too high for the page is made smaller; nothing is enlarged.
\newsavebox{\fitted}
\newcommand{\fit}[1]{%
  \sbox{\fitted}{#1}%
  \ifdim\wd\fitted>\linewidth \sbox{\fitted}{\resizebox{\linewidth}{!}{\usebox{\fitted}}}\fi
  \ifdim\dimexpr\ht\fitted+\dp\fitted\relax>0.6\textheight
    \sbox{\fitted}{\resizebox*{!}{0.6\textheight}{\usebox{\fitted}}}\fi
  \usebox{\fitted}}
\newcommand{\note}[1]{\par\vspace{3pt}{\footnotesize\raggedright #1\par}}
\begin{document}
"""

_NAMES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "×": r"$\times$",
    "−": r"$-$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "τ": r"$\tau$",
    "λ": r"$\lambda$",
    "φ": r"$\varphi$",
    "β": r"$\beta$",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
}


_NOT_IN_T1 = frozenset("ĦħĸĿŀŉŦŧſ")  # of the letters below U+0180
_NO_PATH = re.compile(r"""[%#{}\\"~^$&]""")


def to_latex(report: Report, figures: Sequence[tuple[str, Shown]] = ()) -> str:
    r"""Write a report as one document.

    Args:
        report: what to write.
        figures: path of each picture, as seen from the document, and what it shows.

    Raises:
        ValueError: a path holds what `\includegraphics` can't be given; `reporting.naming.slug` makes none such.
    """
    return PREAMBLE + "\n".join(_lines(report, figures)) + "\n\\end{document}\n"


def escape(text: str) -> str:
    r"""Write a sentence so that LaTeX prints it; what stands in backticks is set as code.

    Example:
        >>> escape("50 % of a_b, `--seed 1`")
        '50 \\% of a\\_b, \\texttt{-{}-seed 1}'
    """
    pieces = " ".join(text.split()).split("`")
    closed = len(pieces) % 2  # an odd backtick is none that opens code
    if not closed:
        pieces[-2:] = ["`".join(pieces[-2:])]
    return "".join(rf"\texttt{{{_words(piece)}}}" if i % 2 else _words(piece) for i, piece in enumerate(pieces))


def plain(text: str) -> str:
    r"""Write what somebody named so that LaTeX prints it, backticks too.

    Example:
        >>> plain("50 % of `a_b`")
        '50 \\% of \\textasciigrave{}a\\_b\\textasciigrave{}'
    """
    return _words(" ".join(text.split()))


def _words(text: str) -> str:
    return " ".join(_word(word) for word in unicodedata.normalize("NFC", text).split(" "))


def _word(word: str) -> str:
    pairs = itertools.pairwise(word + " ")  # two hyphens would become a dash, two commas a quote
    printed = "".join(_character(c) + "{}" * (c in "-," and c == after) for c, after in pairs)
    return printed.replace("/", r"/\allowbreak{}") if len(word) > LONG_WORD else printed


def _character(c: str) -> str:
    if c in _NAMES:
        return _NAMES[c]
    latin = ord(c) < 0x100 or (c.isalpha() and ord(c) < 0x180 and c not in _NOT_IN_T1)
    return c if latin and c.isprintable() else f"[U+{ord(c):04X}]"


def _lines(report: Report, figures: Sequence[tuple[str, Shown]]) -> Iterator[str]:
    yield r"\section*{dmmsa report}"
    yield from (
        rf"{{\raggedright {escape(name.capitalize())}: {escape(value)}\par}}" for name, value in report.made.items()
    )
    yield from (rf"\note{{\textbf{{{escape(note)}}}}}" for note in report.notes)
    for title, tables in (
        ("Our own runs", [table for table in report.tables if not table.source]),
        ("Tables of the papers", [table for table in report.tables if table.source]),
    ):
        yield from (rf"\section*{{{title}}}",) if tables else ()
        for table in tables:
            yield from _table(table)
    if report.comparisons:
        yield r"\section*{Is the difference real?}"
        yield rf"{escape(METHOD)}\par\medskip"
        for place, found in by_place(report.comparisons).items():
            yield rf"\textbf{{On {plain(place)}}}\par\smallskip" if place else ""
            yield from (rf"{escape(comparison.finding)}\par\smallskip" for comparison in found)
    yield from (r"\section*{Figures}",) if figures else ()
    for path, figure in figures:
        yield from _figure(path, figure)


def _table(table: Table) -> Iterator[str]:
    yield ""
    yield from _long(table) if _lines_of(table) > LONG_TABLE else _short(table)


def _lines_of(table: Table) -> int:
    """Return about how many lines the rows of a table have in print: a spread stands below its mean."""
    spreads = sum(any(cell.spread for cell in row.cells) for row in table.rows)
    return len(table.rows) + spreads + sum(len(row.label) // LONG_LABEL for row in table.rows)


def _short(table: Table) -> Iterator[str]:
    yield r"\begin{table}[H]"
    yield rf"\caption{{\textbf{{{plain(table.title)}}}}}\small"
    yield rf"\fit{{\begin{{tabular}}{{{_columns(table)}}}"
    yield r"\toprule"
    yield _header(table)
    yield r"\midrule"
    yield from _rows(table)
    yield r"\bottomrule"
    yield r"\end{tabular}}"
    yield from _notes(table)
    yield r"\end{table}"


def _long(table: Table) -> Iterator[str]:
    """Set a table that goes on from page to page, in the largest size in which a line has room."""
    columns = [[column.heading, *(row.cells[i].text for row in table.rows)] for i, column in enumerate(table.columns)]
    width = LONG_LABEL + sum(2 + max(map(len, texts)) for texts in columns)
    turned = width > max(SIZES.values())
    room = {size: letters * (TURNED if turned else 1) for size, letters in SIZES.items()}
    size = next((size for size, letters in room.items() if width <= letters), r"\scriptsize")
    yield from (r"\begin{landscape}",) if turned else ()
    yield rf"{{{size}\setlength{{\tabcolsep}}{{4pt}}"
    yield rf"\begin{{longtable}}{{{_columns(table)}}}"
    yield rf"\caption{{\textbf{{{plain(table.title)}}}}}\\"
    yield r"\toprule"
    yield _header(table)
    yield r"\midrule \endfirsthead"
    yield rf"\multicolumn{{{len(table.columns) + 1}}}{{@{{}}l}}{{\textit{{(continued)}}}} \\ \toprule"
    yield _header(table)
    yield r"\midrule \endhead"
    yield r"\midrule \endfoot"
    yield r"\bottomrule \endlastfoot"
    yield from _rows(table)
    yield r"\end{longtable}}"
    yield from _notes(table)
    yield r"\end{landscape}" if turned else r"\bigskip"


def _columns(table: Table) -> str:
    breaks = max(len(row.label) for row in table.rows) > LONG_LABEL
    label = r">{\raggedright\arraybackslash}p{48mm}" if breaks else "l"
    return f"@{{}}{label}{'r' * len(table.columns)}@{{}}"


def _header(table: Table) -> str:
    return " & ".join(["", *(_heading(column.heading) for column in table.columns)]) + r" \\"


def _rows(table: Table) -> Iterator[str]:
    for row in table.rows:
        yield from (r"\midrule",) if row.begins else ()
        yield _row(row)


def _notes(table: Table) -> Iterator[str]:
    if table.source:
        yield rf"\note{{Published: {escape(table.source)}}}"
    yield from (rf"\note{{{escape(note)}}}" for note in table.notes)


def _heading(text: str) -> str:
    return plain(text).replace(r" $\uparrow", r"~$\uparrow").replace(r" $\downarrow", r"~$\downarrow")


def _row(row: Row) -> str:
    label = plain(row.label)
    if row.ours:
        label = rf"\textit{{{label}}}"
    elif label.startswith(("[", "*")):  # the end of the line above would take these for its own
        label = "{}" + label
    return " & ".join([label, *(_cell(cell) for cell in row.cells)]) + r" \\"


def _cell(cell: Cell) -> str:
    parts = zip(cell.text.split("/"), cell.marks, strict=True)
    text = "/".join(MARKS[mark] % part for part, mark in parts)
    return rf"\spread{{{text}}}{{{cell.spread}}}" if cell.spread else text


def _figure(path: str, figure: Shown) -> Iterator[str]:
    if _NO_PATH.search(path):
        raise ValueError(f"LaTeX can't include a picture called {path}.")
    yield ""
    yield r"\begin{figure}[H]"
    yield rf"\fit{{\includegraphics{{{path}}}}}"
    yield rf"\caption{{\textbf{{{plain(figure.title)}}} {plain(figure.caption)}}}"
    yield r"\end{figure}"
