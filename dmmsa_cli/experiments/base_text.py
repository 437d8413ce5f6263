"""The text encoder before any training here: of the hub, a folder or a package, or a tiny one made on the spot."""

from __future__ import annotations

import shutil
from pathlib import Path

from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.experiments.experiment import Experiment, digest
from dmmsa_cli.experiments.rows import used_rows
from dmmsa_cli.files import PARTIAL, exclusive
from dmmsa_cli.layers.pretrained import find_encoder, make_tiny
from dmmsa_cli.recipe import to_dict

KEPT_BASE = "base-text"  # among the encoders of an exported model


def base_text(experiment: Experiment, seed: int) -> Path:
    """Return the folder of the text encoder as it is before any training here; a tiny one is made if it is missing.

    Raises:
        EncoderUnavailable: it is not on this machine and can't be fetched.
        InvalidRecipe: the dataset has no transcripts.
    """
    if not experiment.store.manifest.transcripts:
        raise InvalidRecipe(
            f"{experiment.dataset} has no transcripts for a text encoder to read.",
            "Use the pickle's own features: --set text.source=features",
        )
    kept = experiment.folder / "encoders" / KEPT_BASE
    if kept.exists():
        return kept
    if experiment.recipe.text.source == "tiny":
        return _tiny(experiment, seed)
    return find_encoder(experiment.recipe.text.encoder or experiment.store.spec.text_encoder)


def _tiny(experiment: Experiment, seed: int) -> Path:
    text, rows = experiment.recipe.text, used_rows(experiment, "train", seed)
    facts = {
        "data": experiment.store.manifest.data_hash,
        "tiny": to_dict(text.tiny),
        "max_tokens": text.max_tokens,
        "seed": experiment.recipe.base_seed,
        "fraction": len(rows),
    }
    if len(rows) < experiment.store.manifest.rows["train"] and experiment.recipe.per_seed:
        facts["rows"] = seed  # each seed has a subset, and so a vocabulary, of its own
    folder = experiment.folder / "encoders" / f"tiny-{digest(facts)}"
    if folder.exists():  # it came into being by rename
        return folder
    with exclusive(folder.parent, wait=True):
        if not folder.exists():
            texts = experiment.store.split("train").texts
            partial = folder.with_name(folder.name + PARTIAL)
            shutil.rmtree(partial, ignore_errors=True)
            chosen = [texts[row] for row in rows]
            make_tiny(partial, chosen, text.tiny, max_tokens=text.max_tokens, seed=experiment.recipe.base_seed)
            partial.replace(folder)
    return folder
