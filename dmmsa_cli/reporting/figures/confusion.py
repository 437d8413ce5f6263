"""Which class was taken for which, of the finest accuracy's classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dmmsa_cli.reporting.figures import charts, paper, plots
from dmmsa_cli.reporting.figures.charts import Chart
from dmmsa_cli.reporting.figures.colours import SEQUENTIAL
from dmmsa_cli.reporting.figures.paper import Drawing
from dmmsa_cli.reporting.figures.plots import Panel
from dmmsa_cli.reporting.figures.subjects import Subject, seeds_of
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.series.predictions import predictions
from dmmsa_cli.reporting.series.scale import scale


def confusion(system: System) -> pd.DataFrame:
    """Return how often a class was taken for which, of 7 classes (CH-SIMS: 5), summed over the seeds.

    Returns:
        Counts (C, C): a row for each class of the labels, a column for each predicted one; their names on both sides.

    Raises:
        RunMissing, RunMismatch: as `predictions`.
    """
    scores, table = scale(system), predictions(system)
    count = scores.finest
    label, predicted = (
        scores.classes(scores.clip(table[name].to_numpy()), count) for name in ("y_true", "y_pred")
    )  # (seeds * clips,)
    counts = np.bincount(label * count + predicted, minlength=count * count).reshape(count, count)
    names = list(scores.class_names(count))
    return pd.DataFrame(counts, index=names, columns=names)


def on_paper(subject: Subject) -> Drawing:
    """Draw a square of cells, each with its share of the label's clips and their number."""
    counts = confusion(subject.full)
    number = counts.to_numpy()
    totals = number.sum(axis=1, keepdims=True)
    shares = np.divide(number, totals, out=np.full(number.shape, np.nan), where=totals > 0)
    canvas = paper.sheet(subject, paper.NARROW, 3.5)
    axes = canvas.subplots()
    axes.imshow(shares, cmap=paper.colour_map(SEQUENTIAL), vmin=0, vmax=1)
    paper.grid(axes, paper.short(counts.index), paper.short(counts.columns))
    for (row, column), count in np.ndenumerate(number):
        if count:
            share = shares[row, column]
            axes.text(column, row, f"{100 * share:.0f}%\n{count}", ha="center", va="center", size=6.5)
    axes.set(xlabel="Class of the prediction", ylabel="Class of the label")
    name = f"Acc-{len(counts)}"
    caption = (
        f"Confusion matrix of {name} on {subject.place}, test split: share of the clips of each label's class, and "
        f"their number, {'summed over' if len(subject.full.seeds) > 1 else 'of'} {seeds_of(subject.full)}."
    )
    return Drawing(f"confusion-{subject.slug}", f"Confusion matrix of {name} on {subject.place}", caption, canvas)


def on_page(systems: Sequence[System]) -> Chart:
    """Show it for each system."""
    caption = "Clips of the test split, summed over the seeds; shaded by share of their label’s row."
    return Chart("confusion", "Confusion matrix", caption, charts.of_systems(_panels, systems))


def _panels(system: System) -> tuple[Panel, ...]:
    counts = confusion(system)
    names = [str(name) for name in counts]
    share = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    heat = plots.heat_map(share, names, SEQUENTIAL, limits=(0, 1))
    heat |= {"text": counts.to_numpy().tolist(), "texttemplate": "%{text}"}
    heat["hovertemplate"] = "label %{y}, prediction %{x}: %{text} (%{z:.0%} of the label)<extra></extra>"
    layout = plots.matrix("Predicted class", "Class of the label")
    layout["xaxis"] |= {"tickvals": names, "ticktext": list(map(plots.folded, names)), "tickangle": 0}
    return (Panel("", [heat], layout),)
