"""`dmmsa evaluate --missing`: what finished runs still say where tokens, frames or whole modalities are missing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmmsa_cli.commands import DATA
from dmmsa_cli.data.missing import Gaps
from dmmsa_cli.data.specs import DatasetSpec
from dmmsa_cli.data.store import Store
from dmmsa_cli.data.views import View
from dmmsa_cli.errors import DmmsaError, InvalidInput, why_left_out
from dmmsa_cli.experiments.build import Fused
from dmmsa_cli.experiments.identity import Identity, check_place
from dmmsa_cli.experiments.measure import metrics_of
from dmmsa_cli.experiments.missing import Incomplete, gaps_of_draw
from dmmsa_cli.experiments.reopen import reopen
from dmmsa_cli.experiments.robustness import FILE, Robustness, presences
from dmmsa_cli.experiments.systems import by_system, system_titles
from dmmsa_cli.files import exclusive, writable
from dmmsa_cli.metrics import Metrics, Summary, summarise, without_nan
from dmmsa_cli.runtime import DeviceName
from dmmsa_cli.stages.evaluation import ALL_TRAINING, FUSION_ONLY
from dmmsa_cli.stages.keeping import add_to
from dmmsa_cli.stages.systems import check_once
from dmmsa_cli.training.run import RunFolder

DRAWS = 3  # as often as LNLN's tables average over

OnPass = Callable[[str, int, int], None]
"""Hears of every pass over the clips: the run's name, how many are done, and how many there are."""


@dataclass(frozen=True)
class RobustSystem:
    """Runs that differ in their seed alone, and what each says of incomplete clips."""

    title: str
    runs: list[Robustness]
    seeds: list[int]
    covers: str
    """What the standard deviation over the runs covers."""

    @property
    def rates(self) -> tuple[float, ...]:
        """Ascending."""
        return tuple(self.runs[0].rates)

    def at(self, rate: float) -> Summary:
        """Return the mean over draws and seeds at a rate, and the spread over seeds."""
        return summarise([run.at(rate) for run in self.runs])

    @property
    def over_rates(self) -> Summary:
        """The mean over rates, draws and seeds, and the spread over seeds."""
        return summarise([run.over_rates for run in self.runs])

    @property
    def present(self) -> dict[str, Summary]:
        """By the modalities that were there."""
        return {name: summarise([run.present[name] for run in self.runs]) for name in self.runs[0].present}


@dataclass(frozen=True)
class MissingTable:
    """Every system over the same rows of the same data, with the same gaps in them."""

    spec: DatasetSpec
    split: str
    rows: int
    data_hash: str
    draws: int
    systems: list[RobustSystem]

    def to_json(self) -> dict[str, Any]:
        """Return fractions, unrounded, under the column names of the published tables."""
        return {
            "dataset": self.spec.name,
            "synthetic": self.spec.synthetic,
            "split": self.split,
            "rows": self.rows,
            "data_hash": self.data_hash,
            "draws": self.draws,
            "systems": [
                {
                    "system": system.title,
                    "seeds": system.seeds,
                    "sd_covers": system.covers,
                    "rates": {repr(rate): _plain(system.at(rate)) for rate in system.rates},
                    "mean_over_rates": _plain(system.over_rates),
                    "present": {name: _plain(found) for name, found in system.present.items()},
                    "runs": [run.to_json() for run in system.runs],
                }
                for system in self.systems
            ],
        }


def _plain(summary: Summary) -> dict[str, Any]:
    return {"mean": without_nan(summary.mean), "sd": without_nan(summary.sd)}


@dataclass(frozen=True)
class MissingEvaluated:
    """What came of evaluating runs on incomplete clips."""

    tables: list[MissingTable]
    """One for each dataset."""
    left_out: list[DmmsaError]
    """Why runs could not be evaluated; none of them stopped the others."""
    read_only: list[Path] = field(default_factory=list)
    """Folders of runs that could not be written, so that nothing of what was found is kept there."""


def evaluate_missing(
    runs: Sequence[RunFolder],
    rates: Sequence[float],
    *,
    draws: int = DRAWS,
    split: str = "test",
    data_dir: Path = DATA,
    device: DeviceName = "auto",
    remark: Callable[[str], None] = lambda line: None,
    on_pass: OnPass = lambda run, done, total: None,
) -> MissingEvaluated:
    """Evaluate finished runs on clips that lack something, one run at a time, and write missing.json into each.

    At each rate every run sees the very same gaps; at rate 0 its numbers are those of `evaluate`. What `evaluate`
    leaves out is left out, and so is a run of whose text nothing can be missing.

    Args:
        runs: finished runs, of any datasets, recipes and variants.
        rates: ascending, in [0, 1].
        draws: how often clips are corrupted at each rate.
        split: `train`, `valid` or `test`.
        data_dir: where stores lie.
        device: where to run.
        remark: hears what a reader should know.
        on_pass: hears of every pass over the clips.

    Raises:
        InvalidInput: no draw is asked for.
    """
    if draws < 1:
        raise InvalidInput(f"--draws {draws}: clips have to be corrupted once at least.", f"The protocol has {DRAWS}.")
    left_out: list[DmmsaError] = []
    tables: dict[str, _Table] = {}
    read_only: list[Path] = []
    told = _Once(remark)
    for run in runs:
        try:
            check_place(run)
            with exclusive(run.path, reading=True):  # no `fuse --force` replaces the weights meanwhile
                fused = reopen(run, data_dir=data_dir, device=device)
                table = tables.setdefault(fused.experiment.dataset, _Table(fused.experiment.store, split, draws))
                name, identity = check_once(run, table.measured)
                found = _measure(fused, rates, draws, split, told, on_pass)
                table.add(_Measured(identity, name, found, _covers(fused, identity)), run)
                read_only += [] if writable(run.path) else [run.path]
        except Exception as error:  # not only ours: a disk that is full, a file that may not be read
            left_out.append(why_left_out(error))
    return MissingEvaluated([table.table() for table in tables.values() if table.measured], left_out, read_only)


# --- one run --------------------------------------------------------------------------------------------------------


def _measure(
    fused: Fused, rates: Sequence[float], draws: int, split: str, remark: Callable[[str], None], on_pass: OnPass
) -> Robustness:
    clips = Incomplete(fused.inputs, split, every_row=True)
    planned = list(_passes(fused, rates, draws, split))
    if clips.encodes_anew:
        _tell_cost(clips, [gaps for *_, gaps in planned], split, remark)
    model, name = fused.finished(), str(fused.encoders.run.path)
    by_rate: dict[float, list[Metrics]] = {}
    present: dict[str, Metrics] = {}
    complete = _metrics(fused, model, clips.whole)
    for done, (rate, there, gaps) in enumerate(planned):
        on_pass(name, done, len(planned))
        found = complete if gaps is None else _metrics(fused, model, clips.view(gaps))
        if there:
            present[there] = found
        else:
            by_rate.setdefault(rate, []).append(found)
    on_pass(name, len(planned), len(planned))
    return Robustness(draws, by_rate, present)


_Pass = tuple[float, str, Gaps | None]
"""A rate, or the modalities that are there; and what is missing, none where nothing is."""


def _passes(fused: Fused, rates: Sequence[float], draws: int, split: str) -> Iterator[_Pass]:
    experiment = fused.experiment
    for rate in rates:
        for draw in range(1, 1 + (draws if 0 < rate < 1 else 1)):
            yield rate, "", gaps_of_draw(experiment, split, draw, rate) if rate else None
    for there, left_out in presences(experiment.modalities).items():
        yield 1.0, there, Gaps("", left_out, 1.0) if left_out else None


def _metrics(fused: Fused, model: Any, view: View) -> Metrics:  # noqa: ANN401  (a model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where all is missing predictions are one number, and have no Corr: a dash
        return metrics_of(fused.experiment, model, view, fused.objective.heads)


def _tell_cost(clips: Incomplete, planned: Sequence[Gaps | None], split: str, remark: Callable[[str], None]) -> None:
    anew = sum(gaps is not None and "t" in gaps.modalities for gaps in planned)
    remark(
        f"Text is frozen, and its cache knows complete transcripts only: the encoder reads all {len(clips.whole):,} of "
        f"{split} anew in {anew} of {len(planned)} passes a run, {anew} times what it took once; none of it is kept."
    )


class _Once:
    """Pass every line on the first time."""

    def __init__(self, remark: Callable[[str], None]) -> None:
        self.remark, self.said = remark, set[str]()

    def __call__(self, line: str) -> None:
        if line not in self.said:
            self.said.add(line)
            self.remark(line)


# --- all of a dataset -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Measured:
    """What is kept of a run once its model is gone."""

    identity: Identity
    name: str
    """Of recipe and variant."""
    found: Robustness
    covers: str


def _covers(fused: Fused, identity: Identity) -> str:
    return FUSION_ONLY if fused.encoders.pretrained and not identity.per_seed else ALL_TRAINING


@dataclass
class _Table:
    """The systems of one dataset, as they are measured."""

    store: Store
    split: str
    draws: int
    measured: list[_Measured] = field(default_factory=list)

    def add(self, one: _Measured, run: RunFolder) -> None:
        """Keep what was found of a run, and write it into its folder where that can be; the caller holds it."""
        made_from = {"weights": run.weights_hash(), "data": self.store.manifest.data_hash}
        if writable(run.path):
            add_to(run.path / FILE, {self.split: one.found.to_json()}, {self.split: made_from})
        self.measured.append(one)

    def table(self) -> MissingTable:
        """Put the table together."""
        manifest = self.store.manifest
        groups = by_system(self.measured, lambda one: one.identity, lambda one: one.name)
        return MissingTable(
            spec=self.store.spec,
            split=self.split,
            rows=manifest.rows[self.split],
            data_hash=manifest.data_hash,
            draws=self.draws,
            systems=[
                RobustSystem(title, [run.found for run in runs], [run.identity.seed for run in runs], runs[0].covers)
                for title, runs in zip(system_titles(groups), groups, strict=True)
            ],
        )
