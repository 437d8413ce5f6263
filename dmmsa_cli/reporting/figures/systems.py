"""The papers' systems by their MAE: how sure each number is, and what was printed of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from dmmsa_cli.data.videos import names_videos
from dmmsa_cli.reporting.bootstrap import Side, interval
from dmmsa_cli.reporting.figures import charts, paper, plots
from dmmsa_cli.reporting.figures.charts import Chart
from dmmsa_cli.reporting.figures.colours import BLUE, SKY, VERMILION
from dmmsa_cli.reporting.figures.paper import DARK, Drawing
from dmmsa_cli.reporting.figures.plots import Panel
from dmmsa_cli.reporting.figures.subjects import Subject, averaged, with_seeds
from dmmsa_cli.reporting.groups import groups, is_reference, label, rivals
from dmmsa_cli.reporting.published import printed_maes
from dmmsa_cli.reporting.runs import System

GREY = "#808080"  # seen on white and on black
OPEN = ("D", "s", "^", "v")  # marks of what was printed, a source each
_ON_PAGE = {"D": "diamond-open", "s": "square-open", "^": "triangle-up-open", "v": "triangle-down-open"}


def by_mae(systems: Sequence[System]) -> pd.DataFrame:
    """Return the MAE of each system on the test split, the best first.

    Returns:
        Columns name, mae (mean over the seeds), low and high (95 % interval over videos), sd (over the seeds; NaN for
        one), seeds (how many).

    Raises:
        RunMissing, RunMismatch: a run's predictions can't be read.
    """
    found = []
    for system in systems:
        low, high = interval(Side.of(system, system.seeds), "mae")
        maes = np.array([run.metrics["mae"] for run in system.runs])
        sd = float(maes.std(ddof=1)) if len(maes) > 1 else float("nan")
        found.append((label(system), float(maes.mean()), low, high, sd, len(maes)))
    table = pd.DataFrame(found, columns=["name", "mae", "low", "high", "sd", "seeds"])
    return table.sort_values("mae", kind="stable", ignore_index=True)


def printed(table: pd.DataFrame, first: System) -> pd.DataFrame:
    """Return what was printed of the same systems; nothing on synthetic data.

    Returns:
        Columns source, name, mae; sources in the order of the published tables.
    """
    known = {} if first.synthetic else printed_maes(first.clips)
    rows = [(source, name, mae) for name in table["name"] for source, mae in known.get(name, [])]
    found = pd.DataFrame(rows, columns=["source", "name", "mae"])
    order = list(dict.fromkeys(source for pairs in known.values() for source, _ in pairs))
    return found.sort_values("source", key=lambda sources: sources.map(order.index), kind="stable")


def drawn_from(systems: Sequence[System]) -> str:
    """Say what the intervals are over: videos, or clips where their ids name no videos."""
    return "videos" if all(names_videos(system.first.predictions["id"]) for system in systems) else "clips"


def _beside(full: System, group: Sequence[System], others: Sequence[System]) -> list[System]:
    return [full, *(one for one in group if label(one) == "ConFEDE"), *others]


def on_paper(subject: Subject) -> Drawing | None:
    """Draw a line for each system; none where DMMSA stands alone."""
    systems = _beside(subject.full, subject.group, subject.rivals)
    if len(systems) < 2:
        return None
    table = by_mae(systems)
    beside = printed(table, subject.full)
    canvas = paper.sheet(subject, paper.NARROW, 1.2 + 0.24 * len(table))
    axes = canvas.subplots()
    _draw(axes, table, drawn_from(systems))
    places = {name: place for place, name in enumerate(table["name"])}
    for (source, rows), mark in zip(beside.groupby("source", sort=False), OPEN, strict=False):
        at = [places[name] for name in rows["name"]]
        axes.scatter(rows["mae"], at, marker=mark, s=16, facecolors="none", edgecolors=DARK, lw=0.8, label=str(source))
    axes.set_yticks(range(len(table)), [paper.plain(name) for name in table["name"]])
    axes.invert_yaxis()
    axes.set(xlabel="MAE")
    axes.legend(loc="upper left", bbox_to_anchor=(-0.35, -0.16), ncols=2, columnspacing=1.2)
    caption = (
        f"MAE on the test split of {subject.place}; {averaged(*systems, spread='thick lines')}; thin lines are 95 % "
    )
    caption += f"intervals over {drawn_from(systems)}."
    if len(beside):
        caption += " Open marks are printed values, for the papers' own data and encoder."
    return Drawing(f"systems-{subject.slug}", f"Systems by MAE on {subject.place}", caption, canvas)


def _draw(axes: Axes, table: pd.DataFrame, drawn: str) -> None:
    at = np.arange(len(table))
    axes.hlines(at, table["low"], table["high"], color=SKY, lw=1, label=f"95 %, over {drawn}")
    if table["sd"].notna().any():
        spread = table["sd"].fillna(0)
        axes.hlines(at, table["mae"] - spread, table["mae"] + spread, color=BLUE, lw=3, label="± sd, over seeds")
    own = [VERMILION if name == "DMMSA" else BLUE for name in table["name"]]
    axes.scatter(table["mae"], at, color=own, s=14, zorder=3, label="ours")


def on_page(systems: Sequence[System]) -> Chart:
    """Show it for each DMMSA that other systems were trained beside."""
    caption = (
        "Mean over the seeds; the thick line is ± one standard deviation over them, the thin one a 95 % interval over "
        "videos (clips, where their ids name no videos). Open marks are printed values, for the papers' own data and "
        "encoder."
    )
    found = [
        beside
        for group in groups(systems)
        for full in filter(is_reference, group)
        if len(beside := _beside(full, group, rivals(full, systems))) > 1
    ]
    return Chart("systems", "Systems by MAE", caption, charts.of_sets(_panels, found, systems))


def _panels(*systems: System) -> tuple[Panel, ...]:
    table = by_mae(systems)
    shown = with_seeds(list(table["name"]), [range(count) for count in table["seeds"]])
    names = [plots.safe(name) for name in table["name"]]
    over = {"type": "data", "symmetric": False, "thickness": 1, "width": 0, "color": SKY}
    over |= {"array": list(table["high"] - table["mae"]), "arrayminus": list(table["mae"] - table["low"])}
    spread = {"type": "data", "array": list(table["sd"].fillna(0)), "thickness": 5, "width": 0, "color": BLUE}
    dot = {"size": 8, "color": [VERMILION if name == "DMMSA" else BLUE for name in table["name"]]}
    ours = plots.trace(table["mae"], names, mode="markers", name="ours", marker=dot, error_x=spread)
    ours["customdata"] = ["" if np.isnan(sd) else f" ± {sd:.4f}" for sd in table["sd"]]
    ours["hovertemplate"] = "%{y}: %{x:.4f}%{customdata}<extra></extra>"
    videos = plots.trace(table["mae"], names, mode="markers", marker={"size": 1, "color": SKY}, error_x=over)
    data = [videos | plots.SILENT | {"showlegend": False}, ours]
    for (source, rows), mark in zip(printed(table, systems[0]).groupby("source", sort=False), OPEN, strict=False):
        drawn = plots.trace(
            rows["mae"], map(plots.safe, rows["name"]), mode="markers", name=plots.safe(str(source)),
            marker={"symbol": _ON_PAGE[mark], "size": 9, "color": GREY},
        )  # fmt: skip
        data.append(drawn | {"hovertemplate": "%{y}: %{x}"})
    axis = {"type": "category", "categoryorder": "array", "categoryarray": names[::-1], "automargin": True}
    axis |= {"tickvals": names, "ticktext": list(map(plots.in_lines, shown)), "tickfont": {"size": 11}}
    return (Panel("", data, {"yaxis": axis, "xaxis": {"title": {"text": "MAE"}}, "height": 200 + 32 * len(names)}),)
