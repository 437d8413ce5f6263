"""What of a gain is left on seeds that nothing was chosen by.

The best of many trials is the best for two reasons: what it tries is good, and its seeds were lucky. Only the first is
there again with other seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dmmsa_cli.plain import plural


@dataclass(frozen=True)
class Luck:
    """Scores (validation MAE, the lower the better) of the best trial's recipe and of the one that it started from."""

    own: tuple[float, ...]
    """Of the best trial, by the seeds of the trials."""
    start_own: tuple[float, ...]
    """Of the starting recipe, by the same."""
    fresh: tuple[float, ...]
    """Of the best trial's recipe, by fresh seeds."""
    start_fresh: tuple[float, ...]
    """Of the starting recipe, by the same."""

    @property
    def apparent(self) -> float:
        """The gain over the starting recipe that the trials show."""
        return _mean(self.start_own) - _mean(self.own)

    @property
    def gains(self) -> tuple[float, ...]:
        """The gain with each fresh seed."""
        return tuple(start - found for start, found in zip(self.start_fresh, self.fresh, strict=True))

    @property
    def gain(self) -> float:
        """Their mean: what is left of the apparent one."""
        return _mean(self.gains)

    @property
    def optimism(self) -> float:
        """How much worse the best trial's recipe is with fresh seeds than with those that it was chosen by."""
        return _mean(self.fresh) - _mean(self.own)

    @property
    def better(self) -> bool:
        """Whether the found recipe is better with fresh seeds, on average."""
        return self.gain > 0

    def verdict(self) -> str:
        """Say whether the found recipe beats the starting one.

        Example:
            >>> Luck((0.7,), (0.8,), (0.75, 0.79), (0.8, 0.8)).verdict()
            'It is better with each of 2 fresh seeds, by 0.0300 on average.'
        """
        if (self.own, self.fresh) == (self.start_own, self.start_fresh):
            return "It is the starting recipe itself: no trial was better."
        won = sum(gain > 0 for gain in self.gains)
        seeds = plural(len(self.gains), "fresh seed")
        if not self.better:
            worse = f"worse by {-self.gain:.4f}" if self.gain < 0 else "just the same"
            return f"It is NOT better on fresh seeds: with {seeds} it is {worse} on average, better with {won} of them."
        if won < len(self.gains):
            return f"It is better by {self.gain:.4f} on average over {seeds}, but with {won} of them only."
        return f"It is better with each of {seeds}, by {self.gain:.4f} on average."

    def in_words(self) -> list[str]:
        """Say what the trials showed, what fresh seeds show, and how much of the gain was luck; a sentence each."""
        kept = f" ({100 * self.gain / self.apparent:.0f} % of it is left)" if min(self.apparent, self.gain) > 0 else ""
        return [
            f"With the trials' own seeds: {_listed(self.own)}; the starting recipe {_listed(self.start_own)}: "
            f"a gain of {self.apparent:.4f}.",
            f"With fresh seeds: {_listed(self.fresh)}; the starting recipe {_listed(self.start_fresh)}: "
            f"a gain of {self.gain:.4f}{kept}, by seed {', '.join(f'{gain:.4f}' for gain in self.gains)}.",
            f"With fresh seeds it is {abs(self.optimism):.4f} {'worse' if self.optimism >= 0 else 'better'} than with "
            "those that it was chosen by.",
            self.verdict(),
        ]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _listed(values: Sequence[float]) -> str:
    return f"{_mean(values):.4f} ({', '.join(f'{value:.4f}' for value in values)})"
