"""The fused model of a run, as training, evaluation and prediction all build it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor, nn

from dmmsa_cli.data.sequences import Frames, Tokens
from dmmsa_cli.data.specs import SPLITS
from dmmsa_cli.data.views import View
from dmmsa_cli.errors import RunMismatch, RunMissing
from dmmsa_cli.files import exclusive
from dmmsa_cli.layers.pretrained import copy_description, empty_encoder, encoder_width, load_encoder
from dmmsa_cli.models import MODELS
from dmmsa_cli.objectives import OBJECTIVES
from dmmsa_cli.objectives.base import Objective
from dmmsa_cli.recipe import to_dict
from dmmsa_cli.runtime import DeviceName
from dmmsa_cli.stages.embeddings import embed_tokens, read_cached, write_cached
from dmmsa_cli.stages.experiment import Experiment, Rows, digest, reopen_experiment
from dmmsa_cli.stages.pretrain import load_unimodal
from dmmsa_cli.training.run import RunFolder


def objective_of(experiment: Experiment) -> Objective:
    """Build a recipe's objective, new.

    Raises:
        InvalidRecipe: it asks for what the dataset's metrics do not have.
    """
    chosen = experiment.recipe.objective
    return OBJECTIVES[chosen.name](experiment.capabilities(), chosen.options)


@dataclass(frozen=True)
class Fused:
    """The fused model of one run.

    Audio and vision encoders are part of it. A text encoder that is trained in fusion is too; a frozen one is not: its
    embeddings are computed once and kept, so that training does not even load it.
    """

    experiment: Experiment
    run: RunFolder
    pretrained: Mapping[str, RunFolder]
    """By modality; empty for a run from scratch."""

    @property
    def trains_text(self) -> bool:
        """Whether the text encoder is part of the model."""
        return "t" in self.experiment.modalities and self.experiment.recipe.text.train_in_fusion

    @cached_property
    def objective(self) -> Objective:
        """The recipe's objective, new."""
        return objective_of(self.experiment)

    def start(self, seed: int) -> nn.Module:
        """Return the model as training begins: on pretrained encoders where there are any."""
        if self.trains_text:
            copy_description(self.experiment.base_text, self.run.path / "text")
        return self._assemble({m: self._first_encoder(m, seed) for m in self._inside()})

    def finished(self) -> nn.Module:
        """Return the model with the run's best weights.

        Raises:
            RunMissing: the run has no weights.
            RunMismatch: they are another network's.
        """
        text = self.experiment.recipe.text
        model = self._assemble(
            {
                m: empty_encoder(self.run.path / "text", pooling=text.pooling, dropout=text.dropout)
                if m == "t"
                else self.experiment.empty_sequence_encoder(m)
                for m in self._inside()
            }
        )
        self.run.load_weights(model)
        return model

    def view(self, split: str, seed: int) -> View:
        """Return a split of the store as the model sees it."""
        return self.experiment.view(split, seed, self._inputs(self.experiment.store.split(split), split))

    def view_of(self, rows: Rows) -> View:
        """Return the rows of a file of features as the model sees them, without labels."""
        return View.unlabelled(self._inputs(rows, None), len(rows))

    # --- encoders -------------------------------------------------------------------------------------------------

    def _inside(self) -> list[str]:
        return [m for m in self.experiment.modalities if m != "t" or self.trains_text]

    def _first_encoder(self, modality: str, seed: int) -> nn.Module:
        if modality not in self.pretrained:
            return self.experiment.new_encoder(modality, seed)
        encoder: nn.Module = load_unimodal(self.experiment, modality, self.pretrained[modality]).encoders[modality]
        return encoder

    def _assemble(self, encoders: Mapping[str, nn.Module]) -> nn.Module:
        chosen = self.experiment.recipe.model
        widths = {m: self._text_width() if m == "t" else chosen.options.width for m in self.experiment.modalities}
        return MODELS[chosen.name](encoders, widths, self.objective.heads, **to_dict(chosen.options))

    # --- text -----------------------------------------------------------------------------------------------------

    def _text_width(self) -> int:
        if self.experiment.recipe.text.source == "features":
            return self.experiment.store.manifest.widths["t"]
        return encoder_width(self._text_folder())

    def _text_folder(self) -> Path:
        """Where configuration and tokenizer of the text encoder lie."""
        if "t" in self.pretrained:
            return self.pretrained["t"].path / "text"
        own = self.run.path / "text"
        return own if own.exists() else self.experiment.base_text

    def _inputs(self, rows: Rows, split: str | None) -> dict[str, Frames | Tokens | Tensor]:
        return {
            m: self._text(rows, split) if m == "t" else self.experiment.frames(m, rows)
            for m in self.experiment.modalities
        }

    def _text(self, rows: Rows, split: str | None) -> Tokens | Tensor:
        if self.experiment.recipe.text.source == "features":
            return self.experiment.pooled_features(rows)
        if self.trains_text:
            return self.experiment.tokens(self._text_folder(), rows)
        return self._embed({"": rows})[""] if split is None else self._cached_embeddings[split]

    @cached_property
    def _cached_embeddings(self) -> dict[str, Tensor]:
        """The frozen text encoder's output for every split, (N, width) each."""
        cache = self.experiment.folder / "cache" / f"text-{self._embedding_key()}.safetensors"
        with exclusive(cache.parent, wait=True):  # runs side by side need the same embeddings once
            cached = read_cached(cache)
            if cached is None:
                cached = self._embed({split: self.experiment.store.split(split) for split in SPLITS})
                write_cached(cache, cached)
        return cached

    def _embedding_key(self) -> str:
        text, encoder = self.experiment.recipe.text, self.pretrained.get("t")
        return digest(
            {
                "encoder": encoder.path.name if encoder else self.experiment.base_text_fingerprint,
                "weights": encoder.weights_hash() if encoder else None,  # a retrained encoder gives other embeddings
                "data_hash": self.experiment.store.manifest.data_hash,
                "pooling": text.pooling,
                "max_tokens": text.max_tokens,
            }
        )

    def _embed(self, splits: Mapping[str, Rows]) -> dict[str, Tensor]:
        encoder = self._frozen_text_encoder()
        return {
            name: embed_tokens(
                encoder, self.experiment.tokens(self._text_folder(), rows), device=self.experiment.device
            )
            for name, rows in splits.items()
        }

    def _frozen_text_encoder(self) -> nn.Module:
        if "t" in self.pretrained:
            encoder: nn.Module = load_unimodal(self.experiment, "t", self.pretrained["t"]).encoders["t"]
            return encoder
        return load_encoder(self.experiment.base_text, pooling=self.experiment.recipe.text.pooling)


def reopen(run: RunFolder, *, data_dir: Path, device: DeviceName = "auto") -> Fused:
    """Open a finished run with all that its model is made of.

    Raises:
        RunMissing: the run has not finished, or an encoder that it stands on is gone.
        RunMismatch: the dataset has been prepared anew from other data since.
    """
    if not run.finished:
        raise RunMissing(f"{run.path} holds no finished run.", "An unfinished one goes on with --resume.")
    experiment = reopen_experiment(run, data_dir=data_dir, device=device)
    encoders = {m: RunFolder(experiment.folder / "encoders" / name) for m, name in run.environment["encoders"].items()}
    gone = [str(encoder.path) for encoder in encoders.values() if not encoder.finished]
    if gone:
        raise RunMissing(
            f"{run.path} stands on pretrained encoders that are gone: {', '.join(gone)}.",
            f"`dmmsa pretrain-unimodal --dataset {experiment.store.spec.name}` with the run's recipe makes them again.",
        )
    _check_encoders(experiment, run, encoders)
    return Fused(experiment, run, encoders)


def _check_encoders(experiment: Experiment, run: RunFolder, encoders: Mapping[str, RunFolder]) -> None:
    """See that the encoders outside the model are still those that it was trained on."""
    facts = run.environment
    changed = [
        str(encoder.path) for m, encoder in encoders.items() if encoder.weights_hash() != facts["encoder_hashes"][m]
    ]
    stands_on_base = experiment.text_pretrains and "t" not in encoders and not experiment.recipe.text.train_in_fusion
    if stands_on_base and experiment.base_text_fingerprint != facts["base_text"]:
        changed.append(str(experiment.base_text))
    if changed:
        raise RunMismatch(
            f"{run.path} was trained on other weights than now lie in {', '.join(changed)}.", "Train the run again."
        )
