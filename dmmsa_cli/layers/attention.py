"""Transformer encoder layers that leave padding out."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class TransformerLayer(nn.Module):
    """One post-norm Transformer encoder layer (Vaswani et al., 2017) with GELU.

    x = norm(x + attention(x)); x = norm(x + feedforward(x))

    Args:
        width: d.
        heads: attention heads; must divide `width`.
        feedforward: width between the two linear maps of the feed-forward part.
        dropout: on attention weights and on both residual branches.

    Raises:
        ValueError: `heads` does not divide `width`.
    """

    def __init__(self, *, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} attention heads do not divide a width of {width}; choose a divisor")
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, feedforward)
        self.down = nn.Linear(feedforward, width)
        self.feedforward_norm = nn.LayerNorm(width)
        # The released ConFEDE starts its attention as torch's own layer does.
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, T, d) to (B, T, d); positions where `mask` (B, T) is False are attended by none."""
        x = self.attention_norm(x + self._drop(self._attend(x, mask)))
        hidden = self._drop(F.gelu(self.up(x)))
        out: Tensor = self.feedforward_norm(x + self._drop(self.down(hidden)))
        return out

    def _attend(self, x: Tensor, mask: Tensor) -> Tensor:
        b, t, d = x.shape
        qkv = self.qkv(x).view(b, t, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, T, d / heads)
        mixed = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask[:, None, None, :], dropout_p=self.dropout if self.training else 0.0
        )
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(b, t, d))
        return out

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)
