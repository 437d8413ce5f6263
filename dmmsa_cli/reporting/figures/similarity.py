"""The cosine similarity of the features with and without CL (Figure 5 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dmmsa_cli.reporting.figures import charts, paper, plots
from dmmsa_cli.reporting.figures.charts import Chart
from dmmsa_cli.reporting.figures.colours import DIVERGING
from dmmsa_cli.reporting.figures.paper import Drawing
from dmmsa_cli.reporting.figures.plots import Panel
from dmmsa_cli.reporting.figures.subjects import Subject, averaged
from dmmsa_cli.reporting.groups import pairs
from dmmsa_cli.reporting.runs import System


def similarity(system: System) -> pd.DataFrame | None:
    """Return the mean cosine similarity of every two features, averaged over the seeds that kept it.

    Returns:
        (features, features), names such as `T_s` on both sides; none where no run kept it, or they disagree on names.
    """
    kept = [table for table in (run.similarity for run in system.runs) if table is not None]
    if not kept or any(list(table.columns) != list(kept[0].columns) for table in kept):
        return None
    mean = np.mean([table.to_numpy() for table in kept], axis=0)
    return pd.DataFrame(mean, index=kept[0].index, columns=kept[0].columns)


def on_paper(subject: Subject) -> Drawing | None:
    """Draw both matrices on one scale, each number in its cell."""
    without = subject.without("cl")
    tables = [similarity(system) for system in (subject.full, without) if system]
    known = [table for table in tables if table is not None]
    if without is None or len(known) < 2:
        return None
    canvas = paper.sheet(subject, paper.WIDE, 3.3)
    panels = canvas.subplots(1, 2)
    for axes, table, name in zip(panels, known, ("with CL", "w/o CL"), strict=True):
        image = axes.imshow(table.to_numpy(), cmap=paper.colour_map(DIVERGING), vmin=-1, vmax=1)
        names = list(map(_formula, table.columns))
        paper.grid(axes, names, names)
        axes.tick_params(labelsize=9)
        for (row, column), value in np.ndenumerate(table.to_numpy()):
            axes.text(column, row, plots.rounded(value).replace("-", "−"), ha="center", va="center")
        axes.set_title(name)
    canvas.colorbar(image, ax=panels, label="Cosine similarity", shrink=0.9)
    caption = (
        f"Cosine similarity of similarity (s) and dissimilarity (d) features of text (T), vision (V) and audio (A), "
        f"with and without contrastive learning (CL) on {subject.place}; mean over the test clips "
        f"({averaged(subject.full, without)})."
    )
    title = f"Figure 5 on {subject.place}: similarity of the features with and without CL"
    return Drawing(f"figure-5-{subject.slug}", title, caption, canvas)


def _formula(name: str) -> str:
    """Set the letter of `T_s` low, as the paper prints it."""
    letter, _, low = name.partition("_")
    low = low.replace("_", r"\_")
    return f"${letter}_{{{low}}}$" if low else f"${letter}$"


def on_page(systems: Sequence[System]) -> Chart:
    """Show it for each pair."""
    return Chart(
        "similarity",
        "Similarity of the features, with and without CL (Figure 5)",
        "Mean cosine similarity over the test clips and seeds: T, V, A; s similar, d dissimilar.",
        charts.of_pairs(_panels, pairs(systems, "cl"), systems),
        wide=True,
    )


def _panels(full: System, without: System) -> tuple[Panel, ...]:
    tables = [similarity(system) for system in (full, without)]
    return tuple(
        Panel(
            name, [plots.heat_map(table, _subscripts(list(table.columns)), DIVERGING, limits=(-1, 1))], plots.matrix()
        )
        for table, name in zip(tables, ("with CL", "without CL"), strict=True)
        if table is not None
    )


def _subscripts(names: Sequence[str]) -> list[str]:
    """Set the letter of `T_s` low, as the paper prints it."""
    parts = [name.partition("_") for name in names]
    return [f"{letter}<sub>{low}</sub>" if mark else letter for letter, mark, low in parts]
