"""`dmmsa pretrain-unimodal`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from dmmsa_cli.cli import options


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
    from dmmsa_cli.cli.console import open_console
    from dmmsa_cli.cli.training_view import TrainingView, data_note, pretraining_title
    from dmmsa_cli.data.specs import MODALITY_NAMES
    from dmmsa_cli.experiments.context import context_remarks
    from dmmsa_cli.experiments.experiment import open_experiment
    from dmmsa_cli.stages.pretrain import NO_TEXT_ENCODER, pretrain_unimodal, wanted_encoders

    letters = list(dict.fromkeys(one.value[0] for one in modality or ()))
    experiment = open_experiment(
        dataset,
        data_dir=data_dir,
        runs_dir=runs_dir,
        recipe=recipe,
        settings=settings or (),
        changes=options.recipe_changes(
            fraction=fraction,
            precision=precision,
            schedules=[f"pretraining.{MODALITY_NAMES[m]}" for m in letters or MODALITY_NAMES],
            schedule={"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size},
        ),
        device=device.value,
    )
    with TrainingView(open_console()) as view:
        view.say(data_note(experiment))
        for line in context_remarks(experiment):
            view.say(line)
        if "t" in experiment.modalities and not experiment.has_text_encoder:
            view.say(NO_TEXT_ENCODER)
        if seed and not experiment.recipe.per_seed:
            view.say("Encoders are shared by all seeds (pretraining.per_seed is false): --seed changes nothing.")
        for name, own_seed in wanted_encoders(experiment, letters, seed or ()):
            watch = view.training(*pretraining_title(experiment, name))
            report = pretrain_unimodal(experiment, name, own_seed, watch=watch, force=force)
            view.report(report.folder, report.summary, skipped=report.skipped)
