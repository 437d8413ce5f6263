"""Metrics by how much of the clips is missing, a line a system."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from dmmsa_cli.reporting.figures import charts, paper, plots
from dmmsa_cli.reporting.figures.charts import Chart
from dmmsa_cli.reporting.figures.paper import Drawing
from dmmsa_cli.reporting.figures.plots import Panel, Trace
from dmmsa_cli.reporting.figures.subjects import Subject, with_seeds
from dmmsa_cli.reporting.groups import label
from dmmsa_cli.reporting.labels import tell_apart
from dmmsa_cli.reporting.missing import Robust, by_grid
from dmmsa_cli.reporting.results import SCORES
from dmmsa_cli.reporting.runs import System

AXIS = "share of tokens and frames missing"
FEWEST_RATES = 2  # of one there is no line


def shown_metrics(system: System) -> dict[str, str]:
    """Return what is drawn, by metric: the error, and how often the polarity is right."""
    accuracy = "acc2_non0" if "acc2_non0" in system.first.metrics else "acc2"
    return {"mae": "MAE", accuracy: "Acc-2 (%)"}


def curve(one: Robust, metric: str) -> pd.DataFrame:
    """Return a metric by rate: columns rate, mean (over draws and seeds), sd (over seeds; NaN for one)."""
    unit = 1 if metric in SCORES else 100  # as the tables have it
    found = [(rate, one.at(rate)) for rate in one.grid[0]]
    rows = [(rate, unit * at.mean[metric], unit * at.sd[metric]) for rate, at in found]
    return pd.DataFrame(rows, columns=["rate", "mean", "sd"])


def together(systems: Sequence[System]) -> list[list[Robust]]:
    """Return the systems that can stand in one figure: measured at the same rates, in as many draws."""
    return [some for (rates, _), some in by_grid(systems).items() if len(rates) >= FEWEST_RATES]


def names(some: Sequence[Robust]) -> list[str]:
    """What the systems of a figure are called, each otherwise."""
    systems = [one.system for one in some]
    return tell_apart([label(system) for system in systems], systems)


# --- on paper -------------------------------------------------------------------------------------------------------


def on_paper(subject: Subject) -> Drawing | None:
    """Draw the whole, what it was held against, and the same trained on clips with gaps; as many as can be told apart.

    None where it was not measured on incomplete clips.
    """
    beside = [one for one in subject.group if one is not subject.full]
    chosen = [subject.full, *subject.gapped, *beside, *subject.rivals]
    some = next((found for found in together(chosen) if found[0].system is subject.full), None)
    if some is None:
        return None
    some = some[: len(paper.STYLES)]
    metrics = shown_metrics(subject.full)
    canvas = paper.sheet(subject, paper.WIDE, 2.7)
    for axes, (metric, title) in zip(np.atleast_1d(canvas.subplots(1, len(metrics))), metrics.items(), strict=True):
        for one, name, style in zip(some, names(some), paper.STYLES, strict=False):
            _line(axes, curve(one, metric), style, paper.plain(name))
        axes.set(xlabel=AXIS, ylabel=title)
    paper.legend_above(canvas.axes[0], columns=2)
    seeds = ", ".join(f"{name} {one.seeds}" for name, one in zip(names(some), some, strict=True))
    caption = (
        f"Metrics on the test split of {subject.place} by how much of each clip is missing (tokens [UNK], frames zero)"
        f"; mean over {some[0].grid[1]} draws and over seeds ({seeds}), band ± 1 sample sd over seeds."
    )
    return Drawing(f"missing-{subject.slug}", f"Missing data on {subject.place}", caption, canvas)


def _line(axes: Axes, drawn: pd.DataFrame, style: paper.Style, name: str) -> None:
    rate, mean, sd = (drawn[key].to_numpy(float) for key in ("rate", "mean", "sd"))
    axes.plot(rate, mean, color=style.color, ls=style.line, marker=style.marker, label=name)
    if np.isfinite(sd).all():
        axes.fill_between(rate, mean - sd, mean + sd, color=style.color, alpha=0.15, linewidth=0)


# --- on the page ----------------------------------------------------------------------------------------------------


def on_page(systems: Sequence[System]) -> Chart:
    """Show all systems that were measured at the same rates, a line each."""
    caption = (
        "Each token is [UNK] and each frame zero with this probability, as in LNLN's protocol; the mean over draws and "
        "seeds, the band of a line is ± one standard deviation over seeds. Every system sees the same gaps."
    )
    found = [[one.system for one in some] for some in together(systems)]
    return Chart("missing", "Missing data", caption, charts.of_sets(_panels, found, systems), wide=True)


def _panels(*systems: System) -> tuple[Panel, ...]:
    (some, *_) = together(systems)
    return tuple(_panel(some, metric, title) for metric, title in shown_metrics(systems[0]).items())


def _panel(some: Sequence[Robust], metric: str, title: str) -> Panel:
    curves = [curve(one, metric) for one in some]
    named = with_seeds(names(some), [one.system.seeds for one in some])
    if len(some) > len(plots.STYLES):
        table = pd.DataFrame([drawn.set_index("rate")["mean"] for drawn in curves])
        limits = (float(np.min(table.to_numpy())), float(np.max(table.to_numpy())))
        return plots.by_system(table, named, limits, "%{x} missing: %{z:.4f}", {"title": {"text": AXIS}}, title)
    data: list[Trace] = []
    for drawn, name, style in zip(curves, named, plots.STYLES, strict=False):
        data += plots.line_with_band(drawn.rename(columns={"rate": "epoch"}), name, style)  # its axis is called so
    axis = {"title": {"text": AXIS}, "zeroline": False, "unifiedhovertitle": {"text": "%{x} missing"}}
    return Panel(title, data, {"xaxis": axis, "yaxis": {"title": {"text": title}}, "hovermode": "x unified"})
