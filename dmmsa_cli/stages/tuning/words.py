"""What is said of a tuning in more than one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dmmsa_cli.plain import plural


def score_in_words(seeds: Sequence[int], folds: int | None) -> str:
    """Say what a trial is scored by."""
    named = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    if folds is None:
        return f"validation MAE, mean of {named}"
    return f"MAE over {plural(folds, 'fold')} by video of the training and validation splits, mean of {named}"


def counted(counts: Mapping[str, int]) -> str:
    """Say how trials ended: `40 (21 scored, 19 stopped early)`."""
    ended = ", ".join(f"{number} {why}" for why, number in counts.items() if number)
    return f"{sum(counts.values())} ({ended})"
