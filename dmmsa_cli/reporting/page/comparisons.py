"""The page's comparisons: each with its sentence and the bar of its interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dmmsa_cli.reporting.contents import Comparison, Verdict
from dmmsa_cli.reporting.results import SCORES, metric_name


@dataclass(frozen=True)
class Bar:
    """An interval on the axis that all comparisons of a dataset share, in percent of its width."""

    left: float
    width: float
    point: float
    noise: bool
    label: str


@dataclass(frozen=True)
class ComparisonView:
    """A comparison, drawn."""

    comparison: Comparison
    bar: Bar | None
    rows: Sequence[Mapping[str, str]]
    clips: str
    """How many there are, and what was drawn."""


@dataclass(frozen=True)
class ComparisonGroup:
    """The comparisons on one dataset."""

    dataset: str
    synthetic: bool
    comparisons: list[ComparisonView]
    zero: float
    ticks: Sequence[Mapping[str, Any]]


def _is_noise(verdict: Verdict) -> bool:
    """Say whether a bar is drawn grey and hollow."""
    return verdict is not Verdict.REAL


KEY = tuple(
    (
        Bar(left=0, width=100, point=50, noise=noise, label=""),
        ", or ".join(one for one in Verdict if _is_noise(one) is noise),
    )
    for noise in (False, True)
)
"""How bars look, and what verdicts they stand for."""


def comparison_groups(comparisons: Iterable[Comparison]) -> list[ComparisonGroup]:
    """Put comparisons together by dataset, on one axis each."""
    found: dict[tuple[str, bool], list[Comparison]] = {}
    for one in comparisons:
        found.setdefault((one.first.dataset, one.first.synthetic), []).append(one)
    return [_group(dataset, synthetic, some) for (dataset, synthetic), some in found.items()]


def _group(dataset: str, synthetic: bool, comparisons: list[Comparison]) -> ComparisonGroup:
    differences = [one.differences["mae"] for one in comparisons if "mae" in one.differences]
    ends = [0.0, *(end for one in differences for end in (one.low, one.high) if math.isfinite(end))]
    low, high = min(ends), max(ends)
    room = 0.08 * (high - low) or 1.0
    axis = (low - room, high + room)
    views = [
        ComparisonView(one, _bar(one, axis), [_reading(one, metric) for metric in one.differences], _clips(one))
        for one in comparisons
    ]
    ticks = [{"at": _place(tick, axis), "text": _signed(tick, digits)} for tick, digits in _ticks(*axis)]
    return ComparisonGroup(dataset, synthetic, views, _place(0, axis), ticks)


def _place(value: float, axis: tuple[float, float]) -> float:
    return round(100 * (value - axis[0]) / (axis[1] - axis[0]), 2)


def _clips(comparison: Comparison) -> str:
    videos = f" of {comparison.videos} videos" if comparison.videos is not None else ", whose ids name no videos"
    return f"{comparison.clips} clips{videos}"


def _bar(comparison: Comparison, axis: tuple[float, float]) -> Bar | None:
    difference = comparison.differences.get("mae")
    if difference is None or not all(map(math.isfinite, (difference.value, difference.low, difference.high))):
        return None
    left, right = _place(difference.low, axis), _place(difference.high, axis)
    interval = f"[{_signed(difference.low, 4)}, {_signed(difference.high, 4)}]"
    label = f"{_signed(difference.value, 4)} {interval}"
    noise = _is_noise(comparison.verdict("mae"))
    return Bar(left, round(right - left, 2), _place(difference.value, axis), noise, label)


def _ticks(low: float, high: float) -> list[tuple[float, int]]:
    """Choose round numbers between two ends, about four of them, and the decimals that tell them apart."""
    rough = (high - low) / 4
    power = math.floor(math.log10(rough))
    step = next(step for step in (10**power * factor for factor in (1, 2, 5, 10)) if step >= rough)
    digits = max(0, -math.floor(math.log10(step)))
    return [(step * i, digits) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text[1:] if float(f"{value:.{digits}f}") == 0 else text


def _reading(comparison: Comparison, metric: str) -> Mapping[str, str]:
    difference = comparison.differences[metric]
    factor, digits = (1, 4) if metric in SCORES else (100, 2)

    def number(value: float) -> str:
        return _signed(factor * value, digits) if math.isfinite(value) else "-"

    spread = f"{factor * difference.seeds_sd:.{digits}f}" if math.isfinite(difference.seeds_sd) else "-"
    return {
        "metric": metric_name(metric),
        "value": number(difference.value),
        "interval": f"[{number(difference.low)}, {number(difference.high)}]",
        "spread": spread,
        "verdict": comparison.verdict(metric),
    }
