"""`dmmsa pretrain-unimodal`: one encoder at a time, with a regression head (SPEC section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from dmmsa_cli.commands import command
from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.data.views import EpochBatches
from dmmsa_cli.errors import InvalidInput, RunMismatch
from dmmsa_cli.experiments.base_text import base_text
from dmmsa_cli.experiments.build import pretraining_objective, unimodal_model
from dmmsa_cli.experiments.encoders import encoder_folder, fresh_encoder, what_decides
from dmmsa_cli.experiments.experiment import Experiment, digest
from dmmsa_cli.experiments.inputs import embedded_views, unimodal_view
from dmmsa_cli.experiments.measure import metrics_of
from dmmsa_cli.files import exclusive
from dmmsa_cli.layers.pretrained import copy_description
from dmmsa_cli.layers.sequence import SequenceEncoder
from dmmsa_cli.layers.text import TextEncoder
from dmmsa_cli.plain import to_yaml
from dmmsa_cli.runtime import environment, seed_everything
from dmmsa_cli.training.fit import Watch, fit, unwatched
from dmmsa_cli.training.loop import Training
from dmmsa_cli.training.run import RunFolder, trains_again

NO_PRETRAINING = "The recipe pretrains nothing (pretraining: null): the model reads sequences."
NO_TEXT_ENCODER = "Text comes as features (text.source: features): there is no text encoder to pretrain."


@dataclass(frozen=True)
class PretrainReport:
    """What became of one encoder."""

    modality: str
    folder: Path
    skipped: bool
    """It had finished before."""
    summary: dict[str, Any]


def wanted_encoders(experiment: Experiment, modalities: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, int]]:
    """Return which encoders are to be trained, each as modality and seed.

    Args:
        experiment: dataset, recipe and place.
        modalities: those requested; none for all in use.
        seeds: those requested, where each seed has encoders of its own; none for the recipe's.

    Raises:
        InvalidInput: a modality that the dataset or the recipe does not have, or nothing to train.
    """
    missing = [m for m in modalities if m not in experiment.modalities]
    if missing:
        raise InvalidInput(
            f"{experiment.dataset} is used without {', '.join(MODALITY_NAMES[m] for m in missing)}.",
            f"Choose from {', '.join(experiment.modalities)}.",
        )
    wanted = [m for m in modalities or experiment.modalities if m in experiment.pretrained]
    if not wanted:
        nothing = NO_PRETRAINING if experiment.recipe.pretraining is None else NO_TEXT_ENCODER
        raise InvalidInput(
            nothing, f"Go on: `{command('fuse', dataset=experiment.dataset, recipe=experiment.recipe_option)}`."
        )
    chosen = seeds or experiment.recipe.seeds
    each = chosen if experiment.recipe.per_seed else chosen[:1]
    return [(modality, seed) for seed in each for modality in wanted]


def pretrain_unimodal(
    experiment: Experiment, modality: str, seed: int, *, watch: Watch = unwatched, force: bool = False
) -> PretrainReport:
    """Train the encoder of one modality, unless it has been; an unfinished one goes on where it was.

    Args:
        experiment: dataset, recipe and place.
        modality: `t`, `v` or `a`.
        seed: of the fusion run that asks; shared encoders have the recipe's own.
        watch: hears of every step and epoch.
        force: train it anew.

    Raises:
        Interrupted: stopped; the next call goes on.
        RunMismatch: its folder holds another encoder.
    """
    run, facts = encoder_folder(experiment, modality, seed), what_decides(experiment, modality, seed)
    if _is_done(run, facts, force=force):
        return PretrainReport(modality, run.path, True, run.summary)
    seed_everything(experiment.encoder_seed(seed))
    encoder = fresh_encoder(experiment, modality, seed)  # what can't be built leaves no folder behind
    with exclusive(run.path, wait=True):  # runs side by side need the same encoder once
        if _is_done(run, facts, force=force):
            return PretrainReport(modality, run.path, True, run.summary)
        if force:
            run.clear()
        run.begin(to_yaml(facts), environment(experiment.device, experiment.precision))
        if modality == "t":
            copy_description(base_text(experiment, seed), run.path / "text")
        summary = _train(experiment, modality, seed, encoder, run, digest(facts), watch)
    return PretrainReport(modality, run.path, False, summary)


def _is_done(run: RunFolder, facts: dict[str, Any], *, force: bool) -> bool:
    if force or not run.started:
        return False
    if digest(run.recipe) != digest(facts):
        raise RunMismatch(f"{run.path} holds another encoder than its name says.", trains_again(run.path))
    if run.finished:
        run.let_go()
    return run.finished


def _train(
    experiment: Experiment,
    modality: str,
    seed: int,
    encoder: TextEncoder | SequenceEncoder,
    run: RunFolder,
    identity: str,
    watch: Watch,
) -> dict[str, Any]:
    own_seed = experiment.encoder_seed(seed)
    schedule = experiment.pretraining.schedule(modality)
    model, objective = unimodal_model(modality, encoder), pretraining_objective(experiment, modality)
    views = {split: unimodal_view(experiment, modality, split, seed) for split in ("train", "valid")}
    frozen = getattr(schedule, "frozen_epochs", 0)
    early = embedded_views(experiment, encoder, views) if frozen else views

    def batches(epoch: int) -> EpochBatches:
        view = early["train"] if epoch <= frozen else views["train"]
        return view.shuffled(schedule.batch_size, seed=own_seed, epoch=epoch, window=schedule.length_window)

    def evaluate(trained: nn.Module) -> dict[str, float]:
        valid = early["valid"] if state.epoch <= frozen else views["valid"]
        return metrics_of(experiment, trained, valid, of=f"{run.path} on the validation split")

    state = Training(model, objective, schedule, device=experiment.device, precision=experiment.precision)
    return fit(
        state, run, identity=identity, batches=batches, evaluate=evaluate, watch=watch, first_candidate=frozen + 1
    )
