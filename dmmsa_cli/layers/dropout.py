"""Dropout that is cheap on a CPU, where torch's own costs as much time as the matrix products around it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SEVEN = torch.arange(7, dtype=torch.int8).unsqueeze(1)
_EVERY = -(2**63)  # `random_` from here on, without an end, fills all 64 bits


class Dropout(nn.Module):
    """Zero a share `p` of the elements in training, and scale the others so that the mean stays."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements of x, of any shape."""
        return dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """Tell p where the module is printed."""
        return f"p={self.p}"


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Zero each element with probability `p`, and scale the others by 1 / (1 - p); outside training return x.

    On a CPU torch draws a random number for every element, 16 ns each. Here eight bits, or sixteen where `p` is no
    multiple of 1/256, decide on an element, so that one draw of 64 serves eight or four of them; `p` is rounded to
    the nearest multiple of 2^-16, and so is the scale. Under autocast, where products are so fast that the draws are
    seen beside them, one bit drops half of the elements. The numbers come from torch's own generator.
    """
    if not training or p == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, p)
    dropped: Tensor = _Dropout.apply(x, p)  # type: ignore[no-untyped-call]  # torch's own lack of a hint
    return dropped


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:  # noqa: ANN401  (torch gives it no public type)
        keep, ctx.scale = keep_some(x, p)
        ctx.save_for_backward(keep)
        return scaled(x * keep, ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (keep,) = ctx.saved_tensors
        return scaled(gradient * keep, ctx.scale), None


def keep_some(x: Tensor, p: float) -> tuple[Tensor, float]:
    """Draw factors in the shape of x, 0 for what is dropped, and by what the product with them is to be scaled."""
    if p == 0.5 and torch.is_autocast_enabled("cpu"):
        return _keep_half(x), 1.0
    bits, kind = (8, torch.int8) if (256 * p).is_integer() else (16, torch.int16)
    values = 2**bits
    dropped = min(round(p * values), values - 1)  # of the values that a lane can have
    lanes = _words(x.numel() * bits).view(kind)[: x.numel()].view(x.shape)
    # As small integers: torch compares into them, and multiplies by them, three times faster than with booleans.
    return lanes.ge_(dropped - values // 2).to(torch.int8), values / (values - dropped)


def _keep_half(x: Tensor) -> Tensor:
    """Half of x, by a bit an element, seven of an octet: 2 for what stays, which spares scaling it."""
    octets = _words(-(-x.numel() // 7) * 8).view(torch.int8)
    factors = (octets >> _SEVEN).bitwise_and_(2)  # (7, octets)
    return factors.view(-1)[: x.numel()].view(x.shape)


def _words(bits: int) -> Tensor:
    return torch.empty(-(-bits // 64), dtype=torch.int64).random_(_EVERY, None)


def scaled(x: Tensor, scale: float) -> Tensor:
    """Scale x in place."""
    return x if scale == 1 else x.mul_(scale)
