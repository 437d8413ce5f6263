"""One self-contained page: tables, figures and runs in a file that opens from disk and fetches nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from dmmsa_cli.errors import RunMismatch
from dmmsa_cli.files import write_text
from dmmsa_cli.plain import spelled_out
from dmmsa_cli.reporting.contents import Report
from dmmsa_cli.reporting.figures.charts import Chart
from dmmsa_cli.reporting.naming import slug, unique
from dmmsa_cli.reporting.notes import METHOD
from dmmsa_cli.reporting.page.comparisons import KEY, comparison_groups
from dmmsa_cli.reporting.page.figures import charts, specs
from dmmsa_cli.reporting.page.names import by_dataset
from dmmsa_cli.reporting.page.runs import system_view
from dmmsa_cli.reporting.page.tables import TableGroup, table_groups
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.tunings import ABOUT, TunedRecipe

TITLE = "Multimodal sentiment analysis: the results"


def write_page(report: Report, target: Path) -> None:
    """Write the report as one HTML file, by rename.

    Raises:
        DiskFull: no room.
    """
    write_text(target, render(report))


def render(report: Report) -> str:
    """Return the page; the same report gives the same text."""
    systems = report.collection.systems
    figures = _figures(systems)
    tuned = _tunings(report.tunings)
    drawn = [(chart.anchor, chart.chart) for group in (*figures, *tuned) for chart in group.charts]
    tables = table_groups(report)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=TITLE,
            report=report,
            navigation=_navigation(report, tables, figures, tuned),
            datasets=_datasets(systems),
            synthetic=any(system.synthetic for system in systems),
            comparisons=comparison_groups(report.comparisons),
            bars=KEY,
            method=METHOD,
            tables=tables,
            figures=figures,
            tunings=tuned,
            about_tunings=ABOUT,
            systems=[system_view(system, systems) for system in systems],
            specs=specs(drawn),
            plotly=Markup(get_plotlyjs()),  # noqa: S704  (plotly's own script, from the installed package)
        )
    )


def _environment() -> Environment:
    loader = PackageLoader("dmmsa_cli.reporting.page", ".")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printed,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":"), "allow_nan": False}
    environment.filters["code"] = _code
    environment.filters["words"] = _words
    return environment


def _printed(value: object) -> object:
    """Spell out the control characters of whatever a name or a transcript holds; what is markup is the page's own."""
    return spelled_out(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _words(title: str) -> list[str]:
    """Part a header where it may break: never before its arrow."""
    return title.replace(" ↑", "\u00a0↑").replace(" ↓", "\u00a0↓").split(" ")


def _code(text: str) -> Markup:
    """Set what stands `in backticks`, or is a dmmsa command at the end of a line, as code."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(spelled_out(text))))
    if "<code>" not in marked:
        marked = re.sub(r"(?<=: )(dmmsa .+)$", r"<code>\1</code>", marked, flags=re.MULTILINE)
    return Markup(marked)  # noqa: S704  (escaped above)


# --- navigation -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A line of the table of contents."""

    anchor: str
    title: str
    entries: tuple[Entry, ...] = ()
    ours: bool = False


def _navigation(
    report: Report, tables: Sequence[TableGroup], figures: Sequence[FigureGroup], tuned: Sequence[TuningGroup]
) -> list[Entry]:
    listed = tuple(
        Entry(one.anchor, one.title, ours=any(row.ours for row in one.table.rows))
        for group in tables
        for one in group.tables
    )
    found = [Entry("overview", "Overview")]
    if report.comparisons:
        found.append(Entry("comparisons", "Is the difference real?"))
    found.append(Entry("tables", "Tables", listed))
    if figures:
        found.append(Entry("figures", "Figures", tuple(Entry(group.anchor, group.title) for group in figures)))
    if tuned:
        found.append(Entry("tuning", "Tuning", tuple(Entry(group.anchor, group.title) for group in tuned)))
    if report.collection.systems:
        found += [Entry("clips", "Largest errors"), Entry("runs", "Runs")]
    return found


# --- overview -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DatasetView:
    """A line of the overview."""

    name: str
    synthetic: bool
    systems: int
    runs: int
    seeds: list[int]
    data: list[str]


def _datasets(systems: Sequence[System]) -> list[DatasetView]:
    return [
        DatasetView(
            name=dataset,
            synthetic=synthetic,
            systems=len(some),
            runs=sum(len(system.runs) for system in some),
            seeds=sorted({seed for system in some for seed in system.seeds}),
            data=sorted({system.data_hash for system in some}),
        )
        for dataset, synthetic, some in by_dataset(systems)
    ]


# --- figures --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChartView:
    """A figure, and where it stands."""

    anchor: str
    chart: Chart


@dataclass(frozen=True)
class FigureGroup:
    """The figures of one dataset."""

    anchor: str
    title: str
    synthetic: bool
    charts: list[ChartView]


def _figures(systems: Sequence[System]) -> list[FigureGroup]:
    datasets = by_dataset(systems)
    anchors = [f"figures-{name}" for name in unique(slug(dataset) for dataset, *_ in datasets)]
    groups = [
        FigureGroup(anchor, dataset, synthetic, [ChartView(f"{anchor}--{chart.id}", chart) for chart in charts(some)])
        for anchor, (dataset, synthetic, some) in zip(anchors, datasets, strict=True)
    ]
    return [group for group in groups if group.charts]


# --- tunings --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TuningGroup(FigureGroup):
    """A tuning: what there is to say of it, and its figures."""

    sentences: list[str]


def _tunings(tuned: Sequence[TunedRecipe]) -> list[TuningGroup]:
    anchors = [f"tuning-{name}" for name in unique(slug(f"{one.dataset}-{one.folder.name}") for one in tuned)]
    return [
        TuningGroup(
            anchor,
            one.title,
            one.synthetic,
            [ChartView(f"{anchor}--{chart.id}", chart) for chart in _charts_of(one)],
            one.sentences,
        )
        for anchor, one in zip(anchors, tuned, strict=True)
    ]


def _charts_of(tuned: TunedRecipe) -> list[Chart]:
    from dmmsa_cli.reporting.figures.tuning import charts_of

    try:
        return charts_of(tuned)
    except (ImportError, RunMismatch):  # the report says so of the one; of the other its command does
        return []
