"""The page's figures: every one that the runs of a dataset allow, and what page.js draws them from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from dmmsa_cli.reporting.figures import FIGURES
from dmmsa_cli.reporting.figures.charts import Chart
from dmmsa_cli.reporting.figures.plots import Panel
from dmmsa_cli.reporting.runs import System


def charts(systems: Sequence[System]) -> list[Chart]:
    """Draw every figure that the runs of one dataset allow; where a file is gone or damaged, that variant is left out.

    Args:
        systems: of one dataset, all on synthetic data or none.
    """
    drawn = [figure.on_page(systems) for figure in FIGURES]
    return [chart for chart in drawn if chart.variants]


def specs(named: Iterable[tuple[str, Chart]]) -> dict[str, Any]:
    """Return what page.js draws from: the panels of each variant by anchor; what a hover says of the clips, once.

    The texts of a split stand in several plots, the same in each; `customdata` is a place in `clips`.

    Raises:
        ValueError: two figures have one anchor: one of them would be shown in the place of the other.
    """
    clips: dict[str, int] = {}
    figures: dict[str, Any] = {}
    for anchor, chart in named:
        if anchor in figures:
            raise ValueError(f"Two figures are both called {anchor}.")
        figures[anchor] = [[_spec(panel, clips) for panel in variant.panels] for variant in chart.variants]
    return {"figures": figures, "clips": [json.loads(text) for text in clips]}


def _spec(panel: Panel, clips: dict[str, int]) -> dict[str, Any]:
    data = []
    for trace in panel.data:
        hover = json.dumps(trace["customdata"]) if "customdata" in trace else None
        data.append(trace if hover is None else trace | {"customdata": clips.setdefault(hover, len(clips))})
    return {"title": panel.title, "data": data, "layout": panel.layout}
