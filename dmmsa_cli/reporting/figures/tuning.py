"""Figures of a tuning: Optuna's own, in the style of the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dmmsa_cli.reporting.figures.charts import Chart, Variant, marked
from dmmsa_cli.reporting.figures.plots import SILENT, STYLES, Layout, Panel, Style, Trace, safe
from dmmsa_cli.reporting.tunings import TunedRecipe

if TYPE_CHECKING:
    import optuna

SCORE = "Validation MAE"
FEWEST = 4  # scored trials, below which nobody can say what matters


def charts_of(tuned: TunedRecipe) -> list[Chart]:
    """Draw history, importance and slices of a tuning.

    Raises:
        ImportError: Optuna is not installed.
        RunMismatch: its journal is damaged.
    """
    from dmmsa_cli.stages.tuning.journal import read_journal

    study = read_journal(tuned.folder)
    scored = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    if not scored:
        return []
    drawn = [_history(study), *([_importance(study)] if len(scored) >= FEWEST else []), _slices(study, scored)]
    return [_labelled(chart, tuned) for chart in drawn]


def _history(study: optuna.Study) -> Chart:
    from optuna.visualization import plot_optimization_history

    figure = _plain(plot_optimization_history(study, target_name=SCORE))
    scores, best, *_ = figure["data"]
    data = [
        scores | {"marker": _marker(STYLES[0]), "hovertemplate": "trial %{x}: %{y:.4f}<extra></extra>"},
        best | {"name": "the best so far", "line": {"color": STYLES[1].color, "width": 2, "shape": "hv"}} | SILENT,
    ]
    axes = {"xaxis": {"title": {"text": "Trial"}}, "yaxis": {"title": {"text": SCORE}}}
    return Chart(
        "history",
        "The course of the tuning",
        "Each point is a trial that was trained to its end; those that were stopped early have none.",
        (Variant("", (Panel("", data, axes),)),),
        wide=True,
    )


def _importance(study: optuna.Study) -> Chart:
    from optuna.importance import PedAnovaImportanceEvaluator
    from optuna.visualization import plot_param_importances

    (bars,) = _plain(plot_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))["data"]
    names = [_in_lines(key) for key in bars["y"]]
    look = {"y": names, "marker": {"color": STYLES[0].color}, "name": "", "showlegend": False}
    look["hovertemplate"] = "%{y}: %{x:.2f}<extra></extra>"
    layout: Layout = {
        "xaxis": {"title": {"text": "Importance"}, "range": [0, 1.2 * max(bars["x"])]},  # room for the last number
        "yaxis": {"type": "category", "tickfont": {"size": 11}},
        "height": 120 + 34 * len(names),
    }
    return Chart(
        "importance",
        "What matters",
        "How much each key decides whether a trial is among the best (PED-ANOVA); of few trials it says little.",
        (Variant("", (Panel("", [bars | look], layout),)),),
    )


def _slices(study: optuna.Study, scored: list[Any]) -> Chart:
    keys = sorted({key for trial in scored for key in trial.params})
    return Chart(
        "slices",
        "Each key by itself",
        "The score of each trial that was trained to its end, by what it tried of one key; the others vary too.",
        tuple(Variant(key, (_slice(study, key),)) for key in keys),
    )


def _slice(study: optuna.Study, key: str) -> Panel:
    from optuna.visualization import plot_slice

    figure = _plain(plot_slice(study, params=[key], target_name=SCORE))
    points = figure["data"][0]
    numbers = [f"trial {number}" for number in points["marker"]["color"]]
    hover = "%{text}: %{x}, %{y:.4f}<extra></extra>"
    data: list[Trace] = [points | {"marker": _marker(STYLES[0]), "text": numbers, "hovertemplate": hover}]
    axis = {name: value for name, value in figure["layout"]["xaxis"].items() if name in ("type", "categoryorder")}
    if axis.get("type") == "category":  # Optuna quotes them
        data[0]["x"] = [safe(str(value).strip("'")) for value in points["x"]]
        axis["categoryarray"] = [safe(str(v).strip("'")) for v in figure["layout"]["xaxis"]["categoryarray"]]
    return Panel("", data, {"xaxis": {**axis, "title": {"text": safe(key)}}, "yaxis": {"title": {"text": SCORE}}})


def _labelled(chart: Chart, tuned: TunedRecipe) -> Chart:
    """Say of each plot which data it is of, and in it where they are made up."""
    of = f"{tuned.title}, data {tuned.data_hash[:12]}, validation"
    return Chart(chart.id, chart.title, chart.caption, tuple(_variants(chart, tuned, of)), chart.wide)


def _variants(chart: Chart, tuned: TunedRecipe, of: str) -> Iterator[Variant]:
    for variant in chart.variants:
        panels = tuple(map(marked, variant.panels)) if tuned.synthetic else variant.panels
        yield Variant(f"{variant.label} ({of})" if variant.label else of, panels)


def _plain(figure: Any) -> dict[str, Any]:  # noqa: ANN401  (plotly's, which has no types)
    """Return a figure as plain values; how it looks is the page's own business."""

    def plain(value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, dict):
            return {name: plain(below) for name, below in value.items()}
        return list(map(plain, value)) if isinstance(value, list | tuple) else getattr(value, "tolist", lambda: value)()

    whole: dict[str, Any] = plain(figure.to_dict())
    return whole


def _marker(style: Style) -> dict[str, Any]:
    return {"color": style.color, "size": 8, "symbol": style.symbol}


def _in_lines(key: str) -> str:
    """Set the last two parts of a key over two lines, or a phone has no room for the bars."""
    return ".<br>".join(map(safe, key.split(".")[-2:]))
