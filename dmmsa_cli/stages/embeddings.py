"""Embeddings of a frozen text encoder: computed once, kept by the content of all that decides them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dmmsa_cli.data.sequences import Tokens
from dmmsa_cli.training.run import save_tensors

BATCH = 64


@torch.no_grad()
def embed_tokens(encoder: nn.Module, tokens: Tokens, *, device: torch.device) -> Tensor:
    """Encode every transcript in evaluation mode, in float32, (N, width) on the CPU.

    Transcripts go through in order of length, so that a batch has little padding; the result is in the given order.
    """
    was_training = encoder.training
    encoder.to(device).eval()
    order = np.argsort(tokens.lengths(), kind="stable")
    embedded: Tensor | None = None
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        part = encoder(tokens.collate(rows).to(device)).float().cpu()
        if embedded is None:
            embedded = torch.empty(len(order), part.shape[1])
        embedded[torch.from_numpy(rows)] = part
    encoder.train(was_training)
    return torch.zeros(0, 0) if embedded is None else embedded


def read_cached(path: Path) -> dict[str, Tensor] | None:
    """Return cached embeddings by split, or none where there are none that can be read."""
    try:
        return load_file(path) if path.exists() else None
    except SafetensorError:
        return None  # damaged from outside: it is only a cache, and is written again


def write_cached(path: Path, embeddings: dict[str, Tensor]) -> None:
    """Keep embeddings by split."""
    save_tensors(path, embeddings, {})
