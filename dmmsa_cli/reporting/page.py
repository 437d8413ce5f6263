"""One self-contained page: tables, figures and runs in a file that opens from disk and fetches nothing."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from dmmsa_cli.errors import RunMismatch, RunMissing
from dmmsa_cli.files import write_text
from dmmsa_cli.reporting import series
from dmmsa_cli.reporting.charts import Chart, charts, specs, title
from dmmsa_cli.reporting.contents import Cell, Comparison, Difference, Mark, Report, Row, Table
from dmmsa_cli.reporting.notes import METHOD
from dmmsa_cli.reporting.results import COLUMNS, LEGEND, Column, cell
from dmmsa_cli.reporting.runs import Run, System

TITLE = "Multimodal sentiment analysis: the results"
WORST = 15  # clips shown for each system
METRIC_NAMES = {"mae": "MAE", "corr": "Corr", "has0": " (neg. / non-neg.)", "non0": " (neg. / pos.)"}
IN_UNITS = {"mae", "corr"}  # all others are shares, printed in percent


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
    drawn = [(chart.anchor, chart.chart) for group in figures for chart in group.charts]
    tables = _tables(report)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=TITLE,
            report=report,
            navigation=_navigation(report, tables, figures),
            datasets=_datasets(systems),
            synthetic=any(system.synthetic for system in systems),
            comparisons=_comparisons(report.comparisons),
            method=METHOD,
            tables=tables,
            figures=figures,
            systems=[_system(system, systems) for system in systems],
            specs=specs(drawn),
            plotly=Markup(get_plotlyjs()),  # noqa: S704  (plotly's own script, from the installed package)
        )
    )


def _environment() -> Environment:
    loader = PackageLoader("dmmsa_cli.reporting", ".")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":"), "allow_nan": False}
    environment.filters["code"] = _code
    return environment


def _code(text: str) -> Markup:
    """Set what stands `in backticks`, or is a dmmsa command at the end of a line, as code."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
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


def _navigation(report: Report, tables: Sequence[TableView], figures: Sequence[FigureGroup]) -> list[Entry]:
    listed = tuple(Entry(one.anchor, one.title, ours=any(row.ours for row in one.table.rows)) for one in tables)
    found = [Entry("overview", "Overview")]
    if report.comparisons:
        found.append(Entry("comparisons", "Is the difference real?"))
    found.append(Entry("tables", "Tables", listed))
    if figures:
        found.append(Entry("figures", "Figures", tuple(Entry(group.anchor, group.title) for group in figures)))
    if report.collection.systems:
        found += [Entry("clips", "Largest errors"), Entry("runs", "Runs")]
    return found


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


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


def _by_dataset(systems: Iterable[System]) -> list[tuple[str, bool, list[System]]]:
    found: dict[tuple[str, bool], list[System]] = {}
    for system in systems:
        found.setdefault((system.dataset, system.synthetic), []).append(system)
    return [
        (dataset, synthetic, some) for (dataset, synthetic), some in sorted(found.items(), key=lambda it: it[0][::-1])
    ]


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
        for dataset, synthetic, some in _by_dataset(systems)
    ]


# --- comparisons ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """An interval on the axis that all comparisons of a dataset share, in percent of its width."""

    left: float
    width: float
    point: float
    noise: bool
    label: str


@dataclass(frozen=True)
class ComparisonView:
    """A comparison, drawn."""

    comparison: Comparison
    bar: Bar | None
    rows: Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class ComparisonGroup:
    """The comparisons on one dataset."""

    dataset: str
    synthetic: bool
    comparisons: list[ComparisonView]
    zero: float
    ticks: Sequence[Mapping[str, Any]]


def _comparisons(comparisons: Iterable[Comparison]) -> list[ComparisonGroup]:
    found: dict[tuple[str, bool], list[Comparison]] = {}
    for one in comparisons:
        found.setdefault((one.first.dataset, one.first.synthetic), []).append(one)
    return [_group(dataset, synthetic, some) for (dataset, synthetic), some in found.items()]


def _group(dataset: str, synthetic: bool, comparisons: list[Comparison]) -> ComparisonGroup:
    told = [one.differences["mae"] for one in comparisons if "mae" in one.differences]
    ends = [0.0, *(end for one in told for end in (one.low, one.high) if math.isfinite(end))]
    low, high = min(ends), max(ends)
    room = 0.08 * (high - low) or 1.0
    axis = (low - room, high + room)
    views = [
        ComparisonView(
            one, _bar(one.differences.get("mae"), axis), [_reading(*item) for item in one.differences.items()]
        )
        for one in comparisons
    ]
    ticks = [{"at": _place(tick, axis), "text": _signed(tick, digits)} for tick, digits in _ticks(*axis)]
    return ComparisonGroup(dataset, synthetic, views, _place(0, axis), ticks)


def _place(value: float, axis: tuple[float, float]) -> float:
    return round(100 * (value - axis[0]) / (axis[1] - axis[0]), 2)


def _bar(difference: Difference | None, axis: tuple[float, float]) -> Bar | None:
    if difference is None or not all(map(math.isfinite, (difference.value, difference.low, difference.high))):
        return None
    left, right = _place(difference.low, axis), _place(difference.high, axis)
    interval = f"[{_signed(difference.low, 4)}, {_signed(difference.high, 4)}]"
    label = f"{_signed(difference.value, 4)} {interval}"
    return Bar(left, round(right - left, 2), _place(difference.value, axis), difference.within_noise, label)


def _ticks(low: float, high: float) -> list[tuple[float, int]]:
    """Choose round numbers between two ends, about four of them, and the decimals that tell them apart."""
    rough = (high - low) / 4
    power = math.floor(math.log10(rough))
    step = next(step for step in (10**power * factor for factor in (1, 2, 5, 10)) if step >= rough)
    digits = max(0, -math.floor(math.log10(step)))
    return [(step * i, digits) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text[1:] if float(f"{value:.{digits}f}") == 0 else text


def _reading(metric: str, difference: Difference) -> Mapping[str, str]:
    factor, digits = (1, 4) if metric in IN_UNITS else (100, 2)

    def number(value: float) -> str:
        return _signed(factor * value, digits) if math.isfinite(value) else "-"

    spread = f" ± {factor * difference.seeds_sd:.{digits}f}" if math.isfinite(difference.seeds_sd) else ""
    return {
        "metric": _metric_name(metric),
        "value": number(difference.value),
        "interval": f"[{number(difference.low)}, {number(difference.high)}]",
        "seeds": number(difference.seeds_mean) + spread,
        "reading": "within noise" if difference.within_noise else "beyond noise",
    }


def _metric_name(metric: str) -> str:
    """Print a metric's name as the papers do: `Acc-2 (neg. / pos.)` for `acc2_non0`."""
    name, _, which = metric.partition("_")
    return METRIC_NAMES.get(name, name.replace("acc", "Acc-").replace("f1", "F1")) + METRIC_NAMES.get(which, "")


# --- tables ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ColumnView:
    """A header."""

    title: str
    first: Literal["ascending", "descending"]
    """The order of the first click: the best on top."""


@dataclass(frozen=True)
class CellView:
    """A cell, part for part."""

    parts: list[tuple[str, Mark]]
    spread: str
    value: float | None
    """What it is sorted by; none for a dash."""


@dataclass(frozen=True)
class RowView:
    """A row."""

    row: Row
    cells: list[CellView]
    href: str
    """The anchor of the runs behind it; empty where there are none."""


@dataclass(frozen=True)
class TableView:
    """A table."""

    table: Table
    anchor: str
    title: str
    """Without what the badge beside it says."""
    columns: list[ColumnView]
    rows: list[RowView]


def _tables(report: Report) -> list[TableView]:
    return [_table(table, report.collection.systems) for table in report.tables]


def _table(table: Table, systems: Sequence[System]) -> TableView:
    columns = [
        ColumnView(column.heading, "ascending" if column.lower_is_better else "descending") for column in table.columns
    ]
    rows = [
        RowView(
            row=row,
            cells=[_cell(one, column, row.values) for one, column in zip(row.cells, table.columns, strict=True)],
            href=_anchor(row.system, systems) if row.system else "",
        )
        for row in table.rows
    ]
    return TableView(table, f"table-{_slug(table.id)}", table.title.removesuffix(" (SYNTHETIC data)"), columns, rows)


def _cell(shown: Cell, column: Column, values: Mapping[str, float]) -> CellView:
    parts = shown.text.split("/")
    if len(parts) != len(shown.marks):
        parts = [shown.text]
    value = values.get(column.metrics[0], math.nan)
    return CellView(list(zip(parts, shown.marks, strict=False)), shown.spread, value if math.isfinite(value) else None)


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
    found = []
    for dataset, synthetic, some in _by_dataset(systems):
        anchor = f"figures-{_slug(dataset)}{'-synthetic' if synthetic else ''}"
        drawn = [ChartView(f"{anchor}-{chart.id}", chart) for chart in charts(some)]
        if drawn:
            found.append(FigureGroup(anchor, dataset, synthetic, drawn))
    return found


# --- runs -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunView:
    """A line of a system's runs."""

    seed: int
    folder: Path
    best_epoch: str
    epochs: int
    best: str
    curve: str
    """Points of the validation MAE in a box of 100 x 24."""
    curve_from: str
    curve_to: str
    cells: list[str]
    time: str


@dataclass(frozen=True)
class SystemView:
    """The runs of a system, and the clips that it misses most."""

    system: System
    anchor: str
    title: str
    headline: str
    columns: tuple[Column, ...]
    legend: str
    runs: list[RunView]
    recipe: str
    shared: Mapping[str, str]
    differing: Mapping[str, list[tuple[int, str]]]
    clips: Sequence[Mapping[str, Any]]


def _anchor(system: System, systems: Sequence[System]) -> str:
    place = next(i for i, other in enumerate(systems) if other is system)  # equality would compare whole runs
    return f"runs-{place + 1}-{_slug(f'{system.dataset}-{system.recipe_name}-{system.variant}')}"


def _system(system: System, systems: Sequence[System]) -> SystemView:
    metrics = series.scale(system).metrics
    columns = COLUMNS[metrics]
    shared, differing = _environments(system)
    neighbours = [other for other in systems if other.dataset == system.dataset]
    return SystemView(
        system=system,
        anchor=_anchor(system, systems),
        title=f"{system.dataset}: {title(system, neighbours)}",
        headline=_headline(system),
        columns=columns,
        legend=LEGEND[metrics],
        runs=[_run(run, columns) for run in system.runs],
        recipe=_recipe(system),
        shared=shared,
        differing=differing,
        clips=_worst_clips(system),
    )


def _headline(system: System) -> str:
    count = len(system.runs)
    spread = system.summary.sd["mae"]
    sd = f" ± {spread:.4f}" if math.isfinite(spread) else ""
    return f"{count} seed{'s' * (count > 1)}, test MAE {system.summary.mean['mae']:.4f}{sd}"


def _run(run: Run, columns: tuple[Column, ...]) -> RunView:
    curve = [_finite(line["validation"].get("mae")) for line in run.log]
    return RunView(
        seed=run.seed,
        folder=run.folder,
        best_epoch=str(run.summary.get("best_epoch", "-")),
        epochs=len(curve),
        best=_four(_finite(run.summary.get("validation", {}).get("mae"))),
        curve=_points(curve),
        curve_from=_four(curve[0] if curve else math.nan),
        curve_to=_four(curve[-1] if curve else math.nan),
        cells=[cell(column, run.metrics) for column in columns],
        time=_duration(_finite(run.summary.get("seconds"))),
    )


def _finite(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _four(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _points(curve: Sequence[float]) -> str:
    finite = [value for value in curve if math.isfinite(value)] or [0.0]
    low, room = min(finite), (max(finite) - min(finite)) or 1.0
    across = np.linspace(0, 100, max(len(curve), 2))
    drawn = [*curve, *curve] if len(curve) == 1 else curve  # one epoch is a level line
    pairs = zip(across, drawn, strict=False)
    return " ".join(f"{x:.1f},{2 + 20 * (1 - (y - low) / room):.1f}" for x, y in pairs if math.isfinite(y))


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "-"
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _recipe(system: System) -> str:
    # A run's recipe may name more seeds than have run, and two runs of one system may name different ones.
    values = {key: value for key, value in system.first.recipe.items() if key != "seeds"}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)


def _environments(system: System) -> tuple[Mapping[str, str], Mapping[str, list[tuple[int, str]]]]:
    """Part what all runs of a system share from what differs between them, so that a page of many runs stays small."""
    flat = [dict(_flat(run.facts)) for run in system.runs]
    names = list(dict.fromkeys(itertools.chain.from_iterable(flat)))
    shared, differing = {}, {}
    for name in names:
        values = [facts.get(name, "-") for facts in flat]
        if len(set(values)) == 1:
            shared[name] = values[0]
        elif name != "seed":
            differing[name] = list(zip(system.seeds, values, strict=True))
    return shared, differing


def _flat(values: Mapping[str, Any], path: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{key}.")
        elif isinstance(value, list):
            yield f"{path}{key}", ", ".join(map(str, value)) or "none"
        else:
            yield f"{path}{key}", value if isinstance(value, str) else json.dumps(value)


def _worst_clips(system: System) -> list[Mapping[str, Any]]:
    try:
        clips = series.clips(system)
    except (RunMissing, RunMismatch):
        return []
    worst = clips.sort_values("error", ascending=False, kind="stable").head(WORST)
    return [
        {"id": clip.id, "text": clip.text, "label": clip.y_true, "prediction": clip.y_pred, "error": clip.error}
        for clip in worst.itertuples()
    ]
