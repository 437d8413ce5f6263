"""Contrastive losses over the features of a batch, each sample on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = tuple[str, str]


def multi_nt_xent(
    features: Mapping[str, Tensor], positives: Sequence[Pair], negatives: Sequence[Pair], *, temperature: float
) -> Tensor:
    r"""Multi NT-Xent (DMMSA, equation 3): one logarithm over the sum of all positive pairs.

        -log( sum_P exp(sim / tau) / sum_{P u N} exp(sim / tau) ),   sim = cosine

    Unlike NT-Xent (equation 1), whose terms compete with each other, it can approach 0 with several positives: with
    P = 2, N = 3 and tau = 0.5 its infimum is log(1 + 1.5 e^-4) = 0.0271.

    Args:
        features: by name, (B, w) each.
        positives: P, pairs of names.
        negatives: N, pairs of names.
        temperature: tau_m.

    Returns:
        The loss of each sample, (B,), in float32.
    """
    unit = {name: F.normalize(features[name].float(), dim=-1) for pair in (*positives, *negatives) for name in pair}
    first = torch.stack([unit[a] for a, _ in (*positives, *negatives)], dim=1)  # (B, P + N, w)
    second = torch.stack([unit[b] for _, b in (*positives, *negatives)], dim=1)
    logits = (first * second).sum(-1) / temperature  # (B, P + N)
    return logits.logsumexp(1) - logits[:, : len(positives)].logsumexp(1)
