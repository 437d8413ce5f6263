"""How metrics are printed: columns, 'a/b' cells, percent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dmmsa_cli.metrics import ALL_EMOTIONS, Metrics

SCORES = frozenset({"mae", "corr"})  # printed as they are; every other metric in percent


@dataclass(frozen=True)
class Column:
    """A printed column: one metric, or two in an 'a/b' cell as in the papers."""

    title: str
    metrics: tuple[str, ...]
    percent: bool = True

    @property
    def lower_is_better(self) -> bool:
        """Whether the smaller number is the better one."""
        return self.metrics[0] == "mae"

    @property
    def heading(self) -> str:
        """The title with an arrow to where the better numbers are, as in the papers."""
        return f"{self.title} {'↓' if self.lower_is_better else '↑'}"


COLUMNS: dict[str, tuple[Column, ...]] = {
    "mosi": (
        Column("Acc-2", ("acc2_has0", "acc2_non0")),
        Column("F1", ("f1_has0", "f1_non0")),
        Column("Acc-5", ("acc5",)),
        Column("Acc-7", ("acc7",)),
        Column("MAE", ("mae",), percent=False),
        Column("Corr", ("corr",), percent=False),
    ),
    "sims": (
        Column("Acc-2", ("acc2",)),
        Column("F1", ("f1",)),
        Column("Acc-3", ("acc3",)),
        Column("Acc-5", ("acc5",)),
        Column("MAE", ("mae",), percent=False),
        Column("Corr", ("corr",), percent=False),
    ),
}

EMOTION_METRICS = {"acc": "accuracy", "wf1": "weighted F1"}


def emotion_columns(names: Sequence[str], kinds: Sequence[str] = tuple(EMOTION_METRICS)) -> tuple[Column, ...]:
    """Return the columns of a table of emotions: each by itself, then their means; of some of `EMOTION_METRICS`."""
    titles = {**{name: name.capitalize() for name in names}, ALL_EMOTIONS: "Mean"}
    return tuple(Column(title, tuple(f"{kind}_{name}" for kind in kinds)) for name, title in titles.items())


def emotions_of(metrics: Iterable[str]) -> tuple[str, ...]:
    """Return which emotions a metric set has metrics of, in their order."""
    named = [name.removeprefix("acc_") for name in metrics if name.startswith("acc_")]
    return tuple(name for name in named if name != ALL_EMOTIONS)


EMOTIONS_LEGEND = "Emotions: accuracy, then weighted F1, of present against absent, over clips of which it is known."
LEGEND = {
    "mosi": "Acc-2 and F1: negative / non-negative, then negative / positive (labels of 0 left out).",
    "sims": (
        "Acc-2 and F1: up to 0, then above. Acc-3: up to -0.1, up to 0.1, above. Acc-5: up to -0.7, -0.1, 0.1, 0.7, "
        "above (of a range of 1). Predictions and labels clipped to the range first, as the field's code does."
    ),
}
CHOSEN_EPOCH = "Of each run: the epoch with the lowest validation MAE."

_NAMES = {"mae": "MAE", "corr": "Corr", "has0": " (neg. / non-neg.)", "non0": " (neg. / pos.)"}


def metric_name(metric: str) -> str:
    """Print a metric's name as the papers do: `Acc-2 (neg. / pos.)` for `acc2_non0`."""
    name, _, which = metric.partition("_")
    return _NAMES.get(name, name.replace("acc", "Acc-")) + _NAMES.get(which, "")


def cell(column: Column, values: Metrics, *, spread: bool = False) -> str:
    """Print a column's metrics: percent with two decimals, MAE and Corr with four; NaN as a dash.

    Example:
        >>> cell(COLUMNS["mosi"][0], {"acc2_has0": 0.8397, "acc2_non0": 0.857})
        '83.97/85.70'
    """
    text = printed(column, values)
    if spread:
        return "" if set(text) <= {"-", "/"} else "±" + text
    return text


def printed(column: Column, values: Metrics, decimals: int = 4) -> str:
    """Print a column's metrics with as many decimals of MAE and Corr as asked for; what is missing is a dash."""
    return "/".join(_number(values.get(name, math.nan), column.percent, decimals) for name in column.metrics)


def _number(value: float, percent: bool, decimals: int) -> str:
    if math.isnan(value):
        return "-"
    return f"{100 * value:.2f}" if percent else f"{value:.{decimals}f}"
