"""Figures for a paper: PNG and PDF, readable at column width, by colour-blind readers and in grey.

The paper's Figures 4, 5 and 6 out of one's own runs, and beyond it: lambda and task losses over epochs, a confusion
matrix, MAE by label. The numbers are those of `series`. Drawn with matplotlib's objects, so that no global state of
pyplot is touched.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from dmmsa_cli.data.specs import ALIGNED, MODALITIES
from dmmsa_cli.errors import RunMismatch, RunMissing
from dmmsa_cli.files import atomic_path
from dmmsa_cli.reporting import series
from dmmsa_cli.reporting.contents import Report
from dmmsa_cli.reporting.runs import System

NARROW, WIDE = 3.5, 7.0  # inches: one and two columns of a page
DOTS_PER_INCH = 200
_LETTERS_PER_INCH = 15  # of a heading
SYNTHETIC = "SYNTHETIC data"

# Okabe and Ito's colours are told apart by colour-blind readers; line, marker and hatch do the same in grey.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY, DARK = "#e4e4e4", "#444444"


@dataclass(frozen=True)
class Style:
    """How one of several systems or tasks looks, whichever way it is drawn."""

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

_LOOK: dict[Any, Any] = {  # matplotlib types the keys one by one, and each version has its own
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same on every machine
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
_DATASET_TITLES = {"mosi": "MOSI", "mosei": "MOSEI", "sims": "CH-SIMS"}
_TASK_TITLES = {"msr": "MSR (regression)", "msc": "MSC (classes)", "uni": "Uni (unimodal)", "cl": "CL (contrast)"}


@dataclass(frozen=True)
class Figure:
    """One figure, written."""

    id: str
    """`figure-4-mosi`, `confusion-mosi-minilm-ta`."""
    title: str
    caption: str
    """What, of which data and split, over how many seeds."""
    png: Path
    pdf: Path


@dataclass(frozen=True)
class Drawing:
    """One figure, drawn and not yet written."""

    id: str
    title: str
    caption: str
    canvas: Canvas


def write_figures(report: Report, folder: Path, problems: list[str] | None = None) -> list[Figure]:
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
    for subject in _subjects(systems):
        for of in _DRAWINGS:
            try:
                with mpl.rc_context(_LOOK):
                    drawing = of(subject)
            except (RunMismatch, RunMissing) as error:
                told = f"A figure of {subject.place} is left out. {error.what} {error.remedy}".rstrip()
                if problems is not None and told not in problems:
                    problems.append(told)
                continue
            if drawing:
                yield drawing


def _write(drawing: Drawing, folder: Path) -> Figure:
    png, pdf = (folder / f"{drawing.id}.{kind}" for kind in ("png", "pdf"))
    with mpl.rc_context(_LOOK):
        with atomic_path(png) as partial:  # the format is told, since the partial file's ending hides it
            drawing.canvas.savefig(partial, format="png", dpi=DOTS_PER_INCH)
        with atomic_path(pdf) as partial:  # undated: the same runs give the same file
            drawing.canvas.savefig(partial, format="pdf", dpi=300, metadata={"CreationDate": None})
    return Figure(drawing.id, drawing.title, drawing.caption, png, pdf)


# --- what figures are about -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Subject:
    """The whole of DMMSA under one recipe, and the systems that may stand beside it."""

    full: System
    group: tuple[System, ...]
    slug: str
    """End of file names: the dataset, and whatever tells this subject from others of the dataset."""
    note: str = ""
    """What else tells it from others, in words."""

    @property
    def words(self) -> list[str]:
        """The dataset as the papers write it, and what has to be known of the data and conditions."""
        name = self.full.dataset.removesuffix(ALIGNED)
        dataset = _DATASET_TITLES.get(name, name) + ", aligned" * self.full.dataset.endswith(ALIGNED)
        return [dataset, *filter(None, (SYNTHETIC if self.full.synthetic else "", self.full.conditions, self.note))]

    @property
    def place(self) -> str:
        """The same in one phrase, for titles and captions."""
        dataset, *conditions = self.words
        return f"{dataset} ({', '.join(conditions)})" if conditions else dataset

    def without(self, task: series.Task) -> System | None:
        """Return the system that lacks `task` and nothing else."""
        return next((lacking for full, lacking in series.pairs(self.group, task) if full is self.full), None)

    def sheet(self, width: float, height: float) -> Canvas:
        """Return an empty figure that says what its data are; synthetic data cannot be taken for anything else."""
        canvas = Canvas(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(canvas)
        mark = {"color": VERMILION, "weight": "bold"} if self.full.synthetic else {"color": DARK}
        canvas.suptitle(textwrap.fill(" · ".join(self.words), round(_LETTERS_PER_INCH * width)), **mark)
        return canvas


def _subjects(systems: Sequence[System]) -> list[_Subject]:
    found = [(full, group) for group in series.groups(systems) for full in filter(series.is_reference, group)]
    slugs = [_slug(full) for full, _ in found]
    subjects = []
    for place, (full, group) in enumerate(found):
        slug = slugs[place]
        if slugs.count(slug) == 1:
            subjects.append(_Subject(full, group, slug))
        else:  # other data under the same name, or a recipe that was edited between runs
            number = slugs[: place + 1].count(slug)
            subjects.append(_Subject(full, group, f"{slug}-{number}", f"no. {number}, data {full.data_hash[:8]}"))
    return subjects


def _slug(full: System) -> str:
    parts = [full.dataset]
    parts += [full.recipe_name] if full.recipe_name != "dmmsa" else []
    parts += ["".join(full.modalities)] if full.modalities != MODALITIES else []
    return "-".join(parts)


def _seeds(*systems: System) -> str:
    """How many seeds, for captions: `5 seeds`, `one seed`, `5 and 3 seeds`."""
    counts = list(dict.fromkeys(len(system.seeds) for system in systems))
    return "one seed" if counts == [1] else f"{' and '.join(map(str, counts))} seeds"


def _averaged(*systems: System, spread: str = "") -> str:
    """How the seeds were averaged, and what shows their `spread`; a single seed has neither."""
    seeds = _seeds(*systems)
    if seeds == "one seed":
        return seeds
    return f"mean over {seeds}, {spread} ± 1 sample sd" if spread else f"mean over {seeds}"


# --- Figure 4 -------------------------------------------------------------------------------------------------------


def validation_figure(subject: _Subject) -> Drawing | None:
    """Draw the validation MAE over epochs with and without MSC (Figure 4)."""
    without = subject.without("msc")
    if without is None:
        return None
    curves = [series.over_seeds(series.validation_curves(system), "mae") for system in (subject.full, without)]
    if any(curve.empty for curve in curves):
        return None
    canvas = subject.sheet(NARROW, 2.5)
    axes = canvas.subplots()
    for curve, name, style in zip(curves, ("with MSC", "w/o MSC"), STYLES, strict=False):
        best = series.lowest(curve)
        _line(axes, curve, style, f"{name} (lowest {best['mean']:.4f}, epoch {best['epoch']:.0f})")
        axes.plot(best["epoch"], best["mean"], "o", ms=10, mfc="none", mec="black", mew=1, zorder=4, clip_on=False)
    axes.set(xlabel="Epoch", ylabel="Validation MAE")
    axes.margins(y=0.1)
    _legend_above(axes, columns=1)
    caption = (
        f"Validation MAE over epochs with and without the coarse classification task (MSC) on {subject.place}; "
        f"{_averaged(subject.full, without, spread='band')}. Circles mark the lowest mean."
    )
    title = f"Figure 4 on {subject.place}: validation MAE with and without MSC"
    return Drawing(f"figure-4-{subject.slug}", title, caption, canvas)


def _line(axes: Axes, curve: pd.DataFrame, style: Style, name: str) -> None:
    """Draw a mean over epochs with its band."""
    epoch, mean, sd = (curve[key].to_numpy(float) for key in ("epoch", "mean", "sd"))
    every = max(1, len(epoch) // 12)  # more markers than that hide the line
    axes.plot(epoch, mean, color=style.color, ls=style.line, marker=style.marker, markevery=every, label=name)
    if np.isfinite(sd).all():
        axes.fill_between(epoch, mean - sd, mean + sd, color=style.color, alpha=0.15, linewidth=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _legend_above(axes: Axes, columns: int) -> None:
    """Put the legend over the axes, where it hides no data."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2, columnspacing=1.2)


# --- Figure 5 -------------------------------------------------------------------------------------------------------


def similarity_figure(subject: _Subject) -> Drawing | None:
    """Draw the cosine similarity of the features with and without CL (Figure 5)."""
    without = subject.without("cl")
    tables = [series.similarity(system) for system in (subject.full, without) if system]
    known = [table for table in tables if table is not None]
    if without is None or len(known) < 2:
        return None
    canvas = subject.sheet(WIDE, 3.3)
    panels = canvas.subplots(1, 2)
    for axes, table, name in zip(panels, known, ("with CL", "w/o CL"), strict=True):
        image = axes.imshow(table.to_numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
        names = [f"${name}$" for name in table.columns]
        _grid(axes, names, names)
        axes.tick_params(labelsize=9)
        for (row, column), value in np.ndenumerate(table.to_numpy()):
            ink = "white" if abs(value) > 0.6 else "black"
            axes.text(column, row, f"{value + 0.0:.2f}".replace("-", "−"), ha="center", va="center", color=ink)
        axes.set_title(name)
    canvas.colorbar(image, ax=panels, label="Cosine similarity", shrink=0.9)
    caption = (
        f"Cosine similarity of similarity (s) and dissimilarity (d) features of text (T), vision (V) and audio (A), "
        f"with and without contrastive learning (CL) on {subject.place}; mean over the test clips "
        f"({_averaged(subject.full, without)})."
    )
    title = f"Figure 5 on {subject.place}: similarity of the features with and without CL"
    return Drawing(f"figure-5-{subject.slug}", title, caption, canvas)


def _grid(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Label the cells of an image, and part them by white lines."""
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


# --- Figure 6 -------------------------------------------------------------------------------------------------------


def prediction_figure(subject: _Subject) -> Drawing | None:
    """Draw prediction against label on the test split with and without MSC (Figure 6)."""
    without = subject.without("msc")
    if without is None:
        return None
    tables = [series.clips(system) for system in (subject.full, without)]
    limit = 1.05 * max(series.scale(subject.full).score_range, *(table["y_pred"].abs().max() for table in tables))
    canvas = subject.sheet(WIDE, 4.05)
    panels = canvas.subplots(1, 2, sharex=True, sharey=True)
    for axes, system, table, name, style in zip(
        panels, (subject.full, without), tables, ("with MSC", "w/o MSC"), STYLES, strict=False
    ):
        _class_regions(axes, series.class_ends(subject.full, limit))
        opacity = 0.5 if len(table) < 1000 else 0.25
        axes.scatter(
            *(table["y_true"], table["y_pred"]), s=9, c=style.color, marker=style.marker, alpha=opacity, linewidths=0
        ).set_rasterized(True)  # thousands of points as vectors make a PDF that nobody can scroll
        axes.plot([-limit, limit], [-limit, limit], color="black", lw=0.8, ls="--")
        axes.set(title=f"{name}: MAE {system.summary.mean['mae']:.4f}", xlabel="Label", box_aspect=1)
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit))
    panels[0].set_ylabel("Prediction")
    caption = (
        f"Prediction against label of each test clip with and without MSC on {subject.place}; predictions and MAE: "
        f"{_averaged(subject.full, without)}. Shaded: label and prediction lie in the same class of MSC; dashed: a "
        f"perfect prediction."
    )
    title = f"Figure 6 on {subject.place}: prediction against label with and without MSC"
    return Drawing(f"figure-6-{subject.slug}", title, caption, canvas)


def _class_regions(axes: Axes, ends: list[float]) -> None:
    """Shade where label and prediction fall into the same class, every second one darker."""
    for place, (low, high) in enumerate(zip(ends[:-1], ends[1:], strict=True)):
        tone = "#c9c9c9" if place % 2 else GREY
        axes.add_patch(Rectangle((low, low), high - low, high - low, facecolor=tone, linewidth=0, zorder=0))
    for edge in ends[1:-1]:
        axes.axvline(edge, color="#999999", lw=0.5, ls=":", zorder=0.5)
        axes.axhline(edge, color="#999999", lw=0.5, ls=":", zorder=0.5)


# --- beyond the paper -----------------------------------------------------------------------------------------------


def weight_figure(subject: _Subject) -> Drawing | None:
    """Draw lambda of the weighted tasks over epochs, as GDWG gave it."""
    table = series.over_seeds(series.task_weights(subject.full), "weight", by=("epoch", "task"))
    tasks = list(dict.fromkeys(table["task"]))
    if not subject.full.objective["gdwg"]["enabled"] or len(tasks) < 2:
        return None
    canvas = subject.sheet(NARROW, 2.5)
    axes = canvas.subplots()
    axes.axhline(1 / len(tasks), color=DARK, lw=0.8, zorder=0)
    for task, style in zip(tasks, STYLES, strict=False):
        _line(axes, table[table["task"] == task], style, rf"$\lambda_{{\mathrm{{{series.TASK_NAMES[task]}}}}}$")
    # At least this much of the axis: a λ that hardly moves shall look like one.
    reach = max(0.1, 1.1 * float((table["mean"] - 1 / len(tasks)).abs().max()))
    axes.set(xlabel="Epoch", ylabel=r"Task weight $\lambda$", ylim=(1 / len(tasks) - reach, 1 / len(tasks) + reach))
    _legend_above(axes, columns=len(tasks))
    caption = (
        f"Task weights λ that GDWG gives to each epoch on {subject.place}; {_averaged(subject.full, spread='band')}. "
        f"The horizontal line is the equal weight 1/{len(tasks)}."
    )
    return Drawing(f"weights-{subject.slug}", f"Task weights on {subject.place} over epochs", caption, canvas)


def loss_figure(subject: _Subject) -> Drawing | None:
    """Draw each task's training loss over epochs, in a panel of its own: their sizes do not compare."""
    table = series.over_seeds(series.task_losses(subject.full), "loss", by=("epoch", "task"))
    tasks = list(dict.fromkeys(table["task"]))
    if not tasks:
        return None
    rows = (len(tasks) + 1) // 2
    canvas = subject.sheet(NARROW, 0.5 + 1.5 * rows)
    panels = canvas.subplots(rows, 2, sharex=True, squeeze=False).ravel()
    for axes, task, style in zip(panels, tasks, STYLES, strict=False):
        _line(axes, table[table["task"] == task], style, task)
        axes.set_title(_TASK_TITLES.get(task, task))
    for axes in panels[len(tasks) :]:
        axes.set_visible(False)
    canvas.supxlabel("Epoch", size=8)
    canvas.supylabel("Unweighted training loss", size=8)
    seeds = _averaged(subject.full, spread="band")
    caption = f"Mean unweighted training loss of each task over epochs on {subject.place}; {seeds}."
    return Drawing(f"losses-{subject.slug}", f"Task losses on {subject.place} over epochs", caption, canvas)


def confusion_figure(subject: _Subject) -> Drawing:
    """Draw how often a class was taken for which."""
    counts = series.confusion(subject.full)
    number = counts.to_numpy()
    totals = number.sum(axis=1, keepdims=True)
    shares = np.divide(number, totals, out=np.full(number.shape, np.nan), where=totals > 0)
    canvas = subject.sheet(NARROW, 3.5)
    axes = canvas.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    _grid(axes, _short(counts.index), _short(counts.columns))
    for (row, column), count in np.ndenumerate(number):
        if count:
            share = shares[row, column]
            ink = "white" if share > 0.6 else "black"
            axes.text(column, row, f"{100 * share:.0f}%\n{count}", ha="center", va="center", color=ink, size=6.5)
    axes.set(xlabel="Class of the prediction", ylabel="Class of the label")
    name = f"Acc-{len(counts)}"
    caption = (
        f"Confusion matrix of {name} on {subject.place}, test split: share of the clips of each label's class, and "
        f"their number, {'summed over' if len(subject.full.seeds) > 1 else 'of'} {_seeds(subject.full)}."
    )
    return Drawing(f"confusion-{subject.slug}", f"Confusion matrix of {name} on {subject.place}", caption, canvas)


def _short(names: Iterable[str]) -> list[str]:
    """Set class names for an axis: a true minus, and an interval over two lines."""
    return [name.replace("-", "−").replace(", ", ",\n") for name in names]


def bin_figure(subject: _Subject) -> Drawing:
    """Draw the MAE for each class of the labels, of DMMSA and of ConFEDE where it is there."""
    systems = [subject.full, *(one for one in subject.group if series.label(one) == "ConFEDE")]
    tables = [series.mae_by_bin(system) for system in systems]
    canvas = subject.sheet(NARROW, 2.6)
    axes = canvas.subplots()
    width = 0.8 / len(systems)
    for place, (system, table, style) in enumerate(zip(systems, tables, STYLES, strict=False)):
        at = np.arange(len(table)) + (place - (len(systems) - 1) / 2) * width
        spread = table["sd"].to_numpy() if table["sd"].notna().all() else None
        axes.bar(
            *(at, table["mean"], width), yerr=spread, color=style.color, hatch=style.hatch, edgecolor="white", lw=0,
            label=series.label(system), error_kw={"elinewidth": 0.8, "capsize": 2},
        )  # fmt: skip
    names = [f"{name}\nn={clips}" for name, clips in zip(_short(tables[0]["name"]), tables[0]["clips"], strict=True)]
    axes.set_xticks(range(len(names)), names)
    axes.set(xlabel="Class of the label, and how many clips", ylabel="MAE")
    _legend_above(axes, columns=len(systems))
    seeds = _averaged(*systems, spread="whiskers")
    caption = f"MAE on the test split of {subject.place} by class of the label; {seeds}."
    return Drawing(f"mae-by-label-{subject.slug}", f"MAE by label on {subject.place}", caption, canvas)


_DRAWINGS: tuple[Callable[[_Subject], Drawing | None], ...] = (
    validation_figure,
    similarity_figure,
    prediction_figure,
    weight_figure,
    loss_figure,
    confusion_figure,
    bin_figure,
)
