"""Prediction against label on the test split with and without MSC (Figure 6 of the paper)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from dmmsa_cli.data.classes import class_edges
from dmmsa_cli.reporting.figures import charts, paper, plots
from dmmsa_cli.reporting.figures.charts import Chart
from dmmsa_cli.reporting.figures.paper import Drawing
from dmmsa_cli.reporting.figures.plots import Layout, Panel
from dmmsa_cli.reporting.figures.subjects import Subject, averaged
from dmmsa_cli.reporting.groups import pairs
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.series.predictions import clips
from dmmsa_cli.reporting.series.scale import scale


def class_ends(system: System, limit: float) -> list[float]:
    """Return where the classes of the coarse classification end, from -limit to limit, ascending.

    Of several numbers of classes the first counts.
    """
    classes, scores = system.objective["msc"]["classes"], scale(system)
    edges = class_edges(classes if isinstance(classes, int) else classes[0], scores.metrics, scores.score_range)
    return [-limit, *map(float, edges), limit]


def on_paper(subject: Subject) -> Drawing | None:
    """Draw a point for each clip, its predictions averaged over the seeds, and shade the classes of MSC."""
    without = subject.without("msc")
    if without is None:
        return None
    tables = [clips(system) for system in (subject.full, without)]
    limit = 1.05 * max(scale(subject.full).score_range, *(table["y_pred"].abs().max() for table in tables))
    canvas = paper.sheet(subject, paper.WIDE, 4.05)
    panels = canvas.subplots(1, 2, sharex=True, sharey=True)
    for axes, system, table, name, style in zip(
        panels, (subject.full, without), tables, ("with MSC", "w/o MSC"), paper.STYLES, strict=False
    ):
        _shade(axes, class_ends(subject.full, limit))
        opacity = 0.5 if len(table) < 1000 else 0.25
        axes.scatter(
            *(table["y_true"], table["y_pred"]), s=9, c=style.color, marker=style.marker, alpha=opacity, linewidths=0
        ).set_rasterized(True)  # thousands of points as vectors make a PDF that nobody can scroll
        axes.plot([-limit, limit], [-limit, limit], color="black", lw=0.8, ls="--")
        axes.set(title=f"{name}: MAE {system.summary.mean['mae']:.4f}", xlabel="Label", box_aspect=1)
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit))
    panels[0].set_ylabel("Prediction")
    caption = (
        f"Prediction against label of each test clip with and without MSC on {subject.place}; predictions and MAE: "
        f"{averaged(subject.full, without)}. Shaded: label and prediction lie in the same class of MSC; dashed: a "
        f"perfect prediction."
    )
    title = f"Figure 6 on {subject.place}: prediction against label with and without MSC"
    return Drawing(f"figure-6-{subject.slug}", title, caption, canvas)


def _shade(axes: Axes, ends: list[float]) -> None:
    """Shade where label and prediction fall into the same class, every second one darker."""
    for place, (low, high) in enumerate(itertools.pairwise(ends)):
        tone = "#c9c9c9" if place % 2 else paper.GREY
        axes.add_patch(Rectangle((low, low), high - low, high - low, facecolor=tone, linewidth=0, zorder=0))
    for edge in ends[1:-1]:
        axes.axvline(edge, color="#999999", lw=0.5, ls=":", zorder=0.5)
        axes.axhline(edge, color="#999999", lw=0.5, ls=":", zorder=0.5)


def on_page(systems: Sequence[System]) -> Chart:
    """Show it for each pair; a hover tells the clip."""
    return Chart(
        "predictions",
        "Prediction against label, with and without MSC (Figure 6)",
        "Test clips, mean prediction over the seeds. Shaded: prediction and label are in the same MSC class.",
        charts.of_pairs(_panels, pairs(systems, "msc"), systems),
        wide=True,
    )


def _panels(full: System, without: System) -> tuple[Panel, ...]:
    panels = []
    tables = [clips(system) for system in (full, without)]
    furthest = 1.05 * max(float(table["y_pred"].abs().max()) for table in tables)
    for table, style, name in zip(tables, plots.STYLES, ("with MSC", "without MSC"), strict=False):
        size = 6 if len(table) < 300 else 4
        marker = {"color": style.color, "symbol": style.symbol, "size": size, "opacity": 0.7}
        dots = plots.trace(table["y_true"], table["y_pred"], mode="markers", marker=marker, showlegend=False)
        dots["customdata"] = [
            [plots.safe(clip), plots.hover_text(text)] for clip, text in zip(table["id"], table["text"], strict=True)
        ]
        dots["hovertemplate"] = (
            "<b>%{customdata[0]}</b><br>%{customdata[1]}<br>label %{x:.2f}, prediction %{y:.2f}<extra></extra>"
        )
        panels.append(Panel(name, [dots], _shaded(full, furthest)))
    return tuple(panels)


def _shaded(system: System, furthest: float) -> Layout:
    """Return axes that reach to a prediction, shaded where prediction and label fall into the same class of MSC."""
    limit = 1.08 * scale(system).score_range
    height = max(limit, furthest)
    ends = [round(end, 4) for end in class_ends(system, limit)]
    shade = {"type": "rect", "layer": "below", "line": {"width": 0}, "fillcolor": "rgba(128, 128, 128, 0.16)"}
    squares = [shade | {"x0": low, "x1": high, "y0": low, "y1": high} for low, high in itertools.pairwise(ends)]
    perfect = {"type": "line", "layer": "below", "x0": -limit, "x1": limit, "y0": -limit, "y1": limit}
    return {
        "shapes": [*squares, perfect | {"line": {"width": 1, "dash": "dot"}}],
        "xaxis": {"title": {"text": "Label"}, "range": [-limit, limit], "zeroline": False},
        "yaxis": {"title": {"text": "Prediction"}, "range": [-height, height], "zeroline": False},
        "hovermode": "closest",
    }
