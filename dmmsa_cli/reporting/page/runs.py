"""The page's runs: recipe, environment and log of each, and the clips that a system misses most."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dmmsa_cli.errors import RunMismatch, RunMissing
from dmmsa_cli.reporting.groups import title
from dmmsa_cli.reporting.page.names import anchor
from dmmsa_cli.reporting.results import COLUMNS, LEGEND, Column, cell
from dmmsa_cli.reporting.runs import Run, System
from dmmsa_cli.reporting.series.predictions import clips
from dmmsa_cli.reporting.series.scale import scale

WORST = 15  # clips shown for each system


@dataclass(frozen=True)
class RunView:
    """A line of a system's runs."""

    seed: int
    folder: Path
    best_epoch: str
    epochs: int
    best: str
    curve: str
    """Points of the validation MAE in a box of 100 x 24."""
    curve_from: str
    curve_to: str
    cells: list[str]
    time: str


@dataclass(frozen=True)
class SystemView:
    """The runs of a system, and the clips that it misses most."""

    system: System
    anchor: str
    title: str
    headline: str
    columns: tuple[Column, ...]
    legend: str
    runs: list[RunView]
    recipe: str
    shared: Mapping[str, str]
    differing: Mapping[str, list[tuple[int, str]]]
    clips: Sequence[Mapping[str, Any]]


def system_view(system: System, systems: Sequence[System]) -> SystemView:
    """Return the section of one system.

    Args:
        system: whose.
        systems: all of the report, among which its anchor is its own.
    """
    metrics = scale(system).metrics
    columns = COLUMNS[metrics]
    shared, differing = _environments(system)
    neighbours = [other for other in systems if other.dataset == system.dataset]
    return SystemView(
        system=system,
        anchor=anchor(system, systems),
        title=f"{system.dataset}: {title(system, neighbours)}",
        headline=_headline(system),
        columns=columns,
        legend=LEGEND[metrics],
        runs=[_run(run, columns) for run in system.runs],
        recipe=_recipe(system),
        shared=shared,
        differing=differing,
        clips=_worst_clips(system),
    )


def _headline(system: System) -> str:
    count = len(system.runs)
    spread = system.summary.sd["mae"]
    sd = f" ± {spread:.4f}" if math.isfinite(spread) else ""
    return f"{count} seed{'s' * (count > 1)}, test MAE {system.summary.mean['mae']:.4f}{sd}"


def _run(run: Run, columns: tuple[Column, ...]) -> RunView:
    curve = [_finite(line["validation"].get("mae")) for line in run.log]
    return RunView(
        seed=run.seed,
        folder=run.folder,
        best_epoch=str(run.summary.get("best_epoch", "-")),
        epochs=len(curve),
        best=_four(_finite(run.summary.get("validation", {}).get("mae"))),
        curve=_points(curve),
        curve_from=_four(curve[0] if curve else math.nan),
        curve_to=_four(curve[-1] if curve else math.nan),
        cells=[cell(column, run.metrics) for column in columns],
        time=_duration(_finite(run.summary.get("seconds"))),
    )


def _finite(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _four(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _points(curve: Sequence[float]) -> str:
    finite = [value for value in curve if math.isfinite(value)] or [0.0]
    low, room = min(finite), (max(finite) - min(finite)) or 1.0
    across = np.linspace(0, 100, max(len(curve), 2))
    drawn = [*curve, *curve] if len(curve) == 1 else curve  # one epoch is a level line
    pairs = zip(across, drawn, strict=False)
    return " ".join(f"{x:.1f},{2 + 20 * (1 - (y - low) / room):.1f}" for x, y in pairs if math.isfinite(y))


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "-"
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _recipe(system: System) -> str:
    # A run's recipe may name more seeds than have run, and two runs of one system may name different ones.
    values = {key: value for key, value in system.first.recipe.items() if key != "seeds"}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)


def _environments(system: System) -> tuple[Mapping[str, str], Mapping[str, list[tuple[int, str]]]]:
    """Part what all runs of a system share from what differs between them, so that a page of many runs stays small."""
    flat = [dict(_flat(run.facts)) for run in system.runs]
    names = list(dict.fromkeys(itertools.chain.from_iterable(flat)))
    shared, differing = {}, {}
    for name in names:
        values = [facts.get(name, "-") for facts in flat]
        if len(set(values)) == 1:
            shared[name] = values[0]
        elif name != "seed":
            differing[name] = list(zip(system.seeds, values, strict=True))
    return shared, differing


def _flat(values: Mapping[str, Any], path: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{key}.")
        elif isinstance(value, list):
            yield f"{path}{key}", ", ".join(map(str, value)) or "none"
        else:
            yield f"{path}{key}", value if isinstance(value, str) else json.dumps(value)


def _worst_clips(system: System) -> list[Mapping[str, Any]]:
    try:
        worst = clips(system).sort_values("error", ascending=False, kind="stable").head(WORST)
    except (RunMissing, RunMismatch):
        return []
    return [
        {"id": clip.id, "text": clip.text, "label": clip.y_true, "prediction": clip.y_pred, "error": clip.error}
        for clip in worst.itertuples()
    ]
