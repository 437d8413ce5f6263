"""The multimodal adaptation gate: shifts words by what was heard and seen with them (Rahman et al., ACL 2020)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmmsa_cli.layers.dropout import Dropout

EPSILON = 1e-6


class AdaptationGate(nn.Module):
    """Z' = dropout(norm(Z + alpha H)), a shift H of each word's vector that is held to a share of its length.

        g_m = ReLU(W_m [X_m; Z]),  H = sum over m of g_m W'_m X_m                    (equations 1 to 3)
        alpha = min(|Z| / |H| beta, 1)                                              (equation 4)

    Args:
        width: d, of the words' vectors.
        widths: of the other modalities' frames.
        beta: how far a word may be moved, in lengths of its vector.
        dropout: behind the norm.
    """

    def __init__(self, width: int, widths: Mapping[str, int], *, beta: float, dropout: float) -> None:
        super().__init__()
        self.beta = beta
        self.gates = nn.ModuleDict({m: nn.Linear(w + width, width) for m, w in widths.items()})
        self.shifts = nn.ModuleDict({m: nn.Linear(w, width) for m, w in widths.items()})
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, words: Tensor, frames: Mapping[str, Tensor]) -> Tensor:
        """Map words (B, T, d) and frames (B, T, w_m), one for each of them, to (B, T, d)."""
        parts = [
            F.relu(gate(torch.cat([frames[m], words], dim=-1))) * self.shifts[m](frames[m])
            for m, gate in self.gates.items()
        ]
        moved: Tensor = self.dropout(self.norm(words + self._held(torch.stack(parts).sum(0), words)))
        return moved

    def _held(self, shift: Tensor, words: Tensor) -> Tensor:
        """Shorten the shifts that are longer than they may be."""
        length = torch.linalg.vector_norm(shift, dim=-1, keepdim=True)
        length = torch.where(length == 0, 1.0, length)  # whatever: nothing is moved
        most = torch.linalg.vector_norm(words, dim=-1, keepdim=True) / (length + EPSILON) * self.beta
        return torch.clamp_max(most, 1.0) * shift
