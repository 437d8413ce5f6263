"""Ranges: which values of an option are worth a trial. Options declare them beside themselves, in `RANGES`.

Nothing here knows a recipe. A dataclass of options says of a field of its own `Range`, `Choices` or `Around`; a file of
one's own says the first two (`experiments/spaces.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dmmsa_cli.plain import shown
from dmmsa_cli.recipe import Choice


@dataclass(frozen=True)
class Range:
    """Every number between two ends, both of them included; whole ones where the option is a whole number."""

    low: float
    high: float
    log: bool = False
    """Whether every power of ten is as likely as any other."""
    step: float | None = None
    """Only low, low + step, ...; null takes every number, or every whole one."""

    def __post_init__(self) -> None:
        if faults := list(self._faults()):
            raise ValueError("; ".join(faults))

    def _faults(self) -> Iterator[str]:
        if self.low > self.high:
            yield f"low: {self.low:g} is above high, {self.high:g}"
        if self.low == self.high:
            yield f"low: {self.low:g} is high too; what has one value belongs into the recipe"
        if self.log and self.low <= 0:
            yield f"low: {self.low:g} has no logarithm; it must be above 0 with log: true"
        if self.step is None:
            return
        if self.log:
            yield "step: there is none with log: true"
        if self.step <= 0:
            yield f"step: {self.step:g} is not above 0"
        elif not _whole((self.high - self.low) / self.step):
            yield f"step: {self.step:g} leads from {self.low:g} not to {self.high:g}"

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool) or not self.low <= value <= self.high:
            return False
        return self.step is None or _whole((value - self.low) / self.step)


@dataclass(frozen=True)
class Choices:
    """Some values, of which none is nearer to another than any."""

    choices: tuple[Any, ...]

    def __post_init__(self) -> None:
        names = self.names
        if len(names) < 2:
            raise ValueError(f"choices: {len(names)} of them; what has one value belongs into the recipe")
        if len(set(names)) < len(names):
            raise ValueError(f"choices: {shown(list(self.choices))} has one twice")

    @property
    def names(self) -> tuple[str, ...]:
        """The values as text, which tells `1`, `true` and `null` apart."""
        return tuple(map(name_of, self.choices))

    def __contains__(self, value: object) -> bool:
        return name_of(value) in self.names


@dataclass(frozen=True)
class Around:
    """From the recipe's own value divided by a factor to that times the factor, on a logarithmic scale."""

    factor: float

    def of(self, value: float) -> Range:
        """Return the range around a value; a whole number has whole ends, and what would have one value two."""
        low, high = value / self.factor, value * self.factor
        if isinstance(value, int):
            low, high = max(1, round(low)), max(2, round(high))
        return Range(float(f"{low:.6g}"), float(f"{high:.6g}"), log=True)


def _whole(steps: float) -> bool:
    """Whether a number of steps is a whole one, but for rounding."""
    return abs(steps - round(steps)) <= 1e-9 * max(1.0, abs(steps))


Ranges = Mapping[str, Range | Choices | Around]
"""By the name of a field of the dataclass that declares them."""


def name_of(value: object) -> str:
    """Return a choice as text: what YAML calls it, lists as `[2, 3]`."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(name_of, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def declared_by(options: type) -> dict[str, Range | Choices | Around]:
    """Return what a dataclass of options declares, with what those declare that it stands on."""
    return {name: of for kind in reversed(options.__mro__) for name, of in kind.__dict__.get("RANGES", {}).items()}


def ranges_in(value: object, path: str) -> Iterator[tuple[str, Range | Choices]]:
    """Yield what options, and those within them, declare: dotted path and range.

    What a recipe goes without (`enabled: false`, or a number that is null or 0 and has no surroundings) is left out.

    Args:
        value: a dataclass of options, or a row of a table with its options; anything else declares nothing.
        path: of the value.
    """
    if isinstance(value, Choice):
        value = value.options
    if not dataclasses.is_dataclass(value) or isinstance(value, type) or not getattr(value, "enabled", True):
        return
    for name, declared in declared_by(type(value)).items():
        own = getattr(value, name)
        if own is not None and not (isinstance(declared, Around) and own == 0):
            yield f"{path}.{name}", declared.of(own) if isinstance(declared, Around) else declared
    for field in dataclasses.fields(value):
        yield from ranges_in(getattr(value, field.name), f"{path}.{field.name}")
