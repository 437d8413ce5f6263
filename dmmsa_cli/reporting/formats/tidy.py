"""A report as tidy CSV: one row a value, for programs; no text in it is a formula to a spreadsheet."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dmmsa_cli.data.prediction_table import escape_formula
from dmmsa_cli.plain import spelled_out
from dmmsa_cli.reporting.contents import Comparison, Report, Row, Table
from dmmsa_cli.reporting.groups import common_seeds
from dmmsa_cli.reporting.results import SCORES
from dmmsa_cli.reporting.runs import System

TABLE_FIELDS = (
    *("table", "title", "dataset", "row", "kind", "conditions", "n_seeds"),
    *("metric", "unit", "statistic", "value", "data_hash", "synthetic"),
)
COMPARISON_FIELDS = (
    *("dataset", "first", "second", "first_run", "second_run", "seeds", "n_seeds"),
    *("metric", "unit", "difference", "low", "high", "seeds_sd", "verdict"),
    *("videos", "clips", "data_hash", "synthetic"),
)


def tables_csv(report: Report) -> str:
    """Write every number of every table: published ones as printed, ours unrounded."""
    return _csv(TABLE_FIELDS, (values for table in report.tables for row in table.rows for values in _row(table, row)))


def comparisons_csv(report: Report) -> str:
    """Write every comparison, a row for each metric; differences of accuracies in percentage points."""
    return _csv(COMPARISON_FIELDS, (values for comparison in report.comparisons for values in _pair(comparison)))


def _row(table: Table, row: Row) -> Iterator[dict[str, object]]:
    system = row.system
    about = {
        "table": table.id,
        "title": table.title,
        "dataset": table.dataset,
        "row": row.label,
        "kind": "ours" if system else "published",
        "conditions": system.conditions if system else "",
        "n_seeds": row.seeds if system else "",
        "data_hash": system.data_hash if system else "",
        "synthetic": _yes(table.synthetic),
    }
    for column, cell in zip(table.columns, row.cells, strict=True):
        for metric, text in zip(column.metrics, cell.text.split("/"), strict=True):
            measured = {"mean": row.values.get(metric), "sd": row.sd.get(metric)} if system else {}
            published = {"published": None if text == "-" else text, "published sd": row.sd.get(metric)}
            printed = published if system is None else {}
            for statistic, value in (measured | printed).items():
                if value is not None:
                    yield about | {"metric": metric, "unit": _unit(metric), "statistic": statistic, "value": value}


def _pair(comparison: Comparison) -> Iterator[dict[str, object]]:
    seeds = common_seeds(comparison.first, comparison.second)
    for metric, found in comparison.differences.items():
        factor = 1 if metric in SCORES else 100
        numbers = {
            "difference": found.value,
            "low": found.low,
            "high": found.high,
            "seeds_sd": found.seeds_sd,
        }
        yield {
            "dataset": comparison.first.dataset,
            "first": comparison.first_label,
            "second": comparison.second_label,
            "first_run": _run(comparison.first),
            "second_run": _run(comparison.second),
            "seeds": " ".join(map(str, seeds)),
            "n_seeds": len(seeds),
            "metric": metric,
            "unit": _unit(metric),
            **{name: "" if math.isnan(number) else factor * number for name, number in numbers.items()},
            "verdict": comparison.verdict(metric),
            "videos": "" if comparison.videos is None else comparison.videos,
            "clips": comparison.clips,
            "data_hash": comparison.first.data_hash,
            "synthetic": _yes(comparison.first.synthetic),
        }


def _run(system: System) -> str:
    """Return where the runs of a system lie in the folder of runs, seed by seed."""
    return f"{system.dataset}/{system.recipe_name}/{system.variant}"


def _unit(metric: str) -> str:
    return "score" if metric in SCORES else "percent"


def _yes(value: bool) -> str:
    return "true" if value else "false"


def _cell(value: object) -> object:
    return escape_formula(spelled_out(value)) if isinstance(value, str) else value


def _csv(fields: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    text = io.StringIO()
    # All texts are quoted, or a lone carriage return in one would end its row.
    writer = csv.DictWriter(text, fields, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()
