"""Options that several commands share; nothing here is heavier than typer."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from dmmsa_cli.cli import completion
from dmmsa_cli.commands import DATA as DATA
from dmmsa_cli.commands import RUNS as RUNS
from dmmsa_cli.commands import work_in
from dmmsa_cli.errors import InvalidInput

if TYPE_CHECKING:
    from dmmsa_cli.stages.engines import Wish

T = TypeVar("T")


class Device(StrEnum):
    """Where to run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class EngineName(StrEnum):
    """What runs the runs."""

    local = "local"
    ray = "ray"


class Precision(StrEnum):
    """Arithmetic of the forward pass."""

    auto = "auto"
    float32 = "float32"
    bf16 = "bf16"


def _checked(seeds: list[int] | None) -> list[int] | None:
    if not seeds:
        return []  # and not None: typer before 0.20 wants a length
    from dmmsa_cli.runtime import check_seed  # which imports torch

    for seed in seeds:
        try:
            check_seed(seed)
        except ValueError as error:
            raise InvalidInput(f"--seed: {error}.", "Choose another.") from error
    return seeds


def _take_threads(threads: int | None) -> int | None:
    """Tell the libraries before any of them is loaded, and every process that this one starts."""
    if threads is not None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = str(threads)
    return threads


def _data_dir(folder: Path) -> Path:
    work_in(data_dir=folder)
    return folder


def _runs_dir(folder: Path) -> Path:
    work_in(runs_dir=folder)
    return folder


Dataset = Annotated[
    str,
    typer.Option("--dataset", "-d", metavar="NAME", help="A prepared dataset.", autocompletion=completion.datasets),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE",
        help="A shipped recipe, or a YAML file. Default: dmmsa.",
        autocompletion=completion.recipes,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change any key of the recipe: --set fusion.epochs=10. Repeatable."
    ),
]
Seeds = Annotated[
    list[int] | None,
    typer.Option("--seed", metavar="N ...", callback=_checked, help="One or more seeds. Default: the recipe's."),
]
DeviceOption = Annotated[Device, typer.Option("--device", help="auto takes a GPU where there is one.")]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option("--precision", help="auto: bf16 where the hardware computes it. Default: the recipe's."),
]
Epochs = Annotated[int | None, typer.Option("--epochs", metavar="N", min=1, help="Epochs at most, as the recipe's.")]
LearningRate = Annotated[
    float | None, typer.Option("--learning-rate", metavar="RATE", help="The optimiser's, but for groups of its own.")
]
BatchSize = Annotated[int | None, typer.Option("--batch-size", metavar="N", min=1, help="Clips a step.")]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        callback=_take_threads,
        help="Of the processor. Default: OMP_NUM_THREADS, else one for each core that it may use.",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        min=1,
        help="Runs at a time; threads are divided, GPUs shared out. Default: 1; with ray, what there is room for.",
    ),
]
RunsPerGpu = Annotated[
    int | None, typer.Option("--runs-per-gpu", metavar="N", min=1, help="Runs that share a GPU. Default: 1.")
]
EngineOption = Annotated[
    EngineName,
    typer.Option(
        "--engine", help="ray: on the machines of a Ray cluster, which see the same folders; --threads is of each run."
    ),
]
Address = Annotated[
    str | None,
    typer.Option("--address", metavar="HOST:PORT", help="Of the Ray cluster. Default: this machine alone."),
]
Shard = Annotated[
    str | None,
    typer.Option("--shard", metavar="K/N", help="Only the Kth of N parts of the runs, from 1/N to N/N."),
]
DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir", envvar="DMMSA_DATA", metavar="DIR", callback=_data_dir, help="Where prepared datasets lie."
    ),
]
RunsDir = Annotated[
    Path,
    typer.Option("--runs-dir", envvar="DMMSA_RUNS", metavar="DIR", callback=_runs_dir, help="Where runs lie."),
]
Fraction = Annotated[
    float | None, typer.Option("--fraction", metavar="SHARE", help="Use this share of the training rows, as 0.6.")
]
Folds = Annotated[
    int | None,
    typer.Option(
        "--folds", metavar="N", help="On N folds by video of the training and validation clips; test is not touched."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Train anew and replace what is there.")]


def datasets(dataset: str, folds: int | None) -> list[str]:
    """Return the dataset, or its folds.

    Raises:
        InvalidInput: too few folds.
    """
    if folds is None:
        return [dataset]
    from dmmsa_cli.data.folds import folds_of  # which imports numpy

    return [str(fold) for fold in folds_of(dataset, folds)]


def wish(
    *,
    jobs: int | None,
    runs_per_gpu: int | None,
    engine: EngineName,
    address: str | None,
    device: Device,
    threads: int | None,
    folders: Iterable[Path],
) -> Wish:
    """Return how runs are to be spread.

    Raises:
        InvalidInput: an address, and no cluster.
    """
    from dmmsa_cli.stages.engines import Wish  # which imports torch

    if address is not None and engine != EngineName.ray:
        raise InvalidInput("--address is that of a Ray cluster.", "Give --engine ray too.")
    return Wish(
        jobs=jobs,
        runs_per_gpu=runs_per_gpu,
        device=device.value,
        threads=threads,
        ray=engine == EngineName.ray,
        address=address,
        folders=tuple(folders),
    )


def in_shard(runs: Sequence[T], shard: str | None) -> list[T]:
    """Return the runs of a part, every Nth from the Kth on; all where none is named.

    Raises:
        InvalidInput: it is no part.
    """
    if shard is None:
        return list(runs)
    found = re.fullmatch(r"(\d+)/(\d+)", shard)
    part, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= part <= parts:
        from dmmsa_cli.plain import shown  # which imports yaml

        raise InvalidInput(
            f"--shard {shown(shard)} names no part.", "Parts are 1/N to N/N; a job array of SLURM is --array=1-N."
        )
    return list(runs[part - 1 :: parts])


def recipe_changes(
    *,
    fraction: float | None = None,
    precision: Precision | None = None,
    dropped: Iterable[str] = (),
    schedules: Iterable[str] = (),
    schedule: Mapping[str, float | None] | None = None,
) -> dict[str, object]:
    """Return what flags change in the recipe, by dotted path.

    Args:
        fraction: share of the training rows.
        precision: arithmetic.
        dropped: which parts of DMMSA's objective are left out, of `PARTS`.
        schedules: paths of the schedules that a command trains by, as `fusion`.
        schedule: what changes in each of them, where it is not None.
    """
    from dmmsa_cli.experiments.variants import PARTS  # which imports torch

    changes: dict[str, object] = {key: value for part in dropped for key, value in PARTS[part].items()}
    if fraction is not None:
        changes["data.fraction"] = fraction
    if precision is not None:
        changes["precision"] = precision.value
    for path in schedules:
        changes |= {f"{path}.{key}": value for key, value in (schedule or {}).items() if value is not None}
    return changes
