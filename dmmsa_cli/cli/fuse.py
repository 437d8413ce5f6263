"""`dmmsa fuse`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from dmmsa_cli.cli import options
from dmmsa_cli.commands import command
from dmmsa_cli.errors import InvalidInput

if TYPE_CHECKING:  # imported where it is used, to keep --help quick
    from rich.console import Console

    from dmmsa_cli.cli.training_view import TrainingView
    from dmmsa_cli.experiments.experiment import Experiment
    from dmmsa_cli.stages.runs import FusionRun
    from dmmsa_cli.training.fit import Watch


def fuse(
    dataset: options.Dataset,
    seed: options.Seeds = None,
    no_gdwg: Annotated[bool, typer.Option("--no-gdwg", help="Without GDWG: every weighted task keeps 1/K.")] = False,
    no_msc: Annotated[bool, typer.Option("--no-msc", help="Without coarse classification.")] = False,
    no_cl: Annotated[bool, typer.Option("--no-cl", help="Without contrastive learning.")] = False,
    no_uni: Annotated[bool, typer.Option("--no-uni", help="Without unimodal regression.")] = False,
    fraction: options.Fraction = None,
    folds: options.Folds = None,
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="Start from untrained encoders.")] = False,
    recipe: options.RecipeName = None,
    settings: options.Settings = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Folder of this variant. Needed with --set, --epochs, ..."),
    ] = None,
    epochs: options.Epochs = None,
    learning_rate: options.LearningRate = None,
    batch_size: options.BatchSize = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with unfinished runs.")] = False,
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
    """Train the fused model, one run a seed; encoders that are missing are pretrained first.

    Runs lie in runs/DATASET/RECIPE/VARIANT/seed-N; the variant is named for its flags (full, no-gdwg, fraction-0.6).
    """
    if force and resume:
        raise InvalidInput("--force begins again, --resume goes on.", "Give one of them.")
    from dmmsa_cli.cli.console import open_console, say
    from dmmsa_cli.cli.spreading import run_all
    from dmmsa_cli.cli.training_view import data_note
    from dmmsa_cli.experiments.variants import variant_name
    from dmmsa_cli.stages.runs import Opening, plan_fusion

    wish = options.wish(
        jobs=jobs, runs_per_gpu=runs_per_gpu, engine=engine, address=address, device=device, threads=threads,
        folders=(data_dir, runs_dir),
    )  # fmt: skip
    flags = {"msc": no_msc, "cl": no_cl, "uni": no_uni, "gdwg": no_gdwg}
    dropped = [part for part, drop in flags.items() if drop]
    schedule = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size}
    changed = bool(settings) or any(value is not None for value in schedule.values())
    variant = name or variant_name(dropped, fraction, from_scratch, changed=changed)
    changes = options.recipe_changes(
        fraction=fraction, precision=precision, dropped=dropped, schedules=["fusion"], schedule=schedule
    )
    openings = [
        Opening(one, data_dir, runs_dir, recipe, tuple(settings or ()), changes, wish.device_of_runs)
        for one in options.datasets(dataset, folds)
    ]
    runs = plan_fusion(openings, variant, seed or (), from_scratch=from_scratch, resume=resume, force=force)
    console, failed = open_console(), False
    if wish.spreads:
        say(console, data_note(openings[0].open()))
        outcomes = run_all(console, {f"{variant}: {dataset}": runs}, wish)
        failed = any(outcome.state == "failed" for outcome in outcomes)
    else:
        _one_by_one(console, runs, resume=resume)
    say(console, f"Next: {command('evaluate', dataset=dataset, folds=folds)}")
    if failed:
        raise typer.Exit(1)


def _one_by_one(console: Console, runs: Sequence[FusionRun], *, resume: bool) -> None:
    """Train runs in this process, each epoch shown; the first that fails is the last."""
    from dmmsa_cli.cli.training_view import TrainingView, data_note
    from dmmsa_cli.stages.fuse import fuse

    with TrainingView(console) as view:
        for _, group in groupby(runs, lambda run: run.opening.dataset):
            of_dataset = list(group)
            experiment = of_dataset[0].opening.open()
            view.say(data_note(experiment))
            for run in of_dataset:
                report = fuse(
                    experiment,
                    run.variant,
                    run.seed,
                    watch=partial(view.training, f"{run.variant} seed {run.seed}", experiment.recipe.fusion.epochs),
                    watch_pretraining=partial(_watch_pretraining, view, experiment),
                    remark=view.say,
                    from_scratch=run.from_scratch,
                    resume=resume,
                    force=run.force,
                )
                view.report(report.folder, report.summary, skipped=report.skipped)


def _watch_pretraining(view: TrainingView, experiment: Experiment, modality: str) -> Watch:
    from dmmsa_cli.cli.training_view import pretraining_title

    return view.training(*pretraining_title(experiment, modality))
