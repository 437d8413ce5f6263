"""The validation MAE over epochs with and without MSC (Figure 4 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dmmsa_cli.reporting.figures import charts, paper, plots
from dmmsa_cli.reporting.figures.charts import Chart
from dmmsa_cli.reporting.figures.paper import Drawing
from dmmsa_cli.reporting.figures.plots import Panel, Trace
from dmmsa_cli.reporting.figures.subjects import Subject, averaged
from dmmsa_cli.reporting.groups import pairs
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.series.averages import lowest, over_seeds
from dmmsa_cli.reporting.series.epochs import validation_curves


def curve(system: System) -> pd.DataFrame:
    """Return the mean validation MAE after each epoch that every seed has: columns epoch, mean, sd, seeds."""
    return over_seeds(validation_curves(system), "mae")


def on_paper(subject: Subject) -> Drawing | None:
    """Draw both curves with their bands, and a circle at the minimum of each."""
    without = subject.without("msc")
    if without is None:
        return None
    curves = [curve(system) for system in (subject.full, without)]
    if any(one.empty for one in curves):
        return None
    canvas = paper.sheet(subject, paper.NARROW, 2.5)
    axes = canvas.subplots()
    for one, name, style in zip(curves, ("with MSC", "w/o MSC"), paper.STYLES, strict=False):
        best = lowest(one)
        paper.line_with_band(axes, one, style, f"{name} (lowest {best['mean']:.4f}, epoch {best['epoch']:.0f})")
        axes.plot(best["epoch"], best["mean"], "o", ms=10, mfc="none", mec="black", mew=1, zorder=4, clip_on=False)
    axes.set(xlabel="Epoch", ylabel="Validation MAE")
    axes.margins(y=0.1)
    paper.legend_above(axes, columns=1)
    caption = (
        f"Validation MAE over epochs with and without the coarse classification task (MSC) on {subject.place}; "
        f"{averaged(subject.full, without, spread='band')}. Circles mark the lowest mean."
    )
    title = f"Figure 4 on {subject.place}: validation MAE with and without MSC"
    return Drawing(f"figure-4-{subject.slug}", title, caption, canvas)


def on_page(systems: Sequence[System]) -> Chart:
    """Show it for each pair."""
    return Chart(
        "validation",
        "Validation MAE over epochs, with and without MSC (Figure 4)",
        f"{plots.OVER_SEEDS} The circle is the minimum of the mean.",
        charts.of_pairs(_panels, pairs(systems, "msc"), systems),
        wide=True,
    )


def _panels(full: System, without: System) -> tuple[Panel, ...]:
    curves = [curve(system) for system in (full, without)]
    if any(one.empty for one in curves):
        return ()
    data: list[Trace] = []
    for one, style, name in zip(curves, plots.STYLES, ("with MSC", "without MSC"), strict=False):
        best = lowest(one)
        drawn = plots.line_with_band(one, name, style)
        drawn[-1]["name"] = f"{name}: {best['mean']:.4f} at epoch {best['epoch']:.0f}"  # legible on paper too
        ring = {"symbol": "circle-open", "size": 16, "color": style.color, "line": {"width": 2.5}}
        circle = plots.trace([best["epoch"]], [best["mean"]], mode="markers", marker=ring, showlegend=False)
        data += [*drawn, circle | plots.SILENT]
    return (Panel("", data, plots.over_epochs("Validation MAE", data)),)
