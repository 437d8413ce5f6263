"""What every model takes and gives. A model knows no dataset: it is told widths, modalities and the heads wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from dmmsa_cli.data.batches import Batch


@dataclass(frozen=True)
class Outputs:
    """What a model makes of a batch of B clips."""

    prediction: Tensor
    """y*, the sentiment intensity, (B,)."""
    features: Mapping[str, Tensor] = field(default_factory=dict)
    """Features that objectives compare, by name, (B, w) each."""
    heads: Mapping[str, Tensor] = field(default_factory=dict)
    """Outputs of the heads that the objective asked for: (B, outputs) over the fusion, (B, features, outputs) over
    each feature in the order of `features`."""


def embed(encoders: nn.ModuleDict, batch: Batch) -> dict[str, Tensor]:
    """Encode every modality of a batch, (B, width) each; one that arrives as embeddings is taken as it is."""
    return {m: x if isinstance(x, Tensor) else encoders[m](x) for m, x in batch.inputs.items()}
