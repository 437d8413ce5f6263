"""Contrastive losses over the features of a batch, each sample on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = tuple[str, str]
IndexPairs = Sequence[tuple[int, int]]


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


def nt_xent(embeddings: Tensor, positives: IndexPairs, negatives: IndexPairs, *, temperature: float) -> Tensor:
    r"""NT-Xent as ConFEDE's released code has it: a logarithm for each positive pair, against its anchor's negatives.

        mean over (a, p) in P of  -log( exp(sim_ap / tau) / (exp(sim_ap / tau) + sum_{(a, n) in N} exp(sim_an / tau)) )

    This is not DMMSA's equation (1), `-sum_P log( exp(sim_ap / tau) / sum_{P u N} exp(sim_ak / tau) )`, in two things:
    there the denominator holds the anchor's other positives too, and the terms are summed. With one positive pair the
    two are equal. With DMMSA's two positives and three negatives at tau = 0.5, the smallest value is
    log(1 + 3 e^-4) = 0.0535 here and 2 log(2 + 3 e^-4) = 1.4405 there, where the positive pairs compete.

    Args:
        embeddings: what is compared, B groups on their own, (B, n, w).
        positives: P, pairs of places among the n.
        negatives: N, likewise.
        temperature: tau.

    Returns:
        The loss of each group, (B,), in float32; 0 where there are no positive pairs.
    """
    if not positives:
        return embeddings.new_zeros(len(embeddings), dtype=torch.float32)
    unit = F.normalize(embeddings.float(), dim=-1)
    similarity = unit @ unit.transpose(1, 2) / temperature  # (B, n, n)
    (a, p), (b, q) = (_places(tuple(pairs), unit.device) for pairs in (positives, negatives))
    attract = similarity[:, a, p]  # (B, P)
    against = similarity[:, b, q].unsqueeze(1).masked_fill(a.unsqueeze(1) != b, -torch.inf)  # (B, P, N)
    return (torch.logaddexp(attract, against.logsumexp(2)) - attract).mean(1)


@lru_cache(maxsize=32)
def _places(pairs: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    """First and second members of pairs, (2, pairs), kept: a step that sent them to a GPU would wait for it."""
    return torch.tensor(pairs, device=device).T
