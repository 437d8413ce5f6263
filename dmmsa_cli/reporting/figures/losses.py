"""Each task's training loss over epochs, before weighting."""

from __future__ import annotations

from collections.abc import Sequence

from dmmsa_cli.reporting.figures import charts, paper, plots
from dmmsa_cli.reporting.figures.charts import Chart
from dmmsa_cli.reporting.figures.paper import Drawing
from dmmsa_cli.reporting.figures.plots import Panel
from dmmsa_cli.reporting.figures.subjects import Subject, averaged
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.series.averages import over_seeds
from dmmsa_cli.reporting.series.epochs import task_losses

TITLES = {"msr": "MSR (regression)", "msc": "MSC (classes)", "uni": "Uni (unimodal)", "cl": "CL (contrast)"}


def on_paper(subject: Subject) -> Drawing | None:
    """Draw each task in a panel of its own: their sizes do not compare."""
    table = over_seeds(task_losses(subject.full), "loss", by=("epoch", "task"))
    tasks = list(dict.fromkeys(table["task"]))
    if not tasks:
        return None
    rows = (len(tasks) + 1) // 2
    canvas = paper.sheet(subject, paper.NARROW, 0.5 + 1.5 * rows)
    panels = canvas.subplots(rows, 2, sharex=True, squeeze=False).ravel()
    for axes, task, style in zip(panels, tasks, paper.STYLES, strict=False):
        paper.line_with_band(axes, table[table["task"] == task], style, task)
        axes.set_title(TITLES.get(task, paper.plain(task)))
    for axes in panels[len(tasks) :]:
        axes.set_visible(False)
    canvas.supxlabel("Epoch", size=8)
    canvas.supylabel("Unweighted training loss", size=8)
    seeds = averaged(subject.full, spread="band")
    caption = f"Mean unweighted training loss of each task over epochs on {subject.place}; {seeds}."
    return Drawing(f"losses-{subject.slug}", f"Task losses on {subject.place} over epochs", caption, canvas)


def on_page(systems: Sequence[System]) -> Chart:
    """Show it for each system."""
    caption = f"Training, before weighting. {plots.OVER_SEEDS}"
    return Chart("losses", "Task losses over epochs", caption, charts.of_systems(_panels, systems))


def _panels(system: System) -> tuple[Panel, ...]:
    return plots.by_task(task_losses(system), "loss", "Training loss")
