"""`dmmsa pretrain-unimodal`: one encoder at a time, with a regression head (SPEC section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from dmmsa_cli.data.sequences import Tokens
from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.data.views import EpochBatches, View
from dmmsa_cli.errors import InvalidInput
from dmmsa_cli.files import exclusive
from dmmsa_cli.layers.pretrained import copy_description, empty_encoder
from dmmsa_cli.layers.sequence import SequenceEncoder
from dmmsa_cli.layers.text import TextEncoder
from dmmsa_cli.models.unimodal import Unimodal
from dmmsa_cli.objectives import OBJECTIVES
from dmmsa_cli.recipe import to_dict
from dmmsa_cli.runtime import environment, seed_everything
from dmmsa_cli.stages.embeddings import embed_tokens
from dmmsa_cli.stages.experiment import Experiment, digest
from dmmsa_cli.training.fit import Watch, fit
from dmmsa_cli.training.loop import Training
from dmmsa_cli.training.run import RunFolder
from dmmsa_cli.training.schedule import Schedule

NO_TEXT_ENCODER = "Text comes as features (text.source: features): there is no text encoder to pretrain."


@dataclass(frozen=True)
class PretrainReport:
    """What became of one encoder."""

    modality: str
    folder: Path
    skipped: bool
    """It was already there."""
    summary: dict[str, Any]


def wanted_encoders(experiment: Experiment, modalities: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, int]]:
    """Return which encoders are to be trained, each as modality and seed.

    Args:
        experiment: dataset, recipe and place.
        modalities: those asked for; none for all in use.
        seeds: those asked for, where each seed has encoders of its own; none for the recipe's.

    Raises:
        InvalidInput: a modality that the dataset or the recipe does not have, or nothing to train.
    """
    missing = [m for m in modalities if m not in experiment.modalities]
    if missing:
        raise InvalidInput(
            f"{experiment.store.spec.name} is used without {', '.join(MODALITY_NAMES[m] for m in missing)}.",
            f"Choose from {', '.join(experiment.modalities)}.",
        )
    wanted = [m for m in modalities or experiment.modalities if m != "t" or experiment.text_pretrains]
    if not wanted:
        raise InvalidInput(NO_TEXT_ENCODER, "Go on with `dmmsa fuse`.")
    chosen = seeds or experiment.recipe.seeds
    each = chosen if experiment.recipe.pretraining.per_seed else chosen[:1]
    return [(modality, seed) for seed in each for modality in wanted]


def encoder_folder(experiment: Experiment, modality: str, seed: int) -> RunFolder:
    """Return where the encoder of a modality lies: named for the content of all that decides it."""
    key = digest(_what_decides(experiment, modality, seed))
    return RunFolder(experiment.folder / "encoders" / f"{MODALITY_NAMES[modality]}-{key}")


def _what_decides(experiment: Experiment, modality: str, seed: int) -> dict[str, Any]:
    """Everything that an encoder's weights depend on; two recipes that agree in it share the encoder."""
    recipe, name = experiment.recipe, MODALITY_NAMES[modality]
    facts = {
        "modality": modality,
        "data_hash": experiment.store.manifest.data_hash,
        "standardise": recipe.data.standardise and modality != "t",
        "fraction": recipe.data.fraction,
        "objective": to_dict(recipe.pretraining.objective),
        "schedule": to_dict(getattr(recipe.pretraining, name)),
        "seed": experiment.encoder_seed(seed),
        "precision": experiment.precision,
    }
    if modality != "t":
        return facts | {"encoder": to_dict(getattr(recipe, name)), "width": recipe.model.options.width}
    text = recipe.text
    return facts | {
        "encoder": experiment.base_text_fingerprint,
        "pooling": text.pooling,
        "max_tokens": text.max_tokens,
        "dropout": text.dropout,
        "frozen_layers": text.frozen_layers,
    }


def pretrain_unimodal(
    experiment: Experiment, modality: str, seed: int, *, watch: Watch, force: bool = False
) -> PretrainReport:
    """Train the encoder of one modality, unless it is there; an unfinished one goes on where it was.

    Args:
        experiment: dataset, recipe and place.
        modality: `t`, `v` or `a`.
        seed: of the fusion run that asks; shared encoders have the recipe's own.
        watch: told of every step and epoch.
        force: train it anew.

    Raises:
        Interrupted: stopped; the next call goes on.
    """
    run = encoder_folder(experiment, modality, seed)
    if run.finished and not force:
        return PretrainReport(modality, run.path, True, run.summary)
    recipe = yaml.safe_dump(_what_decides(experiment, modality, seed), sort_keys=False)
    seed_everything(experiment.encoder_seed(seed))
    encoder = experiment.new_encoder(modality, seed)  # what can't be built leaves no folder behind
    with exclusive(run.path, wait=True):  # runs side by side need the same encoder once
        if run.finished and not force:
            return PretrainReport(modality, run.path, True, run.summary)
        if force:
            run.clear()
        run.begin(recipe, environment(experiment.device, experiment.precision))
        if modality == "t":
            copy_description(experiment.base_text, run.path / "text")
        summary = _train(experiment, modality, seed, encoder, run, recipe, watch)
    return PretrainReport(modality, run.path, False, summary)


def _train(
    experiment: Experiment,
    modality: str,
    seed: int,
    encoder: TextEncoder | SequenceEncoder,
    run: RunFolder,
    recipe: str,
    watch: Watch,
) -> dict[str, Any]:
    own_seed = experiment.encoder_seed(seed)
    schedule: Schedule = getattr(experiment.recipe.pretraining, MODALITY_NAMES[modality])
    model = Unimodal({modality: encoder}, {modality: encoder.width})
    capabilities = experiment.capabilities(modality)
    chosen = experiment.recipe.pretraining.objective
    objective = OBJECTIVES[chosen.name](capabilities, chosen.options)
    views = {split: _view(experiment, modality, split, seed) for split in ("train", "valid")}
    frozen = getattr(schedule, "frozen_epochs", 0)
    early = _embedded(experiment, encoder, views) if frozen else views

    def batches(epoch: int) -> EpochBatches:
        view = early["train"] if epoch <= frozen else views["train"]
        return view.shuffled(schedule.batch_size, seed=own_seed, epoch=epoch, window=schedule.length_window)

    def evaluate(trained: nn.Module) -> dict[str, float]:
        view = early["valid"] if state.epoch <= frozen else views["valid"]
        return experiment.metrics_of(trained, view)

    state = Training(model, objective, schedule, device=experiment.device, precision=experiment.precision)
    return fit(state, run, recipe=recipe, batches=batches, evaluate=evaluate, watch=watch, first_candidate=frozen + 1)


def _view(experiment: Experiment, modality: str, split: str, seed: int) -> View:
    rows = experiment.store.split(split)
    source = experiment.tokens(experiment.base_text, rows) if modality == "t" else experiment.frames(modality, rows)
    view = experiment.view(split, seed, {modality: source})
    # One modality alone is trained, and validated, on its own label where the dataset has one.
    return replace(view, labels={"y": view.labels.get(modality, view.labels["y"])})


def _embedded(experiment: Experiment, encoder: nn.Module, views: dict[str, View]) -> dict[str, View]:
    """Run the still untouched text encoder once: while it is frozen it gives the same output every epoch.

    Embeddings reach the head without passing the encoder, so its weights get no gradient and the optimiser leaves them
    alone: nothing has to be switched on when the frozen epochs are over.
    """
    embedded = {}
    for split, view in views.items():
        tokens = view.inputs["t"]
        assert isinstance(tokens, Tokens)  # only text is ever frozen
        embedded[split] = view.with_inputs(t=embed_tokens(encoder, tokens, device=experiment.device))
    return embedded


def load_unimodal(experiment: Experiment, modality: str, run: RunFolder) -> Unimodal:
    """Return the encoder, with its regression head, that lies in `run`."""
    encoder: TextEncoder | SequenceEncoder
    if modality == "t":
        encoder = empty_encoder(
            run.path / "text", pooling=experiment.recipe.text.pooling, dropout=experiment.recipe.text.dropout
        )
        encoder.freeze(experiment.recipe.text.frozen_layers)
    else:
        encoder = experiment.empty_sequence_encoder(modality)
    model = Unimodal({modality: encoder}, {modality: encoder.width})
    run.load_weights(model)
    return model
