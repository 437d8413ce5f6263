import csv
import io
import math
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from plotly.offline import get_plotlyjs
from rich.console import Console

from dmmsa_cli.data.prediction_table import unescape_formula
from dmmsa_cli.plain import spelled_out
from dmmsa_cli.reporting.collection import Collection
from dmmsa_cli.reporting.contents import Cell, Comparison, Difference, Report, Row, Table
from dmmsa_cli.reporting.formats import latex, markdown
from dmmsa_cli.reporting.formats.console import show
from dmmsa_cli.reporting.formats.tidy import comparisons_csv, tables_csv
from dmmsa_cli.reporting.naming import slug
from dmmsa_cli.reporting.page.page import render
from dmmsa_cli.reporting.report import build_report
from dmmsa_cli.reporting.results import Column

AWKWARD = "50 % of a_b & #1 | <x> ~ $y^2 {z} \\ [τ] ±"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A report of runs on MOSI and on synthetic data."""
    from tests.reporting.conftest import write_run

    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 12):
        write_run(folder, seed=seed)
        write_run(folder, seed=seed, variant="no-cl", changes={"objective.cl.enabled": False}, error=0.9)
        write_run(folder, recipe="minilm", seed=seed, modalities=("t", "a"), published=False)
    write_run(folder, dataset="toy")
    return build_report(folder)


@dataclass(frozen=True)
class Picture:
    title: str = "Figure 4, a_b"
    caption: str = "Over 50 % of epochs."


def only(label="ours_1", text="83.0/-", note="", source="A paper"):
    """A report of one table of one row."""
    columns = (Column("Acc-2", ("acc2_has0", "acc2_non0")), Column("MAE", ("mae",), percent=False))
    row = Row(label, (Cell(text, "0.3/-", ("best", "second")), Cell("0.710")))
    table = Table("one", "One | table", columns, (row,), source=source, notes=(note,) if note else ())
    return Report(Collection(), (table,), ())


def printed(report, width):
    console = Console(width=width, file=io.StringIO(), color_system=None, force_terminal=True)
    show(console, report)
    return console.file.getvalue()


# --- console --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_nothing_is_dropped_and_nothing_wraps_a_number(built, width):
    text = printed(built, width)
    assert max(len(line) for line in text.splitlines() if not line.startswith(("`dmmsa", "(`dmmsa"))) <= width
    words = set(text.split())
    assert any(cell.spread for table in built.tables for row in table.rows for cell in row.cells)
    for table in built.tables:
        for row in table.rows:
            for cell in row.cells:
                assert cell.text in words, (table.id, row.label)
                assert not cell.spread or f"±{cell.spread}" in words
    assert "…" not in text


def test_labels_and_sentences_are_told_in_full(built):
    together = "".join(printed(built, 80).split())
    assert len(built.tables) > 16
    assert any(table.notes for table in built.tables)
    for table in built.tables:
        assert all("".join(row.label.split()) in together for row in table.rows if not (row.ours or row.further))
        assert all("".join(note.split()) in together for note in table.notes)
    assert built.comparisons
    assert all("".join(comparison.finding.split()) in together for comparison in built.comparisons)
    assert together.count("Onmosi:") == 1


def test_the_spread_stands_below_the_mean():
    lines = printed(only(), 80).splitlines()
    place = next(i for i, line in enumerate(lines) if "83.0/-" in line)
    assert lines[place + 1].strip() == "±0.3/-"
    assert lines[place].index("83.0/-") + len("83.0/-") == lines[place + 1].index("±0.3/-") + len("±0.3/-")


@pytest.mark.parametrize("terminal", [True, False])
def test_bold_is_spoken_of_only_where_it_can_be_seen(built, terminal):
    console = Console(width=100, file=io.StringIO(), color_system=None, force_terminal=terminal)
    show(console, built)
    assert ("Bold is the best of a column" in console.file.getvalue()) is terminal


def test_groups_of_rows_are_parted_by_a_gap(built):
    lines = printed(built, 120).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("All runs on mosi"))
    first = next(i for i, line in enumerate(lines[start:], start) if line.startswith("minilm full"))
    assert not lines[first - 1].strip()
    assert lines[first - 2].strip()


def test_a_label_is_no_markup():
    assert "[red]x[/red]" in printed(only("[red]x[/red]"), 80)


def test_no_name_moves_the_cursor():
    shown = printed(only("a\x1b[2Jb\rc\x07", note="d\x1b[31me\nf"), 80)
    assert r"a\x1b[2Jb\rc\x07" in shown
    assert "d\\x1b[31me\nf" in shown
    assert not {"\x1b[2J", "\x1b[31m", "\r", "\x07"} & set(re.findall(r"\x1b\[\w+|\r|\x07", shown))


# --- Markdown -------------------------------------------------------------------------------------------------------


def test_markdown_has_as_many_cells_in_every_line(built):
    text = markdown.to_markdown(built)
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) == len(built.tables)
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_markdown_marks_and_spreads():
    text = markdown.to_markdown(only())
    assert "| **83.0**/<u>-</u> ± 0.3/- | 0.710 |" in text
    assert "### One \\| table" in text


def test_markdown_reads_nothing_into_plain_text():
    assert markdown.escape("a|b_c*d<e>`") == "a\\|b\\_c\\*d\\<e\\>`"
    assert markdown.escape("w/o a_b: `dmmsa a_b | c`, d_e") == "w/o a\\_b: `dmmsa a_b | c`, d\\_e"


NAMES = st.one_of(
    st.text("`*_[]()<>|~&$#!\\\\\"'-+=:@1.a /%{}^,;", max_size=12),
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12),
    st.sampled_from(
        ["`a|b`", "<img src=x>", "&lt;", "a ](x) [b", "a #", "$x$", "~~x~~", "**x**", "1. x", "- x", "[x]"]
    ),
)


def as_rendered(text):
    """What a reader of Markdown sees: the text of each heading, cell, picture and paragraph; paths of pictures."""
    shown, sources = [], []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        assert token.type != "html_block", text
        parts = token.children or []
        assert all(part.content in ("<u>", "</u>") for part in parts if part.type == "html_inline"), text
        pictures = [part for part in parts if part.type == "image"]
        sources += [picture.attrs["src"] for picture in pictures]
        shown += ["".join(part.content for part in inside if part.type == "text") for inside in
                  [parts, *(picture.children for picture in pictures)]]  # fmt: skip
    return shown, sources


@given(NAMES)
@example("`a|b`")
def test_markdown_shows_names_as_they_are(name):
    path = f"figures/{name.replace('/', '')}.png"
    text = markdown.to_markdown(only(f"x {name} y"), [(path, Picture(f"x {name}", f"x {name} y"))])
    shown, sources = as_rendered(text)
    assert shown.count(" ".join(f"x {name} y".split())) == 2  # the row's label and the caption
    assert shown.count(" ".join(f"x {name}".split())) == 2  # the heading and the picture
    assert [unquote(source) for source in sources] == [path]


def test_markdown_shows_figures_and_sentences(built):
    text = markdown.to_markdown(built, [("figures/x.png", Picture())])
    assert "![Figure 4, a\\_b](figures/x.png)" in text
    assert "Over 50 % of epochs." in text
    assert text.index("## Is the difference real?") < text.index("## Figures")
    assert f"- {markdown.escape(built.comparisons[0].finding)}" in text
    assert text.count("### On mosi\n") == 1


# --- LaTeX ----------------------------------------------------------------------------------------------------------


def test_latex_escapes_everything():
    text = latex.escape(AWKWARD)
    for special in ("%", "_", "&", "#", "$y", "{z", "z}"):
        assert re.search(rf"(?<!\\){re.escape(special)}", text) is None or special in ("{z", "z}"), special
    assert r"\{z\}" in text
    assert r"$\tau$" in text and r"$\pm$" in text and r"\textbackslash{}" in text
    assert latex.escape("--seed") == "-{}-seed"
    assert latex.escape("情 ħ é °\x07") == "[U+60C5] [U+0127] é °[U+0007]"


MACROS = re.compile(
    r"\\text(?:backslash|asciicircum|asciitilde|less|greater|bar|quotedbl|quotesingle|asciigrave)\{\}"
    r"|\\[{}$&%#_]|\$\\(?:pm|uparrow|downarrow|geq|leq|tau|lambda|varphi|beta|times)\$|\$-\$|\\dots\{\}"
    r"|\\allowbreak\{\}|(?<=[-,])\{\}"
)


@given(st.one_of(NAMES, st.text(max_size=8), st.text(st.characters(max_codepoint=0x250), max_size=12)))
def test_latex_is_given_nothing_that_it_reads(name):
    for written in (latex.plain(name), latex.escape(name.replace("`", ""))):
        left = MACROS.sub("·", written)
        assert not set('\\{}$&%#_^~"|<>') & set(left), (name, written)
        assert all(c.isprintable() for c in left)
        assert not re.search("--(?!-)|,,", left) or re.search("[–—]", name)


def test_latex_keeps_pairs_of_hyphens_and_sets_dashes():
    assert latex.plain("--a ,, – —") == "-{}-a ,{}, -- ---"


@pytest.mark.parametrize("name", ["50%", "#1", "{x}", "a\\b", 'a"b', "~x"])
def test_a_picture_that_latex_cannot_include_is_an_error(built, name):
    with pytest.raises(ValueError, match="can't include"):
        latex.to_latex(only(), [(f"figures/{name}.pdf", Picture())])


def test_latex_has_a_table_environment_each_with_booktabs(built):
    text = latex.to_latex(built)
    for words in (r"\begin{table}", r"\toprule", r"\bottomrule", r"\end{table}"):
        assert text.count(words) == len(built.tables)
    groups = sum(row.begins for table in built.tables for row in table.rows)
    assert groups
    assert text.count(r"\midrule") == len(built.tables) + groups
    assert text.index(r"\section*{Our own runs}") < text.index(r"\section*{Tables of the papers}")
    assert r"\textbf{83.97}/\textbf{85.70}" in text
    assert r"$\uparrow$" in text and r"$\downarrow$" in text
    assert r"\input" not in text.replace(r"\usepackage[utf8]{inputenc}", "")


def long_table(label="dmmsa full, data {} (3 seeds)"):
    """A report of one table that no page has room for."""
    report = only()
    cells = Cell("83.00/84.00", "0.30/0.17", ("", "")), Cell("0.7100", "0.0123")
    rows = [Row(label.format(place), cells, begins=place == 50) for place in range(90)]
    return replace(report, tables=(replace(report.tables[0], rows=tuple(rows), source=""),))


def test_a_long_table_goes_on_over_pages_and_is_not_shrunk():
    text = latex.to_latex(long_table())
    body = text[text.index(r"\begin{document}") :]
    assert r"\begin{longtable}" in body and r"\endhead" in body and r"{\footnotesize" not in body
    assert r"\fit" not in body and r"\begin{table}" not in body
    assert body.count(r"\midrule") == 4  # the header's twice, the foot's, and the group's


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")
def test_a_long_table_compiles_and_nothing_overflows(built, tmp_path):
    many = Column("Happiness", ("a", "b"))
    wide = long_table("a label of more words than one line has room for, number {} (3 seeds)").tables[0]
    cells = (*wide.rows[0].cells, *7 * (Cell("83.00/84.00", "0.30/0.17", ("", "")),))
    wide = replace(wide, columns=(*wide.columns, *7 * (many,)), rows=tuple(replace(r, cells=cells) for r in wide.rows))
    whole = replace(built, tables=(*long_table().tables, wide))
    (tmp_path / "tables.tex").write_text(latex.to_latex(whole), encoding="utf-8")
    for _ in range(3):  # a longtable's columns are known at the second pass
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"], cwd=tmp_path, capture_output=True
        )
    output = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, output[-2000:]
    assert "Overfull" not in output, output
    assert int(re.search(r"\((\d+) pages", output)[1]) >= 5


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")
def test_latex_compiles_and_nothing_overflows(built, tmp_path):
    (tmp_path / "figures").mkdir()
    from matplotlib.figure import Figure

    Figure(figsize=(12, 3)).savefig(tmp_path / "figures/wide.pdf")
    alphabet = " ".join(map(chr, [*range(0x20, 0x7F), *range(0xA1, 0x250)]))
    awkward = only(f"[x] {AWKWARD} 情", note=f"*{AWKWARD} `dmmsa --x_y` runs/{'long/' * 40}end {alphabet} `{alphabet}`")
    names = [slug(name) for name in ("wide", "my recipe 50 % #1 (a) {x} $y$ ~z", "电影", "mosi.v2", "a_b", "é")]
    for name in names[1:]:
        shutil.copy(tmp_path / "figures/wide.pdf", tmp_path / f"figures/{name}.pdf")
    whole = replace(built, tables=(*built.tables, *awkward.tables), notes=(AWKWARD,), made={"a_b": "--x"})
    text = latex.to_latex(whole, [(f"figures/{name}.pdf", Picture(name, AWKWARD)) for name in names])
    (tmp_path / "tables.tex").write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"], cwd=tmp_path, capture_output=True
    )
    output = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, output[-2000:]
    assert (tmp_path / "tables.pdf").exists()
    assert "Overfull" not in output, output


# --- CSV ------------------------------------------------------------------------------------------------------------


def test_every_number_is_one_row(built):
    rows = list(csv.DictReader(io.StringIO(tables_csv(built))))
    keys = [(row["table"], row["row"], row["metric"], row["statistic"]) for row in rows]
    assert len(set(keys)) == len(keys)
    expected = sum(
        len(row.values) + sum(not math.isnan(sd) for sd in row.sd.values()) for t in built.tables for row in t.rows
    )
    assert len(rows) == expected
    assert {row["statistic"] for row in rows} == {"mean", "sd", "published", "published sd"}
    assert all(math.isfinite(float(row["value"])) for row in rows)


def test_published_numbers_are_as_printed_and_ours_unrounded(built):
    rows = list(csv.DictReader(io.StringIO(tables_csv(built))))
    named = {(r["table"], r["row"], r["metric"], r["statistic"]): r for r in rows}
    assert named["dmmsa-table-3-mosi", "MulT(A)", "acc2_non0", "published"]["value"] == "83.0"
    assert ("dmmsa-table-3-mosi", "MulT(A)", "acc2_has0", "published") not in named
    mine = named["dmmsa-table-3-mosi", "ours (2 seeds)", "acc7", "mean"]
    system = next(s for s in built.collection.systems if s.recipe_name == "dmmsa" and s.variant == "full")
    assert float(mine["value"]) == 100 * system.summary.mean["acc7"]
    assert (mine["n_seeds"], mine["unit"], mine["synthetic"]) == ("2", "percent", "false")
    assert mine["data_hash"] == system.data_hash
    assert {row["synthetic"] for row in rows if row["dataset"] == "toy"} == {"true"}


def test_comparisons_are_a_row_a_metric(built):
    difference = Difference(0.01, -0.02, 0.03, math.nan)
    first = built.collection.systems[0]
    pair = Comparison(first, first, "A", "B", {"mae": difference, "acc7": difference}, 12, 120)
    rows = list(csv.DictReader(io.StringIO(comparisons_csv(replace(built, comparisons=(pair,))))))
    assert [row["metric"] for row in rows] == ["mae", "acc7"]
    assert [float(row["difference"]) for row in rows] == [0.01, 1.0]  # accuracies in percentage points
    assert rows[0]["seeds_sd"] == ""
    assert rows[0]["verdict"] == "within noise"
    assert (rows[0]["seeds"], rows[0]["n_seeds"], rows[0]["first_run"]) == ("1 12", "2", "mosi/dmmsa/full")
    assert (rows[0]["videos"], rows[0]["clips"]) == ("12", "120")


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.sampled_from(["", "=", "+", "-", "@", "\t", "\r", "'=", "'"]), ANY_TEXT)
def test_no_text_of_a_csv_is_a_formula_and_all_comes_back(before, name):
    text = before + name
    report = only(text, note="x")
    report = replace(report, tables=(replace(report.tables[0], id=text, title=text, dataset=text),))
    rows = list(csv.DictReader(io.StringIO(tables_csv(report), newline="")))
    assert len(rows) == 2
    for row in rows:
        assert all(not row[column].startswith(("=", "+", "-", "@", "\t", "\r")) for column in row)
        assert [unescape_formula(row[column]) for column in ("table", "title", "dataset", "row")] == [
            spelled_out(text)
        ] * 4


@pytest.mark.parametrize("name", ["esc \x1b[31m", "nul \x00", "bell \x07", "turned \u202e round"])
def test_no_control_character_stands_raw_in_a_file(name):
    report = only(name, note=name)
    report = replace(report, tables=(replace(report.tables[0], title=name),), notes=(name,))
    written = [to_text(report) for to_text in (tables_csv, markdown.to_markdown, latex.to_latex, render)]
    for text in written:
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202e]", text.replace(get_plotlyjs(), ""))
    assert all(repr(name)[1:-1].split()[1] in text for text in (written[0], written[3]))


def test_negative_numbers_stay_numbers(built):
    rows = list(csv.DictReader(io.StringIO(comparisons_csv(built))))
    assert any(row["difference"].startswith("-") for row in rows)


def test_the_published_file_lies_in_the_package():
    import dmmsa_cli

    assert (Path(dmmsa_cli.__file__).parent / "reporting/published.yaml").exists()
