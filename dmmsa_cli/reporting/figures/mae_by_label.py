"""The MAE for each class of the labels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from dmmsa_cli.reporting.figures import charts, paper, plots
from dmmsa_cli.reporting.figures.charts import Chart
from dmmsa_cli.reporting.figures.paper import Drawing
from dmmsa_cli.reporting.figures.plots import Panel, Trace
from dmmsa_cli.reporting.figures.subjects import Subject, averaged
from dmmsa_cli.reporting.groups import label
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.series.averages import over_seeds
from dmmsa_cli.reporting.series.predictions import absolute_errors, predictions
from dmmsa_cli.reporting.series.scale import scale


def mae_by_label(system: System) -> pd.DataFrame:
    """Return the MAE for each class of the labels (7, or CH-SIMS's 5).

    Returns:
        Columns bin (0 the most negative), name, clips, mean, sd (over the seeds; NaN for one); only bins with clips.

    Raises:
        RunMissing, RunMismatch: as `predictions`.
    """
    scores, table = scale(system), predictions(system)
    bins = scores.classes(scores.clip(table["y_true"].to_numpy()), scores.finest)
    table = table.assign(bin=bins, error=absolute_errors(system, table))
    by_seed = table.groupby(["seed", "bin"])["error"].agg(["mean", "count"]).reset_index()
    means = over_seeds(by_seed, "mean", by=("bin",))
    counts = by_seed.groupby("bin")["count"].first()
    names = scores.class_names(scores.finest)
    return means[["bin"]].assign(
        name=[names[i] for i in means["bin"]],
        clips=counts.loc[means["bin"]].to_numpy(),
        mean=means["mean"],
        sd=means["sd"],
    )


def on_paper(subject: Subject) -> Drawing:
    """Draw bars, of DMMSA and of ConFEDE where it is there."""
    systems = [subject.full, *(one for one in subject.group if label(one) == "ConFEDE")]
    tables = [mae_by_label(system) for system in systems]
    canvas = paper.sheet(subject, paper.NARROW, 2.6)
    axes = canvas.subplots()
    width = 0.8 / len(systems)
    for place, (system, table, style) in enumerate(zip(systems, tables, paper.STYLES, strict=False)):
        at = np.arange(len(table)) + (place - (len(systems) - 1) / 2) * width
        spread = table["sd"].to_numpy() if table["sd"].notna().all() else None
        axes.bar(
            *(at, table["mean"], width), yerr=spread, color=style.color, hatch=style.hatch, edgecolor="white", lw=0,
            label=paper.plain(label(system)), error_kw={"elinewidth": 0.8, "capsize": 2},
        )  # fmt: skip
    names = paper.short(tables[0]["name"])
    names = [f"{name}\nn={clips}" for name, clips in zip(names, tables[0]["clips"], strict=True)]
    axes.set_xticks(range(len(names)), names)
    axes.set(xlabel="Class of the label, and how many clips", ylabel="MAE")
    paper.legend_above(axes, columns=len(systems))
    seeds = averaged(*systems, spread="whiskers")
    caption = f"MAE on the test split of {subject.place} by class of the label; {seeds}."
    return Drawing(f"mae-by-label-{subject.slug}", f"MAE by label on {subject.place}", caption, canvas)


def on_page(systems: Sequence[System]) -> Chart:
    """Show it for each group of systems that may be compared."""
    caption = "Mean over the seeds, by class of the label; n is the number of clips."
    return Chart("mae-by-label", "MAE by label", caption, charts.of_groups(_panels, systems))


def _panels(*group: System) -> tuple[Panel, ...]:
    data: list[Trace] = []
    ticks: dict[str, str] = {}
    for system, style in zip(group, itertools.cycle(plots.STYLES), strict=False):
        table = mae_by_label(system)
        ticks |= {
            name: f"{plots.folded(name)}<br>n={clips}"
            for name, clips in zip(table["name"], table["clips"], strict=True)
        }
        line = {"color": style.color, "dash": style.dash, "width": 2}
        marker = {"symbol": style.symbol, "size": 8}
        name = plots.safe(label(system))
        drawn = plots.trace(table["name"], table["mean"], name=name, mode="lines+markers", line=line, marker=marker)
        drawn["customdata"] = ["" if np.isnan(sd) else f" ± {sd:.3f}" for sd in table["sd"]]
        data.append(drawn | {"hovertemplate": "%{y:.3f}%{customdata}"})
    level = {"tickvals": list(ticks), "ticktext": list(ticks.values()), "tickangle": 0, "tickfont": {"size": 10}}
    axis = {"type": "category", "title": {"text": "Label"}} | level
    layout = {"xaxis": axis, "yaxis": {"title": {"text": "MAE"}, "rangemode": "tozero"}, "hovermode": "x unified"}
    return (Panel("", data, layout),)
