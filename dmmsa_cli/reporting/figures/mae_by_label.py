"""The MAE for each class of the labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from dmmsa_cli.reporting.figures import charts, paper, plots
from dmmsa_cli.reporting.figures.charts import Chart
from dmmsa_cli.reporting.figures.colours import SEQUENTIAL
from dmmsa_cli.reporting.figures.paper import Drawing
from dmmsa_cli.reporting.figures.plots import Panel, Trace
from dmmsa_cli.reporting.figures.subjects import Subject, averaged, with_seeds
from dmmsa_cli.reporting.groups import label
from dmmsa_cli.reporting.labels import tell_apart
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.series.averages import over_seeds
from dmmsa_cli.reporting.series.predictions import absolute_errors, predictions
from dmmsa_cli.reporting.series.scale import scale


def _names(systems: Sequence[System]) -> list[str]:
    return tell_apart(list(map(label, systems)), systems)


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
    """Draw DMMSA and the systems of its group as bars, or as a heat map where they are too many for that."""
    systems = subject.group
    tables = [mae_by_label(system) for system in systems]
    many = len(systems) > len(paper.STYLES)
    canvas = paper.sheet(subject, paper.WIDE if many else paper.NARROW, 1.4 + 0.22 * len(systems) if many else 2.6)
    axes = canvas.subplots()
    named = [paper.plain(name) for name in with_seeds(_names(systems), [one.seeds for one in systems])]
    ticks = [
        f"{name}\nn={clips}" for name, clips in zip(paper.short(tables[0]["name"]), tables[0]["clips"], strict=True)
    ]
    if many:
        _cells(axes, tables, named, ticks)
    else:
        _bars(axes, tables, named, ticks)
    axes.set_xlabel("Class of the label, and how many clips")
    seeds = averaged(*systems, spread="" if many else "whiskers")
    caption = f"MAE on the test split of {subject.place} by class of the label; {seeds}."
    return Drawing(f"mae-by-label-{subject.slug}", f"MAE by label on {subject.place}", caption, canvas)


def _bars(axes: Axes, tables: Sequence[pd.DataFrame], named: Sequence[str], ticks: Sequence[str]) -> None:
    width = 0.8 / len(tables)
    for place, (table, name, style) in enumerate(zip(tables, named, paper.STYLES, strict=False)):
        at = np.arange(len(table)) + (place - (len(tables) - 1) / 2) * width
        mean, sd = table["mean"].to_numpy(), table["sd"].to_numpy()
        spread = [np.minimum(sd, mean), sd] if np.isfinite(sd).all() else None  # no error is below 0
        axes.bar(
            *(at, mean, width), yerr=spread, color=style.color, hatch=style.hatch, edgecolor="white", lw=0,
            label=name, error_kw={"elinewidth": 0.8, "capsize": 2},
        )  # fmt: skip
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set(ylabel="MAE", ylim=(0, None))
    paper.legend_above(axes, columns=min(2, len(tables)))


def _cells(axes: Axes, tables: Sequence[pd.DataFrame], named: Sequence[str], ticks: Sequence[str]) -> None:
    errors = np.array([table["mean"] for table in tables])  # (systems, classes)
    axes.imshow(errors, cmap=paper.colour_map(SEQUENTIAL), vmin=0, aspect="auto")
    paper.grid(axes, named, ticks)
    for (row, column), error in np.ndenumerate(errors):
        axes.text(column, row, f"{error:.2f}", ha="center", va="center", size=6.5)


def on_page(systems: Sequence[System]) -> Chart:
    """Show it for each group of systems that may be compared."""
    caption = "MAE of the test clips by class of the label, mean over the seeds; n is the number of clips."
    return Chart("mae-by-label", "MAE by label", caption, charts.of_groups(_panels, systems), wide=True)


def _panels(*group: System) -> tuple[Panel, ...]:
    tables = [mae_by_label(system) for system in group]
    named = with_seeds(_names(group), [one.seeds for one in group])
    names, ticks = _classes(tables)
    level = {"tickvals": names, "ticktext": ticks, "tickangle": 0, "tickfont": {"size": 10}}
    axis = {"type": "category", "title": {"text": "Label"}} | level
    if len(group) > len(plots.STYLES):
        errors = pd.DataFrame([table.set_index("name")["mean"] for table in tables]).reindex(columns=list(names))
        limits = (0.0, float(np.nanmax(errors.to_numpy())))
        return (plots.by_system(errors, named, limits, "label %{x}: MAE %{z:.3f}", axis),)
    data = [
        _line(table, plots.safe(name), style) for table, name, style in zip(tables, named, plots.STYLES, strict=False)
    ]
    layout = {"xaxis": axis, "yaxis": {"title": {"text": "MAE"}, "rangemode": "tozero"}, "hovermode": "x unified"}
    return (Panel("", data, layout),)


def _classes(tables: Sequence[pd.DataFrame]) -> tuple[list[str], list[str]]:
    """The classes that have clips, and what stands below each."""
    clips = {name: count for table in tables for name, count in zip(table["name"], table["clips"], strict=True)}
    return list(clips), [f"{plots.folded(name)}<br>n={count}" for name, count in clips.items()]


def _line(table: pd.DataFrame, name: str, style: plots.Style) -> Trace:
    line = {"color": style.color, "dash": style.dash, "width": 2}
    marker = {"symbol": style.symbol, "size": 8}
    drawn = plots.trace(table["name"], table["mean"], name=name, mode="lines+markers", line=line, marker=marker)
    drawn["customdata"] = ["" if np.isnan(sd) else f" ± {sd:.3f}" for sd in table["sd"]]
    return drawn | {"hovertemplate": "%{y:.3f}%{customdata}"}
