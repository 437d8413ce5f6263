"""The two layers of MMILN: attention whose result and whose residual each pass a gate (CCL 2023, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmmsa_cli.data.ragged import Padded
from dmmsa_cli.layers.dropout import dropout
from dmmsa_cli.layers.multihead import MultiheadAttention
from dmmsa_cli.layers.recurrent import mean_both_ways

FEEDFORWARD = 4  # widths between the two linear maps, which the paper does not give


class GateTransformer(nn.Module):
    """A layer over one modality alone: self-attention, then `GatedResidual` (equations 7 to 12).

        X_mh = MHA(X, X, X),  X' = GatedResidual(X, X_mh)

    Args:
        width: d.
        heads: attention heads; must divide `width`.
        dropout: on attention weights, behind the ReLU, and on both branches beside a residual.
        gates: without them it is a plain post-norm layer.
    """

    def __init__(self, *, width: int, heads: int, dropout: float, gates: bool) -> None:
        super().__init__()
        self.attention = MultiheadAttention(width, heads, dropout)
        self.residual = GatedResidual(width, dropout, gates=gates)

    def forward(self, x: Padded) -> tuple[Padded, Padded, Tensor | None]:
        """Map a block (B, T, d) to X' and X_mh, blocks likewise, and h (B, d) where there are gates."""
        found = self.attention(x)
        after, summary = self.residual(x, found)
        return after, Padded(found, x.lengths), summary


class SagTransformer(nn.Module):
    """A layer over text that looks at another modality, then `GatedResidual` (equations 15 to 23).

        H = MHA(X_f, X_f, X_f),  Z' = sigmoid(W_s Z) * Z,  r = MHA(H, Z', Z'),  X_f' = GatedResidual(X_f, r)

    Z are the other modality's attended states; W_s is one of the gates.

    Args:
        width: d.
        heads: attention heads; must divide `width`.
        dropout: as for `GateTransformer`.
        gates: whether there are any.
    """

    def __init__(self, *, width: int, heads: int, dropout: float, gates: bool) -> None:
        super().__init__()
        self.own = MultiheadAttention(width, heads, dropout)
        self.select = nn.Linear(width, width) if gates else None
        self.cross = MultiheadAttention(width, heads, dropout)
        self.residual = GatedResidual(width, dropout, gates=gates)

    def forward(self, x: Padded, other: Padded) -> tuple[Padded, Tensor | None]:
        """Map a block (B, T, d), and one (B, T', d) that it looks at, to (B, T, d), and h (B, d) with gates."""
        asks = Padded(self.own(x), x.lengths)
        after, summary = self.residual(x, self.cross(asks, self._selected(other)))
        return after, summary

    def _selected(self, other: Padded) -> Padded:
        if self.select is None:
            return other
        return Padded(torch.sigmoid(self.select(other.values)) * other.values, other.lengths)


class GatedResidual(nn.Module):
    """What closes both layers: gates, norm, feed-forward part, norm (equations 7 to 9, 11 and 12; 16, 19, 20, 22, 23).

        h = mean over time and directions of BiGRU(X);  g_r = sigmoid(W_r h),  g_c = sigmoid(W_c h)
        X~ = LN(g_c * Y + g_r * X),  X' = LN(X~ + W_2 ReLU(W_1 X~))

    The gates scale channels, the same at every position. Equation 11 prints the X that it defines on its own right
    side, a slip: equation 22 has that of the layer before. What stands behind the end of a sequence means nothing.

    Args:
        width: d.
        dropout: behind the ReLU, and on what is added to a residual.
        gates: without them both are 1, and there is no h.
    """

    def __init__(self, width: int, dropout: float, *, gates: bool) -> None:
        super().__init__()
        self.dropout = dropout
        self.gates = Gates(width) if gates else None
        self.inner_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, FEEDFORWARD * width)
        self.down = nn.Linear(FEEDFORWARD * width, width)
        self.outer_norm = nn.LayerNorm(width)

    def forward(self, x: Padded, found: Tensor) -> tuple[Padded, Tensor | None]:
        """Map a block and what attention found for it, (B, T, d) each, to a block (B, T, d) and h (B, d)."""
        branch, kept, summary = self._drop(found), x.values, None
        if self.gates is not None:
            retain, compose, summary = self.gates(x)
            branch, kept = compose.unsqueeze(1) * branch, retain.unsqueeze(1) * kept
        inner = self.inner_norm(branch + kept)
        hidden = self._drop(F.relu(self.up(inner)))
        return Padded(self.outer_norm(inner + self._drop(self.down(hidden))), x.lengths), summary

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)


class Gates(nn.Module):
    """The retain and the compose gate of a layer, and the summary of a sequence that they come from.

    Args:
        width: d, of the sequence and of each direction of the GRU.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rnn = nn.GRU(width, width, bidirectional=True, batch_first=True)
        self.retain = nn.Linear(width, width)
        self.compose = nn.Linear(width, width)

    def forward(self, x: Padded) -> tuple[Tensor, Tensor, Tensor]:
        """Map a block (B, T, d) to g_r, g_c and h, (B, d) each."""
        summary = mean_both_ways(self.rnn, x)
        return torch.sigmoid(self.retain(summary)), torch.sigmoid(self.compose(summary)), summary
