"""Emotions for clips that nobody has labelled with any, from a dataset that has them (MMoLRE, section IV-B)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dmmsa_cli.data.split import Split
from dmmsa_cli.data.store import Store
from dmmsa_cli.errors import InvalidInput, InvalidRecipe
from dmmsa_cli.experiments.base_text import base_text
from dmmsa_cli.experiments.cache import embed_tokens
from dmmsa_cli.experiments.experiment import Experiment
from dmmsa_cli.experiments.inputs import tokens
from dmmsa_cli.layers.pretrained import fingerprint, load_encoder

CHUNK = 256  # clips whose nearest are sought at a time

Embed = Callable[[Split], Tensor]


def check_gives(origin: Store) -> None:
    """See that emotions can be taken from a dataset.

    Raises:
        InvalidInput: it has none that somebody gave, or no transcripts.
    """
    other = origin.folder.name
    if not origin.manifest.emotions or origin.manifest.pseudo_emotions is not None:
        raise InvalidInput(
            f"{other} has no emotions that somebody gave.", "Name a dataset that has some in --emotions-from."
        )
    _check_transcripts(origin)


def check_takes(store: Store) -> None:
    """See that a dataset can be given emotions of another's.

    Raises:
        InvalidInput: it has emotions of its own, or no transcripts.
    """
    if store.manifest.emotions and store.manifest.pseudo_emotions is None:
        raise InvalidInput(f"{store.folder.name} has emotions of its own.", "Leave out --emotions-from.")
    _check_transcripts(store)


def _check_transcripts(store: Store) -> None:
    if not store.manifest.transcripts:
        raise InvalidInput(
            f"{store.folder.name} has no transcripts to compare.", "Emotions go from transcript to transcript."
        )


def origin_record(experiment: Experiment, origin: Store) -> dict[str, Any]:
    """Return what decides which emotions the clips of the experiment's dataset get, for its manifest.

    Raises:
        InvalidRecipe: the recipe has no text encoder.
    """
    if experiment.text_encoder is None:
        raise InvalidRecipe(
            f"{experiment.name} reads no transcripts, so it can't tell which are near.",
            "Name a recipe with a text encoder in --recipe.",
        )
    return {
        "dataset": origin.folder.name,
        "data_hash": origin.manifest.data_hash,
        "emotions_hash": origin.manifest.emotions_hash,
        "encoder": experiment.text_encoder,
        "encoder_hash": fingerprint(base_text(experiment, experiment.recipe.base_seed)),
        "max_tokens": experiment.recipe.text.max_tokens,
    }


def embedding(experiment: Experiment) -> Embed:
    """Return what makes vectors of transcripts, (N, width): the recipe's text encoder, untrained here, mean-pooled."""
    folder = base_text(experiment, experiment.recipe.base_seed)
    encoder = load_encoder(folder, pooling="mean")
    return lambda rows: embed_tokens(encoder, tokens(experiment, folder, rows, alone=True), device=experiment.device)


def nearest_emotions(rows: Split, others: Split, embed: Embed) -> NDArray[np.float32]:
    """Give each clip the emotions of the nearest transcript whose score has the same sign.

    Args:
        rows: N clips with scores.
        others: clips with scores and emotions; those without any known emotion are passed over.
        embed: makes vectors of transcripts; nearness is their cosine.

    Returns:
        (N, C), NaN for a clip whose sign no other one has.
    """
    emotions = others.emotions
    assert emotions is not None, "`check_gives` comes first"
    known = ~np.isnan(emotions).all(axis=1)
    found = np.full((len(rows), emotions.shape[1]), np.nan, np.float32)
    mine, theirs = F.normalize(embed(rows), dim=-1), F.normalize(embed(others), dim=-1)
    signs, other_signs = np.sign(rows.labels["y"]), np.sign(others.labels["y"])
    for sign in np.unique(signs):
        candidates = np.flatnonzero(known & (other_signs == sign))
        if not len(candidates):
            continue
        pool = theirs[torch.from_numpy(candidates)]
        for part in torch.split(torch.from_numpy(np.flatnonzero(signs == sign)), CHUNK):
            nearest = (mine[part] @ pool.T).argmax(dim=1).numpy()
            found[part.numpy()] = emotions[candidates[nearest]]
    return found
