"""The page's figures, as plotly reads them: plain dictionaries, without colours of text and ground.

Those follow the reader's light or dark scheme and are the page's own business (page.js). What is drawn, and in which
numbers, is that of `series`.
"""

from __future__ import annotations

import html
import itertools
import json
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from dmmsa_cli.errors import RunMismatch, RunMissing
from dmmsa_cli.reporting import series
from dmmsa_cli.reporting.labels import tell_apart
from dmmsa_cli.reporting.runs import System

Trace = dict[str, Any]
Layout = dict[str, Any]

# Okabe and Ito: told apart by colour-blind readers; dashes and markers do the same in grey.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
STYLES = (
    (BLUE, "solid", "circle"),
    (VERMILION, "dash", "square"),
    (GREEN, "dot", "diamond"),
    (PURPLE, "dashdot", "triangle-up"),
    (ORANGE, "longdash", "x"),
    (SKY, "longdashdot", "triangle-down"),
)
# Light enough at both ends for the dark numbers on them.
DIVERGING = [[0, SKY], [0.5, "#f7f7f7"], [1, ORANGE]]
SEQUENTIAL = [[0, "#f7f9fb"], [1, SKY]]
ON_HEAT = {"color": "#16191d"}
WATERMARK: Layout = {
    "text": "SYNTHETIC",
    "xref": "paper",
    "yref": "paper",
    "x": 0.5,
    "y": 0.5,
    "showarrow": False,
    "textangle": -18,
    "font": {"size": 34, "color": "rgba(190, 125, 0, 0.28)"},
}


@dataclass(frozen=True)
class Panel:
    """One plot."""

    title: str
    data: list[Trace]
    layout: Layout


@dataclass(frozen=True)
class Variant:
    """What a figure shows at a time: plots side by side."""

    label: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Chart:
    """One figure, and the systems (or pairs of them) that it can be shown for."""

    id: str
    title: str
    caption: str
    variants: tuple[Variant, ...]
    wide: bool = False


def charts(systems: Sequence[System]) -> list[Chart]:
    """Draw every figure that the runs of one dataset allow; where a file is gone or damaged, that variant is left out.

    Args:
        systems: of one dataset, all on synthetic data or none.
    """
    msc, cl = series.pairs(systems, "msc"), series.pairs(systems, "cl")
    found = [
        Chart("validation", "Validation MAE over epochs, with and without MSC (Figure 4)", _CURVES, (), wide=True),
        Chart("similarity", "Similarity of the features, with and without CL (Figure 5)", _SIMILARITY, (), wide=True),
        Chart("predictions", "Prediction against label, with and without MSC (Figure 6)", _CLASSES, (), wide=True),
        Chart("weights", "Task weights λ over epochs", _OVER_SEEDS, ()),
        Chart("losses", "Task losses over epochs", f"Training, before weighting. {_OVER_SEEDS}", ()),
        Chart("confusion", "Confusion matrix", _CONFUSION, ()),
        Chart("bins", "MAE by label", _BINS, ()),
    ]
    variants: list[Iterable[Variant]] = [
        _of_pairs(_validation, msc, systems),
        _of_pairs(_similarity, cl, systems),
        _of_pairs(_predictions, msc, systems),
        _of_systems(_weights, systems),
        _of_systems(_losses, systems),
        _of_systems(_confusion, systems),
        _of_groups(_bins, systems),
    ]
    drawn = [replace(chart, variants=tuple(some)) for chart, some in zip(found, variants, strict=True)]
    return [chart for chart in drawn if chart.variants]


_OVER_SEEDS = "Mean over the seeds; the band is ± one standard deviation."
_CURVES = f"{_OVER_SEEDS} The circle is the minimum of the mean."
_SIMILARITY = "Mean cosine similarity over the test clips and seeds: T, V, A; s similar, d dissimilar."
_CLASSES = "Test clips, mean prediction over the seeds. Shaded: prediction and label are in the same MSC class."
_CONFUSION = "Clips of the test split, summed over the seeds; shaded by share of their label’s row."
_BINS = "Mean over the seeds, by class of the label; n is the number of clips."


def title(system: System, among: Sequence[System]) -> str:
    """Name a system so that no other of `among` has the same name.

    Example: `w/o MSC · minilm/no-msc (MiniLM, text+audio)`.
    """
    place = next(i for i, other in enumerate(among) if other is system)
    return tell_apart([_plain_title(other) for other in among], among)[place]


def _plain_title(system: System) -> str:
    folder = f"{system.recipe_name}/{system.variant}"
    name = folder if series.label(system) == folder else f"{series.label(system)} · {folder}"
    return f"{name} ({system.conditions})" if system.conditions else name


# --- which systems a figure can be shown for ------------------------------------------------------------------------


def _of_pairs(
    draw: Callable[[System, System], tuple[Panel, ...]],
    pairs: Sequence[tuple[System, System]],
    systems: Sequence[System],
) -> Iterable[Variant]:
    for first, second in pairs:
        name = f"{title(first, systems)} and {series.label(second)}"
        yield from _variant(name, lambda: draw(first, second), synthetic=first.synthetic)  # noqa: B023  (called at once)


def _of_systems(draw: Callable[[System], tuple[Panel, ...]], systems: Sequence[System]) -> Iterable[Variant]:
    for system in systems:
        yield from _variant(title(system, systems), lambda: draw(system), synthetic=system.synthetic)  # noqa: B023


def _of_groups(draw: Callable[[Sequence[System]], tuple[Panel, ...]], systems: Sequence[System]) -> Iterable[Variant]:
    for group in series.groups(systems):
        first = title(group[0], systems)
        name = first if len(group) == 1 else f"{first} and {len(group) - 1} more"
        yield from _variant(name, lambda: draw(group), synthetic=group[0].synthetic)  # noqa: B023


def _variant(label: str, draw: Callable[[], tuple[Panel, ...]], *, synthetic: bool) -> Iterable[Variant]:
    try:
        panels = draw()
    except (RunMissing, RunMismatch):
        return
    if panels:
        yield Variant(label, tuple(map(_marked, panels)) if synthetic else panels)


def _marked(panel: Panel) -> Panel:
    # In the plot itself: a picture saved from the page, or a screenshot of it, must not look like a result either.
    layout = panel.layout | {"annotations": [*panel.layout.get("annotations", ()), WATERMARK]}
    return replace(panel, layout=layout)


# --- over epochs ----------------------------------------------------------------------------------------------------


def _validation(first: System, second: System) -> tuple[Panel, ...]:
    data: list[Trace] = []
    for system, style, name in zip((first, second), STYLES, ("with MSC", "without MSC"), strict=False):
        curve = series.over_seeds(series.validation_curves(system), "mae")
        best = series.lowest(curve)
        drawn = _line_with_band(curve, name, style)
        drawn[-1]["name"] = f"{name}: {best['mean']:.4f} at epoch {best['epoch']:.0f}"  # told on paper too
        data += drawn
        ring = {"symbol": "circle-open", "size": 16, "color": style[0], "line": {"width": 2.5}}
        data.append(_trace([best["epoch"]], [best["mean"]], mode="markers", marker=ring, showlegend=False) | _SILENT)
    return (Panel("", data, _over_epochs("Validation MAE", data)),)


def _weights(system: System) -> tuple[Panel, ...]:
    return _by_task(series.task_weights(system), "weight", "Weight λ")


def _losses(system: System) -> tuple[Panel, ...]:
    return _by_task(series.task_losses(system), "loss", "Training loss")


def _by_task(table: pd.DataFrame, value: str, axis: str) -> tuple[Panel, ...]:
    data: list[Trace] = []
    mean = series.over_seeds(table, value, by=("epoch", "task")) if len(table) else table
    for (task, curve), style in zip(mean.groupby("task", sort=False), itertools.cycle(STYLES), strict=False):
        data += _line_with_band(curve, series.TASK_NAMES.get(str(task), str(task)), style)
    return (Panel("", data, _over_epochs(axis, data)),) if data else ()


def _line_with_band(curve: pd.DataFrame, name: str, style: tuple[str, str, str]) -> list[Trace]:
    colour, dash, symbol = style
    look = {
        "line": {"color": colour, "dash": dash, "width": 2},
        "marker": {"symbol": symbol, "size": 6, "maxdisplayed": 12},
    }
    line = _trace(curve["epoch"], curve["mean"], name=name, legendgroup=name, mode="lines+markers", **look)
    line["hovertemplate"] = f"%{{y:.4f}}<extra>{name}</extra>"
    if curve["sd"].isna().all():
        return [line]
    low, high = curve["mean"] - curve["sd"], curve["mean"] + curve["sd"]
    around = _trace([*curve["epoch"], *curve["epoch"][::-1]], [*high, *low[::-1]], mode="lines", showlegend=False)
    filled = {"fill": "toself", "fillcolor": _faint(colour), "line": {"width": 0}, "legendgroup": name}
    return [around | filled | _SILENT, line]


def _over_epochs(axis: str, data: Sequence[Trace]) -> Layout:
    last = max(max(trace["x"], default=1) for trace in data)
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


# --- over clips -----------------------------------------------------------------------------------------------------


def _similarity(first: System, second: System) -> tuple[Panel, ...]:
    tables = [series.similarity(system) for system in (first, second)]
    return tuple(
        Panel(name, [_heat_map(table, DIVERGING, limits=(-1, 1))], _matrix())
        for table, name in zip(tables, ("with CL", "without CL"), strict=True)
        if table is not None
    )


def _heat_map(table: pd.DataFrame, colours: list[list[Any]], limits: tuple[float, float]) -> Trace:
    names = [_subscript(str(name)) for name in table.columns]
    look = {"colorscale": colours, "zmin": limits[0], "zmax": limits[1], "showscale": False, "xgap": 2, "ygap": 2}
    shown = {"textfont": ON_HEAT, "texttemplate": "%{z:.2f}", "hovertemplate": "%{y} and %{x}: %{z:.3f}<extra></extra>"}
    return {"type": "heatmap", "x": names, "y": names, "z": [_numbers(row) for row in table.to_numpy()]} | look | shown


def _subscript(name: str) -> str:
    """`T_s` with its letter set low, as the paper prints it."""
    letter, mark, low = name.partition("_")
    return f"{letter}<sub>{low}</sub>" if mark else name


def _matrix(x: str = "", y: str = "") -> Layout:
    plain = {"type": "category", "showgrid": False, "zeroline": False, "ticks": "", "showline": False}
    return {
        "xaxis": {**plain, "title": {"text": x}, "constrain": "domain"},
        "yaxis": {**plain, "title": {"text": y}, "constrain": "domain", "autorange": "reversed", "scaleanchor": "x"},
    }


def _predictions(first: System, second: System) -> tuple[Panel, ...]:
    panels = []
    tables = [series.clips(system) for system in (first, second)]
    furthest = 1.05 * max(float(clips["y_pred"].abs().max()) for clips in tables)
    for clips, style, name in zip(tables, STYLES, ("with MSC", "without MSC"), strict=False):
        size = 6 if len(clips) < 300 else 4
        marker = {"color": style[0], "symbol": style[2], "size": size, "opacity": 0.7}
        dots = _trace(clips["y_true"], clips["y_pred"], mode="markers", marker=marker, showlegend=False)
        dots["customdata"] = [
            [_safe(clip), _hover_text(text)] for clip, text in zip(clips["id"], clips["text"], strict=True)
        ]
        dots["hovertemplate"] = (
            "<b>%{customdata[0]}</b><br>%{customdata[1]}<br>label %{x:.2f}, prediction %{y:.2f}<extra></extra>"
        )
        panels.append(Panel(name, [dots], _class_regions(first, furthest)))
    return tuple(panels)


def _class_regions(system: System, furthest: float) -> Layout:
    """Shade where prediction and label fall into the same class of the coarse classification task.

    Args:
        system: whose classes.
        furthest: prediction that has to be in sight.
    """
    limit = 1.08 * series.scale(system).score_range
    height = max(limit, furthest)
    edges = [round(end, 4) for end in series.class_ends(system, limit)]
    shade = {"type": "rect", "layer": "below", "line": {"width": 0}, "fillcolor": "rgba(128, 128, 128, 0.16)"}
    squares = [shade | {"x0": low, "x1": high, "y0": low, "y1": high} for low, high in itertools.pairwise(edges)]
    perfect = {"type": "line", "layer": "below", "x0": -limit, "x1": limit, "y0": -limit, "y1": limit}
    return {
        "shapes": [*squares, perfect | {"line": {"width": 1, "dash": "dot"}}],
        "xaxis": {"title": {"text": "Label"}, "range": [-limit, limit], "zeroline": False},
        "yaxis": {"title": {"text": "Prediction"}, "range": [-height, height], "zeroline": False},
        "hovermode": "closest",
    }


def _confusion(system: System) -> tuple[Panel, ...]:
    counts = series.confusion(system)
    share = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    heat = _heat_map(share, SEQUENTIAL, limits=(0, 1)) | {"text": counts.to_numpy().tolist(), "texttemplate": "%{text}"}
    layout = _matrix("Predicted class", "Class of the label")
    layout["xaxis"] |= {"tickvals": list(counts), "ticktext": [_folded(str(name)) for name in counts]}
    layout["xaxis"]["tickangle"] = 0
    heat["hovertemplate"] = "label %{y}, prediction %{x}: %{text} (%{z:.0%} of the label)<extra></extra>"
    return (Panel("", [heat], layout),)


def _folded(name: str) -> str:
    """An interval on two lines, or a phone has no room for five of them."""
    return name.replace(", ", ",<br>")


def _bins(group: Sequence[System]) -> tuple[Panel, ...]:
    data: list[Trace] = []
    ticks: dict[str, str] = {}
    for system, (colour, dash, symbol) in zip(group, itertools.cycle(STYLES), strict=False):
        table = series.mae_by_bin(system)
        ticks |= {
            name: f"{_folded(name)}<br>n={clips}" for name, clips in zip(table["name"], table["clips"], strict=True)
        }
        look = {"line": {"color": colour, "dash": dash, "width": 2}, "marker": {"symbol": symbol, "size": 8}}
        line = _trace(table["name"], table["mean"], name=series.label(system), mode="lines+markers", **look)
        line["customdata"] = ["" if np.isnan(sd) else f" ± {sd:.3f}" for sd in table["sd"]]
        data.append(line | {"hovertemplate": "%{y:.3f}%{customdata}"})
    level = {"tickvals": list(ticks), "ticktext": list(ticks.values()), "tickangle": 0, "tickfont": {"size": 10}}
    axis = {"type": "category", "title": {"text": "Label"}} | level
    layout = {"xaxis": axis, "yaxis": {"title": {"text": "MAE"}, "rangemode": "tozero"}, "hovermode": "x unified"}
    return (Panel("", data, layout),)


# --- how they are written -------------------------------------------------------------------------------------------


_SILENT: Trace = {"hoverinfo": "skip"}


def _trace(x: Iterable[Any], y: Iterable[Any], **look: Any) -> Trace:  # noqa: ANN401  (plotly's own keys)
    return {"type": "scatter", "x": _numbers(x), "y": _numbers(y)} | look


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


def _safe(text: str) -> str:
    """Plotly reads a few tags in its texts, links among them; a clip's words are no markup."""
    return html.escape(text, quote=False)


def _hover_text(text: str) -> str:
    lines = textwrap.wrap(textwrap.shorten(text, 300, placeholder=" …") if " " in text else text[:300], 48)
    return "<br>".join(map(_safe, lines))


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.16)"


def specs(named: Iterable[tuple[str, Chart]]) -> dict[str, Any]:
    """Return what page.js draws from: the panels of each variant by anchor; what a hover says of the clips, once.

    The texts of a split stand in several plots, the same in each; `customdata` is a place in `clips`.
    """
    clips: dict[str, int] = {}
    found: dict[str, Any] = {}
    for anchor, chart in named:
        found[anchor] = [[_spec(panel, clips) for panel in variant.panels] for variant in chart.variants]
    return {"figures": found, "clips": [json.loads(text) for text in clips]}


def _spec(panel: Panel, clips: dict[str, int]) -> dict[str, Any]:
    data = []
    for trace in panel.data:
        told = json.dumps(trace["customdata"]) if "customdata" in trace else None
        data.append(trace if told is None else trace | {"customdata": clips.setdefault(told, len(clips))})
    return {"title": panel.title, "data": data, "layout": panel.layout}
