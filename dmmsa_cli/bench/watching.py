"""Listening to the loop while it runs: clocks, and what its batches hold."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmmsa_cli.data.views import Batch, Companions, EpochBatches


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all that it was asked for; the CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def now(device: torch.device) -> float:
    """Read the clock, in seconds, once the device has done its work."""
    synchronise(device)
    return time.perf_counter()


class Stopwatch:
    """Takes marks without making a GPU wait, and tells the seconds between them when all is done."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._marks: list[float] = []
        self._events: list[torch.cuda.Event] = []

    def mark(self) -> None:
        """Take a mark, in the order of the device's work."""
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's own lack of a hint
            event.record()
            self._events.append(event)
        else:
            self._marks.append(now(self.device))

    def seconds(self) -> list[float]:
        """Return the seconds from each mark to the next."""
        if self._events:
            synchronise(self.device)
            return [a.elapsed_time(b) / 1000 for a, b in zip(self._events, self._events[1:], strict=False)]
        return [b - a for a, b in zip(self._marks, self._marks[1:], strict=False)]


@dataclass
class Seen:
    """What was seen of an epoch while it ran."""

    device: torch.device
    requested: float = 0.0
    """When its batches were asked for."""
    refreshed: float = 0.0
    """When the objective had looked at the training split, and the first batch was asked for."""
    validation: float = 0.0
    """Seconds."""
    rows: list[NDArray[np.int64]] = field(default_factory=list)
    """Of each step, companions included."""
    real: int = 0
    slots: int = 0

    @cached_property
    def stopwatch(self) -> Stopwatch:
        """Marks the beginning of the first step and the end of each."""
        return Stopwatch(self.device)

    def begin(self) -> None:
        """Take note that the steps begin."""
        self.refreshed = now(self.device)
        self.stopwatch.mark()

    def note(self, batch: Batch) -> None:
        """Take note of a step's batch."""
        self.rows.append(batch.rows.numpy())
        real, slots = positions(batch)
        self.real, self.slots = self.real + real, self.slots + slots


@dataclass(frozen=True)
class Watched(EpochBatches):
    """Batches that tell when the first of them is asked for, and which they are."""

    seen: Seen = field(kw_only=True)

    def starting_at(self, step: int, companions: Companions = lambda rows: None) -> Iterator[Batch]:
        """Yield the batches as they are, each seen on its way."""
        self.seen.begin()
        for batch in super().starting_at(step, companions):
            self.seen.note(batch)
            yield batch


def positions(batch: Batch) -> tuple[int, int]:
    """Return how many positions of a batch's sequences are real, and how many there are with padding."""
    sequences = [value for value in batch.inputs.values() if not isinstance(value, Tensor)]
    return sum(value.real for value in sequences), sum(value.slots for value in sequences)
