"""Encoders: fresh, pretrained, loaded; and what decides a pretrained one, after which its folder is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from dmmsa_cli.data.sequences import Frames, SplitFrames, frame_statistics
from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.experiments.base_text import base_text
from dmmsa_cli.experiments.experiment import Experiment, digest
from dmmsa_cli.experiments.rows import used_rows
from dmmsa_cli.layers.pretrained import (
    copy_description,
    empty_encoder,
    encoder_width,
    fingerprint,
    load_encoder,
)
from dmmsa_cli.layers.sequence import SequenceEncoder, SequenceOptions
from dmmsa_cli.layers.text import TextEncoder
from dmmsa_cli.models.unimodal import Unimodal
from dmmsa_cli.recipe import to_dict
from dmmsa_cli.training.run import RunFolder

# --- one encoder ----------------------------------------------------------------------------------------------------


def frames(experiment: Experiment, modality: str, rows: SplitFrames) -> Frames:
    """Return the frames of audio or vision, cut at the dataset's longest sequence."""
    manifest = experiment.store.manifest
    longest = max(1, manifest.longest[modality])
    # A CPU starts a kernel in no time, so there every length is a group; elsewhere fewer groups pay for padding.
    waste = 0.0 if experiment.device.type == "cpu" else 0.15
    return Frames(rows, modality, manifest.widths[modality], longest, waste)


def fresh_encoder(experiment: Experiment, modality: str, seed: int) -> TextEncoder | SequenceEncoder:
    """Return an untrained encoder: the base text encoder, or a fresh one that knows the frames' statistics.

    The statistics are those of the training rows in use, and of no others.
    """
    if modality == "t":
        text = experiment.recipe.text
        loaded = load_encoder(base_text(experiment, seed), pooling=text.pooling, dropout=text.dropout)
        loaded.freeze(text.frozen_layers)
        return loaded
    encoder = empty_sequence_encoder(experiment, modality)
    if experiment.recipe.data.standardise:
        training = frames(experiment, modality, experiment.store.split("train"))
        encoder.standardise_by(*frame_statistics(training, used_rows(experiment, "train", seed)))
    return encoder


def empty_sequence_encoder(experiment: Experiment, modality: str) -> SequenceEncoder:
    """Return an encoder of audio or vision whose weights and statistics are still to be set.

    Raises:
        InvalidRecipe: the width can't be divided among the attention heads.
    """
    _check_heads(experiment, modality)
    options: SequenceOptions = getattr(experiment.recipe, MODALITY_NAMES[modality])
    manifest = experiment.store.manifest
    return SequenceEncoder(
        features=manifest.widths[modality],
        longest=max(1, manifest.longest[modality]),
        width=experiment.recipe.model.options.width,
        **to_dict(options),
    )


def check_modalities(experiment: Experiment, seed: int) -> None:
    """See that every modality in use can be encoded as the recipe wants it, before anything is trained.

    Raises:
        InvalidRecipe: the heads do not divide the width, or the text features asked for are not there.
        EncoderUnavailable: the text encoder can't be had.
    """
    for modality in experiment.modalities:
        if modality != "t":
            _check_heads(experiment, modality)
        elif experiment.has_text_encoder:
            base_text(experiment, seed)  # finds it, or says how to get it
        else:
            check_text_features(experiment)


def check_text_features(experiment: Experiment) -> None:
    """See that the pickle had text features.

    Raises:
        InvalidRecipe: it had none.
    """
    if "t" not in experiment.store.manifest.widths:
        raise InvalidRecipe(
            f"text.source is features, but the pickle that {experiment.dataset} was prepared from has no `text`.",
            "Use an encoder: --set text.source=encoder, or --set text.source=tiny",
        )


def _check_heads(experiment: Experiment, modality: str) -> None:
    name, width = MODALITY_NAMES[modality], experiment.recipe.model.options.width
    heads = getattr(experiment.recipe, name).heads
    if width % heads:
        raise InvalidRecipe(
            f"{name}.heads: {heads} heads do not divide model.width, {width}.", "Choose a divisor of the width."
        )


# --- pretrained encoders --------------------------------------------------------------------------------------------


def encoder_folder(experiment: Experiment, modality: str, seed: int) -> RunFolder:
    """Return where the encoder of a modality lies: named for the content of all that decides it."""
    key = digest(what_decides(experiment, modality, seed))
    return RunFolder(experiment.folder / "encoders" / f"{MODALITY_NAMES[modality]}-{key}")


def what_decides(experiment: Experiment, modality: str, seed: int) -> dict[str, Any]:
    """Return everything that an encoder's weights depend on; two recipes that agree in it share the encoder."""
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
        "encoder": fingerprint(base_text(experiment, seed)),
        "pooling": text.pooling,
        "max_tokens": text.max_tokens,
        "dropout": text.dropout,
        "frozen_layers": text.frozen_layers,
    }


def load_unimodal(experiment: Experiment, modality: str, run: RunFolder) -> Unimodal:
    """Return the encoder, with its regression head, that lies in `run`.

    Raises:
        RunMissing, RunMismatch: it has no weights, or those of another network.
    """
    encoder: TextEncoder | SequenceEncoder
    if modality == "t":
        text = experiment.recipe.text
        encoder = empty_encoder(run.path / "text", pooling=text.pooling, dropout=text.dropout)
        encoder.freeze(text.frozen_layers)
    else:
        encoder = empty_sequence_encoder(experiment, modality)
    model = Unimodal({modality: encoder}, {modality: encoder.width})
    run.load_weights(model)
    return model


# --- the encoders of a run ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoders:
    """The encoders that one run of a fused model stands on.

    Audio and vision encoders are part of the model. A text encoder that is trained in fusion is too; a frozen one is
    not: its embeddings are computed once and kept, so that training does not even load it.
    """

    experiment: Experiment
    run: RunFolder
    """Of the fused model; keeps the description of a text encoder that is trained with it."""
    seed: int
    pretrained: Mapping[str, RunFolder]
    """By modality; empty for a run from scratch."""

    @property
    def inside(self) -> list[str]:
        """The modalities whose encoders are part of the model."""
        return [m for m in self.experiment.modalities if m != "t" or self.experiment.trains_text]

    def at_start(self) -> dict[str, nn.Module]:
        """Return the encoders that are part of the model, as training begins."""
        if self.experiment.trains_text:
            copy_description(base_text(self.experiment, self.seed), self.run.path / "text")
        return {m: self._pretrained_or_fresh(m) for m in self.inside}

    def empty(self) -> dict[str, nn.Module]:
        """Return the encoders that are part of the model, with weights still to be loaded."""
        text = self.experiment.recipe.text
        return {
            m: empty_encoder(self.run.path / "text", pooling=text.pooling, dropout=text.dropout)
            if m == "t"
            else empty_sequence_encoder(self.experiment, m)
            for m in self.inside
        }

    def frozen_text(self) -> nn.Module:
        """Return the text encoder that is not part of the model."""
        if "t" in self.pretrained:
            encoder: nn.Module = load_unimodal(self.experiment, "t", self.pretrained["t"]).encoders["t"]
            return encoder
        return load_encoder(base_text(self.experiment, self.seed), pooling=self.experiment.recipe.text.pooling)

    @cached_property
    def text_folder(self) -> Path:
        """Where configuration and tokenizer of the text encoder lie."""
        if "t" in self.pretrained:
            return self.pretrained["t"].path / "text"
        own = self.run.path / "text"
        return own if own.exists() else base_text(self.experiment, self.seed)

    @property
    def widths(self) -> dict[str, int]:
        """Embedding width of every modality in use."""
        width = self.experiment.recipe.model.options.width
        return {m: self._text_width() if m == "t" else width for m in self.experiment.modalities}

    def _text_width(self) -> int:
        if self.experiment.has_text_encoder:
            return encoder_width(self.text_folder)
        return self.experiment.store.manifest.widths["t"]

    def _pretrained_or_fresh(self, modality: str) -> nn.Module:
        if modality not in self.pretrained:
            return fresh_encoder(self.experiment, modality, self.seed)
        encoder: nn.Module = load_unimodal(self.experiment, modality, self.pretrained[modality]).encoders[modality]
        return encoder
