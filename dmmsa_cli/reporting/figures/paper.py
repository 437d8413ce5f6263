"""What the figures on paper share: readable at column width, by colour-blind readers and in grey.

Drawn with matplotlib's objects, so that no global state of pyplot is touched.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Canvas
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import MaxNLocator

from dmmsa_cli.reporting.figures.colours import BLUE, GREEN, PURPLE, VERMILION
from dmmsa_cli.reporting.figures.subjects import Subject

NARROW, WIDE = 3.5, 7.0  # inches: one and two columns of a page
GREY, DARK = "#e4e4e4", "#444444"
FONT = "DejaVu Sans"  # ships with matplotlib: the same on every machine
_LETTERS_PER_INCH = 15  # of a heading


@dataclass(frozen=True)
class Style:
    """How one of several systems or tasks looks, whichever way it is drawn: told apart without its colour too."""

    color: str
    line: str
    marker: str
    hatch: str


STYLES = (
    Style(BLUE, "-", "o", ""),
    Style(VERMILION, "--", "s", "////"),
    Style(GREEN, ":", "^", "...."),
    Style(PURPLE, "-.", "D", "xxxx"),
)

LOOK: dict[Any, Any] = {  # matplotlib types the keys one by one, and each version has its own
    "font.family": FONT,
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "figure.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": DARK,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.handlelength": 3,  # long enough for a dash to be one
    "pdf.fonttype": 42,  # fonts embedded as TrueType, which publishers ask for
}


@dataclass(frozen=True)
class Drawing:
    """One figure, drawn and not yet written."""

    id: str
    """`figure-4-mosi`, `confusion-mosi-minilm-ta`: the name of its files."""
    title: str
    caption: str
    """What, of which data and split, over how many seeds."""
    canvas: Canvas


def sheet(subject: Subject, width: float, height: float) -> Canvas:
    """Return an empty figure that says what its data are; synthetic data cannot be taken for anything else.

    Args:
        subject: what it will be about.
        width: in inches.
        height: in inches.
    """
    canvas = Canvas(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(canvas)
    mark = {"color": VERMILION, "weight": "bold"} if subject.full.synthetic else {"color": DARK}
    canvas.suptitle(plain(" · ".join(subject.words), round(_LETTERS_PER_INCH * width)), **mark)
    return canvas


def line_with_band(axes: Axes, curve: pd.DataFrame, style: Style, name: str) -> None:
    """Draw a mean over epochs with its standard deviation.

    Args:
        axes: where.
        curve: columns epoch, mean, sd, as `over_seeds` returns them.
        style: how.
        name: in the legend.
    """
    epoch, mean, sd = (curve[key].to_numpy(float) for key in ("epoch", "mean", "sd"))
    every = max(1, len(epoch) // 12)  # more markers than that hide the line
    axes.plot(epoch, mean, color=style.color, ls=style.line, marker=style.marker, markevery=every, label=name)
    if np.isfinite(sd).all():
        axes.fill_between(epoch, mean - sd, mean + sd, color=style.color, alpha=0.15, linewidth=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def legend_above(axes: Axes, columns: int) -> None:
    """Put the legend over the axes, where it hides no data."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2, columnspacing=1.2)


def grid(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Label the cells of an image, and part them by white lines."""
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def plain(text: str, letters: int = 1000) -> str:
    r"""Write what somebody named: no dollar of it begins a formula, and what the font lacks is spelled out.

    Args:
        text: a name, or several.
        letters: of a line, at most.

    Example:
        >>> plain("a$b 电")
        'a\\$b [U+7535]'
    """
    known = get_font(findfont(FONT)).get_charmap()
    spelled = "".join(c if c.isspace() or ord(c) in known else f"[U+{ord(c):04X}]" for c in text)
    return textwrap.fill(spelled, letters).replace("$", r"\$")


def colour_map(scale: Sequence[tuple[float, str]]) -> LinearSegmentedColormap:
    """Make matplotlib's form of a scale of `colours`."""
    return LinearSegmentedColormap.from_list("scale", list(scale))


def short(names: Iterable[str]) -> list[str]:
    """Set class names for an axis: a true minus, and an interval over two lines."""
    return [name.replace("-", "−").replace(", ", ",\n") for name in names]
