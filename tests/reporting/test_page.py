"""The page as text: what stands in it, what is escaped, and that it asks for nothing."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs

from dmmsa_cli.data.prediction_table import read_predictions, write_predictions
from dmmsa_cli.reporting.collection import Collection, collect
from dmmsa_cli.reporting.contents import Cell, Comparison, Difference, Report, Row, Table
from dmmsa_cli.reporting.groups import title
from dmmsa_cli.reporting.page.figures import charts, specs
from dmmsa_cli.reporting.page.page import render, write_page
from dmmsa_cli.reporting.report import build_report
from dmmsa_cli.reporting.results import COLUMNS
from tests.reporting.conftest import write_run

ASKS = {"src", "srcset", "href", "xlink:href", "data", "action", "poster", "background", "formaction"}


class Reader(HTMLParser):
    """Collects what a browser would: elements, their ids, what they refer to, and the text outside of scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.ids, self.references, self.words, self.inside = [], [], [], [], ""
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside = tag if tag in ("script", "style") else self.inside
        self.ids += [value for name, value in attributes if name == "id"]
        self.references += [value for name, value in attributes if name in ASKS]

    def handle_endtag(self, tag):
        self.inside = "" if tag == self.inside else self.inside

    def handle_data(self, data):
        if not self.inside:
            self.words.append(data)


def own_words(page):
    """The page without plotly's script."""
    return page.replace(get_plotlyjs(), "")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """DMMSA and two ablations on MOSI, DMMSA on CH-SIMS, two systems on synthetic data, and an unfinished run."""
    folder = tmp_path_factory.mktemp("page") / "runs"
    for seed in (1, 12):
        for variant, task in (("full", ""), ("no-msc", "msc"), ("no-cl", "cl")):
            write_run(folder, variant=variant, seed=seed, changes=task and {f"objective.{task}.enabled": False})
    write_run(folder, dataset="sims")
    write_run(folder, dataset="toy")
    write_run(folder, dataset="toy", variant="no-msc", changes={"objective.msc.enabled": False})
    (write_run(folder, seed=123) / "summary.json").unlink()
    return build_report(folder)


@pytest.fixture(scope="module")
def page(report):
    return render(report)


@pytest.fixture
def mosi(report):
    return [system for system in report.collection.systems if system.dataset == "mosi"]


@pytest.fixture
def toy(report):
    return [system for system in report.collection.systems if system.synthetic]


@pytest.fixture
def empty():
    published = Row("DMMSA", (Cell("69.63"), Cell("-")), {"acc3": 69.63})
    table = Table("table-2", "Table 2", COLUMNS["sims"][2:4], (published,), notes=("Not run: `dmmsa fuse`.",))
    return Report(Collection(), (table,), (), notes=("No runs in nowhere.",))


def test_every_table_sentence_and_note_is_there(report, page):
    text = Reader(own_words(page)).text
    for table in report.tables:
        assert f'id="table-{table.id}"' in page
        for row in table.rows:
            assert row.label in text
    assert report.comparisons
    assert all(comparison.finding in text for comparison in report.comparisons)
    assert report.notes
    assert all("".join(note.replace("`", "").split()) in "".join(text.split()) for note in report.notes)


def test_nothing_is_asked_for(page):
    read = Reader(own_words(page))
    assert len(read.references) > 30
    assert all(reference.startswith("#") for reference in read.references)
    assert {reference[1:] for reference in read.references} <= set(read.ids)
    assert not re.search(r"@import|url\(\s*[\"']?(?!#)", own_words(page))
    assert not re.search(r"fetch\(|XMLHttpRequest|sendBeacon|WebSocket|\bimport\(", own_words(page))
    policy = next(made["content"] for tag, made in read.elements if tag == "meta" and "http-equiv" in made)
    assert "default-src 'none'" in policy
    assert "https:" not in policy


def test_plotly_stands_in_it_once_and_offers_no_upload(page):
    assert page.count(get_plotlyjs()) == 1
    assert "showSendToCloud: false" in own_words(page)


def test_ids_are_unique(page):
    ids = Reader(own_words(page)).ids
    assert len(ids) == len(set(ids))


def test_texts_are_escaped_and_whole(page):
    text = Reader(own_words(page)).text
    assert "<b>bold</b> & 情感" in text
    assert '"quoted", <b>bold' not in own_words(page)


def test_a_text_can_not_end_its_script(tmp_path):
    for folder in (
        write_run(tmp_path),
        write_run(tmp_path, variant="no-msc", changes={"objective.msc.enabled": False}),
    ):
        path = folder / "predictions.csv"
        path.write_text(path.read_text().replace("<b>bold</b>", "</script><script>alert(1)</script><!--"))
    words = own_words(render(build_report(tmp_path)))
    assert "<script>alert" not in words
    assert "</script><script>alert(1)</script><!--" in Reader(words).text  # as words, in the table of clips


def test_labels_notes_and_the_command_are_escaped(empty):
    table = replace(empty.tables[0], title="<i>x</i>", notes=('`a <b> "c"`',), source="<u>")
    page = render(replace(empty, tables=(table,), notes=("<s>",), made={"command": "dmmsa '<q>'"}))
    assert not {"i", "s", "q"} & {tag for tag, _ in Reader(page).elements}
    assert "<code>a &lt;b&gt; &#34;c&#34;</code>" in page


def test_synthetic_data_are_marked_wherever_they_stand(page):
    assert page.count('class="badge"') >= 6
    marked = r'<(?:figure|div)[^>]*is-synthetic".*?</h\d>|<details[^>]*is-synthetic".*?</summary>'
    pieces = re.findall(marked, page, re.S)
    assert len(pieces) == page.count('is-synthetic"')
    assert all("SYNTHETIC data" in piece for piece in pieces)
    kinds = re.findall(r'<(figure|details|div)[^>]*class="card[^"]*is-synthetic', page)
    assert set(kinds) == {"figure", "details", "div"}


def test_without_synthetic_data_nothing_is_marked(tmp_path):
    write_run(tmp_path)
    assert "SYNTHETIC data" not in render(build_report(tmp_path))


def test_an_empty_report_is_a_page_without_plots(empty):
    page = render(empty)
    assert "No runs in nowhere." in page
    assert "<code>dmmsa fuse</code>" in page
    assert get_plotlyjs() not in page
    assert 'id="runs"' not in page


def test_the_page_of_an_empty_folder_names_commands(tmp_path):
    page = render(build_report(tmp_path))
    assert "<code>dmmsa fuse --dataset" in page
    assert len(page) < 300_000


def test_the_same_report_gives_the_same_page(report):
    assert render(report) == render(report)


def test_it_is_written_by_rename(report, tmp_path):
    target = tmp_path / "out" / "index.html"
    write_page(report, target)
    assert target.read_text(encoding="utf-8") == render(report)
    assert [path.name for path in target.parent.iterdir()] == ["index.html"]


def test_parts_of_a_cell_are_marked_and_each_can_be_sorted_by(empty):
    columns = COLUMNS["mosi"][:1]
    cells = Cell("81.00/83.50", "0.30/0.17", ("best", "second")), Cell("-/82.5", marks=("", ""))
    rows = Row("x", cells[:1], {"acc2_has0": 81.0, "acc2_non0": 83.5}), Row("y", cells[1:], {"acc2_non0": 82.5})
    page = render(replace(empty, tables=(Table("t", "T", columns, rows),)))
    assert '<b class="best">81.00</b><span class="slash">/</span><u class="second">83.50</u>' in page
    assert '<span class="sd">± 0.30/0.17</span>' in page
    assert re.findall(r'<td data-values="(.*?)">', page) == ["[81.0,83.5]", "[null,82.5]"]


def test_the_interval_stands_where_its_numbers_are(mosi):
    systems = mosi[:2]
    noise, real = Difference(0.0, -0.1, 0.1, 0.1), Difference(-0.2, -0.3, -0.1, float("nan"))
    pairs = [Comparison(*systems, "A", "B", {"mae": one}, 12, 120, "So it is.") for one in (noise, real)]
    page = render(Report(Collection(systems=systems), (), tuple(pairs)))
    forest = page[page.index('<div class="card forest') :]  # behind the key, which has bars too
    bars = re.findall(r'class="interval( noise)?" style="left:([\d.]+)%;width:([\d.]+)%"', forest)
    assert [(kind, float(left)) for kind, left, _ in bars] == [(" noise", 50.0), ("", 6.9)]
    assert [float(width) for *_, width in bars] == pytest.approx([43.1, 43.1], abs=0.01)  # both 0.2 of 0.464
    assert "−0.2000 [−0.3000, −0.1000]" in page
    assert "nan" not in Reader(page).text
    text = Reader(re.search(r'<section id="comparisons".*?</section>', page, re.S)[0]).text
    assert "120 clips of 12 videos; accuracies in percentage points." in text
    assert "F1" not in text  # which is never compared


def test_a_recipe_stands_once_for_each_system_and_only_differences_for_each_run(tmp_path):
    for seed in (1, 12, 123):
        write_run(tmp_path, seed=seed, facts={"threads": seed})
    page = render(build_report(tmp_path))
    text = Reader(own_words(page)).text
    assert page.count("position_dropout") == 2  # vision and audio
    assert text.count("seed 12: 12") == 1
    assert text.count("git_revision") == 1


def test_a_page_of_many_runs_stays_small(tmp_path):
    for seed in range(8):
        write_run(tmp_path, seed=seed)
    eight = len(render(build_report(tmp_path)))
    write_run(tmp_path, seed=8)
    assert len(render(build_report(tmp_path))) - eight < 3_000


def test_every_figure_is_one_that_plotly_knows(mosi):
    drawn = charts(mosi)
    assert [chart.id for chart in drawn] == [
        *("validation", "similarity", "predictions", "weights", "losses", "confusion", "mae-by-label", "intervals")
    ]
    for panel in (panel for chart in drawn for variant in chart.variants for panel in variant.panels):
        go.Figure(panel.data, panel.layout)  # raises on a key or value that there is none of
        json.dumps([panel.data, panel.layout], allow_nan=False)


def test_a_hover_shows_the_words_of_a_clip_and_no_markup(mosi):
    shown = specs([(chart.id, chart) for chart in charts(mosi)])
    hovers = [words for clips in shown["clips"] for words in clips if len(words) == 2]
    assert hovers
    assert all("&lt;b&gt;bold&lt;/b&gt; &amp; 情感" in words.replace("<br>", " ") for _, words in hovers)
    places = [trace["customdata"] for panel in shown["figures"]["predictions"][0] for trace in panel["data"]]
    assert len(set(places)) == 1  # the texts of a split stand in the page once


def strings(value):
    """Every string of nested lists and dictionaries."""
    if isinstance(value, dict | list | tuple):
        parts = value.values() if isinstance(value, dict) else value
        return [text for part in parts for text in strings(part)]
    return [value] if isinstance(value, str) else []


def test_names_reach_plotly_escaped(tmp_path):
    name = "<img src=x onerror=alert(1)> %{name}"
    folder = write_run(tmp_path)
    write_run(tmp_path, variant=name, changes={"objective.msc.enabled": False})
    for path in tmp_path.glob("*/*/*/*/metrics.jsonl"):
        lines = [json.loads(line) | {part: {name: 0.5} for part in ("losses", "weights")} for line in path.open()]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    table = read_predictions(folder / "predictions.csv")
    table.loc[:1, "id"] = [name, f"{name}$_$2"]
    table.loc[:1, "text"] = name
    for path in tmp_path.glob("*/*/*/*/predictions.csv"):
        write_predictions(path, table)
    drawn = charts(collect(tmp_path).systems)
    assert [chart.id for chart in drawn] == [
        *("validation", "predictions", "weights", "losses", "confusion", "mae-by-label", "intervals")
    ]
    panels = [panel for chart in drawn for variant in chart.variants for panel in variant.panels]
    texts = [text for panel in panels for text in strings([panel.data, panel.layout])]
    escaped = "&lt;img src=x onerror=alert(1)&gt; &#37;{name}"
    assert {f"dmmsa/{escaped}", f"{escaped}$_$2", f"%{{y:.4f}}<extra>{escaped}</extra>"} <= set(texts)
    assert sum(escaped in text for text in texts) > 10
    assert not any("<img" in text or "%{name}" in text for text in texts)


def test_plots_of_synthetic_data_say_so_themselves(mosi, toy):
    def marked(systems):
        panels = [panel for chart in charts(systems) for variant in chart.variants for panel in variant.panels]
        return {any(note["text"] == "SYNTHETIC" for note in panel.layout.get("annotations", ())) for panel in panels}

    assert marked(toy) == {True}
    assert marked(mosi) == {False}


def test_a_figure_is_left_out_where_its_file_is_gone(tmp_path):
    (write_run(tmp_path) / "predictions.csv").unlink()
    assert [chart.id for chart in charts(collect(tmp_path).systems)] == ["weights", "losses"]


def test_seeds_without_an_epoch_in_common_have_no_curve(tmp_path):
    for seed in (1, 12):
        path = write_run(tmp_path, seed=seed) / "metrics.jsonl"
        lines = [json.loads(line) | {"epoch": 100 * seed + i} for i, line in enumerate(path.read_text().splitlines())]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_run(tmp_path, variant="no-msc", changes={"objective.msc.enabled": False})
    assert "validation" not in [chart.id for chart in charts(collect(tmp_path).systems)]


def test_systems_of_one_name_are_told_apart(tmp_path):
    write_run(tmp_path, seed=1)
    write_run(tmp_path, seed=2, data_hash="deadbeef" * 8)
    systems = collect(tmp_path).systems
    assert len({title(system, systems) for system in systems}) == 2


def test_a_run_of_one_epoch(tmp_path):
    folder = write_run(tmp_path)
    line = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"best_epoch": 1, "epochs": 1}))
    assert "1 of 1" in render(build_report(tmp_path))
