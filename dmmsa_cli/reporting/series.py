"""The numbers behind every figure, as tidy tables: what is drawn on paper and on the page is the same.

Each function takes a system (runs that differ in their seed alone) and returns one row a value, never a picture.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dmmsa_cli.data.classes import CLASS_COUNTS, NATIVE_RANGE, class_edges
from dmmsa_cli.data.specs import SPECS
from dmmsa_cli.errors import RunMismatch
from dmmsa_cli.metrics import Scores
from dmmsa_cli.reporting.runs import Run, System
from dmmsa_cli.stages.studies import load_study, study_names

Task = Literal["msc", "cl", "gdwg", "uni"]

TASK_NAMES = {"msr": "MSR", "msc": "MSC", "uni": "Uni", "cl": "CL", "gdwg": "GDWG"}
VIDEO_END = "$_$"  # an id is `video$_$clip`


# --- which systems belong together ----------------------------------------------------------------------------------


def label(system: System) -> str:
    """Return what a system is called beside others of its group.

    `DMMSA`, `ConFEDE`, `w/o MSC`, `w/o MSC, CL`; what a shipped study calls its variant (`τ = 2`, `Regression alone`);
    or `recipe/variant` where its name says more than its objective.
    """
    if system.variant == "full" and system.objective["name"] == "confede":
        return "ConFEDE"
    if system.objective["name"] == "dmmsa":
        off = [task for task in ("gdwg", "msc", "cl", "uni") if not system.objective[task]["enabled"]]
        if not off and system.variant == "full":
            return "DMMSA"
        if off and sorted(system.variant.split("-")) == sorted(["no"] * len(off) + off):
            return "w/o " + ", ".join(TASK_NAMES[task] for task in off)
        if system.variant in _study_titles():
            return _study_titles()[system.variant]
    return f"{system.recipe_name}/{system.variant}"


@cache
def _study_titles() -> dict[str, str]:
    """What the shipped studies call the variants that only change the recipe, by the variant's name."""
    variants = [variant for name in study_names() for variant in load_study(name).variants]
    return {variant.name: variant.title for variant in variants if variant.set}


def is_reference(system: System) -> bool:
    """Say whether it is the whole of DMMSA, as its recipe has it: what others are held against."""
    return label(system) == "DMMSA"


def groups(systems: Sequence[System]) -> list[tuple[System, ...]]:
    """Put together the systems that differ in their objective (and in how many seeds they have) alone.

    Names of recipes may differ (`minilm`, `minilm-confede`); data, modalities, network, schedule, encoders' training
    and precision do not. Order is that of `systems`, with DMMSA first in each group.
    """
    found: dict[str, list[System]] = {}
    for system in systems:
        found.setdefault(_setting(system), []).append(system)
    return [tuple(sorted(group, key=lambda system: not is_reference(system))) for group in found.values()]


def _setting(system: System) -> str:
    recipe = {key: value for key, value in system.first.recipe.items() if key not in ("objective", "seeds")}
    facts = ("dataset", "synthetic", "data_hash", "modalities", "from_scratch", "precision", "base_text")
    return json.dumps([recipe, *(system.first.facts.get(key) for key in facts)], sort_keys=True)


def common_seeds(first: System, second: System) -> tuple[int, ...]:
    """Return the seeds that both have, ascending."""
    return tuple(seed for seed in first.seeds if seed in second.seeds)


def obstacle(first: System, second: System) -> str:
    """Say what stands against comparing two systems seed by seed; empty where nothing does.

    Example: `they have no seed in common`.
    """
    if _setting(first) != _setting(second):
        return "they differ in more than their objective"
    seeds = common_seeds(first, second)
    if not seeds:
        return "they have no seed in common"
    encoders = [{run.seed: run.facts.get("encoder_hashes") for run in system.runs} for system in (first, second)]
    if any(encoders[0][seed] != encoders[1][seed] for seed in seeds):
        return "they stand on different pretrained encoders"
    return ""


def pairs(systems: Sequence[System], task: Task) -> list[tuple[System, System]]:
    """Return DMMSA (variant `full`) and the system that lacks `task` and nothing else, for each group that has both.

    What counts is the resolved objective, not the name of the second variant; options of a task that is off are none.

    Returns:
        Pairs (with, without), at most one for each reference.
    """
    found = []
    for group in groups(systems):
        for full in filter(is_reference, group):
            lacking = [one for one in group if _lacks_only(task, full, one) and not obstacle(full, one)]
            found += [(full, lacking[0])] if lacking else []
    return found


def _lacks_only(task: str, full: System, other: System) -> bool:
    def rest(system: System) -> dict[str, object]:
        return {key: value for key, value in system.objective.items() if key != task}

    if other.objective["name"] != "dmmsa" or not full.objective[task]["enabled"]:
        return False
    return not other.objective[task]["enabled"] and rest(full) == rest(other)


# --- over epochs ----------------------------------------------------------------------------------------------------


def validation_curves(system: System) -> pd.DataFrame:
    """Return the validation MAE of each run after each epoch: columns seed, epoch, mae."""
    rows = [(run.seed, line["epoch"], line["validation"]["mae"]) for run in system.runs for line in run.log]
    return pd.DataFrame(rows, columns=["seed", "epoch", "mae"])


def task_weights(system: System) -> pd.DataFrame:
    """Return lambda of each weighted task in each epoch: columns seed, epoch, task (`uni`, `cl`), weight."""
    return _of_log(system, "weights", "weight")


def task_losses(system: System) -> pd.DataFrame:
    """Return each task's mean unweighted training loss in each epoch: columns seed, epoch, task, loss."""
    return _of_log(system, "losses", "loss")


def _of_log(system: System, key: str, name: str) -> pd.DataFrame:
    rows = [
        (run.seed, line["epoch"], task, value)
        for run in system.runs
        for line in run.log
        for task, value in line[key].items()
    ]
    return pd.DataFrame(rows, columns=["seed", "epoch", "task", name])


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


# --- over clips -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """How scores of a dataset are read."""

    metrics: Literal["mosi", "sims"]
    """The metric set."""
    score_range: float
    """R; scores lie in [-R, R]."""

    @property
    def finest(self) -> int:
        """Classes of the finest accuracy: 7, or 5 on CH-SIMS."""
        return max(CLASS_COUNTS[self.metrics])

    def clip(self, scores: Scores) -> Scores:
        """Clip as the metric set does: CH-SIMS to [-R, R], the others not at all."""
        limit = np.float32(self.score_range)
        return np.clip(scores, -limit, limit) if self.metrics == "sims" else scores

    def classes(self, scores: Scores, count: int) -> NDArray[np.int64]:
        """Return the class of each score among `count`, 0 the most negative."""
        return np.searchsorted(class_edges(count, self.metrics, self.score_range), scores).astype(np.int64)

    def class_names(self, count: int) -> tuple[str, ...]:
        """Name 3, 5 or 7 classes as an axis shows them: the score that MOSI's stand for, CH-SIMS's interval (Table 7).

        Example:
            >>> Scale("mosi", 3.0).class_names(3), Scale("sims", 1.0).class_names(3)
            (('-1', '0', '1'), ('[-1, -0.1]', '(-0.1, 0.1]', '(0.1, 1]'))
        """
        if self.metrics == "mosi":
            step = self.score_range / NATIVE_RANGE["mosi"]
            return tuple(f"{step * (i - count // 2):g}" for i in range(count))
        edges = class_edges(count, self.metrics, self.score_range)
        ends = [f"{end:.3g}" for end in (-self.score_range, *edges, self.score_range)]
        return tuple(f"{'(' if i else '['}{ends[i]}, {ends[i + 1]}]" for i in range(count))


def scale(system: System) -> Scale:
    """Return how a system's scores are read; of a dataset of one's own, its run says the range, else the usual one."""
    spec = SPECS.get(system.dataset)
    metrics: Literal["mosi", "sims"] = "sims" if "acc2" in system.first.metrics else "mosi"
    known = spec.score_range if spec else system.first.facts.get("score_range", NATIVE_RANGE[metrics])
    return Scale(metrics, float(known))


def predictions(system: System, seeds: Sequence[int] | None = None) -> pd.DataFrame:
    """Return every run's predictions on the test split.

    Args:
        system: whose.
        seeds: which of its seeds; all by default.

    Returns:
        Columns seed, id, video, text, y_true, y_pred (float32, not clipped); by seed, then by id, so that the rows of
        every seed are the same clips in the same order.

    Raises:
        RunMissing: a predictions.csv is gone.
        RunMismatch: one is damaged, or its clips or labels are not those of the other seeds.
    """
    chosen = [run for run in system.runs if seeds is None or run.seed in seeds]
    tables = [_clips_of(run) for run in chosen]
    for run, table in zip(chosen[1:], tables[1:], strict=True):
        if not same_clips(tables[0], table):
            raise RunMismatch(
                f"{run.folder / 'predictions.csv'} holds other clips or labels than that of seed {chosen[0].seed}.",
                f"Measure both again: dmmsa evaluate {run.folder.parent}",
            )
    return pd.concat(tables, ignore_index=True)


def _clips_of(run: Run) -> pd.DataFrame:
    table = run.predictions.sort_values("id", kind="stable", ignore_index=True)
    video = table["id"].str.split(VIDEO_END, n=1, regex=False).str[0]
    return table.assign(seed=run.seed, video=video)[["seed", "id", "video", "text", "y_true", "y_pred"]]


def same_clips(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Say whether two tables, each sorted by id, hold the same clips with the same labels."""
    ids = list(first["id"]) == list(second["id"])
    return ids and bool(np.array_equal(first["y_true"].to_numpy(), second["y_true"].to_numpy()))


def clips(system: System) -> pd.DataFrame:
    """Return each test clip once.

    Returns:
        Columns id, video, text, y_true, y_pred (mean over the seeds, not clipped), error (mean over the seeds of the
        absolute error, clipped first where the metric set clips: its mean is the table's MAE).

    Raises:
        RunMissing: a predictions.csv is gone.
        RunMismatch: one is damaged, or seeds have different clips.
    """
    table = predictions(system)
    said = table.assign(error=_errors(system, table))
    found = said.groupby("id", sort=False).agg(
        {"video": "first", "text": "first", "y_true": "first", "y_pred": "mean", "error": "mean"}
    )
    return found.reset_index()


def _errors(system: System, table: pd.DataFrame) -> NDArray[np.float64]:
    read = scale(system)
    truth, said = (read.clip(table[name].to_numpy(np.float32)) for name in ("y_true", "y_pred"))
    error: NDArray[np.float64] = np.abs(truth - said).astype(np.float64)
    return error


def mae_by_bin(system: System) -> pd.DataFrame:
    """Return the MAE for each class of the labels (7, or CH-SIMS's 5).

    Returns:
        Columns bin (0 the most negative), name, clips, mean, sd (over the seeds; NaN for one); only bins with clips.

    Raises:
        RunMissing, RunMismatch: as `predictions`.
    """
    read, table = scale(system), predictions(system)
    names = read.class_names(read.finest)
    bins = read.classes(read.clip(table["y_true"].to_numpy(np.float32)), read.finest)
    table = table.assign(bin=bins, error=_errors(system, table))
    by_seed = table.groupby(["seed", "bin"])["error"].agg(["mean", "count"]).reset_index()
    found = over_seeds(by_seed, "mean", by=("bin",))
    counts = by_seed.groupby("bin")["count"].first()
    return pd.DataFrame(
        {
            "bin": found["bin"],
            "name": [names[i] for i in found["bin"]],
            "clips": counts.loc[found["bin"]].to_numpy(),
            "mean": found["mean"],
            "sd": found["sd"],
        }
    )


def confusion(system: System) -> pd.DataFrame:
    """Return how often a class was taken for which, of 7 classes (CH-SIMS: 5), summed over the seeds.

    Returns:
        Counts (C, C): a row for each class of the labels, a column for each predicted one; their names on both sides.

    Raises:
        RunMissing, RunMismatch: as `predictions`.
    """
    read, table = scale(system), predictions(system)
    count = read.finest
    truth, said = (read.classes(read.clip(table[name].to_numpy(np.float32)), count) for name in ("y_true", "y_pred"))
    counts = np.bincount(truth * count + said, minlength=count * count).reshape(count, count)
    names = list(read.class_names(count))
    return pd.DataFrame(counts, index=names, columns=names)


def similarity(system: System) -> pd.DataFrame | None:
    """Return the mean cosine similarity of every two features, averaged over the seeds that kept it.

    Returns:
        (features, features), names such as `T_s` on both sides; none where no run kept it, or they disagree on names.
    """
    kept = [table for table in (run.similarity for run in system.runs) if table is not None]
    if not kept or any(list(table.columns) != list(kept[0].columns) for table in kept):
        return None
    mean = np.mean([table.to_numpy() for table in kept], axis=0)
    return pd.DataFrame(mean, index=kept[0].index, columns=kept[0].columns)


def class_ends(system: System, limit: float) -> list[float]:
    """Return where the classes of the coarse classification end, from -limit to limit, ascending.

    Of several numbers of classes the first counts.
    """
    classes, read = system.objective["msc"]["classes"], scale(system)
    edges = class_edges(classes if isinstance(classes, int) else classes[0], read.metrics, read.score_range)
    return [-limit, *map(float, edges), limit]
