"""Options that several commands share; nothing here is heavier than typer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dmmsa_cli.cli import completion
from dmmsa_cli.commands import DATA as DATA
from dmmsa_cli.commands import RUNS as RUNS
from dmmsa_cli.commands import work_in
from dmmsa_cli.errors import InvalidInput


class Device(StrEnum):
    """Where to run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


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
