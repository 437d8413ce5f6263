"""Runs of one dataset, open, of whose predictions the mean is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dmmsa_cli.errors import RunMismatch
from dmmsa_cli.experiments.build import Fused
from dmmsa_cli.experiments.identity import identity_in
from dmmsa_cli.experiments.reopen import not_finished, reopen
from dmmsa_cli.runtime import DeviceName
from dmmsa_cli.training.run import RunFolder


@dataclass(frozen=True)
class Several:
    """Runs of one dataset, open."""

    fused: tuple[Fused, ...]

    @property
    def first(self) -> Fused:
        """Any of them, for what all share."""
        return self.fused[0]

    @property
    def words(self) -> bool:
        """Whether any of them reads transcripts."""
        return any(fused.experiment.has_text_encoder for fused in self.fused)

    @property
    def sequences(self) -> set[str]:
        """The modalities that any of them reads as features."""
        experiments = [fused.experiment for fused in self.fused]
        return {m for one in experiments for m in one.modalities if not (m == "t" and one.has_text_encoder)}

    @property
    def names(self) -> tuple[str, ...]:
        """Dataset, recipe, variant and seed of each, as in the path of its folder before it was exported."""
        return tuple(_name(fused.encoders.run) for fused in self.fused)


def _name(run: RunFolder) -> str:
    facts = run.environment
    return f"{facts['dataset']}/{facts['recipe']}/{facts['variant']}/seed-{facts['seed']}"


def open_together(runs: Sequence[RunFolder], data_dir: Path, device: DeviceName) -> Several:
    """Open runs, and see that a mean of what they predict means something.

    Raises:
        RunMismatch: one is named twice, or two are of different data or ranges.
    """
    paths = [run.path.resolve() for run in runs]
    twice = [run for place, run in enumerate(runs) if paths[place] in paths[:place]]
    if twice:
        raise RunMismatch(f"{twice[0].path} is named twice.", "Name each run once.")
    for run in runs:
        if not run.finished:
            raise not_finished(run)
    first, *others = runs
    for other in others:
        _check_alike(first, other)
    return Several(tuple(reopen(run, data_dir=data_dir, device=device, rows=False) for run in runs))


def _check_alike(first: RunFolder, other: RunFolder) -> None:
    one, two = identity_in(first), identity_in(other)
    what = {"dataset": (one.dataset, two.dataset), "data": (one.data_hash[:12], two.data_hash[:12])}
    ranges = [run.environment.get("score_range") for run in (first, other)]
    what |= {"score_range": (str(ranges[0]), str(ranges[1]))} if None not in ranges else {}
    for name, (here, there) in what.items():
        if here != there:
            raise RunMismatch(
                f"Runs whose predictions are averaged have to be of the same data; {name} is {here} in {first.path}, "
                f"{there} in {other.path}.",
                "Name runs of one dataset.",
            )
