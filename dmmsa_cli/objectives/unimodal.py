"""The unimodal task: one head, shared by all features of a clip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def unimodal_targets(features: Iterable[str], labels: Mapping[str, Tensor]) -> Tensor:
    """Return what each feature has to predict, (B, features), so that all their losses are one call (equation 10).

    Similarity features predict y; dissimilarity features their modality's own label, or y where a dataset has none.

    Args:
        features: names as `T_s`, `A_d`.
        labels: by name, `y` and perhaps `t`, `v`, `a`, (B,) each.
    """
    targets = [labels["y"] if name.endswith("_s") else labels.get(name[0].lower(), labels["y"]) for name in features]
    return torch.stack(targets, dim=1)
