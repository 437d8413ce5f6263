"""ConFEDE's network, which DMMSA keeps as it is: only the objective is new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from dmmsa_cli.data.views import Batch
from dmmsa_cli.layers.heads import Head, mlp, projector
from dmmsa_cli.models.base import DECOMPOSITION, SHARED, Model, Outputs, embed
from dmmsa_cli.ranges import Range, Ranges


@dataclass(frozen=True)
class FeatureDecompositionOptions:
    """Options of the feature decomposition network."""

    width: int = 768
    """d: the six features are d/2 wide."""
    projector_dropout: float = 0.5
    """After each of the six projections."""

    RANGES: ClassVar[Ranges] = {"projector_dropout": Range(0.0, 0.7)}
    """`width` is not among them: each needs audio and vision encoders of its own, which a file of ranges may want."""

    def __post_init__(self) -> None:
        if self.width < 16 or self.width % 16:
            raise ValueError(f"width: {self.width} can't be halved four times; choose a multiple of 16")
        if not 0 <= self.projector_dropout < 1:
            raise ValueError(f"projector_dropout: {self.projector_dropout} is not in [0, 1)")


class FeatureDecomposition(Model):
    """Similarity and dissimilarity features of each modality, and heads over them (DMMSA, section 3.2; ConFEDE).

        m_s = tanh(W norm(m)),  m_d likewise, for every modality m              (B, d/2)
        y*  = MLP([T_s; V_s; A_s; T_d; V_d; A_d]),  3d -> d -> d/2 -> d/4 -> d/8 -> 1   (equation 6)

    Any subset of the modalities works: an absent one's features are left out of the concatenation.

    Args:
        encoders: by modality; one that is absent here must arrive as embeddings.
        widths: embedding width of every modality, in the order t, v, a.
        heads: what the objective asks for. Over the fusion: the same shape as the main head with weights of its own;
            over each feature: d/2 -> d/4 -> d/8 -> outputs, shared by all features.
        width: d.
        projector_dropout: after each projection.
    """

    Options = FeatureDecompositionOptions
    gives = frozenset({DECOMPOSITION, SHARED})

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        widths: Mapping[str, int],
        heads: Mapping[str, Head],
        *,
        width: int,
        projector_dropout: float,
    ) -> None:
        super().__init__(encoders, widths, heads)
        self.encoders = nn.ModuleDict(encoders)
        half = width // 2
        self.projectors = nn.ModuleDict(
            {
                f"{m.upper()}_{kind}": projector(widths[m], half, projector_dropout)
                for kind in ("s", "d")
                for m in widths
            }
        )
        self.fusion = self._fusion_head(width, 1)
        self.heads = nn.ModuleDict(
            {
                name: self._fusion_head(width, head.outputs)
                if head.over == "fusion"
                else mlp([half, half // 2, half // 4, head.outputs])
                for name, head in heads.items()
            }
        )
        self.over = {name: head.over for name, head in heads.items()}

    def _fusion_head(self, width: int, outputs: int) -> nn.Sequential:
        return mlp([len(self.projectors) * width // 2, width, width // 2, width // 4, width // 8, outputs])

    def forward(self, batch: Batch) -> Outputs:
        """Map a batch of B clips to predictions (B,), features (B, d/2) and head outputs."""
        embeddings = embed(self.encoders, batch)
        features: dict[str, Tensor] = {
            name: project(embeddings[name[0].lower()]) for name, project in self.projectors.items()
        }
        x = torch.cat(list(features.values()), dim=-1)  # (B, features x d/2)
        each = torch.stack(list(features.values()), dim=1)  # (B, features, d/2)
        outputs = {name: head(x if self.over[name] == "fusion" else each) for name, head in self.heads.items()}
        return Outputs(prediction=self.fusion(x).squeeze(-1), features=features, heads=outputs)
