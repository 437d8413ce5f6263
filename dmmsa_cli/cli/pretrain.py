"""`dmmsa pretrain-unimodal`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dmmsa_cli.cli import options

if TYPE_CHECKING:  # imported where it is used, to keep --help quick
    from rich.console import Console

    from dmmsa_cli.experiments.experiment import Experiment
    from dmmsa_cli.stages.runs import EncoderRun


class Modality(StrEnum):
    """One modality, by its letter or its name, which begins with that letter."""

    t = "t"
    v = "v"
    a = "a"
    text = "text"
    vision = "vision"
    audio = "audio"


def pretrain_unimodal(
    dataset: options.Dataset,
    modality: Annotated[
        list[Modality] | None,
        typer.Option("--modality", metavar="text|vision|audio ...", help="Default: all there are."),
    ] = None,
    seed: options.Seeds = None,
    recipe: options.RecipeName = None,
    settings: options.Settings = None,
    fraction: options.Fraction = None,
    epochs: options.Epochs = None,
    learning_rate: options.LearningRate = None,
    batch_size: options.BatchSize = None,
    force: options.Force = False,
    jobs: options.Jobs = None,
    runs_per_gpu: options.RunsPerGpu = None,
    engine: options.EngineOption = options.EngineName.local,
    address: options.Address = None,
    device: options.DeviceOption = options.Device.auto,
    precision: options.PrecisionOption = None,
    threads: options.Threads = None,
    data_dir: options.DataDir = options.DATA,
    runs_dir: options.RunsDir = options.RUNS,
) -> None:
    """Train one encoder for each modality, with a regression head.

    Encoders are shared by all seeds, unless the recipe says pretraining.per_seed. An encoder that is there already is
    left alone; an unfinished one goes on where it was. `fuse` trains on an encoder of other settings where its recipe
    has them too.
    """
    from dmmsa_cli.cli.console import open_console, say
    from dmmsa_cli.cli.spreading import run_all
    from dmmsa_cli.cli.training_view import data_note
    from dmmsa_cli.data.specs import MODALITY_NAMES
    from dmmsa_cli.experiments.context import context_remarks
    from dmmsa_cli.stages.pretrain import NO_TEXT_ENCODER
    from dmmsa_cli.stages.runs import Opening, plan_encoders

    wish = options.wish(
        jobs=jobs, runs_per_gpu=runs_per_gpu, engine=engine, address=address, device=device, threads=threads,
        folders=(data_dir, runs_dir),
    )  # fmt: skip
    letters = list(dict.fromkeys(one.value[0] for one in modality or ()))
    changes = options.recipe_changes(
        fraction=fraction,
        precision=precision,
        schedules=[f"pretraining.{MODALITY_NAMES[m]}" for m in letters or MODALITY_NAMES],
        schedule={"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size},
    )
    opening = Opening(dataset, data_dir, runs_dir, recipe, tuple(settings or ()), changes, wish.device_of_runs)
    experiment, console = opening.open(), open_console()
    say(console, data_note(experiment))
    for line in context_remarks(experiment):
        say(console, line)
    if "t" in experiment.modalities and not experiment.has_text_encoder:
        say(console, NO_TEXT_ENCODER)
    if seed and not experiment.recipe.per_seed:
        say(console, "Encoders are shared by all seeds (pretraining.per_seed is false): --seed changes nothing.")
    runs = plan_encoders(opening, letters, seed or (), force=force)
    if not wish.spreads:
        _one_by_one(console, experiment, runs)
    elif any(outcome.state == "failed" for outcome in run_all(console, {f"encoders: {dataset}": runs}, wish)):
        raise typer.Exit(1)


def _one_by_one(console: Console, experiment: Experiment, runs: Sequence[EncoderRun]) -> None:
    """Train encoders in this process, each epoch shown; the first that fails is the last."""
    from dmmsa_cli.cli.training_view import TrainingView, pretraining_title
    from dmmsa_cli.stages.pretrain import pretrain_unimodal

    with TrainingView(console) as view:
        for run in runs:
            watch = view.training(*pretraining_title(experiment, run.modality))
            report = pretrain_unimodal(experiment, run.modality, run.seed, watch=watch, force=run.force)
            view.report(report.folder, report.summary, skipped=report.skipped)
