"""Running a trained model over a split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dmmsa_cli.data.batches import View
from dmmsa_cli.runtime import autocast


@dataclass(frozen=True)
class Predictions:
    """What a model says of the N rows of a view, in their order, float32."""

    scores: NDArray[np.float32]
    """y*, (N,)."""
    features: list[str]
    """Names of the features, in the order of the heads over each feature."""
    heads: dict[str, NDArray[np.float32]]
    """Head outputs: (N, outputs), or (N, features, outputs)."""


@torch.inference_mode()
def predict(model: nn.Module, view: View, *, batch_size: int, device: torch.device, precision: str) -> Predictions:
    """Run `model` over every row of `view`, in evaluation mode."""
    model.to(device).eval()
    scores: list[NDArray[np.float32]] = []
    heads: dict[str, list[NDArray[np.float32]]] = {}
    features: list[str] = []
    for batch in view.in_order(batch_size):
        with autocast(device, precision):
            outputs = model(batch.to(device))
        scores.append(outputs.prediction.float().cpu().numpy())
        features = list(outputs.features)
        for name, value in outputs.heads.items():
            heads.setdefault(name, []).append(value.float().cpu().numpy())
    joined = {name: np.concatenate(parts) for name, parts in heads.items()}
    return Predictions(np.concatenate(scores) if scores else np.zeros(0, np.float32), features, joined)
