"""How `dmmsa evaluate` shows what predictions are worth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported where it is used, to keep --help quick
    from rich.table import Table

    from dmmsa_cli.reporting.worth import Worth, Worths
    from dmmsa_cli.uncertainty import Coverage

    _Covered = tuple[Worth, Coverage]

INTERVALS = (
    "Intervals come from the errors on the validation split. Clips of one video are not exchangeable with others, so "
    "the level is not guaranteed. 'Worst tenth': a tenth of the videos have no more than this."
)


def worth_tables(worth: Worths) -> Iterator[Table]:
    """Give two tables of intervals and one of classes, where there are any; each fits on a narrow screen."""
    covered = [(one, one.coverage) for one in worth.rows if one.coverage]
    if covered:
        yield _intervals(worth.level, covered)
        yield _by_label(worth, covered)
    if any(one.calibration for one in worth.rows):
        yield _classes(worth)


def _intervals(level: float, covered: Sequence[_Covered]) -> Table:
    """Show how often intervals hold the label, in percent, and how wide they are."""
    from dmmsa_cli.uncertainty import percent

    grid = _grid(f"Intervals of {percent(level)}: share of the clips whose label lies within, in percent")
    for title in ("All", "Mean of videos", "Worst tenth", "Mean width"):
        grid.add_column(title, justify="right", no_wrap=True)
    for one, found in covered:
        grid.add_row(_name(one), *map(_share, (found.share, found.videos, found.worst)), f"{found.width:.2f}")
    return grid


def _by_label(worth: Worths, covered: Sequence[_Covered]) -> Table:
    """Show how often they do in each class of the label."""
    grid = _grid("The same by class of the label")
    names = worth.scale.class_names(worth.scale.finest)
    for name, clips in zip(names, covered[0][1].clips, strict=True):
        grid.add_column(name.replace(", ", ",\n") + f"\nn={clips}", justify="right", no_wrap=True)
    for one, found in covered:
        grid.add_row(_name(one), *map(_share, found.by_label))
    return grid


def _share(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f}"


def _classes(worth: Worths) -> Table:
    """Show the expected calibration error of each system that tells classes apart."""
    grid = _grid("Calibration of classes")
    heads = list(dict.fromkeys(head for one in worth.rows for head in one.calibration))
    for head in heads:
        grid.add_column(head, justify="right", no_wrap=True)
    for one in worth.rows:
        if one.calibration:
            found = [one.calibration.get(head) for head in heads]
            grid.add_row(_name(one), *("-" if error is None else f"{error:.4f}" for error in found))
    return grid


def _grid(title: str) -> Table:
    from rich.table import Table

    grid = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1), pad_edge=False)
    grid.add_column("")
    return grid


def _name(one: Worth) -> str:
    """Runs together stand right below the system that they are of."""
    return f"  {one.row.together} runs together" if one.row.together else one.row.title


def about_worth(worth: Worths) -> Iterator[str]:
    """Say what the intervals are, how the calibration error is defined, how sure the metrics of runs together are."""
    from dmmsa_cli.uncertainty import ECE

    if worth.problem:
        yield worth.problem
    if any(one.coverage for one in worth.rows):
        yield INTERVALS
    if any(one.calibration for one in worth.rows):
        yield f"Expected calibration error: {ECE}."
    for one in worth.rows:
        if one.row.together:
            yield _about_together(one, worth.videos)


def _about_together(one: Worth, videos: int | None) -> str:
    from dmmsa_cli.reporting.results import SCORES, metric_name

    def span(metric: str) -> str:
        low, high = one.over_videos[metric]
        return f"{low:.4f} to {high:.4f}" if metric in SCORES else f"{100 * low:.2f} to {100 * high:.2f}"

    drawn = "clips" if videos is None else f"{videos} videos"
    found = [f"{metric_name(metric)} {span(metric)}" for metric in one.over_videos]
    intervals = f"95 % intervals over {drawn}: {', '.join(found)}" if found else "of one video, so without an interval"
    return f"{one.row.title}: {intervals}."
