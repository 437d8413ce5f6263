"""The results that the papers print, read from `published.yaml`: data, and which runs of ours stand beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from dmmsa_cli.recipe import parse, read_yaml
from dmmsa_cli.reporting.results import SCORES, Column

FILE = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True)
class Ours:
    """Which runs of ours answer to a published row."""

    objective: str
    variant: str
    commands: tuple[str, ...]
    """Make them, one after the other."""
    model: str = "feature_decomposition"
    remark: str = ""
    """What is not the paper's, for the label."""


@dataclass(frozen=True)
class PublishedRow:
    """One row as printed."""

    name: str
    cells: tuple[str | None, ...]
    """One for each metric, with the decimals of the paper; None is a dash."""
    ours: Ours | None = None
    sd: tuple[str | None, ...] = ()
    """Standard deviations over the seeds, where any are printed: one for each metric."""

    def __post_init__(self) -> None:
        for text in (*self.cells, *self.sd):
            if text is not None and not _is_number(text):
                raise ValueError(f"cells: {text!r} is no number")

    @property
    def system(self) -> str:
        """What the row is about: `MulT(A)` and `MulT` are one system, on other data."""
        return self.name.removesuffix("(A)")


@dataclass(frozen=True)
class Addition:
    """Runs of ours that stand at the end of a table, though no row of it is theirs."""

    name: str
    ours: Ours


@dataclass(frozen=True)
class Heading:
    """A printed column: one metric, or two in an 'a/b' cell."""

    title: str
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Paper:
    """Where numbers come from."""

    id: str
    name: str
    reference: str


@dataclass(frozen=True)
class PublishedTable:
    """One table of a paper."""

    id: str
    paper: str
    title: str
    dataset: str
    columns: tuple[Heading, ...]
    rows: tuple[PublishedRow, ...]
    at_end: tuple[Addition, ...] = ()
    notes: tuple[str, ...] = ()
    further: tuple[str, ...] = ()
    """Tables of the same dataset whose rows stand below those of the same system too."""
    called: str = ""
    """What its rows are called where they stand in another table."""

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError("rows: one name stands there twice")
        for row in self.rows:
            for cells in filter(None, (row.cells, row.sd)):
                if len(cells) != len(self.metrics):
                    raise ValueError(f"rows: {row.name} has {len(cells)} cells for {len(self.metrics)} metrics")

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Of all columns, in their order."""
        return tuple(metric for heading in self.columns for metric in heading.metrics)

    @cached_property
    def as_columns(self) -> tuple[Column, ...]:
        """The columns as a report prints them."""
        return tuple(Column(h.title, h.metrics, percent=not SCORES.issuperset(h.metrics)) for h in self.columns)

    def texts(self, row: PublishedRow) -> Mapping[str, str | None]:
        """Return what a row has for each metric."""
        return dict(zip(self.metrics, row.cells, strict=True))

    def spreads(self, row: PublishedRow) -> Mapping[str, str | None]:
        """Return the standard deviations that a row has, by metric."""
        return dict(zip(self.metrics, row.sd, strict=True)) if row.sd else {}

    def decimals(self, column: Column) -> int:
        """Return how many decimals the most precise printed number of a column has."""
        texts = [self.texts(row)[metric] for row in self.rows for metric in column.metrics]
        return max(len((text or "").partition(".")[2]) for text in texts)


@dataclass(frozen=True)
class Published:
    """All that the project knows of the papers' results."""

    recipes: tuple[str, ...]
    """Recipes that need no name in the label of a row."""
    papers: tuple[Paper, ...]
    tables: tuple[PublishedTable, ...]

    def __post_init__(self) -> None:
        ids = [table.id for table in self.tables]
        if len(set(ids)) < len(ids):
            raise ValueError("tables: one id stands there twice")
        unknown = {table.paper for table in self.tables} - {paper.id for paper in self.papers}
        if unknown:
            raise ValueError(f"tables: no paper is called {', '.join(sorted(unknown))}")
        for table in self.tables:
            for name in table.further:
                other = next((one for one in self.tables if one.id == name), None)
                if other is None or not other.called or other.dataset != table.dataset:
                    raise ValueError(f"tables: {name}, further to {table.id}, is none of its dataset that is `called`")

    def further(self, table: PublishedTable) -> list[PublishedTable]:
        """Return the tables whose rows stand in another one too."""
        by_id = {one.id: one for one in self.tables}
        return [by_id[name] for name in table.further]

    def name(self, table: PublishedTable) -> str:
        """Return what the paper of a table is called."""
        return next(paper.name for paper in self.papers if paper.id == table.paper)

    def reference(self, table: PublishedTable) -> str:
        """Return where a table was published."""
        return next(paper.reference for paper in self.papers if paper.id == table.paper)


def printed_maes(dataset: str) -> dict[str, list[tuple[str, float]]]:
    """Return what is printed of MAE on a dataset, by system: in DMMSA's own table first, then in further ones.

    Args:
        dataset: its name, without what says that it is aligned to the words.

    Returns:
        System -> pairs of the paper's name and the MAE.
    """
    published = load_published()
    found: dict[str, list[tuple[str, float]]] = {}
    for table in published.tables:
        if table.further and table.dataset == dataset:
            for one in (table, *published.further(table)):
                for row in one.rows:
                    mae = one.texts(row).get("mae")
                    if mae is not None:
                        found.setdefault(row.system, []).append(
                            (one.called or f"{published.name(one)}'s paper", float(mae))
                        )
    return found


@cache
def load_published(path: Path = FILE) -> Published:
    """Read the published results.

    Raises:
        InvalidRecipe: with every error of the file.
    """
    return parse(Published, read_yaml(path), {}, str(path))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
