"""What a frozen text encoder gave: computed once, kept under the content of all that decides it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dmmsa_cli.data.sequences import Tokens
from dmmsa_cli.experiments.base_text import base_text
from dmmsa_cli.experiments.context import what_context_decides
from dmmsa_cli.experiments.encoders import Encoders
from dmmsa_cli.experiments.experiment import digest
from dmmsa_cli.files import exclusive, writable
from dmmsa_cli.layers.pretrained import fingerprint
from dmmsa_cli.runtime import autocast
from dmmsa_cli.training.run import save_tensors

BATCH = 64


def cached_embeddings(encoders: Encoders, compute: Callable[[], dict[str, Tensor]]) -> Mapping[str, Tensor]:
    """Return the frozen text encoder's output for every split, (N, width) each, computing it where it is missing."""
    path = encoders.experiment.folder / "cache" / f"text-{digest(what_decides_text(encoders))}.safetensors"
    with exclusive(path.parent, wait=True, reading=True):  # runs side by side need the same embeddings once
        cached = _read(path)
        if cached is None:
            cached = compute()
            if writable(path.parent):
                save_tensors(path, cached, {})
    return cached


def what_decides_text(encoders: Encoders) -> dict[str, Any]:
    """Return everything that the embeddings of frozen text depend on."""
    experiment, encoder = encoders.experiment, encoders.pretrained.get("t")
    text = experiment.recipe.text
    return {
        "encoder": encoder.path.name if encoder else fingerprint(base_text(experiment, encoders.seed)),
        "weights": encoder.weights_hash() if encoder else None,  # a retrained encoder gives other embeddings
        "data_hash": experiment.store.manifest.data_hash,
        "pooling": text.pooling,
        "max_tokens": text.max_tokens,
        **what_context_decides(experiment.context),
        **({"precision": "bf16"} if experiment.encodes_in == "bf16" else {}),
    }


def _read(path: Path) -> dict[str, Tensor] | None:
    try:
        return load_file(path) if path.exists() else None
    except SafetensorError:
        return None  # damaged from outside: it is only a cache, and is written again


@torch.no_grad()
def embed_tokens(encoder: nn.Module, tokens: Tokens, *, device: torch.device, precision: str = "float32") -> Tensor:
    """Encode every transcript in evaluation mode, (N, width) in float32 on the CPU.

    Transcripts go through in order of length, so that a batch has little padding; the result is in the given order.

    Args:
        encoder: maps token ids to embeddings.
        tokens: N transcripts.
        device: where it runs.
        precision: `float32`, or `bf16` for autocast.
    """
    was_training = encoder.training
    encoder.to(device).eval()
    order = np.argsort(tokens.lengths(), kind="stable")
    embedded: Tensor | None = None
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        with autocast(device, precision):
            part = encoder(tokens.collate(rows).to(device)).float().cpu()
        if embedded is None:
            embedded = torch.empty(len(order), part.shape[1])
        embedded[torch.from_numpy(rows)] = part
    encoder.train(was_training)
    return torch.zeros(0, 0) if embedded is None else embedded
