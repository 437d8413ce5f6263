"""What draws representations of a batch together or keeps them apart: terms of losses over several spaces."""

from __future__ import annotations

import torch
from torch import Tensor

MOMENTS = 5
TINY = torch.finfo(torch.float32).tiny


def moment_discrepancy(one: Tensor, other: Tensor, moments: int = MOMENTS) -> Tensor:
    """Distance between the means over the batch, and between the central moments up to `moments`, (B, w) each.

    Central moment discrepancy (Zellinger et al., ICLR 2017), as if every component lay in an interval of length 1.
    """
    means = one.mean(0), other.mean(0)
    centred = one - means[0], other - means[1]
    higher = [(centred[0].pow(k).mean(0), centred[1].pow(k).mean(0)) for k in range(2, moments + 1)]
    return torch.stack([_distance(*pair) for pair in (means, *higher)]).sum()


def _distance(one: Tensor, other: Tensor) -> Tensor:
    """Length of the difference; its slope is 0 where there is none, as between the moments of a single row."""
    squared = (one - other).square().sum()
    return torch.where(squared > 0, squared.clamp_min(TINY).sqrt(), squared)


def orthogonality(one: Tensor, other: Tensor) -> Tensor:
    """Mean of the squares of U'V, U and V centred over the batch, their rows scaled to length 1, (B, w) each."""
    units = []
    for x in (one, other):
        centred = x - x.mean(0)
        # The lengths are constants to the gradient, as in the code of MISA's paper.
        units.append(centred / (torch.linalg.vector_norm(centred, dim=1, keepdim=True).detach() + 1e-6))
    return torch.square(units[0].T @ units[1]).mean()


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """Sum of the squares of U'V, (B, w) each, as they are: it grows with the batch and with both widths."""
    return torch.square(one.T @ other).sum()
