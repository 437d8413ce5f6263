"""What is found on the way through a file: faults, repairs, and what should be said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from dmmsa_cli.data.words import printable
from dmmsa_cli.errors import InvalidDataset

MOST_SHOWN = 50  # faults in a table

Report = Callable[[str], None]
"""Takes what is wrong with one key of one split."""


class Fault(NamedTuple):
    """Something that can't be repaired: in which split, under which key, what."""

    split: str
    key: str
    what: str


@dataclass
class Findings:
    """Collects what is wrong, what is repaired and what should be said."""

    faults: list[Fault] = field(default_factory=list)
    repairs: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)

    def add(self, split: str, key: str, what: str) -> None:
        """Note a fault."""
        self.faults.append(Fault(split, key, what))

    def at(self, split: str, key: str) -> Report:
        """Return what notes the faults of one key of one split."""
        return partial(self.add, split, key)

    def take(self, other: Findings) -> None:
        """Take over all that another collection has."""
        self.faults += other.faults
        self.repairs.update(other.repairs)
        self.warnings += other.warnings

    def raise_faults(self) -> None:
        """Raise what was found, if it can't be repaired.

        Raises:
            InvalidDataset: with a table of all faults.
        """
        if self.faults:
            raise invalid(self.faults)


def invalid(faults: Sequence[Fault]) -> InvalidDataset:
    """Return the error for a file with these faults."""
    rows = [Fault("split", "key", "what"), *(Fault(*map(sentence, fault)) for fault in faults[:MOST_SHOWN])]
    first, second = (max(len(fault[i]) for fault in rows) for i in (0, 1))
    lines = [f"  {split:<{first}}  {key:<{second}}  {what}" for split, key, what in rows]
    if len(faults) > MOST_SHOWN:
        lines.append(f"  ... and {len(faults) - MOST_SHOWN:,} more")
    count = "1 fault" if len(faults) == 1 else f"{len(faults):,} faults"
    return InvalidDataset(
        f"The file can't be used; it has {count}:\n" + "\n".join(lines),
        "Correct the file, or check that it is the one you meant and, for a dataset of your own, its --spec.",
    )


def sentence(text: str) -> str:
    """Return a sentence of ours, in which a stranger's names may stand, as it can be printed."""
    return printable(text, 300)


def counted(count: int, noun: str) -> str:
    """Say how many of something are."""
    return f"1 {noun} is" if count == 1 else f"{count:,} {noun}s are"


def some(values: Iterable[str], most: int = 3, between: str = ", ") -> str:
    """Name the first of several."""
    listed = list(values)
    return between.join(printable(value, 60) for value in listed[:most]) + (", ..." if len(listed) > most else "")
