"""Model and objective from the recipe: the one builder, of pretraining, fusion, evaluation, prediction and bench."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from dmmsa_cli.experiments.encoders import Encoders
from dmmsa_cli.experiments.experiment import Experiment
from dmmsa_cli.experiments.inputs import Inputs
from dmmsa_cli.layers.frames import FrameReader
from dmmsa_cli.layers.sequence import SequenceEncoder
from dmmsa_cli.layers.text import TextEncoder
from dmmsa_cli.models import MODELS
from dmmsa_cli.models.unimodal import Unimodal
from dmmsa_cli.objectives import OBJECTIVES
from dmmsa_cli.objectives.base import Objective
from dmmsa_cli.recipe import to_dict
from dmmsa_cli.training import schedule
from dmmsa_cli.training.run import RunFolder


def fusion_objective(experiment: Experiment) -> Objective:
    """Build a recipe's objective, new.

    Raises:
        InvalidRecipe: it asks for what the dataset's metrics do not have.
    """
    chosen = experiment.recipe.objective
    return OBJECTIVES[chosen.name](experiment.capabilities(), chosen.options)


def pretraining_objective(experiment: Experiment, modality: str) -> Objective:
    """Build what the encoder of one modality is pretrained on, new."""
    chosen = experiment.pretraining.objective
    return OBJECTIVES[chosen.name](experiment.capabilities(modality), chosen.options)


def unimodal_model(modality: str, encoder: TextEncoder | SequenceEncoder) -> Unimodal:
    """Return an encoder under a new regression head, as it is pretrained."""
    return Unimodal({modality: encoder}, {modality: encoder.width})


def check_groups(experiment: Experiment, seed: int) -> None:
    """See that the groups of the fusion's schedule are parts of the model, before there is a run.

    Raises:
        InvalidRecipe: one is not.
    """
    if not experiment.recipe.fusion.groups:
        return
    encoders = Encoders(experiment, RunFolder(experiment.folder), seed, {})
    frames = [m for m in encoders.inside if m != "t" and experiment.reading(m) == "sequence"]
    with torch.device("meta"):  # its parameters have names, and no content
        stands_in = {m: FrameReader(1) if m in frames else nn.Linear(1, 1) for m in encoders.inside}
        chosen, heads = experiment.recipe.model, fusion_objective(experiment).heads
        model = MODELS[chosen.name](stands_in, encoders.widths, heads, **to_dict(chosen.options))
    schedule.check_groups(model, experiment.recipe.fusion)


@dataclass(frozen=True)
class Fused:
    """The fused model of one run, and what it reads."""

    encoders: Encoders

    @property
    def experiment(self) -> Experiment:
        """Dataset, recipe and place."""
        return self.encoders.experiment

    @cached_property
    def inputs(self) -> Inputs:
        """What the model reads."""
        return Inputs(self.encoders)

    @cached_property
    def objective(self) -> Objective:
        """The recipe's objective, new."""
        return fusion_objective(self.experiment)

    def at_start(self) -> nn.Module:
        """Return the model as training begins: on pretrained encoders where there are any."""
        return self._model(self.encoders.at_start())

    def finished(self) -> nn.Module:
        """Return the model with the run's best weights.

        Raises:
            RunMissing: the run has no weights.
            RunMismatch: they are another network's.
        """
        model = self._model(self.encoders.empty())
        self.encoders.run.load_weights(model)
        return model

    def _model(self, encoders: Mapping[str, nn.Module]) -> nn.Module:
        chosen = self.experiment.recipe.model
        return MODELS[chosen.name](encoders, self.encoders.widths, self.objective.heads, **to_dict(chosen.options))
