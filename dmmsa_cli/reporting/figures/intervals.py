"""How often intervals made from the validation split hold the label, for each class of it, beside the level."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dmmsa_cli.errors import InvalidInput
from dmmsa_cli.reporting.figures import charts, paper, plots
from dmmsa_cli.reporting.figures.charts import Chart
from dmmsa_cli.reporting.figures.colours import BLUE, VERMILION
from dmmsa_cli.reporting.figures.paper import Drawing
from dmmsa_cli.reporting.figures.plots import Panel, Trace
from dmmsa_cli.reporting.figures.subjects import Subject, averaged
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.series.intervals import intervals_of
from dmmsa_cli.reporting.series.scale import scale
from dmmsa_cli.uncertainty import Coverage, percent

TITLE = "Coverage of intervals by label"


def found(system: System) -> Coverage | None:
    """Return what the intervals of a system hold; none where the validation split has too few clips for the level."""
    try:
        return intervals_of(system)
    except InvalidInput:
        return None


def in_words(coverage: Coverage) -> str:
    """Say what they hold of all clips, and within videos.

    Example: `91.3 % of all clips; mean over videos 90.8 %, a tenth of them at most 82.0 %; width 2.41`.
    """
    of_all, mean, worst = (f"{100 * share:.1f} %" for share in (coverage.share, coverage.videos, coverage.worst))
    videos = "" if math.isnan(coverage.videos) else f"; mean over videos {mean}, a tenth of them at most {worst}"
    return f"{of_all} of all clips{videos}; width {coverage.width:.2f}"


def on_paper(subject: Subject) -> Drawing | None:
    """Draw a bar for each class of the label, and the level across."""
    coverage = found(subject.full)
    if coverage is None:
        return None
    names = scale(subject.full).class_names(len(coverage.clips))
    canvas = paper.sheet(subject, paper.NARROW, 2.6)
    axes = canvas.subplots()
    at = np.arange(len(names))
    axes.bar(at, 100 * np.array(coverage.by_label), 0.7, color=BLUE)
    axes.axhline(100 * coverage.level, color=VERMILION, lw=1.2, ls="--", label=f"level {percent(coverage.level)}")
    axes.axhline(100 * coverage.share, color=paper.DARK, lw=1, ls=":", label=f"all clips {100 * coverage.share:.1f} %")
    ticks = [f"{name}\nn={clips}" for name, clips in zip(paper.short(names), coverage.clips, strict=True)]
    axes.set_xticks(at, ticks)
    axes.set(xlabel="Class of the label, and how many clips", ylabel="Label within, in %", ylim=(0, 104))
    paper.legend_above(axes, columns=2)
    caption = (
        f"How often intervals of {percent(coverage.level)}, made from the validation split, hold the label on the test "
        f"split of {subject.place}, by class of the label; {averaged(subject.full)}. They hold {in_words(coverage)}."
    )
    return Drawing(f"intervals-{subject.slug}", f"{TITLE} on {subject.place}", caption, canvas)


def on_page(systems: Sequence[System]) -> Chart:
    """Show it for each system."""
    caption = (
        "Intervals are made from the errors on the validation split and measured on the test split; mean over the "
        "seeds. Dashed: their level, which is not guaranteed: clips of one video are not exchangeable with others."
    )
    return Chart("intervals", TITLE, caption, charts.of_systems(_panels, systems))


def _panels(system: System) -> tuple[Panel, ...]:
    coverage = found(system)
    if coverage is None:
        return ()
    scores = scale(system)
    names = scores.class_names(len(coverage.clips))
    ticks = [f"{plots.folded(name)}<br>n={clips}" for name, clips in zip(names, coverage.clips, strict=True)]
    shares = [None if math.isnan(share) else round(100 * share, 2) for share in coverage.by_label]
    bars: Trace = {"type": "bar", "x": list(names), "y": shares, "marker": {"color": BLUE}, "name": "label within"}
    bars |= {"hovertemplate": "label %{x}: %{y:.1f} %<extra></extra>", "showlegend": False}
    line = {"color": VERMILION, "dash": "dash", "width": 2}
    level = plots.trace(
        names, [100 * coverage.level] * len(names), mode="lines", name=f"level {percent(coverage.level)}", line=line
    )
    classes = {"type": "category", "tickvals": list(names), "ticktext": ticks, "tickangle": 0}
    layout = {
        "xaxis": classes | {"title": {"text": "Class of the label"}, "tickfont": {"size": 10}},
        "yaxis": {"title": {"text": "Label within, in %"}, "range": [0, 104]},
    }
    return (Panel(in_words(coverage), [bars, level | plots.SILENT], layout),)
