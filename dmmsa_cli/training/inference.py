"""Running a trained model over a split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dmmsa_cli.data.views import View
from dmmsa_cli.layers.heads import Head
from dmmsa_cli.models.base import embed
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
    cosine: NDArray[np.float64] | None = None
    """Mean over the rows of the cosine similarity of every two features, (features, features); none where there are
    no features, or where they are of several widths."""


@torch.inference_mode()
def predict(model: nn.Module, view: View, *, batch_size: int, device: torch.device, precision: str) -> Predictions:
    """Run `model` over every row of `view`, in evaluation mode."""
    model.to(device).eval()
    scores: list[NDArray[np.float32]] = []
    heads: dict[str, list[NDArray[np.float32]]] = {}
    features: list[str] = []
    cosine: Tensor | None = None
    for batch in view.in_order(batch_size):
        with autocast(device, precision):
            outputs = model(batch.to(device))
        scores.append(outputs.prediction.float().cpu().numpy())
        features = list(outputs.features)
        for name, value in outputs.heads.items():
            heads.setdefault(name, []).append(value.float().cpu().numpy())
        if len({feature.shape[-1] for feature in outputs.features.values()}) == 1:
            found = _cosines(torch.stack(list(outputs.features.values()), dim=1)).cpu()
            cosine = found if cosine is None else cosine + found
    joined = {name: np.concatenate(parts) for name, parts in heads.items()}
    return Predictions(
        scores=np.concatenate(scores) if scores else np.zeros(0, np.float32),
        features=features,
        heads=joined,
        cosine=None if cosine is None else (cosine / len(view)).double().numpy(),
    )


def presence(logits: NDArray[np.float32], head: Head) -> NDArray[np.float32]:
    """Return how probable it is that what a head's outputs are about is present, (N, outputs)."""
    values = torch.from_numpy(logits)
    return (values.softmax(1) if head.exclusive else values.sigmoid()).numpy()


def _cosines(features: Tensor) -> Tensor:
    """Sum over the clips of the cosines between the features of each, (B, features, w) -> (features, features)."""
    unit = F.normalize(features.float(), dim=-1)
    return torch.einsum("bfw,bgw->fg", unit, unit)


@dataclass(frozen=True)
class Survey:
    """The training split as an objective may look at it before an epoch (`objectives/base.py`, `TrainingRows`)."""

    model: nn.Module
    view: View
    device: torch.device
    precision: str
    batch_size: int = 64

    @property
    def rows(self) -> NDArray[np.int64]:
        """Which rows of the split are used, (N,)."""
        return self.view.rows

    @property
    def labels(self) -> Mapping[str, Tensor]:
        """Of the whole split, by name."""
        return self.view.labels

    @torch.no_grad()
    def embeddings(self) -> Tensor:
        """Encode the N rows in evaluation mode: all modalities side by side, (N, widths), on the device."""
        encoders = self.model.eval().get_submodule("encoders")
        parts = []
        for batch in self.view.in_order(self.batch_size):
            with autocast(self.device, self.precision):
                parts.append(torch.cat(list(embed(encoders, batch.to(self.device)).values()), dim=-1).float())
        return torch.cat(parts)
