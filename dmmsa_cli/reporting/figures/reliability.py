"""How often the likeliest class of MSC is the right one, by how probable the model says it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from dmmsa_cli.reporting.figures import charts, paper, plots
from dmmsa_cli.reporting.figures.charts import Chart
from dmmsa_cli.reporting.figures.colours import BLUE, SKY
from dmmsa_cli.reporting.figures.paper import Drawing
from dmmsa_cli.reporting.figures.plots import Panel, Trace
from dmmsa_cli.reporting.figures.subjects import Subject, seeds_of
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.series.classes import calibration_errors, curve, reliabilities
from dmmsa_cli.uncertainty import ECE, PROBABILITY_BINS, Reliability

TITLE = "Reliability of the probabilities of classes (MSC)"


def on_paper(subject: Subject) -> Drawing | None:
    """Draw the curve beside the diagonal, and how many clips each bin has; none where no class is predicted."""
    found = reliabilities(subject.full)
    if not found:
        return None
    canvas = paper.sheet(subject, paper.NARROW if len(found) == 1 else paper.WIDE, 3.6)
    panels = canvas.subplots(2, len(found), sharex=True, squeeze=False, height_ratios=(3, 1))
    for (count, runs), (above, below) in zip(found.items(), panels.T, strict=True):
        _draw(above, below, curve(runs))
        error = calibration_errors({count: runs})[count]
        above.set_title(f"{count} classes: calibration error {error:.4f}")
    panels[0][0].set_ylabel("Share that is right")
    panels[1][0].set_ylabel("Clips")
    summed = "summed over" if len(subject.full.seeds) > 1 else "of"
    caption = (
        f"Probability of the likeliest class against the share of clips whose class it is on the test split of "
        f"{subject.place}, {summed} {seeds_of(subject.full)}; dashed: probabilities that can be taken at their word. "
        f"Expected calibration error: {ECE}{'; mean over the seeds' * (len(subject.full.seeds) > 1)}."
    )
    return Drawing(f"reliability-{subject.slug}", f"{TITLE} on {subject.place}", caption, canvas)


def _draw(above: Axes, below: Axes, table: pd.DataFrame) -> None:
    filled = table[table["clips"] > 0]
    above.plot([0, 1], [0, 1], color=paper.DARK, lw=0.8, ls="--")
    above.plot(filled["probability"], filled["frequency"], color=BLUE, marker="o", clip_on=False)
    above.set(xlim=(0, 1), ylim=(0, 1))
    ends = np.arange(PROBABILITY_BINS) / PROBABILITY_BINS
    below.bar(ends, table["clips"], 1 / PROBABILITY_BINS, align="edge", color=BLUE, edgecolor="white", lw=0.5)
    below.set_xlabel("Probability of the likeliest class")


def on_page(systems: Sequence[System]) -> Chart:
    """Show it for each system that predicts classes."""
    caption = (
        "Test clips, in ten bins by the probability of their likeliest class; bars: how many, summed over the "
        f"seeds. Dotted: probabilities that can be taken at their word. Expected calibration error: {ECE}; mean over "
        "the seeds."
    )
    return Chart("reliability", TITLE, caption, charts.of_systems(_panels, systems))


def _panels(system: System) -> tuple[Panel, ...]:
    return tuple(_panel(count, runs) for count, runs in reliabilities(system).items())


def _panel(count: int, runs: list[Reliability]) -> Panel:
    table = curve(runs)
    filled = table[table["clips"] > 0]
    line, look = {"color": BLUE, "width": 2}, {"size": 8}
    drawn = plots.trace(filled["probability"], filled["frequency"], mode="lines+markers", line=line, marker=look)
    drawn["text"] = [f"{clips} clips" for clips in filled["clips"]]
    drawn["hovertemplate"] = "probability %{x:.2f}: %{y:.0%} are right<br>%{text}<extra></extra>"
    drawn["name"] = "share that is right"
    diagonal = {
        "type": "line",
        "layer": "below",
        "x0": 0,
        "x1": 1,
        "y0": 0,
        "y1": 1,
        "line": {"width": 1, "dash": "dot"},
    }
    error = calibration_errors({count: runs})[count]
    layout = {
        "shapes": [diagonal],
        "xaxis": {"title": {"text": "Probability of the likeliest class"}, "range": [0, 1], "zeroline": False},
        "yaxis": {"title": {"text": "Share that is right"}, "range": [0, 1.05], "zeroline": False},
        "hovermode": "closest",
    }
    return Panel(f"{count} classes: expected calibration error {error:.4f}", [_bars(filled), drawn], layout)


def _bars(filled: pd.DataFrame) -> Trace:
    """Return how many clips each bin has, as shares of all on the same axis."""
    shares = filled["clips"] / filled["clips"].sum()
    middles = [(place + 0.5) / PROBABILITY_BINS for place in filled.index]
    bars = plots.trace(middles, shares, name="share of the clips", marker={"color": SKY, "opacity": 0.45})
    bars |= {"type": "bar", "width": 1 / PROBABILITY_BINS, "text": [str(clips) for clips in filled["clips"]]}
    return bars | {"textposition": "outside", "cliponaxis": False} | plots.SILENT
