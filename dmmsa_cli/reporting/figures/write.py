"""Figures for a paper as files: every one that the runs allow, as PNG and PDF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

from dmmsa_cli.errors import RunMismatch, RunMissing
from dmmsa_cli.files import atomic_path
from dmmsa_cli.reporting.contents import Report
from dmmsa_cli.reporting.figures import FIGURES
from dmmsa_cli.reporting.figures.paper import LOOK, Drawing
from dmmsa_cli.reporting.figures.subjects import subjects
from dmmsa_cli.reporting.runs import System

DOTS_PER_INCH = 200


@dataclass(frozen=True)
class WrittenFigure:
    """One figure, written."""

    id: str
    title: str
    caption: str
    png: Path
    pdf: Path


def write_figures(report: Report, folder: Path, problems: list[str] | None = None) -> list[WrittenFigure]:
    """Draw every figure that the runs allow; one whose runs are missing is not there.

    Args:
        report: whose systems are drawn.
        folder: gets a PNG and a PDF of each, by rename.
        problems: a list that gets a sentence for each figure left out because a run's predictions are gone or damaged.

    Returns:
        What was written, dataset by dataset.

    Raises:
        DiskFull: there is no room.
    """
    return [_write(drawing, folder) for drawing in draw(report.collection.systems, problems)]


def draw(systems: Sequence[System], problems: list[str] | None = None) -> Iterator[Drawing]:
    """Draw every figure that these systems allow, one at a time; `write_figures` says more."""
    for subject in subjects(systems):
        for figure in FIGURES:
            try:
                with mpl.rc_context(LOOK):
                    drawing = figure.on_paper(subject)
            except (RunMismatch, RunMissing) as error:
                problem = f"A figure of {subject.place} is left out. {error.what} {error.remedy}".rstrip()
                if problems is not None and problem not in problems:
                    problems.append(problem)
                continue
            if drawing:
                yield drawing


def _write(drawing: Drawing, folder: Path) -> WrittenFigure:
    png, pdf = (folder / f"{drawing.id}.{kind}" for kind in ("png", "pdf"))
    with mpl.rc_context(LOOK):
        with atomic_path(png) as partial:  # the format is named, since the partial file's ending hides it
            drawing.canvas.savefig(partial, format="png", dpi=DOTS_PER_INCH)
        with atomic_path(pdf) as partial:  # undated: the same runs give the same file
            drawing.canvas.savefig(partial, format="pdf", dpi=300, metadata={"CreationDate": None})
    return WrittenFigure(drawing.id, drawing.title, drawing.caption, png, pdf)
