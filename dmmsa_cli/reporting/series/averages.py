"""Means over the seeds of a system."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd


def over_seeds(table: pd.DataFrame, value: str, by: Sequence[str] = ("epoch",)) -> pd.DataFrame:
    """Average a column over the seeds.

    Only what every seed has is kept: where one stopped early, the mean over the others would jump.

    Args:
        table: with a column `seed`, the column `value` and those of `by`.
        value: what is averaged.
        by: what tells the rows of one seed apart.

    Returns:
        The columns of `by`, then mean, sd (sample standard deviation; NaN for a single seed), seeds.
    """
    found = table.groupby(list(by), sort=False)[value].agg(["mean", "std", "count"]).reset_index()
    found = found.rename(columns={"std": "sd", "count": "seeds"})
    return found[found["seeds"] == table["seed"].nunique()].reset_index(drop=True)


def lowest(curve: pd.DataFrame) -> pd.Series[float]:
    """Return the row of `over_seeds` with the lowest mean; a tie goes to the earlier epoch."""
    return curve.iloc[int(curve["mean"].argmin())]
