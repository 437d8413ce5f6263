"""The paired bootstrap over videos: the difference of two systems in every metric, and its interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dmmsa_cli.errors import RunMismatch
from dmmsa_cli.metrics import Scores
from dmmsa_cli.reporting.contents import Difference
from dmmsa_cli.reporting.runs import System, evaluate_again
from dmmsa_cli.reporting.series.predictions import absolute_errors, predictions
from dmmsa_cli.reporting.series.scale import Scale, scale

RESAMPLES = 10_000
LEVEL = 0.95
BOOTSTRAP_SEED = 20250605  # fixed: the same runs give the same report
_DRAWS_AT_ONCE = 1_000  # bounds memory: (draws, videos) float64

Floats = NDArray[np.float64]
# From how often each video was drawn, (draws, videos), to a metric of each seed, (draws, seeds).
Statistic = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Side:
    """One of the two systems: its predictions of the same N clips under S seeds."""

    clips: pd.DataFrame
    """id, video, y_true of each clip, by id."""
    predictions: Scores
    """(S, N)."""
    scale: Scale

    @classmethod
    def of(cls, system: System, seeds: Sequence[int], alone: str | None = None) -> Side:
        """Read the predictions of some of a system's seeds, or of their pretrained encoder of one modality `alone`.

        Raises:
            RunMissing, RunMismatch: they can't be read, or are not those that the run's metrics were measured on.
        """
        table, scores = predictions(system, seeds, alone), scale(system)
        for run in system.runs:
            part, metrics = table[table["seed"] == run.seed], run.alone[alone] if alone else run.metrics
            if len(part) and not abs(absolute_errors(system, part).mean() - metrics["mae"]) <= 1e-6:  # nor NaN
                raise RunMismatch(
                    f"predictions.csv and metrics.json in {run.folder} contradict each other: the MAE is another.",
                    evaluate_again(run.folder),
                )
        clips = table[table["seed"] == seeds[0]][["id", "video", "y_true"]]
        predicted = scores.clip(table["y_pred"].to_numpy().reshape(len(seeds), len(clips)))
        return cls(clips, predicted, scores)

    def statistics(self) -> dict[str, Statistic]:
        """Return every metric as a function of the draw; the definitions are those of `dmmsa_cli.metrics`."""
        labels = self.scale.clip(self.clips["y_true"].to_numpy())
        video = self.clips["video"].factorize()[0].astype(np.int64)
        everywhere = np.ones(len(labels), bool)
        found = {
            "mae": _mean(np.abs(labels - self.predictions), everywhere, video),
            "corr": _correlation(labels, self.predictions, video),
        }
        if self.scale.metrics == "mosi":
            found["acc2_has0"] = _mean((labels >= 0) == (self.predictions >= 0), everywhere, video)
            found["acc2_non0"] = _mean((labels > 0) == (self.predictions > 0), labels != 0, video)
        for count in (5, 7) if self.scale.metrics == "mosi" else (2, 3, 5):
            hits = self.scale.classes(labels, count) == self.scale.classes(self.predictions, count)
            found[f"acc{count}"] = _mean(hits, everywhere, video)
        return found


def _per_video(values: NDArray[np.generic], video: NDArray[np.int64]) -> Floats:
    """Sum (..., N) over the clips of each video, (videos, ...)."""
    sums = np.zeros((video.max() + 1, *values.shape[:-1]))
    np.add.at(sums, video, np.moveaxis(values, -1, 0).astype(np.float64))
    return sums


def _mean(values: NDArray[np.generic], counted: NDArray[np.bool_], video: NDArray[np.int64]) -> Statistic:
    """Mean of `values`, (S, N), over the clips of the drawn videos that count."""
    sums, counts = _per_video(np.where(counted, values, 0), video), _per_video(counted, video)

    def over(drawn: Floats) -> Floats:
        with np.errstate(invalid="ignore"):  # 0/0: no clip of the draw counts; NaN, and such a draw is left out
            mean: Floats = (drawn @ sums) / (drawn @ counts)[:, None]
        return mean

    return over


def _correlation(labels: Scores, predictions: Scores, video: NDArray[np.int64]) -> Statistic:
    """Pearson correlation of each seed's predictions over the clips of the drawn videos."""
    y = labels.astype(np.float64) - labels.mean(dtype=np.float64)  # centred: the sums below then cancel nothing
    p = predictions.astype(np.float64) - predictions.mean(axis=1, keepdims=True, dtype=np.float64)
    y = np.broadcast_to(y, p.shape)
    sums = _per_video(np.stack([np.ones_like(p), y, p, y * y, p * p, y * p]), video)  # (videos, 6, S)

    def over(drawn: Floats) -> Floats:
        n, y1, p1, yy, pp, yp = np.moveaxis(np.tensordot(drawn, sums, axes=1), 1, 0)
        spread = (yy - y1 * y1 / n) * (pp - p1 * p1 / n)
        constant = spread <= 1e-12 * yy * pp  # what rounding leaves of a constant's variance
        r: Floats = (yp - y1 * p1 / n) / np.sqrt(np.where(constant, np.nan, spread))
        return r

    return over


# --- draws ------------------------------------------------------------------------------------------------------------


def differences(sides: tuple[Side, Side], videos: int) -> dict[str, Difference]:
    """Return first minus second of every metric that both have; Corr of constant predictions is none.

    Args:
        sides: two systems' predictions of the same clips under the same seeds.
        videos: how many they are of, which are drawn.
    """
    first, second = (side.statistics() for side in sides)
    as_is = np.ones((1, videos))
    observed = {name: _minus(first[name], second[name], as_is)[0] for name in first}
    # Every metric here follows from sums over the clips of a video, so a draw is a vector of how often each video
    # came, and ten thousand draws are a few matrix products; scipy.stats.bootstrap would gather the clips each time.
    drawn: dict[str, list[Floats]] = {name: [] for name in first}
    for weights in _draws(videos):
        for name, draws in drawn.items():
            draws.append(_minus(first[name], second[name], weights).mean(axis=1))
    return {
        name: _difference(by_seed, np.concatenate(drawn[name]))
        for name, by_seed in observed.items()
        if np.isfinite(by_seed).all()
    }


def interval(side: Side, metric: str) -> tuple[float, float]:
    """Return the 95 % interval over videos of a metric's mean over the seeds; NaN where it is undefined."""
    statistic = side.statistics()[metric]
    drawn = [statistic(weights).mean(axis=1) for weights in _draws(side.clips["video"].nunique())]
    return _quantiles(np.concatenate(drawn))


def _minus(first: Statistic, second: Statistic, drawn: Floats) -> Floats:
    # Rounded, so that what is equal is 0 and not the last bit of a sum.
    return np.round(first(drawn) - second(drawn), 12)


def _draws(videos: int) -> Iterator[Floats]:
    """Draw as many videos as there are, with replacement: how often each came, (draws, videos) at a time."""
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    for begin in range(0, RESAMPLES, _DRAWS_AT_ONCE):
        size = min(_DRAWS_AT_ONCE, RESAMPLES - begin)
        yield generator.multinomial(videos, np.full(videos, 1 / videos), size=size).astype(np.float64)


def _difference(by_seed: Floats, draws: Floats) -> Difference:
    # Percentiles, not BCa: a difference of paired means is close to symmetric, where both agree; and BCa divides by
    # the spread of the jackknife, which is 0 for two systems that say the same.
    low, high = _quantiles(draws)
    sd = float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else float("nan")
    return Difference(float(by_seed.mean()), low, high, sd)


def _quantiles(draws: Floats) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return float(low), float(high)
