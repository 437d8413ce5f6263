"""ConFEDE's objective (Yang et al., ACL 2023), on the network that DMMSA shares with it: the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.views import Batch
from dmmsa_cli.layers.heads import Head
from dmmsa_cli.models.base import DECOMPOSITION, Outputs
from dmmsa_cli.objectives.base import Objective, TrainingRows
from dmmsa_cli.objectives.contrastive import IndexPairs, nt_xent
from dmmsa_cli.objectives.retrieval import DRAWN, KINDS, Pools, draw, retrieve
from dmmsa_cli.objectives.unimodal import unimodal_targets
from dmmsa_cli.ranges import Range, Ranges

COMPANIONS = DRAWN * len(KINDS)  # two rows each: similar same label, dissimilar other label, similar other label


@dataclass(frozen=True)
class RetrievalOptions:
    """Which rows of the training split a clip is contrasted with."""

    searched: float = 1.0
    """Share of the rows searched at each end of the ranking by similarity."""
    pool: int = 10
    """Rows kept of each kind, from which every epoch draws."""
    same_label: Literal["rounded", "equal"] = "rounded"
    """Whether labels are the same after rounding, or only where they are equal."""
    refresh_every: int = 2
    """Epochs between two searches; the first is before epoch 1."""
    as_released: bool = False
    """Reproduce the published code's indices: it takes the rank of a candidate for its index."""

    def __post_init__(self) -> None:
        if not 0 < self.searched <= 1:
            raise ValueError(f"searched: {self.searched} is not in (0, 1]")
        for name, least in (("pool", DRAWN), ("refresh_every", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: {getattr(self, name)} is below {least}")


@dataclass(frozen=True)
class ConfedeOptions:
    """Options of ConFEDE's objective."""

    contrast_weight: float = 0.1
    """Of the contrastive term."""
    unimodal_weight: float = 0.01
    """Of the unimodal term."""
    temperature: float = 0.5
    """Of the contrastive term."""
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)

    RANGES: ClassVar[Ranges] = {
        "contrast_weight": Range(0.01, 1.0, log=True),
        "unimodal_weight": Range(0.001, 1.0, log=True),
        "temperature": Range(0.05, 1.0, log=True),
    }

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature: {self.temperature} is not above 0")
        for name in ("contrast_weight", "unimodal_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} is below 0")


class Confede(Objective):
    r"""L = MSE(y*, y) + 0.1 contrast + 0.01 MSE(unimodal) (SPEC section 4b).

    At every step each clip brings six rows of the training split along: two similar ones with the same label, two
    dissimilar ones with another, two similar ones with another. Both MSE terms run over all 7 B rows; the contrast
    runs over the features of a clip and of its six rows (see `pairs`), each clip on its own, then the mean.

    Similarity is the cosine of the encoders' embeddings side by side. The published code also ranks raw features
    before training, and replaces that ranking before its first step: nothing depends on it, so it is left out.

    Args:
        capabilities: which modalities and labels there are.
        options: weights, temperature and retrieval.
    """

    Options = ConfedeOptions
    pools: Tensor
    pool_sizes: Tensor
    shortages: Tensor
    drawn: Tensor

    @classmethod
    def needs(cls, options: ConfedeOptions) -> frozenset[str]:
        """Return the features that it contrasts."""
        return frozenset({DECOMPOSITION})

    def __init__(self, capabilities: Capabilities, options: ConfedeOptions) -> None:
        super().__init__(capabilities, options)
        self.heads = {"unimodal": Head(1, "feature")}
        # As long as the training split, which only `begin_epoch` gets to know.
        self.register_buffer("pools", torch.zeros(0, len(KINDS), options.retrieval.pool, dtype=torch.int64))
        self.register_buffer("pool_sizes", torch.zeros(0, len(KINDS), dtype=torch.int64))
        self.register_buffer("shortages", torch.zeros(2, dtype=torch.int64))
        self.register_buffer("drawn", torch.zeros(0, COMPANIONS, dtype=torch.int64))
        self._table: NDArray[np.int64] | None = None  # `drawn` where batches are collated: no step waits for a device

    def begin_epoch(self, epoch: int, training: TrainingRows) -> None:
        """Search the training split anew where it is time for it, and draw every row's companions of the epoch."""
        retrieval = self.options.retrieval
        if (epoch - 1) % retrieval.refresh_every == 0:
            embeddings = training.embeddings()
            labels = training.labels["y"][training.rows].to(embeddings.device)
            found = retrieve(
                embeddings,
                labels.round() if retrieval.same_label == "rounded" else labels,
                searched=retrieval.searched,
                pool=retrieval.pool,
                as_released=retrieval.as_released,
            )
            self.pools, self.pool_sizes, self.shortages = found.rows, found.sizes, found.shortages
        rows = torch.from_numpy(training.rows).to(self.pools.device)
        drawn = rows.new_zeros(len(training.labels["y"]), COMPANIONS)
        drawn[rows] = rows[draw(Pools(self.pools, self.pool_sizes, self.shortages))]
        self.drawn, self._table = drawn, None

    def companions(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the six rows of each, one clip's after the other's, (6 B,)."""
        if self._table is None:
            self._table = self.drawn.cpu().numpy()
        return self._table[rows].reshape(-1)

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the unweighted mean loss of each task."""
        targets = unimodal_targets(outputs.features, batch.labels)
        return {
            "msr": F.mse_loss(outputs.prediction.float(), batch.labels["y"]),
            "cl": self.contrast(outputs.features, batch.own).mean(),
            "uni": F.mse_loss(outputs.heads["unimodal"].squeeze(-1).float(), targets),
        }

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Add up the tasks under their fixed weights."""
        contrast, unimodal = self.options.contrast_weight * losses["cl"], self.options.unimodal_weight * losses["uni"]
        total: Tensor = losses["msr"] + contrast + unimodal
        return total

    def tally(self) -> dict[str, int]:
        """Return how many pools had one candidate, drawn twice, and how many had none and were filled otherwise."""
        few, none = self.shortages.tolist()
        return {"pools_of_one": few, "pools_of_none": none}

    def contrast(self, features: Mapping[str, Tensor], own: int) -> Tensor:
        """Return the contrastive loss of each clip, (own,).

        Args:
            features: by name, ((1 + k) own, w) each: the clips, then k companions of the first, of the second, ...
            own: B, the clips proper.
        """
        together = torch.cat(
            [
                torch.cat([x[:own].unsqueeze(1), x[own:].reshape(own, -1, x.shape[1])], dim=1)  # (B, 1 + k, w)
                for x in features.values()
            ],
            dim=1,
        )  # (B, features x (1 + k), w)
        positives, negatives = pairs(list(features), together.shape[1] // len(features) - 1)
        return nt_xent(together, positives, negatives, temperature=self.options.temperature)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:  # noqa: ANN401
        for name in ("pools", "pool_sizes", "drawn"):  # a checkpoint knows how long the training split is
            setattr(self, name, torch.empty_like(state_dict[prefix + name], device=self.shortages.device))
        self._table = None
        super()._load_from_state_dict(state_dict, prefix, *rest)


def pairs(features: list[str], companions: int) -> tuple[IndexPairs, IndexPairs]:
    """Return which features are drawn together and which are pushed apart.

    Together: a similarity feature and the same feature of the two similar rows with the same label; and, within the
    clip and within each of its rows, T_s with the similarity features of the other modalities.
    Apart: a similarity feature and the same feature of the four rows with another label; and, within each, T_s and
    every dissimilarity feature.

    Args:
        features: names, in the order in which they stand side by side.
        companions: k, 6 or 0.

    Returns:
        Positives and negatives, each a list of index pairs; feature f of row r (0 the clip) has index f (1 + k) + r.
    """
    start = {name: place * (1 + companions) for place, name in enumerate(features)}
    similar = [name for name in features if name.endswith("_s")]
    positives = [(start[f], start[f] + r) for f in similar for r in range(1, companions + 1) if r <= DRAWN]
    negatives = [(start[f], start[f] + r) for f in similar for r in range(DRAWN + 1, companions + 1)]
    if "T_s" in start:
        for r in range(companions + 1):
            positives += [(start["T_s"] + r, start[f] + r) for f in similar if f != "T_s"]
            negatives += [(start["T_s"] + r, start[f] + r) for f in features if f.endswith("_d")]
    return positives, negatives
