"""What the predictions of evaluated runs are worth: coverage of intervals, calibration of classes, runs together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dmmsa_cli.data.videos import names_videos, videos_of
from dmmsa_cli.errors import InvalidInput
from dmmsa_cli.reporting.bootstrap import LEVEL as OVER_VIDEOS
from dmmsa_cli.reporting.bootstrap import Side, interval
from dmmsa_cli.reporting.runs import SPLIT
from dmmsa_cli.reporting.series.intervals import Foretold, measure
from dmmsa_cli.reporting.series.scale import Scale
from dmmsa_cli.stages.evaluation import Evaluation, Row
from dmmsa_cli.uncertainty import ECE, Coverage, mean_coverage, reliability


@dataclass(frozen=True)
class Worth:
    """What the predictions of one row are worth."""

    row: Row
    coverage: Coverage | None
    """Of its intervals on the test split; none where the validation split has too few clips for the level."""
    calibration: Mapping[str, float]
    """Expected calibration error by the head that tells classes apart; a mean over runs."""
    over_videos: Mapping[str, tuple[float, float]]
    """Of runs together: the 95 % interval of each metric, a bootstrap over videos; NaN where it is undefined."""


@dataclass(frozen=True)
class Worths:
    """What all rows of an evaluation are worth."""

    level: float
    rows: tuple[Worth, ...]
    problem: str = ""
    """Why there are no intervals, in one sentence."""
    scale: Scale = Scale("mosi", 3.0)
    videos: int | None = None
    """How many the clips are of; none where ids name no videos."""


def worths(table: Evaluation, level: float) -> Worths:
    """Measure what the rows of fused models are worth.

    Intervals and classes are measured on the test split alone: on the validation split, which intervals are made from,
    and on the training split they would hold too much.

    Args:
        table: evaluated runs.
        level: of the intervals.
    """
    scores = Scale("sims" if table.spec.metrics == "sims" else "mosi", table.spec.score_range)
    problems: dict[str, None] = {}
    rows = tuple(
        Worth(
            row=row,
            coverage=_coverage(table, row, scores, level, problems),
            calibration=_calibration(table, row, scores) if table.split == SPLIT else {},
            over_videos=_over_videos(table, row, scores) if row.together else {},
        )
        for row in table.systems
        if row.predicted is not None
    )
    videos = len(set(videos_of(table.ids))) if names_videos(table.ids) else None
    return Worths(level, rows, " ".join(problems), scores, videos)


def to_json(table: Evaluation, found: Worths) -> dict[str, Any]:
    """Return the evaluation with `intervals` and `classes` beside its systems, and an interval of what is together."""
    values = table.to_json()
    for together in values.get("together", []):
        (one,) = [one for one in found.rows if one.row.together and one.row.title == together["system"]]
        ends = {name: list(map(_number, pair)) for name, pair in one.over_videos.items()}
        together["interval_over_videos"] = {"level": OVER_VIDEOS, "videos": found.videos, "ends": ends}
    covered = [one for one in found.rows if one.coverage is not None]
    if covered:
        rows = [_coverage_json(one, found.scale) for one in covered]
        values["intervals"] = {"level": found.level, "from": "validation split", "systems": rows}
    calibrated = [one for one in found.rows if one.calibration]
    if calibrated:
        errors = [{"system": one.row.title, "calibration_error": dict(one.calibration)} for one in calibrated]
        values["classes"] = {"calibration_error_is": ECE, "systems": errors}
    return values


def _coverage_json(one: Worth, scores: Scale) -> dict[str, Any]:
    found = one.coverage
    assert found is not None  # the caller has looked
    bins = zip(scores.class_names(scores.finest), found.by_label, found.clips, strict=True)
    return {
        "system": one.row.title,
        "coverage": found.share,
        "mean_width": found.width,
        "by_video": {"mean": _number(found.videos), "tenth_percentile": _number(found.worst)},
        "by_label": [{"label": name, "coverage": _number(share), "clips": clips} for name, share, clips in bins],
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


# --- what is measured -----------------------------------------------------------------------------------------------


def _coverage(table: Evaluation, row: Row, scores: Scale, level: float, problems: dict[str, None]) -> Coverage | None:
    if table.split != SPLIT or row.predicted is None:
        return None
    pairs = zip(row.predicted.scores, row.predicted.validation, strict=True)
    try:
        return mean_coverage(
            [
                measure(scores, table.ids, Foretold(table.labels, own), Foretold(table.validation_labels, valid), level)
                for own, valid in pairs
            ]
        )
    except InvalidInput as error:
        problems[f"No intervals. {error.what}"] = None
        return None


def _calibration(table: Evaluation, row: Row, scores: Scale) -> dict[str, float]:
    found = {}
    for name, runs in row.predicted.classes.items() if row.predicted else ():
        labels = scores.classes(table.labels, runs.shape[-1])
        found[name] = float(np.mean([reliability(run, labels).calibration_error for run in runs]))
    return found


def _over_videos(table: Evaluation, row: Row, scores: Scale) -> dict[str, tuple[float, float]]:
    assert row.predicted is not None  # the caller has looked
    clips = pd.DataFrame({"id": table.ids, "video": videos_of(table.ids), "y_true": table.labels})
    side = Side(clips, scores.clip(row.predicted.scores), scores)
    return {metric: interval(side, metric) for metric in side.statistics()} if clips["video"].nunique() > 1 else {}
