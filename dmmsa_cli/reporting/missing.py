"""What runs say of clips that lack something (`evaluate --missing`): read, checked, and put together by system."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dmmsa_cli.commands import evaluate_run
from dmmsa_cli.errors import RunMismatch
from dmmsa_cli.experiments.robustness import FILE, Robustness
from dmmsa_cli.metrics import Metrics, Summary, summarise
from dmmsa_cli.plain import read_json
from dmmsa_cli.reporting.runs import SPLIT, Run, System
from dmmsa_cli.training.run import MADE_FROM

PROTOCOL = "Towards Robust Multimodal Sentiment Analysis with Incomplete Data, NeurIPS 2024"
LEGEND = (
    "T, A, V: the modalities that are there; of the others every token is [UNK], every frame zero. A dash: undefined, "
    "as the correlation of predictions that are all the same."
)

Grid = tuple[tuple[float, ...], int]
"""Rates and draws: only what was measured on the same ones stands in one table."""


def robustness_of(run: Run) -> Robustness | None:
    """Read what was found of a run on incomplete clips of the test split; none where nobody looked.

    Raises:
        RunMismatch: missing.json is damaged, or was made from other weights or data than the run has.
    """
    path = run.folder / FILE
    again = f"Measure it again: `{evaluate_run(run.folder, missing='0:0.9:0.1')}`."
    if not path.exists():
        return None
    try:
        values = read_json(path)
        if SPLIT not in values:
            return None
        found, made_from = Robustness.from_json(values[SPLIT]), values[MADE_FROM][SPLIT]
        metrics = [*found.present.values(), *(one for draws in found.rates.values() for one in draws)]
        whole = found.draws > 0 and all(0 <= rate <= 1 for rate in found.rates)
        whole = whole and all(run.metrics.keys() <= one.keys() for one in metrics)
    except (OSError, AttributeError, KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise RunMismatch(f"{path} is damaged: it lacks metrics, or one is no number.", again)
    if made_from != run.made_from:
        raise RunMismatch(f"{path} was measured on other weights or data than the run now has.", again)
    return found


@dataclass(frozen=True)
class Robust:
    """A system, and what those of its runs say of incomplete clips that were measured on the same rates."""

    system: System
    found: tuple[Robustness, ...]
    """At least one, all of one grid."""

    @property
    def grid(self) -> Grid:
        """Rates and draws."""
        return self.found[0].grid

    @property
    def seeds(self) -> str:
        """How many runs stand behind it: `5 seeds`, `3 of 5 seeds`."""
        few, all_of_them = len(self.found), len(self.system.runs)
        return f"{few} of {all_of_them} seeds" if few < all_of_them else f"{few} seed{'s' * (few != 1)}"

    def at(self, rate: float) -> Summary:
        """Return the mean over draws and seeds at a rate, and the spread over seeds."""
        return summarise([one.at(rate) for one in self.found])

    @property
    def over_rates(self) -> Summary:
        """The mean over rates, draws and seeds, and the spread over seeds."""
        return summarise([one.over_rates for one in self.found])

    def present(self, name: str) -> Summary | None:
        """Return what it says where these modalities are there; none where it does not know one of them."""
        found: list[Metrics] = [one.present[name] for one in self.found if name in one.present]
        return summarise(found) if found else None


def robust(systems: Sequence[System]) -> list[Robust]:
    """Return the systems that were measured on incomplete clips, each on the rates that most of its runs have."""
    found = []
    for system in systems:
        alike: dict[Grid, list[Robustness]] = {}
        for run in system.runs:
            if (one := _readable(run)) is not None:
                alike.setdefault(one.grid, []).append(one)
        if alike:
            most: list[Robustness] = max(alike.values(), key=len)
            found.append(Robust(system, tuple(most)))
    return found


def by_grid(systems: Sequence[System]) -> dict[Grid, list[Robust]]:
    """Put together the systems that were measured on the same rates and draws."""
    found: dict[Grid, list[Robust]] = {}
    for one in robust(systems):
        found.setdefault(one.grid, []).append(one)
    return found


def _readable(run: Run) -> Robustness | None:
    try:
        return robustness_of(run)
    except RunMismatch:
        return None  # `faults` tells it


def faults(systems: Sequence[System]) -> Iterator[RunMismatch]:
    """Yield why what was found of a run on incomplete clips can't be shown."""
    for run in (run for system in systems for run in system.runs):
        try:
            robustness_of(run)
        except RunMismatch as error:
            yield error


# --- words ----------------------------------------------------------------------------------------------------------


def rate_name(rate: float) -> str:
    """Print a rate: `0.3`; `0` where clips are complete."""
    return f"{rate:g}"


def rates_name(rates: Sequence[float]) -> str:
    """Name the rates that a mean is over: `0 to 0.9 (10 rates)`; one alone by itself."""
    if len(rates) == 1:
        return rate_name(rates[0])
    return f"{rate_name(rates[0])} to {rate_name(rates[-1])} ({len(rates)} rates)"


def about_protocol(rates: Sequence[float], draws: int) -> Iterator[str]:
    """Say what was done to the clips."""
    drawn = f", the mean of {draws} draws that are the same for all runs" if any(0 < rate < 1 for rate in rates) else ""
    yield (
        "Missing data: at rate r each token is [UNK] and each frame of audio and vision zero with probability r, as in "
        f"LNLN's protocol ({PROTOCOL}){drawn}."
    )
