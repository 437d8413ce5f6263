"""Emotions as a task: which of some are present in a clip, where that is known (MMoLRE, section III-D)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dmmsa_cli.layers.heads import Head


@dataclass(frozen=True)
class EmotionOptions:
    """Options of the emotion task; it is inactive where clips are not labelled with emotions."""

    enabled: bool = False
    """True: with emotions."""
    loss: Literal["bce", "softmax"] = "bce"
    """Cross-entropy of each emotion by itself; or of one distribution over all, as equation 6 is printed."""


def emotion_head(names: tuple[str, ...], *, exclusive: bool = False) -> Head:
    """Return the head that says how present each emotion is, as a logit; `exclusive` under the softmax loss."""
    return Head(len(names), "fusion", present=names, exclusive=exclusive)


def emotion_loss(logits: Tensor, target: Tensor, kind: Literal["bce", "softmax"]) -> Tensor:
    """Sum of the cross-entropy over the emotions of a clip, mean over the clips of which any is known.

    Printed alone, equation 6 of MMoLRE has its minimum where all emotions are present: `bce` adds what it leaves out,
    `softmax` lets them share one probability, and an emotion is then said to be present where it has more than an even
    share of it. The log's mean over an epoch counts every clip of a batch, as it does for all tasks.

    Args:
        logits: (B, C).
        target: 1 where present, 0 where absent, NaN where not known, (B, C).
        kind: which.

    Example:
        >>> emotion_loss(torch.zeros(1, 2), torch.tensor([[1.0, torch.nan]]), "bce").item() == torch.tensor(2.0).log()
        tensor(True)
    """
    known, present = ~target.isnan(), target.nan_to_num()
    if kind == "bce":
        each = F.binary_cross_entropy_with_logits(logits.float(), present, reduction="none") * known
    else:
        each = -torch.log_softmax(logits.float(), dim=-1) * present
    return each.sum() / known.any(dim=1).sum().clamp_min(1)
