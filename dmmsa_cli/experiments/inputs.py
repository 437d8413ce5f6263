"""How each modality arrives at a model: frames, token ids, or finished embeddings; of a split, or of a file to predict.

Another way to arrive is a line in `Inputs._of`, and, where it is worth keeping, a key in `cache.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dmmsa_cli.data.sequences import ONE_GROUP, Frames, SplitFrames, Tokens
from dmmsa_cli.data.specs import SPLITS
from dmmsa_cli.data.split import Split
from dmmsa_cli.data.validation import EMOTIONS
from dmmsa_cli.data.views import View
from dmmsa_cli.experiments.base_text import base_text
from dmmsa_cli.experiments.cache import cached_embeddings, embed_tokens
from dmmsa_cli.experiments.context import clips_around
from dmmsa_cli.experiments.encoders import Encoders, check_text_features, frames
from dmmsa_cli.experiments.experiment import Experiment
from dmmsa_cli.experiments.rows import used_rows
from dmmsa_cli.experiments.states import cached_states, padded, state_batches
from dmmsa_cli.layers.pretrained import encodes_rows, tokenize
from dmmsa_cli.layers.text import TextEncoder

Source = Frames | Tokens | Tensor
"""Sequences of one modality, or its embeddings (N, width)."""


class Rows(SplitFrames, Protocol):
    """A split as it is read here: of a store, or of a file of features."""

    def __len__(self) -> int: ...

    @property
    def ids(self) -> list[str]:
        """Names of the clips, N."""
        ...

    @property
    def texts(self) -> list[str]:
        """Transcripts, N."""
        ...


@dataclass(frozen=True)
class Inputs:
    """What the fused model of one run reads."""

    encoders: Encoders

    def split(self, name: str) -> View:
        """Return a split of the store: the rows in use, their inputs and labels."""
        experiment = self.encoders.experiment
        inputs = self._of(experiment.store.split(name), name)
        return labelled(experiment, name, self.encoders.seed, inputs)

    def features(self, rows: Rows) -> View:
        """Return the rows of a file of features, without labels."""
        return View.unlabelled(self._of(rows, None), len(rows))

    def _of(self, rows: Rows, split: str | None) -> dict[str, Source]:
        experiment = self.encoders.experiment
        return {m: self._text(rows, split) if m == "t" else frames(experiment, m, rows) for m in experiment.modalities}

    def _text(self, rows: Rows, split: str | None) -> Source:
        experiment = self.encoders.experiment
        if experiment.trains_text or experiment.reading("t") == "tokens":
            return self._tokens(rows)
        if experiment.reading("t") == "sequence":
            return self._text_sequences(rows, split)
        if not experiment.has_text_encoder:
            return pooled_features(experiment, rows)
        return self._embed({"": rows})[""] if split is None else self._embedded_splits[split]

    def _text_sequences(self, rows: Rows, split: str | None) -> Frames:
        """Token states of the frozen encoder, or the pickle's own text features."""
        width = self.encoders.widths["t"]
        if not self.encoders.experiment.has_text_encoder:
            check_text_features(self.encoders.experiment)
            return Frames(rows, "t", width, waste=ONE_GROUP)
        if split is not None:
            return Frames(self._state_splits[split], "t", width, waste=ONE_GROUP)
        return self._states(self._tokens(rows), self.encoders.frozen_text())

    def transcripts(self, split: str) -> Tokens:
        """Return the transcripts of a split of the store as token ids."""
        return self._tokens(self.encoders.experiment.store.split(split))

    def encoded(self, tokens: Tokens, encoder: TextEncoder) -> Source:
        """Return what the model reads of transcripts where text is frozen: encoded here and now, and kept nowhere."""
        if self.encoders.experiment.reading("t") == "sequence":
            return self._states(tokens, encoder)
        return _embedded(self.encoders.experiment, encoder, tokens)

    def _states(self, tokens: Tokens, encoder: TextEncoder) -> Frames:
        experiment = self.encoders.experiment
        made = state_batches(
            encoder, tokens, device=experiment.device, padded=padded(self.encoders), precision=experiment.encodes_in
        )
        states = Split("", list(made))
        return Frames(states, "t", self.encoders.widths["t"], waste=ONE_GROUP)

    @cached_property
    def _state_splits(self) -> Mapping[str, Split]:
        store = self.encoders.experiment.store
        return cached_states(self.encoders, lambda name: self._tokens(store.split(name)))

    def _tokens(self, rows: Rows) -> Tokens:
        found = tokens(self.encoders.experiment, self.encoders.text_folder, rows)
        return replace(found, filled=self.encoders.experiment.recipe.text.max_tokens) if self._fills else found

    @property
    def _fills(self) -> bool:
        """Whether transcripts are filled up to one length: where padding counts, and the text encoder is frozen."""
        experiment = self.encoders.experiment
        return padded(self.encoders) and experiment.reading("t") == "sequence" and not experiment.trains_text

    @cached_property
    def _embedded_splits(self) -> Mapping[str, Tensor]:
        store = self.encoders.experiment.store
        return cached_embeddings(self.encoders, lambda: self._embed({name: store.split(name) for name in SPLITS}))

    def _embed(self, splits: Mapping[str, Rows]) -> dict[str, Tensor]:
        encoder, experiment = self.encoders.frozen_text(), self.encoders.experiment
        return {name: _embedded(experiment, encoder, self._tokens(rows)) for name, rows in splits.items()}


def _embedded(experiment: Experiment, encoder: nn.Module, tokens: Tokens) -> Tensor:
    return embed_tokens(encoder, tokens, device=experiment.device, precision=experiment.encodes_in)


def labelled(experiment: Experiment, split: str, seed: int, inputs: Mapping[str, Source]) -> View:
    """Return the rows of a split that a run of this seed uses, with the given inputs and all labels.

    Beside the scores (N,) there are `emotions` (N, C) where the clips are labelled with some.
    """
    rows = experiment.store.split(split)
    labels = {name: torch.from_numpy(np.array(y)) for name, y in rows.labels.items()}
    if rows.emotions is not None:
        labels[EMOTIONS] = torch.from_numpy(rows.emotions)
    return View(inputs, labels, used_rows(experiment, split, seed))


def tokens(experiment: Experiment, folder: Path, rows: Rows, *, alone: bool = False) -> Tokens:
    """Return the transcripts as token ids of the encoder in `folder`.

    Args:
        experiment: whose recipe says how long they may be, and which clips around one are its context.
        folder: of the encoder.
        rows: a whole split, in which context is looked for.
        alone: without context, whatever the recipe says.
    """
    context = None if alone else clips_around(experiment, rows.ids)
    found = tokenize(folder, rows.texts, experiment.recipe.text.max_tokens, context)
    if found.cut:
        longest = int(found.own_lengths().max())
        warnings.warn(
            f"{experiment.dataset}: {found.cut:,} of {len(rows):,} transcripts are longer than {longest} "
            "tokens, and are cut there (text.max_tokens, and what the encoder reads at most).",
            stacklevel=2,
        )
    # In a row one more group is a little more attention, which a CPU begins in no time: less than any padding costs.
    return replace(found, waste=0.0) if experiment.device.type == "cpu" and encodes_rows(folder) else found


def pooled_features(experiment: Experiment, rows: Rows) -> Tensor:
    """Return the mean of the pickle's own text features over their valid positions, (N, width).

    Raises:
        InvalidRecipe: the pickle had none.
    """
    check_text_features(experiment)
    pooled: NDArray[np.float32] = np.zeros((len(rows), experiment.store.manifest.widths["t"]), np.float32)
    for row in range(len(rows)):
        valid = rows.sequence("t", row)
        if len(valid):
            pooled[row] = valid.mean(axis=0, dtype=np.float64)
    return torch.from_numpy(pooled)


# --- one modality alone ---------------------------------------------------------------------------------------------


def unimodal_view(experiment: Experiment, modality: str, split: str, seed: int) -> View:
    """Return a split as the pretraining of one encoder sees it: its own label where the dataset has one, else y."""
    rows = experiment.store.split(split)
    source: Source
    if modality == "t":
        source = tokens(experiment, base_text(experiment, seed), rows)
    else:
        source = frames(experiment, modality, rows)
    view = labelled(experiment, split, seed, {modality: source})
    return replace(view, labels={"y": view.labels.get(modality, view.labels["y"])})


def embedded_views(experiment: Experiment, encoder: nn.Module, views: Mapping[str, View]) -> dict[str, View]:
    """Run the still untouched text encoder once: while it is frozen it gives the same output every epoch.

    Embeddings reach the head without passing the encoder, so its weights get no gradient and the optimiser leaves them
    alone: nothing has to be switched on when the frozen epochs are over.
    """
    embedded = {}
    for split, view in views.items():
        source = view.inputs["t"]
        assert isinstance(source, Tokens)  # only text is ever frozen
        embedded[split] = view.with_inputs(t=_embedded(experiment, encoder, source))
    return embedded
