"""What a report consists of, before anybody decides how it looks: tables, comparisons, runs, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from dmmsa_cli.reporting.collection import Collection
from dmmsa_cli.reporting.results import Column
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.tunings import TunedRecipe

PRINTED = 1e-4  # the last digit that is printed of a difference; of an accuracy, a hundredth of a point
FEW_DRAWN = 10  # videos or clips; below this many, percentile intervals are known to be too narrow
Mark = Literal["", "best", "second"]


@dataclass(frozen=True)
class Cell:
    """One printed cell."""

    text: str
    """As printed: `83.97/85.70`, `0.7548`, a dash where there is nothing."""
    spread: str = ""
    """The sample standard deviation beside it, as printed without its sign: `0.30/0.17`; empty where there is none."""
    marks: tuple[Mark, ...] = ("",)
    """Best or second best of its column, one for each part of an 'a/b' cell."""


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    label: str
    cells: tuple[Cell, ...]
    """One for each column."""
    values: Mapping[str, float] = field(default_factory=dict)
    """The numbers behind the cells, by metric, as printed (percent for accuracies and F1); for ours unrounded."""
    sd: Mapping[str, float] = field(default_factory=dict)
    """The same for the sample standard deviations of ours."""
    system: System | None = None
    """The runs behind the row; none for a published one."""
    seeds: int = 0
    """How many its numbers are of, for ours."""
    further: bool = False
    """Whether it was published elsewhere than the rows of its table."""
    begins: bool = False
    """Whether a group of rows that are compared with each other begins with it: a line is drawn above it."""

    @property
    def ours(self) -> bool:
        """Whether it was measured here."""
        return self.system is not None


@dataclass(frozen=True)
class Table:
    """One table, with published rows, our own, or both; synthetic data never share one with published numbers."""

    id: str
    """For file names and anchors: `dmmsa-table-3-mosi`, `toy-objectives`."""
    title: str
    """`Table 3, MOSI`, `Ablation of the objective on toy (SYNTHETIC data)`."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    source: str = ""
    """Where the published rows come from."""
    notes: tuple[str, ...] = ()
    """Sentences under the table: what the spread covers, known slips, which command to run where nothing has been."""
    synthetic: bool = False
    dataset: str = ""
    """Name of the dataset, as on the command line."""


@dataclass(frozen=True)
class Difference:
    """Of one metric: first minus second."""

    value: float
    """Mean over the seeds that both have; fractions for accuracies, as in `Metrics`."""
    low: float
    """Of the 95 % interval, bootstrap over videos, or over clips where their ids name no videos."""
    high: float
    seeds_sd: float
    """Sample standard deviation over the seeds; NaN for a single one."""


class Verdict(StrEnum):
    """What an interval says of a difference."""

    NOISE = "within noise"
    FEW = "too few to tell"
    REAL = "more than the noise of the clips"


@dataclass(frozen=True)
class Comparison:
    """The difference between two of our own systems, and whether it is more than noise."""

    first: System
    second: System
    first_label: str
    second_label: str
    differences: Mapping[str, Difference]
    """By metric: `mae`, `corr`, and the accuracies of the metric set; what a seed has as NaN is left out."""
    videos: int | None
    """How many the clips are of, which are what the bootstrap draws; none where ids name no videos: it draws clips."""
    clips: int
    finding: str = ""
    """A sentence that a person can read, and that says the verdict; of where it is found, nothing."""
    place: str = ""
    """The dataset, and what has to be known of its data and conditions: `mosi (MiniLM)`."""

    @property
    def sentence(self) -> str:
        """The finding, and where."""
        return f"On {self.place}, {self.finding}" if self.place else self.finding

    @property
    def drawn(self) -> tuple[int, str]:
        """How many of what the bootstrap draws from: `(31, "videos")`."""
        return (self.clips, "clips") if self.videos is None else (self.videos, "videos")

    def verdict(self, metric: str) -> Verdict:
        """Say whether a difference is more than noise.

        Noise is where the interval holds 0, or where the difference itself is less than any digit that is printed.
        """
        found = self.differences[metric]
        if found.low <= 0 <= found.high or abs(found.value) < PRINTED / 2:
            return Verdict.NOISE
        return Verdict.FEW if self.drawn[0] < FEW_DRAWN else Verdict.REAL


@dataclass(frozen=True)
class Report:
    """Everything that a report shows."""

    collection: Collection
    tables: tuple[Table, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()
    """What a reader should know first: unfinished, unevaluated or damaged runs, an empty folder."""
    tunings: tuple[TunedRecipe, ...] = ()
    """What was tuned, and what came of it."""
    runs_dir: str = "runs"
    made: Mapping[str, str] = field(default_factory=dict)
    """When, with which version, by which command."""
