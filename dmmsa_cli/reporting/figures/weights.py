"""Lambda of the weighted tasks over epochs, as GDWG and its rivals gave it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from dmmsa_cli.objectives.weighting import WEIGHTINGS
from dmmsa_cli.reporting.figures import charts, paper, plots
from dmmsa_cli.reporting.figures.charts import Chart
from dmmsa_cli.reporting.figures.paper import Drawing
from dmmsa_cli.reporting.figures.plots import Panel
from dmmsa_cli.reporting.figures.subjects import Subject, averaged
from dmmsa_cli.reporting.groups import TASK_NAMES, label
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.series.averages import over_seeds
from dmmsa_cli.reporting.series.epochs import task_weights

COLUMNS = 3  # panels beside each other


def on_paper(subject: Subject) -> Drawing | None:
    """Draw a line for each task, and the equal weight between them; none where there is one task.

    GDWG's, and in panels beside it those of every other rule that gave the same tasks changing weights.
    """
    full = _course(subject.full)
    tasks = list(dict.fromkeys(full["task"]))
    if len(tasks) < 2:
        return None
    rivals = [one for one in subject.group if one is not subject.full and _differs_in_its_rule(subject.full, one)]
    drawn = [(subject.full, full), *((system, _course(system)) for system in rivals)]
    columns = min(COLUMNS, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    canvas = paper.sheet(subject, paper.NARROW if columns == 1 else paper.WIDE, 0.6 + 1.9 * rows)
    panels = canvas.subplots(rows, columns, squeeze=False).ravel()
    for axes, (system, course) in zip(panels, drawn, strict=False):
        _lines(axes, system, course, tasks)
        if len(drawn) > 1:
            axes.set_title(paper.plain(label(system)))
    for axes in panels[len(drawn) :]:
        axes.set_visible(False)
    if len(drawn) == 1:
        paper.legend_above(panels[0], columns=len(tasks))
    else:
        canvas.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(tasks))
    rules = list(dict.fromkeys(_title(system) for system, _ in drawn))
    gives = "gives" if len(rules) == 1 else "give"
    caption = (
        f"Task weights λ that {', '.join(rules)} {gives} to each epoch on {subject.place}; "
        f"{averaged(subject.full, spread='band')}. "
        f"The horizontal line is the equal weight, 1/{len(tasks)} of their sum."
    )
    return Drawing(f"weights-{subject.slug}", f"Task weights on {subject.place} over epochs", caption, canvas)


def _course(system: System) -> pd.DataFrame:
    return over_seeds(task_weights(system), "weight", by=("epoch", "task"))


def _differs_in_its_rule(full: System, other: System) -> bool:
    """Whether a system weighs the same tasks by another rule, whose weights change during training."""
    rest = [{key: value for key, value in one.objective.items() if key != "weighting"} for one in (full, other)]
    return rest[0] == rest[1] and WEIGHTINGS[other.objective["weighting"]["name"]].changes


def _title(system: System) -> str:
    return WEIGHTINGS[system.objective["weighting"]["name"]].title


def _lines(axes: Axes, system: System, course: pd.DataFrame, tasks: Sequence[str]) -> None:
    equal = (system.objective["weighting"]["sum"] or 1) / len(tasks)
    axes.axhline(equal, color=paper.DARK, lw=0.8, zorder=0)
    for task, style in zip(tasks, itertools.cycle(paper.STYLES), strict=False):
        name = rf"$\lambda_{{\mathrm{{{TASK_NAMES[task]}}}}}$" if task in TASK_NAMES else paper.plain(task)
        paper.line_with_band(axes, course[course["task"] == task], style, name)
    # At least this much of the axis: a λ that hardly moves shall look like one.
    reach = max(0.1, 1.1 * float((course["mean"] - equal).abs().max()))
    axes.set(xlabel="Epoch", ylabel=r"Task weight $\lambda$", ylim=(equal - reach, equal + reach))


def on_page(systems: Sequence[System]) -> Chart:
    """Show it for each system."""
    variants = charts.of_systems(_panels, systems)
    return Chart("weights", "Task weights λ over epochs", plots.OVER_SEEDS, variants)


def _panels(system: System) -> tuple[Panel, ...]:
    return plots.by_task(task_weights(system), "weight", "Weight λ")
