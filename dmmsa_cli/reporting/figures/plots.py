"""What the figures on the page share: plain dictionaries as plotly reads them, without colours of text and ground.

Those follow the reader's light or dark scheme and are the page's own business (page.js).
"""

from __future__ import annotations

import html
import itertools
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from dmmsa_cli.plain import spelled_out
from dmmsa_cli.reporting.figures.colours import BLUE, GREEN, ORANGE, PURPLE, SEQUENTIAL, SKY, VERMILION
from dmmsa_cli.reporting.groups import TASK_NAMES
from dmmsa_cli.reporting.series.averages import over_seeds

Trace = dict[str, Any]
Layout = dict[str, Any]

OVER_SEEDS = "Mean over the seeds; the band is ± one standard deviation."
NAME_LINE = 16  # letters
SILENT: Trace = {"hoverinfo": "skip"}
_ON_HEAT = {"color": "#16191d"}


@dataclass(frozen=True)
class Style:
    """How one of several systems or tasks looks: dash and marker tell it apart in grey."""

    color: str
    dash: str
    symbol: str

    @property
    def faint(self) -> str:
        """The colour of a band."""
        red, green, blue = (int(self.color[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red}, {green}, {blue}, 0.16)"


STYLES = (
    Style(BLUE, "solid", "circle"),
    Style(VERMILION, "dash", "square"),
    Style(GREEN, "dot", "diamond"),
    Style(PURPLE, "dashdot", "triangle-up"),
    Style(ORANGE, "longdash", "x"),
    Style(SKY, "longdashdot", "triangle-down"),
)


def styles() -> Iterator[Style]:
    """Yield a style for each of any number of systems: where colours come again, dash and marker are others."""
    for turn in itertools.count():
        for place, style in enumerate(STYLES):
            dash = STYLES[(place + turn) % len(STYLES)].dash
            yield replace(style, dash=dash, symbol=style.symbol + "-open" * (turn % 2))


@dataclass(frozen=True)
class Panel:
    """One plot."""

    title: str
    data: list[Trace]
    layout: Layout


# --- traces ---------------------------------------------------------------------------------------------------------


def trace(x: Iterable[Any], y: Iterable[Any], **look: Any) -> Trace:  # noqa: ANN401  (plotly's own keys)
    """Return points or lines.

    Args:
        x: numbers or names.
        y: numbers.
        look: plotly's other keys.
    """
    return {"type": "scatter", "x": _numbers(x), "y": _numbers(y)} | look


def line_with_band(curve: pd.DataFrame, name: str, style: Style) -> list[Trace]:
    """Return a mean over epochs with its standard deviation.

    Args:
        curve: columns epoch, mean, sd, as `over_seeds` returns them.
        name: in the legend; no markup.
        style: how it looks.
    """
    look = {
        "line": {"color": style.color, "dash": style.dash, "width": 2},
        "marker": {"symbol": style.symbol, "size": 6, "maxdisplayed": 12},
    }
    name = safe(name)
    line = trace(curve["epoch"], curve["mean"], name=name, legendgroup=name, mode="lines+markers", **look)
    line["hovertemplate"] = f"%{{y:.4f}}<extra>{name}</extra>"
    if curve["sd"].isna().all():
        return [line]
    low, high = curve["mean"] - curve["sd"], curve["mean"] + curve["sd"]
    around = trace([*curve["epoch"], *curve["epoch"][::-1]], [*high, *low[::-1]], mode="lines", showlegend=False)
    filled = {"fill": "toself", "fillcolor": style.faint, "line": {"width": 0}, "legendgroup": name}
    return [around | filled | SILENT, line]


def by_task(table: pd.DataFrame, value: str, axis: str) -> tuple[Panel, ...]:
    """Return a line for each task, in one plot; none where the table is empty.

    Args:
        table: columns seed, epoch, task and `value`.
        value: what is drawn.
        axis: what it is called.
    """
    data: list[Trace] = []
    mean = over_seeds(table, value, by=("epoch", "task")) if len(table) else table
    for (task, curve), style in zip(mean.groupby("task", sort=False), styles(), strict=False):
        data += line_with_band(curve, TASK_NAMES.get(str(task), str(task)), style)
    return (Panel("", data, over_epochs(axis, data)),) if data else ()


def over_epochs(axis: str, data: Sequence[Trace]) -> Layout:
    """Return the axes of what is drawn over epochs."""
    last = max(max(drawn["x"], default=1) for drawn in data)
    step = next((step for step in (1, 2, 5, 10, 20, 50) if last / step <= 12), 100)  # there is no epoch 1.5
    room = 0.03 * last + 0.1
    epochs = {
        "title": {"text": "Epoch"},
        "dtick": step,
        "tick0": 0,
        "range": [1 - room, last + room],
        "zeroline": False,
    }
    epochs["unifiedhovertitle"] = {"text": "epoch %{x}"}
    return {"xaxis": epochs, "yaxis": {"title": {"text": axis}}, "hovermode": "x unified"}


def heat_map(
    table: pd.DataFrame,
    names: Sequence[str],
    colours: Sequence[tuple[float, str]],
    limits: tuple[float, float],
    rows: Sequence[str] | None = None,
) -> Trace:
    """Return a rectangle of coloured cells with their numbers in them.

    Args:
        table: (rows, columns).
        names: of the columns, and of the rows unless those have others.
        rows: their names.
        colours: a scale, light enough at both ends for dark numbers.
        limits: numbers at its ends.
    """
    look = {
        "colorscale": list(map(list, colours)),
        "zmin": limits[0],
        "zmax": limits[1],
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
    }
    shown = {
        "textfont": _ON_HEAT,
        "text": [[rounded(value) for value in row] for row in table.to_numpy()],
        "texttemplate": "%{text}",
        "hovertemplate": "%{y} and %{x}: %{z:.3f}<extra></extra>",
    }
    cells = [_numbers(row) for row in table.to_numpy()]
    return {"type": "heatmap", "x": list(names), "y": list(names if rows is None else rows), "z": cells} | look | shown


def by_system(
    table: pd.DataFrame, named: Sequence[str], limits: tuple[float, float], hover: str, axis: Layout, title: str = ""
) -> Panel:
    """Return a row of cells for each of many systems, whose lines could not be told apart in one plot.

    Args:
        table: (systems, columns).
        named: what the systems are called; two may be called alike.
        limits: numbers at the ends of the scale.
        hover: what is said of a cell.
        axis: of the columns.
        title: of the panel.
    """
    rows = [str(place) for place in range(len(named))]
    heat = heat_map(table, [str(name) for name in table], SEQUENTIAL, limits, rows)
    heat["hovertemplate"] = f"{hover}<extra></extra>"
    plain: Layout = {"type": "category", "showgrid": False, "zeroline": False, "ticks": "", "showline": False}
    systems: Layout = {"autorange": "reversed", "tickvals": rows, "ticktext": list(map(in_lines, named))}
    systems["tickfont"] = {"size": 11}
    return Panel(title, [heat], {"xaxis": plain | axis, "yaxis": plain | systems, "height": 150 + 34 * len(rows)})


def matrix(x: str = "", y: str = "") -> Layout:
    """Return the axes of a heat map, with their titles."""
    plain = {"type": "category", "showgrid": False, "zeroline": False, "ticks": "", "showline": False}
    return {
        "xaxis": {**plain, "title": {"text": x}, "constrain": "domain"},
        "yaxis": {**plain, "title": {"text": y}, "constrain": "domain", "autorange": "reversed", "scaleanchor": "x"},
    }


# --- texts and numbers ----------------------------------------------------------------------------------------------


def safe(text: str) -> str:
    """Escape names and clips' words: plotly reads a few tags in its texts, links among them, and fills in `%{...}`."""
    return html.escape(spelled_out(text), quote=False).replace("%{", "&#37;{")


def hover_text(text: str) -> str:
    """Break a clip's words into lines, and shorten them."""
    lines = textwrap.wrap(textwrap.shorten(text, 300, placeholder=" …") if " " in text else text[:300], 48)
    return "<br>".join(map(safe, lines))


def in_lines(name: str) -> str:
    """Set a name over several short lines, or a phone has no room for what stands beside it."""
    whole = name.replace(" seed", "\u00a0seed")  # a number and its unit stay together
    return "<br>".join(map(safe, textwrap.wrap(whole, NAME_LINE)))


def rounded(value: float) -> str:
    """Print two decimals; what rounds to 0 has no sign, what is missing is nothing.

    Example:
        >>> rounded(-0.001), rounded(-0.126)
        ('0.00', '-0.13')
    """
    return "" if np.isnan(value) else f"{round(value, 2) + 0.0:.2f}"


def folded(name: str) -> str:
    """Set an interval on two lines, or a phone has no room for five of them."""
    return name.replace(", ", ",<br>")


def _numbers(values: Iterable[Any] | ArrayLike) -> list[Any]:
    """Round to what an eye can see, which keeps the page small; JSON has no NaN."""
    listed = np.asarray(values).tolist() if isinstance(values, np.ndarray) else list(values)  # type: ignore[arg-type]
    return [_number(value) for value in listed]


def _number(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, str):
        return value
    number = float(f"{float(value):.5g}")
    if not np.isfinite(number):
        return None
    return int(number) if number.is_integer() else number
