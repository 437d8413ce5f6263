"""A dataset, a recipe and a place to run it: what every stage of training and evaluation starts from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.sequences import Frames, SplitFrames, Tokens, frame_statistics
from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.data.store import Store, dataset_folder, open_store
from dmmsa_cli.data.views import View, fraction_of
from dmmsa_cli.errors import InvalidRecipe, RunMismatch, TrainingDiverged
from dmmsa_cli.files import PARTIAL, exclusive
from dmmsa_cli.layers.pretrained import find_encoder, fingerprint, load_encoder, make_tiny, tokenize
from dmmsa_cli.layers.sequence import SequenceEncoder, SequenceOptions
from dmmsa_cli.layers.text import TextEncoder
from dmmsa_cli.metrics import score
from dmmsa_cli.recipe import to_dict
from dmmsa_cli.runtime import DeviceName, choose_device, choose_precision
from dmmsa_cli.stages.recipes import Recipe, find_recipe, from_values, load_recipe
from dmmsa_cli.training.inference import predict
from dmmsa_cli.training.run import RunFolder


class Rows(SplitFrames, Protocol):
    """A split as this module reads it: of a store, or of a file of features."""

    def __len__(self) -> int: ...

    @property
    def texts(self) -> list[str]:
        """Transcripts, N."""
        ...

    @property
    def labels(self) -> dict[str, NDArray[np.float32]]:
        """Scores by name, (N,) each."""
        ...


@dataclass(frozen=True)
class Experiment:
    """A dataset, a recipe and a place to run it."""

    store: Store
    recipe: Recipe
    name: str
    """Of the recipe."""
    folder: Path
    """`runs/<dataset>`: every run and every pretrained encoder of the dataset lies below."""
    device: torch.device
    precision: str
    """`float32` or `bf16`; `auto` has been settled."""

    @cached_property
    def modalities(self) -> tuple[str, ...]:
        """The modalities in use, in the order t, v, a.

        Raises:
            InvalidRecipe: the recipe asks for one that the dataset lacks.
        """
        there = self.store.manifest.modalities
        wanted = self.recipe.data.modalities or there
        missing = [m for m in wanted if m not in there]
        if missing:
            raise InvalidRecipe(
                f"data.modalities asks for {', '.join(missing)}; {self.store.spec.name} has {', '.join(there)}.",
                "Leave data.modalities out to use all that there are.",
            )
        return tuple(m for m in MODALITY_NAMES if m in wanted)

    def capabilities(self, *modalities: str) -> Capabilities:
        """What a model or objective over these modalities (default: all in use) may know of the dataset."""
        spec = self.store.spec
        return Capabilities(
            modalities=modalities or self.modalities,
            score_range=spec.score_range,
            metrics=spec.metrics,
            unimodal_labels=self.store.manifest.unimodal_labels,
        )

    # --- rows and inputs ------------------------------------------------------------------------------------------

    def encoder_seed(self, seed: int) -> int:
        """The seed of the encoders that a run of this seed stands on."""
        return seed if self.recipe.pretraining.per_seed else self.recipe.pretraining.seed

    def rows(self, split: str, seed: int) -> NDArray[np.int64]:
        """Which rows of a split a run of this seed uses: all, but for the training split under a fraction.

        The subset goes by the encoders' seed: shared encoders have seen just the rows that the runs on them see.
        """
        fraction = self.recipe.data.fraction if split == "train" else 1.0
        return fraction_of(len(self.store.split(split)), fraction, self.encoder_seed(seed))

    def view(self, split: str, seed: int, inputs: Mapping[str, Frames | Tokens | Tensor]) -> View:
        """Return a split with the given inputs and all its labels."""
        labels = {name: torch.from_numpy(np.array(y)) for name, y in self.store.split(split).labels.items()}
        return View(inputs, labels, self.rows(split, seed))

    def frames(self, modality: str, rows: Rows) -> Frames:
        """Return the frames of audio or vision, cut at the dataset's longest sequence."""
        manifest = self.store.manifest
        longest = max(1, manifest.longest[modality])
        # A CPU starts a kernel in no time, so there every length is a group; elsewhere fewer groups pay for padding.
        return Frames(rows, modality, manifest.widths[modality], longest, 0.0 if self.device.type == "cpu" else 0.15)

    def tokens(self, folder: Path, rows: Rows) -> Tokens:
        """Return the transcripts as token ids of the encoder in `folder`."""
        return tokenize(folder, rows.texts, self.recipe.text.max_tokens)

    def pooled_features(self, rows: Rows) -> Tensor:
        """Return the mean of the pickle's own text features over their valid positions, (N, width)."""
        self._check_text_features()
        pooled = np.zeros((len(rows), self.store.manifest.widths["t"]), np.float32)
        for row in range(len(rows)):
            valid = rows.sequence("t", row)
            if len(valid):
                pooled[row] = valid.mean(axis=0, dtype=np.float64)
        return torch.from_numpy(pooled)

    def _check_text_features(self) -> None:
        if "t" not in self.store.manifest.widths:
            raise InvalidRecipe(
                f"text.source is features, but the pickle that {self.store.spec.name} was prepared from has no `text`.",
                "Use an encoder: --set text.source=encoder, or --set text.source=tiny",
            )

    # --- encoders -------------------------------------------------------------------------------------------------

    @property
    def text_pretrains(self) -> bool:
        """Whether there is a text encoder to pretrain; with `text.source: features` there is none."""
        return "t" in self.modalities and self.recipe.text.source != "features"

    @cached_property
    def base_text(self) -> Path:
        """The folder of the text encoder as it is before any training here; a tiny one is made if it is missing.

        Raises:
            EncoderUnavailable: it is not on this machine and can't be fetched.
            InvalidRecipe: the dataset has no transcripts.
        """
        if not self.store.manifest.transcripts:
            raise InvalidRecipe(
                f"{self.store.spec.name} has no transcripts for a text encoder to read.",
                "Use the pickle's own features: --set text.source=features",
            )
        if self.recipe.text.source == "tiny":
            return self._tiny()
        return find_encoder(self.recipe.text.encoder or self.store.spec.text_encoder)

    def _tiny(self) -> Path:
        text, seed = self.recipe.text, self.recipe.pretraining.seed
        rows = self.rows("train", seed)
        what = {"tiny": to_dict(text.tiny), "max_tokens": text.max_tokens, "seed": seed, "fraction": len(rows)}
        folder = self.folder / "encoders" / f"tiny-{digest({'data': self.store.manifest.data_hash, **what})}"
        with exclusive(folder.parent, wait=True):
            if not folder.exists():
                texts = self.store.split("train").texts
                partial = folder.with_name(folder.name + PARTIAL)
                shutil.rmtree(partial, ignore_errors=True)
                make_tiny(partial, [texts[row] for row in rows], text.tiny, max_tokens=text.max_tokens, seed=seed)
                partial.replace(folder)
        return folder

    @cached_property
    def base_text_fingerprint(self) -> str:
        """Content hash of the base text encoder."""
        return fingerprint(self.base_text)

    def new_encoder(self, modality: str, seed: int) -> TextEncoder | SequenceEncoder:
        """Return an untrained encoder: the base text encoder, or a fresh one that knows the frames' statistics."""
        if modality == "t":
            text = self.recipe.text
            loaded = load_encoder(self.base_text, pooling=text.pooling, dropout=text.dropout)
            loaded.freeze(text.frozen_layers)
            return loaded
        encoder = self.empty_sequence_encoder(modality)
        if self.recipe.data.standardise:
            frames = self.frames(modality, self.store.split("train"))
            encoder.standardise_by(*frame_statistics(frames, self.rows("train", seed)))
        return encoder

    def check_modalities(self) -> None:
        """See that every modality in use can be encoded as the recipe wants it, before anything is trained.

        Raises:
            InvalidRecipe: the heads do not divide the width, or the text features asked for are not there.
            EncoderUnavailable: the text encoder can't be had.
        """
        for modality in self.modalities:
            if modality != "t":
                self._check_heads(modality)
            elif self.text_pretrains:
                self.base_text  # noqa: B018  (finds it, or says how to get it)
            else:
                self._check_text_features()

    def _check_heads(self, modality: str) -> None:
        name, width = MODALITY_NAMES[modality], self.recipe.model.options.width
        heads = getattr(self.recipe, name).heads
        if width % heads:
            raise InvalidRecipe(
                f"{name}.heads: {heads} heads do not divide model.width, {width}.", "Choose a divisor of the width."
            )

    def empty_sequence_encoder(self, modality: str) -> SequenceEncoder:
        """Return an encoder of audio or vision whose weights and statistics are still to be set.

        Raises:
            InvalidRecipe: the width can't be divided among the attention heads.
        """
        self._check_heads(modality)
        options: SequenceOptions = getattr(self.recipe, MODALITY_NAMES[modality])
        width = self.recipe.model.options.width
        manifest = self.store.manifest
        return SequenceEncoder(
            features=manifest.widths[modality],
            longest=max(1, manifest.longest[modality]),
            width=width,
            **to_dict(options),
        )

    # --- evaluation -----------------------------------------------------------------------------------------------

    def metrics_of(self, model: nn.Module, view: View) -> dict[str, float]:
        """Return the dataset's metrics of a model over a view."""
        said = predict(
            model, view, batch_size=self.evaluation_batch, device=self.device, precision=self.precision
        ).scores
        if not np.isfinite(said).all():
            raise TrainingDiverged(
                "The model's predictions are no longer finite numbers.",
                "Lower the learning rate: --set fusion.learning_rate=...",
            )
        spec = self.store.spec
        truth = view.labels["y"].numpy()[view.rows]
        return score(truth, said, metrics=spec.metrics, score_range=spec.score_range)

    @property
    def evaluation_batch(self) -> int:
        """Rows a batch where no gradient is taken."""
        return max(64, self.recipe.fusion.batch_size)


def open_experiment(
    dataset: str,
    *,
    data_dir: Path,
    runs_dir: Path,
    recipe: str | None = None,
    settings: Iterable[str] = (),
    changes: Mapping[str, Any] | None = None,
    device: DeviceName = "auto",
) -> Experiment:
    """Open a prepared dataset with one of its recipes.

    Args:
        dataset: name of the store.
        data_dir: where stores lie.
        runs_dir: where runs lie.
        recipe: name or file; none takes the dataset's `dmmsa`.
        settings: `a.b=c`, each a change to the recipe.
        changes: what flags change, by dotted path.
        device: `auto` takes the best there is.

    Raises:
        DatasetMissing, StoreMismatch, InvalidRecipe, DeviceUnavailable: in words for the user.
    """
    store = open_store(dataset_folder(data_dir, dataset))
    path = find_recipe(recipe, store.spec.recipes)
    chosen = load_recipe(path, settings, changes)
    place = choose_device(device)
    precision = choose_precision(chosen.precision, place)
    return Experiment(store, chosen, path.stem, runs_dir / dataset, place, precision)


def reopen_experiment(run: RunFolder, *, data_dir: Path, device: DeviceName = "auto") -> Experiment:
    """Open the dataset and the recipe that a run was trained with, in the precision that was settled then.

    Raises:
        RunMissing: there is no finished run.
        RunMismatch: the dataset has been prepared anew from other data since.
    """
    facts = run.environment
    run = RunFolder(run.path.resolve())  # its folders tell where the encoders lie
    store = open_store(dataset_folder(data_dir, facts["dataset"]))
    if store.manifest.data_hash != facts["data_hash"]:
        raise RunMismatch(
            f"{run.path} was trained on data {facts['data_hash'][:12]}; {store.folder} now holds "
            f"{store.manifest.data_hash[:12]}.",
            "Point --data-dir at the data of the run, or train again.",
        )
    recipe = from_values(run.recipe, f"{run.path / 'recipe.yaml'}")
    place = choose_device(device)
    return Experiment(store, recipe, facts["recipe"], run.path.parents[2], place, facts["precision"])


def digest(facts: Mapping[str, Any]) -> str:
    """Return twelve hexadecimal digits that stand for JSON-able facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
