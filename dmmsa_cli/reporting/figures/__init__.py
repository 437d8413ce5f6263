"""Figures: one file each, with its numbers, how it is drawn on paper, and how on the page; one line each here."""

from collections.abc import Sequence
from typing import Protocol

from dmmsa_cli.reporting.figures import (
    confusion,
    intervals,
    losses,
    mae_by_label,
    missing,
    predictions,
    reliability,
    similarity,
    systems,
    validation,
    weights,
)
from dmmsa_cli.reporting.figures.charts import Chart
from dmmsa_cli.reporting.figures.paper import Drawing
from dmmsa_cli.reporting.figures.subjects import Subject
from dmmsa_cli.reporting.runs import System


class Figure(Protocol):
    """What the file of a figure offers."""

    def on_paper(self, subject: Subject) -> Drawing | None:
        """Draw it for a paper; none where the runs that it shows are missing."""

    def on_page(self, systems: Sequence[System]) -> Chart:
        """Draw it for all that it can be shown for among the systems of one dataset; there may be none."""


FIGURES: tuple[Figure, ...] = (
    validation,  # the paper's Figure 4
    similarity,  # Figure 5
    predictions,  # Figure 6
    weights,
    losses,
    confusion,
    mae_by_label,
    intervals,
    reliability,
    missing,  # metrics by how much of the clips is missing
    systems,  # all of the papers' Tables 2 and 3 at once
)
