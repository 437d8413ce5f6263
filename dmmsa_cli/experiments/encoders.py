"""Encoders: fresh, pretrained, loaded; and what decides a pretrained one, after which its folder is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dmmsa_cli.data.manifest import prepare_command
from dmmsa_cli.data.sequences import ONE_GROUP, Frames, SplitFrames, frame_statistics
from dmmsa_cli.data.specs import ALIGNED, MODALITY_NAMES, SPECS
from dmmsa_cli.errors import Inapplicable, InvalidRecipe
from dmmsa_cli.experiments.base_text import base_text
from dmmsa_cli.experiments.context import what_context_decides
from dmmsa_cli.experiments.experiment import Experiment, as_before, digest
from dmmsa_cli.experiments.rows import used_rows
from dmmsa_cli.layers.frames import FrameReader
from dmmsa_cli.layers.pretrained import (
    copy_description,
    empty_encoder,
    encoder_width,
    fingerprint,
    load_encoder,
)
from dmmsa_cli.layers.sequence import SequenceEncoder, SequenceOptions
from dmmsa_cli.layers.text import Pooling, TextEncoder, TextStates
from dmmsa_cli.models.unimodal import Unimodal
from dmmsa_cli.recipe import to_dict
from dmmsa_cli.training.run import RunFolder

# --- one encoder ----------------------------------------------------------------------------------------------------


def frames(experiment: Experiment, modality: str, rows: SplitFrames) -> Frames:
    """Return the frames of audio or vision, cut at the dataset's longest sequence."""
    manifest = experiment.store.manifest
    longest = max(1, manifest.longest[modality])
    padded = experiment.recipe.data.padded and experiment.reading(modality) == "sequence"
    return Frames(rows, modality, manifest.widths[modality], longest, _waste(experiment, modality), padded)


def _waste(experiment: Experiment, modality: str) -> float:
    """How much padding a group may have: a CPU starts a kernel in no time, so there every length is a group."""
    if experiment.reading(modality) == "sequence":
        return ONE_GROUP
    return 0.0 if experiment.device.type == "cpu" else 0.15


def fresh_encoder(experiment: Experiment, modality: str, seed: int) -> TextEncoder | SequenceEncoder:
    """Return an untrained encoder: the base text encoder, or a fresh one that knows the frames' statistics.

    The statistics are those of the training rows in use, and of no others.
    """
    if modality == "t":
        return _base_encoder(experiment, seed, experiment.recipe.text.pooling)
    encoder = empty_sequence_encoder(experiment, modality)
    if experiment.recipe.data.standardise:
        encoder.standardise_by(*_statistics(experiment, modality, seed))
    return encoder


def _base_encoder(experiment: Experiment, seed: int, pooling: Pooling) -> TextEncoder:
    text = experiment.recipe.text
    loaded = load_encoder(base_text(experiment, seed), pooling=pooling, dropout=text.dropout)
    loaded.freeze(text.frozen_layers)
    return loaded


def _statistics(experiment: Experiment, modality: str, seed: int) -> tuple[Tensor, Tensor]:
    training = frames(experiment, modality, experiment.store.split("train"))
    return frame_statistics(training, used_rows(experiment, "train", seed))


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
        Inapplicable: the data are not aligned where the recipe wants that.
        InvalidRecipe: the heads do not divide the width, the text features asked for are not there, or a model that
            runs the text encoder itself is not given one.
        EncoderUnavailable: the text encoder can't be had.
    """
    _check_alignment(experiment)
    for modality in sorted(experiment.modalities, key="t".__eq__):  # text last: its encoder may be sought on the hub
        if modality != "t":
            if experiment.reading(modality) == "embedding":
                _check_heads(experiment, modality)
        elif experiment.reading("t") == "tokens" and not experiment.trains_text:
            raise InvalidRecipe(
                f"{experiment.recipe.model.name} runs the text encoder itself, changed from within, and so trains it.",
                "Set text.train_in_fusion to true, and text.source to encoder or tiny.",
            )
        elif experiment.has_text_encoder:
            base_text(experiment, seed)  # finds it, or says how to get it
        else:
            check_text_features(experiment)


def _check_alignment(experiment: Experiment) -> None:
    dataset = experiment.dataset
    if not experiment.recipe.data.aligned or experiment.store.spec.aligned:
        return
    variant = dataset + ALIGNED
    raise Inapplicable(
        f"{experiment.recipe.model.name} goes word by word (data.aligned), and {dataset} is not aligned to the words.",
        f"Use the variant that is: `{prepare_command(variant)}`, then --dataset {variant}."
        if variant in SPECS
        else "Where it is, its description says so: aligned: true, in the file given to prepare --spec.",
    )


def check_text_features(experiment: Experiment) -> None:
    """See that the pickle had text features.

    Raises:
        InvalidRecipe: it had none.
    """
    if "t" not in experiment.store.manifest.widths:
        raise InvalidRecipe(
            f"text.source is features, but the pickle that {experiment.dataset} was prepared from has no `text`.",
            "Use an encoder: --set text.source=encoder, or a recipe that has one, as --recipe default/tiny.",
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
        "objective": to_dict(experiment.pretraining.objective),
        "schedule": as_before(to_dict(experiment.pretraining.schedule(modality))),
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
        **what_context_decides(experiment.context),
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
        experiment = self.experiment
        outside = not experiment.trains_text and experiment.reading("t") == "embedding"
        return [m for m in experiment.modalities if m != "t" or not outside]

    def at_start(self) -> dict[str, nn.Module]:
        """Return the encoders that are part of the model, as training begins."""
        if self.experiment.trains_text:
            copy_description(base_text(self.experiment, self.seed), self.run.path / "text")
        return {m: self._pretrained_or_fresh(m) for m in self.inside}

    def empty(self) -> dict[str, nn.Module]:
        """Return the encoders that are part of the model, with weights still to be loaded."""
        return {m: self._empty(m) for m in self.inside}

    def frozen_text(self) -> TextEncoder:
        """Return the text encoder that is not part of the model."""
        if "t" in self.pretrained:
            encoder = load_unimodal(self.experiment, "t", self.pretrained["t"]).encoders["t"]
            assert isinstance(encoder, TextEncoder)
            return encoder
        return load_encoder(base_text(self.experiment, self.seed), pooling=self._pooling)

    @property
    def _pooling(self) -> Pooling:
        """The recipe's; where token states are read nobody pools, and a pooler would only be carried along."""
        return "mean" if self.experiment.reading("t") == "sequence" else self.experiment.recipe.text.pooling

    def _empty(self, modality: str) -> nn.Module:
        experiment, reads_sequences = self.experiment, self.experiment.reading(modality) == "sequence"
        if modality == "t" and experiment.trains_text:
            dropout = experiment.recipe.text.dropout
            encoder = empty_encoder(self.run.path / "text", pooling=self._pooling, dropout=dropout)
            return TextStates(encoder) if reads_sequences else encoder
        if reads_sequences:
            return FrameReader(self.widths[modality])
        return empty_sequence_encoder(experiment, modality)

    @cached_property
    def text_folder(self) -> Path:
        """Where configuration and tokenizer of the text encoder lie."""
        if "t" in self.pretrained:
            return self.pretrained["t"].path / "text"
        own = self.run.path / "text"
        return own if own.exists() else base_text(self.experiment, self.seed)

    @property
    def widths(self) -> dict[str, int]:
        """Width of every modality in use as the model reads it."""
        return {m: self._text_width() if m == "t" else self._width(m) for m in self.experiment.modalities}

    def _text_width(self) -> int:
        if self.experiment.has_text_encoder:
            return encoder_width(self.text_folder)
        return self.experiment.store.manifest.widths["t"]

    def _fresh_reader(self, modality: str) -> nn.Module:
        experiment, seed = self.experiment, self.seed
        if modality == "t" and experiment.trains_text:
            return TextStates(_base_encoder(experiment, seed, self._pooling))
        reader = FrameReader(self.widths[modality])
        if modality != "t" and experiment.recipe.data.standardise:
            reader.standardise_by(*_statistics(experiment, modality, seed))
        return reader

    def _width(self, modality: str) -> int:
        if self.experiment.reading(modality) == "sequence":
            return self.experiment.store.manifest.widths[modality]
        width: int = self.experiment.recipe.model.options.width
        return width

    def _pretrained_or_fresh(self, modality: str) -> nn.Module:
        if self.experiment.reading(modality) == "sequence":
            return self._fresh_reader(modality)
        if modality not in self.pretrained:
            return fresh_encoder(self.experiment, modality, self.seed)
        encoder: nn.Module = load_unimodal(self.experiment, modality, self.pretrained[modality]).encoders[modality]
        return encoder
