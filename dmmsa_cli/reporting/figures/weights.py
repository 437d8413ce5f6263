"""Lambda of the weighted tasks over epochs, as GDWG gave it."""

from __future__ import annotations

from collections.abc import Sequence

from dmmsa_cli.reporting.figures import charts, paper, plots
from dmmsa_cli.reporting.figures.charts import Chart
from dmmsa_cli.reporting.figures.paper import Drawing
from dmmsa_cli.reporting.figures.plots import Panel
from dmmsa_cli.reporting.figures.subjects import Subject, averaged
from dmmsa_cli.reporting.groups import TASK_NAMES
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.series.averages import over_seeds
from dmmsa_cli.reporting.series.epochs import task_weights


def on_paper(subject: Subject) -> Drawing | None:
    """Draw a line for each task, and the equal weight between them; none where weights are fixed, or there is one."""
    table = over_seeds(task_weights(subject.full), "weight", by=("epoch", "task"))
    tasks = list(dict.fromkeys(table["task"]))
    if not subject.full.objective["gdwg"]["enabled"] or len(tasks) < 2:
        return None
    canvas = paper.sheet(subject, paper.NARROW, 2.5)
    axes = canvas.subplots()
    axes.axhline(1 / len(tasks), color=paper.DARK, lw=0.8, zorder=0)
    for task, style in zip(tasks, paper.STYLES, strict=False):
        name = rf"$\lambda_{{\mathrm{{{TASK_NAMES[task]}}}}}$" if task in TASK_NAMES else paper.plain(task)
        paper.line_with_band(axes, table[table["task"] == task], style, name)
    # At least this much of the axis: a λ that hardly moves shall look like one.
    reach = max(0.1, 1.1 * float((table["mean"] - 1 / len(tasks)).abs().max()))
    axes.set(xlabel="Epoch", ylabel=r"Task weight $\lambda$", ylim=(1 / len(tasks) - reach, 1 / len(tasks) + reach))
    paper.legend_above(axes, columns=len(tasks))
    caption = (
        f"Task weights λ that GDWG gives to each epoch on {subject.place}; {averaged(subject.full, spread='band')}. "
        f"The horizontal line is the equal weight 1/{len(tasks)}."
    )
    return Drawing(f"weights-{subject.slug}", f"Task weights on {subject.place} over epochs", caption, canvas)


def on_page(systems: Sequence[System]) -> Chart:
    """Show it for each system."""
    variants = charts.of_systems(_panels, systems)
    return Chart("weights", "Task weights λ over epochs", plots.OVER_SEEDS, variants)


def _panels(system: System) -> tuple[Panel, ...]:
    return plots.by_task(task_weights(system), "weight", "Weight λ")
