"""Stages without training: what they hand to `fit` is kept to be looked at, and their runs end at once."""

import zlib
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from transformers import AutoTokenizer, BertConfig, BertModel

from dmmsa_cli.errors import Interrupted
from dmmsa_cli.models.base import Outputs
from dmmsa_cli.training.loop import Training
from dmmsa_cli.training.run import RunFolder
from tests.training_runs import run_fuse

STAGES = ("text", "vision", "audio", "fusion")
SUMMARY = {"best_epoch": 1, "epochs": 1, "seconds": 0.0, "validation": {"mae": 1.0}}


@dataclass(frozen=True)
class Given:
    """What one training was given."""

    state: Training
    run: RunFolder
    identity: str
    batches: Callable
    evaluate: Callable
    first_candidate: int
    initial: dict[str, torch.Tensor]
    """Weights and buffers as training began."""
    random: torch.Tensor
    """State of torch's generator, from which dropout draws."""

    @property
    def stage(self):
        kind = self.run.path.name.partition("-")[0]
        return "fusion" if kind == "seed" else kind

    def epoch(self, number):
        """The batches of an epoch, collated."""
        return list(self.batches(number).starting_at(0))

    def rows(self, number):
        """The rows of an epoch, in their order."""
        return [row for rows in self.batches(number).rows for row in rows.tolist()]


class Trainings:
    """Stands in for `fit`: keeps what it is given, and leaves other weights than training began with.

    Args:
        finish: false leaves the runs of fused models begun, as Ctrl-C does.
    """

    def __init__(self, *, finish=True):
        self.given, self.finish = [], finish

    def __call__(self, state, run, *, identity, batches, evaluate, watch, first_candidate=1):
        initial = {name: value.clone() for name, value in state.model.state_dict().items()}
        given = Given(state, run, identity, batches, evaluate, first_candidate, initial, torch.get_rng_state())
        self.given.append(given)
        if given.stage == "fusion" and not self.finish:
            raise Interrupted("stopped.", "Go on.")
        generator = torch.Generator().manual_seed(zlib.crc32("/".join(run.path.parts[-3:]).encode()))
        with torch.no_grad():
            for parameter in state.model.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
        run.save_weights(state.evaluated.state_dict())
        run.finish(SUMMARY)
        return SUMMARY

    @property
    def by_stage(self):
        return {given.stage: given for given in self.given}


@contextmanager
def no_training(**options):
    """Let no stage train; gives what their trainings were given."""
    with pytest.MonkeyPatch.context() as patch:
        trainings = Trainings(**options)
        patch.setattr("dmmsa_cli.stages.fuse.fit", trainings)
        patch.setattr("dmmsa_cli.stages.pretrain.fit", trainings)
        yield trainings


def given_by(experiment, variant=None, seed=1, **flags):
    """What the trainings of a run, its missing encoders' included, are given: by stage."""
    with no_training() as trainings:
        run_fuse(experiment, variant, seed, **flags)
    return trainings.by_stage


class Recorder(nn.Module):
    """A model that answers every row with a number of its own, and keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, batch):
        self.batches.append(batch)
        return Outputs(prediction=self.answer(batch.rows))

    @staticmethod
    def answer(rows):
        return rows / 10 - 1

    def mae(self, labels):
        """Its mean absolute error, where the rows of the labels are 0, 1, 2, ..."""
        return (self.answer(torch.arange(len(labels))) - torch.as_tensor(labels)).abs().mean().item()


def pooled(folder, weights, texts):
    """Embeddings (N, width) of transcripts by a BERT, one at a time, with transformers alone.

    Args:
        folder: its configuration and tokenizer.
        weights: of a model that holds it as a text encoder.
        texts: transcripts.
    """
    mark = "encoders.t.backbone."
    tokenizer, bert = AutoTokenizer.from_pretrained(folder), BertModel(BertConfig.from_pretrained(folder)).eval()
    bert.load_state_dict({name.removeprefix(mark): w for name, w in weights.items() if name.startswith(mark)})
    with torch.no_grad():
        return torch.cat([bert(**tokenizer(text, return_tensors="pt")).pooler_output for text in texts])
