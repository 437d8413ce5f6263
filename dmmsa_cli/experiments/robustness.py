"""What a run still says of clips that lack something: its metrics by rate and draw, and by the modalities present."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import combinations
from typing import Any

from dmmsa_cli.errors import InvalidInput
from dmmsa_cli.metrics import Metrics, summarise, without_nan

FILE = "missing.json"
ORDER = "tav"  # in which the field names modalities: T, A, V, TA ...
MOST_RATES = 101

_HOW = "Give them as 0:0.9:0.1 (from, to, step) or as 0,0.3,0.6, each in [0, 1]."


@dataclass(frozen=True)
class Robustness:
    """What was found of one run on one split.

    Raises:
        ValueError: there is no rate, or no draw of one.
    """

    draws: int
    """How often clips were corrupted at each rate; at 0 and 1, where no chance is left, once."""
    rates: Mapping[float, Sequence[Metrics]]
    """By rate, ascending: the metrics of each draw."""
    present: Mapping[str, Metrics]
    """By the modalities that were there, the others left out whole: `T`, `A`, `TA` ...; the last is all the run has."""

    def __post_init__(self) -> None:
        if not self.rates or not all(self.rates.values()) or not self.present:
            raise ValueError("nothing was measured")

    def at(self, rate: float) -> Metrics:
        """Return the mean over the draws at a rate."""
        return summarise(self.rates[rate]).mean

    @property
    def over_rates(self) -> Metrics:
        """The mean over the rates, as LNLN's tables have it; NaN where a metric is undefined at one of them."""
        return summarise([self.at(rate) for rate in self.rates]).mean

    @property
    def grid(self) -> tuple[tuple[float, ...], int]:
        """Rates and draws: means over other ones can't be compared."""
        return tuple(self.rates), self.draws

    def to_json(self) -> dict[str, Any]:
        """Return fractions, unrounded."""
        return {
            "draws": self.draws,
            "rates": {repr(rate): [without_nan(one) for one in found] for rate, found in self.rates.items()},
            "present": {name: without_nan(found) for name, found in self.present.items()},
        }

    @classmethod
    def from_json(cls, values: Any) -> Robustness:  # noqa: ANN401  (whatever lies in a file)
        """Read it back.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: it is none.
        """
        rates = {float(rate): [_metrics(one) for one in found] for rate, found in values["rates"].items()}
        present = {str(name): _metrics(found) for name, found in values["present"].items()}
        return cls(int(values["draws"]), dict(sorted(rates.items())), present)


def _metrics(values: Mapping[str, float | None]) -> Metrics:
    return {name: float("nan") if value is None else float(value) for name, value in values.items()}


def presences(modalities: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return which modalities are left out, by those that are there: one by one, in pairs, all.

    Example:
        >>> presences("ta")
        {'T': ('a',), 'A': ('t',), 'TA': ()}
    """
    own = [modality for modality in ORDER if modality in tuple(modalities)]
    chosen = [some for size in range(1, len(own) + 1) for some in combinations(own, size)]
    return {"".join(some).upper(): tuple(m for m in own if m not in some) for some in chosen}


def parse_rates(text: str) -> tuple[float, ...]:
    """Read `0:0.9:0.1`, both ends included, or `0,0.3,0.6`; ascending, each once.

    Raises:
        InvalidInput: it is neither, or a rate is not in [0, 1].

    Example:
        >>> parse_rates("0:0.3:0.1")
        (0.0, 0.1, 0.2, 0.3)
    """
    try:
        numbers = [Decimal(part.strip()) for part in text.replace(":", ",").split(",")]
    except InvalidOperation:
        numbers = []
    if not numbers or not all(number.is_finite() and 0 <= number <= 1 for number in numbers):
        raise InvalidInput(f"--missing {text} names no rates.", _HOW)
    if ":" not in text:
        return tuple(sorted({float(number) for number in numbers}))
    if len(numbers) != 3 or "," in text or numbers[2] == 0 or numbers[0] > numbers[1]:
        raise InvalidInput(f"--missing {text} leads from no rate to another by steps.", _HOW)
    start, stop, step = numbers
    count = int((stop - start) / step) + 1  # in decimals, so that 0.3 is three steps of 0.1
    if count > MOST_RATES:
        raise InvalidInput(f"--missing {text} names {count:,} rates; {MOST_RATES} are more than enough.", _HOW)
    return tuple(float(start + place * step) for place in range(count))
