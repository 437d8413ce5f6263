"""Names of files, anchors and tables: whatever datasets, recipes and studies are called, no two are the same."""

import json
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dmmsa_cli.data.specs import SPECS
from dmmsa_cli.experiments.identity import Identity
from dmmsa_cli.experiments.variants import shipped_recipe
from dmmsa_cli.reporting import naming
from dmmsa_cli.reporting.collection import Collection, collect
from dmmsa_cli.reporting.contents import Cell, Report, Row, Table
from dmmsa_cli.reporting.figures.charts import Chart
from dmmsa_cli.reporting.figures.mae_by_label import mae_by_label
from dmmsa_cli.reporting.figures.subjects import subjects
from dmmsa_cli.reporting.naming import slug, unique
from dmmsa_cli.reporting.page import page
from dmmsa_cli.reporting.page.figures import specs
from dmmsa_cli.reporting.page.page import render
from dmmsa_cli.reporting.page.tables import table_groups
from dmmsa_cli.reporting.report import build_report
from dmmsa_cli.reporting.results import Column
from dmmsa_cli.reporting.runs import Run, System
from dmmsa_cli.reporting.tables import build_tables
from dmmsa_cli.reporting.tunings import TunedRecipe
from tests.reporting.conftest import write_run
from tests.reporting.test_page import Reader, own_words

# What `dmmsa prepare` allows, seasoned with names that come close to each other.
DATASETS = st.one_of(
    st.from_regex(r"\w[\w.-]*", fullmatch=True).filter(lambda name: len(name.encode()) < 200),
    st.from_regex(r"[aAä电_][-_.a2]{0,3}", fullmatch=True),  # many of them come to one slug
    st.sampled_from(["title", "x", "x-title", "x--title", "x-weights", "x--weights", "x-synthetic", "ﬁ", "fi"]),
)
GROUPS = st.lists(DATASETS, min_size=1, max_size=6, unique=True).flatmap(
    lambda names: st.lists(st.sampled_from([(n, b) for n in names for b in (False, True)]), min_size=1, unique=True)
)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=150)


@given(ANY_TEXT)
@example("电" * 300)
@example("a" * (naming.LONGEST - 1) + "-b")
def test_a_slug_is_a_name_for_a_file_and_an_anchor(text):
    name = slug(text)
    assert name
    assert re.fullmatch(r"[\w.]+(-[\w.]+)*", name)  # so it never holds what parts an anchor, "--"
    assert not name.startswith(".")
    assert len(name.encode()) <= naming.LONGEST


@given(st.lists(st.one_of(ANY_TEXT, DATASETS, st.sampled_from(["a", "A", "a-2", "A-2", "a-2-2"])), max_size=12))
def test_names_are_numbered_until_no_file_system_confuses_them(names):
    numbered = unique(names)
    assert len(numbered) == len(names)
    assert all(one.startswith(name) for one, name in zip(numbered, names, strict=True))
    assert len({unicodedata.normalize("NFD", name).casefold() for name in numbered}) == len(names)


def test_a_name_that_is_alone_stays_as_it_is():
    assert unique(["mosi", "sims", "mosi-2"]) == ["mosi", "sims", "mosi-2"]


def system(dataset, *, synthetic=False):
    """The whole of DMMSA on a dataset: as much of a run as names are made of."""
    recipe = shipped_recipe("dmmsa", SPECS[dataset].recipes if dataset in SPECS else "default")
    identity = Identity(dataset, synthetic, dataset, recipe, ("t", "v", "a"), False, "float32", None, None, {}, 1)
    facts = {"recipe": "dmmsa", "variant": "full", "synthetic": synthetic, "encoders": {}, "from_scratch": False}
    return System((Run(Path(), identity, facts, [], {}, {"mae": 1.0}, {}, {}, []),))


def tuning(dataset, name):
    """A tuning that has not ended."""
    return TunedRecipe(Path(name), dataset, False, "dmmsa", Path(), "ef" * 32, "validation MAE", None)


@given(st.lists(DATASETS, min_size=1, max_size=8, unique=True))
def test_files_of_figures_have_names_of_their_own(datasets):
    names = [subject.slug for subject in subjects([system(dataset) for dataset in datasets])]
    assert len(names) == len(datasets)
    assert len({name.casefold() for name in names}) == len(datasets)


@given(GROUPS, st.lists(DATASETS, max_size=6))
def test_anchors_of_a_page_are_unique(datasets, tables):
    systems = [system(name, synthetic=synthetic) for name, synthetic in datasets]
    names = ("weights", "title", "synthetic")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(page, "charts", lambda some: [Chart(name, "", "", ()) for name in names])
        groups = page._figures(systems)
    figures = [group.anchor for group in groups] + [chart.anchor for group in groups for chart in group.charts]
    assert len(figures) == 4 * len(datasets)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(page, "_charts_of", lambda one: [Chart(name, "", "", ()) for name in names])
        tuned = page._tunings(
            [tuning(name, other) for (name, _), (other, _) in zip(datasets, datasets[::-1], strict=True)]
        )
    figures += [group.anchor for group in tuned] + [chart.anchor for group in tuned for chart in group.charts]
    assert len(figures) == 8 * len(datasets)
    report = Report(Collection(), tuple(table(name) for name in tables), ())
    views = [view for group in table_groups(report) for view in group.tables]
    titles = [f"{view.anchor}--title" for view in views]
    ids = [*FIXED_IDS, *figures, *(view.anchor for view in views), *titles]
    assert len(set(ids)) == len(ids)


TEMPLATE = Path(page.__file__).with_name("page.html.j2").read_text(encoding="utf-8")
FIXED_IDS = re.findall(r'\bid="([\w-]+)"', TEMPLATE)


def test_the_template_has_the_ids_that_are_tested_above():
    assert {"figures", "figures--title", "tables--title", "specs", "main"} < set(FIXED_IDS)
    expressions = re.findall(r'\bid="([^"]*{{[^"]*)"', TEMPLATE)
    once = ("drawn.anchor", "system.anchor", "table.anchor")
    of_groups = ["{{ group.anchor }}"] * 2  # of figures, and of tunings
    assert sorted(expressions) == sorted(
        [f"{{{{ {name} }}}}" for name in once] + of_groups + ["{{ table.anchor }}--title"]
    )


def table(name):
    return Table(name, "T", (Column("Acc-3", ("acc3",)),), (Row("x", (Cell("1"),)),))


# --- with runs ------------------------------------------------------------------------------------------------------

PAIRS = [("电影", "新闻"), ("my_data", "my-data"), ("mosi.v2", "mosi-v2"), ("x", "x-mae-by-label"), ("Own", "own")]


@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
def test_each_dataset_is_shown_its_own_figures(tmp_path, pair):
    for place, dataset in enumerate(pair):
        write_run(tmp_path, dataset=dataset, error=0.3 + place)
    report = build_report(tmp_path)
    text = own_words(render(report))
    ids = Reader(text).ids
    assert len(ids) == len(set(ids))
    shown = {}
    for anchor, dataset, figures in re.findall(
        r'<h3 id="(figures-[^"]+)" class="group">(\S+) .*?</h3>(.*?)(?=<h3|</section>)', text, re.S
    ):
        assert f'data-figure="{anchor}--mae-by-label"' in figures
        shown[dataset] = drawn(text)[f"{anchor}--mae-by-label"][0][0]["data"][0]["y"]
    expected = {one.dataset: mae_by_label(one)["mean"].tolist() for one in report.collection.systems}
    assert sorted(shown) == sorted(pair)
    for dataset in pair:
        assert shown[dataset] == pytest.approx(expected[dataset], rel=1e-4)


def drawn(text):
    return json.loads(re.search(r'<script type="application/json" id="specs">(.*?)</script>', text, re.S)[1])["figures"]


def test_two_figures_of_one_anchor_are_an_error():
    chart = Chart("weights", "", "", ())
    with pytest.raises(ValueError, match="both called figures-a"):
        specs([("figures-a", chart), ("figures-a", chart)])


def test_subjects_that_share_their_words_are_told_apart(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, called="my own", changes={"fusion.epochs": 7})
    write_run(tmp_path, called="my-own", data_hash="f" * 60)
    found = {subject.full.recipe_name: subject for subject in subjects(collect(tmp_path).systems)}
    assert {name: subject.slug for name, subject in found.items()} == {
        "dmmsa": "mosi",
        "my own": "mosi-my-own",
        "my-own": "mosi-my-own-2",
    }
    assert found["my own"].place == "MOSI (data c0ffeec0, recipe my own)"
    assert len({subject.place for subject in found.values()}) == 3


def test_tables_have_ids_of_their_own(tmp_path):
    for variant in ("full", "no-msc"):
        changes = {"objective.msc.enabled": False} if variant == "no-msc" else None
        for dataset in ("a", "a-b"):
            write_run(tmp_path / "runs", dataset=dataset, variant=variant, changes=changes)
    text = "title: Mine\nvariants: [{name: full}, {name: no-msc, set: {objective.msc.enabled: false}}]\n"
    studies = [tmp_path / name for name in ("c.yaml", "b-c.yaml", "other/c.yaml", "runs.yaml")]
    for path in studies:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    tables = build_tables(collect(tmp_path / "runs").systems, studies=[str(path) for path in studies])
    ids = [table.id for table in tables]
    assert len(set(ids)) == len(ids)
    assert {"a-runs", "a-b-c", "a-b-runs", "a-b-c-2"} <= set(ids)
