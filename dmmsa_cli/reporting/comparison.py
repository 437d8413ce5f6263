"""Whether a difference between two of our own systems is more than noise.

Two sources of noise are told apart. Which clips happen to be in the test split: a paired bootstrap over videos, since
the clips of one video share a speaker and a topic and are not independent (over clips, where their ids name no
videos). Which seed the training had: the sample standard deviation of the difference over the seeds, and no test, for
which five seeds are too few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dmmsa_cli.errors import RunMismatch, RunMissing
from dmmsa_cli.metrics import Scores, mae
from dmmsa_cli.reporting.contents import FEW_DRAWN, PRINTED, Comparison, Difference
from dmmsa_cli.reporting.groups import common_seeds, groups, is_reference, label, obstacle
from dmmsa_cli.reporting.results import COLUMNS
from dmmsa_cli.reporting.runs import System, evaluate_again
from dmmsa_cli.reporting.series.predictions import names_videos, predictions, same_clips
from dmmsa_cli.reporting.series.scale import Scale, scale

RESAMPLES = 10_000
LEVEL = 0.95
BOOTSTRAP_SEED = 20250605  # fixed: the same runs give the same report
_DRAWS_AT_ONCE = 1_000  # bounds memory: (draws, videos) float64

Floats = NDArray[np.float64]
# From how often each video was drawn, (draws, videos), to a metric of each seed, (draws, seeds).
Statistic = Callable[[Floats], Floats]


def compare(systems: Sequence[System], problems: list[str] | None = None) -> tuple[Comparison, ...]:
    """Hold DMMSA against every other system that differs from it in its objective alone.

    Only the seeds that both have are used, and clips are matched by their id.

    Args:
        systems: all there are, of any datasets and recipes.
        problems: a list that gets a sentence for each pair that had to be left out (a damaged or missing
            predictions.csv, other clips, other encoders, no common seed); nothing of that kind is raised.

    Returns:
        One comparison for each pair, DMMSA first; none across data, modalities, networks, schedules or precisions.
    """
    told: dict[str, None] = {}
    found = []
    for first, second in _candidates(systems):
        labels = _labels(first, second)
        try:
            found.append(_compare(first, second, labels))
        except (RunMismatch, RunMissing) as error:
            told[f"{first.dataset}: {labels[0]} against {labels[1]} is left out. {error.what} {error.remedy}"] = None
    if problems is not None:
        problems.extend(text.rstrip() for text in told)
    return tuple(found)


def _candidates(systems: Sequence[System]) -> Iterator[tuple[System, System]]:
    for group in groups(systems):
        for i, first in enumerate(group):  # references stand first, so that no pair comes in both directions
            if is_reference(first):
                yield from ((first, second) for second in group[i + 1 :])


def _labels(first: System, second: System) -> tuple[str, str]:
    """Two recipes may both have the whole of DMMSA, with other options: then only their names tell them apart."""
    if label(first) == label(second):
        return f"{first.recipe_name}/{first.variant}", f"{second.recipe_name}/{second.variant}"
    return label(first), label(second)


def _compare(first: System, second: System, labels: tuple[str, str]) -> Comparison:
    if reason := obstacle(first, second):
        raise RunMismatch(f"They can't be compared: {reason}.")
    seeds = common_seeds(first, second)
    sides = _Side.of(first, seeds), _Side.of(second, seeds)
    if not same_clips(sides[0].clips, sides[1].clips):
        raise RunMismatch("Their predictions are of other clips or labels.", "Measure both again with dmmsa evaluate.")
    clips = sides[0].clips
    drawn = clips["video"].nunique()
    if drawn < 2:
        what = "All clips are of one video" if len(clips) > 1 else "There is a single clip"
        raise RunMismatch(f"{what}: there is nothing to draw from.")
    comparison = Comparison(
        first=first,
        second=second,
        first_label=labels[0],
        second_label=labels[1],
        differences=_differences(sides, drawn),
        videos=drawn if names_videos(clips) else None,
        clips=len(clips),
    )
    return replace(comparison, sentence=_sentence(comparison))


# --- a system's metrics over any draw of videos ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Side:
    """One of the two systems: its predictions of the same N clips under S seeds."""

    clips: pd.DataFrame
    """id, video, y_true of each clip, by id."""
    said: Scores
    """Predictions, (S, N)."""
    scale: Scale

    @classmethod
    def of(cls, system: System, seeds: Sequence[int]) -> _Side:
        table, read = predictions(system, seeds), scale(system)
        for run in system.runs:
            part = table[table["seed"] == run.seed]
            truth, said = (read.clip(part[name].to_numpy(np.float32)) for name in ("y_true", "y_pred"))
            if len(part) and not abs(mae(truth, said) - run.metrics["mae"]) <= 1e-6:  # NaN contradicts too
                raise RunMismatch(
                    f"predictions.csv and metrics.json in {run.folder} contradict each other: the MAE is another.",
                    evaluate_again(run.folder),
                )
        clips = table[table["seed"] == seeds[0]][["id", "video", "y_true"]]
        said = read.clip(table["y_pred"].to_numpy(np.float32).reshape(len(seeds), len(clips)))
        return cls(clips, said, read)

    def statistics(self) -> dict[str, Statistic]:
        """Return every metric as a function of the draw; the definitions are those of `dmmsa_cli.metrics`."""
        truth = self.scale.clip(self.clips["y_true"].to_numpy(np.float32))
        video = self.clips["video"].factorize()[0].astype(np.int64)
        everywhere = np.ones(len(truth), bool)
        found = {
            "mae": _mean(np.abs(truth - self.said), everywhere, video),
            "corr": _correlation(truth, self.said, video),
        }
        if self.scale.metrics == "mosi":
            found["acc2_has0"] = _mean((truth >= 0) == (self.said >= 0), everywhere, video)
            found["acc2_non0"] = _mean((truth > 0) == (self.said > 0), truth != 0, video)
        for count in (5, 7) if self.scale.metrics == "mosi" else (2, 3, 5):
            hits = self.scale.classes(truth, count) == self.scale.classes(self.said, count)
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


def _correlation(truth: Scores, said: Scores, video: NDArray[np.int64]) -> Statistic:
    """Pearson correlation of each seed's predictions over the clips of the drawn videos."""
    y = truth.astype(np.float64) - truth.mean(dtype=np.float64)  # centred: the sums below then cancel nothing
    p = said.astype(np.float64) - said.mean(axis=1, keepdims=True, dtype=np.float64)
    y = np.broadcast_to(y, p.shape)
    sums = _per_video(np.stack([np.ones_like(p), y, p, y * y, p * p, y * p]), video)  # (videos, 6, S)

    def over(drawn: Floats) -> Floats:
        n, y1, p1, yy, pp, yp = np.moveaxis(np.tensordot(drawn, sums, axes=1), 1, 0)
        spread = (yy - y1 * y1 / n) * (pp - p1 * p1 / n)
        constant = spread <= 1e-12 * yy * pp  # what rounding leaves of a constant's variance
        r: Floats = (yp - y1 * p1 / n) / np.sqrt(np.where(constant, np.nan, spread))
        return r

    return over


# --- the bootstrap --------------------------------------------------------------------------------------------------


def _differences(sides: tuple[_Side, _Side], videos: int) -> dict[str, Difference]:
    """Return first minus second of every metric that both have; Corr of constant predictions is none."""
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
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    sd = float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else float("nan")
    return Difference(float(by_seed.mean()), float(low), float(high), sd)


# --- in words -------------------------------------------------------------------------------------------------------


def _sentence(comparison: Comparison) -> str:
    main = comparison.differences["mae"]
    first, second = comparison.first_label, comparison.second_label
    than = second + "'s" if second.isalnum() else f"that of {second}"
    count, drawn = comparison.drawn
    few = "" if count >= FEW_DRAWN else ", too few to trust it"
    seeds = len(common_seeds(comparison.first, comparison.second))
    spread = f"sd over {seeds} seeds {main.seeds_sd:.4f}" if seeds > 1 else "one seed"
    more = [
        f"{title} is {_amount(comparison.differences[name], percent)} ({comparison.verdict(name)})"
        for name, title, percent in _also(comparison.differences)
    ]
    return (
        f"On {_place(comparison.first)}, {first}'s MAE is {_relation(main.value)} {than} "
        f"(95 % interval over {count} {drawn}{few}: {_signed(main.low)} to {_signed(main.high)}; {spread}): "
        f"{'; '.join([comparison.verdict('mae'), *more])}."
    )


def _place(system: System) -> str:
    conditions = [part for part in ("SYNTHETIC data" if system.synthetic else "", system.conditions) if part]
    return f"{system.dataset} ({', '.join(conditions)})" if conditions else system.dataset


def _also(differences: Mapping[str, Difference]) -> list[tuple[str, str, bool]]:
    """Corr and the first accuracy, as far as they are defined: metric, printed name, whether in percent."""
    columns = COLUMNS["sims" if "acc2" in differences else "mosi"]
    shown = [("corr", "Corr", False), (columns[0].metrics[0], columns[0].title, True)]
    return [one for one in shown if one[0] in differences]


def _relation(value: float) -> str:
    return f"{_signed(value)} than" if abs(value) >= PRINTED / 2 else "equal to"


def _signed(value: float) -> str:
    return f"{abs(value):.4f} {'lower' if value < 0 else 'higher'}" if abs(value) >= PRINTED / 2 else "0.0000"


def _amount(difference: Difference, percent: bool) -> str:
    if abs(difference.value) < PRINTED / 2:
        return "equal"
    way = "lower" if difference.value < 0 else "higher"
    return f"{abs(100 * difference.value):.2f} points {way}" if percent else f"{abs(difference.value):.4f} {way}"
