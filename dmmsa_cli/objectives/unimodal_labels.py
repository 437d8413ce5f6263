"""ULGM: labels of single modalities made from the score and from where features lie (Yu et al., AAAI 2021)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

EPSILON = 1e-8
ANCHOR = "fusion"

Distance = Literal["norm", "squared"]


class UnimodalLabels(nn.Module):
    """Labels of single modalities, moved once an epoch for each row, from the second epoch on (section 3.4).

    For the fused feature and that of each modality s there is a centre of the positive and one of the negative rows,
    the mean over the training split of what was last seen of each row (equations 7 and 8). With the distances D+ and
    D- of a row's feature to them,

        alpha_s = (D-_s - D+_s) / (D+_s + eps)                                                       (equation 9 to 11)
        y_s'    = y alpha_s / (2 alpha_m) + (y + alpha_s - alpha_m) / 2,  held to [-R, R]            (equation 12 to 15)
        y_s(e)  = (e - 1) / (e + 1) y_s(e - 1) + 2 / (e + 1) y_s'                                    (equation 16)

    Which rows are positive is asked of each modality's own labels as they now are; zero is neither. Where one kind has
    no row there is no centre, and the labels stay.

    Args:
        names: of the modalities that get labels.
        limit: R; labels stay within [-R, R].
        distance: `norm`, the length of the difference, as in the code; `squared`, its square over the root of the
            width (MMILN, equations 29 and 30).
    """

    used: Tensor
    epoch: Tensor

    def __init__(self, names: Sequence[str], *, limit: float, distance: Distance = "norm") -> None:
        super().__init__()
        self.names = tuple(names)
        self.limit = limit
        self.distance = distance
        self.register_buffer("used", torch.zeros(0, dtype=torch.bool))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        for name in (ANCHOR, *self.names):
            # As long as the training split, and as wide as the model's features: both get known when training begins.
            self.register_buffer(f"labels_{name}", torch.zeros(0))
            self.register_buffer(f"features_{name}", torch.zeros(0, 0))

    def begin_epoch(self, epoch: int, y: Tensor, rows: Tensor) -> None:
        """Before the first epoch, give every modality the score for a label.

        Args:
            epoch: counted from 1.
            y: scores of the whole training split, (N,).
            rows: which of them are used.
        """
        self.epoch.fill_(epoch)
        if epoch > 1:
            return
        device = self.used.device
        self.used = torch.zeros(len(y), dtype=torch.bool, device=device)
        self.used[rows.to(device)] = True
        for name in (ANCHOR, *self.names):
            setattr(self, f"labels_{name}", y.to(device, torch.float32).clone())
            setattr(self, f"features_{name}", torch.zeros(0, 0, device=device))

    def of(self, name: str, rows: Tensor) -> Tensor:
        """Return the labels of some rows as they now are, (B,)."""
        return self.get_buffer(f"labels_{name}")[rows]

    def losses(self, predictions: Mapping[str, Tensor], rows: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Return mean tanh(|y_s - y|) |y^_s - y_s| of each modality s, scalars (Self-MM, equation 17; MMILN, 35).

        Args:
            predictions: of single modalities, (B,) each.
            rows: of the training split, (B,).
            y: their scores, (B,).
        """
        found = {}
        for name, prediction in predictions.items():
            label = self.of(name, rows)
            found[name] = (torch.tanh((label - y).abs()) * (prediction.float() - label).abs()).mean()
        return found

    @torch.no_grad()
    def update(self, rows: Tensor, features: Mapping[str, Tensor]) -> None:
        """Move the labels of some rows, which stay in the first epoch, and take note of their features.

        Args:
            rows: of the training split, (B,).
            features: of the fusion and of each modality, (B, w).
        """
        seen = {name: features[name].detach().float() for name in (ANCHOR, *self.names)}
        if self.epoch > 1:
            self._move(rows, seen, int(self.epoch))
        for name, values in seen.items():
            kept = self.get_buffer(f"features_{name}")
            if len(kept) == 0:
                kept = values.new_zeros(len(self.used), values.shape[1])
                setattr(self, f"features_{name}", kept)
            kept[rows] = values

    def _move(self, rows: Tensor, features: Mapping[str, Tensor], epoch: int) -> None:
        y = self.of(ANCHOR, rows)
        anchor = self._alpha(ANCHOR, features[ANCHOR])
        for name in self.names:
            own = self._alpha(name, features[name])
            if anchor is None or own is None:
                continue
            moved = 0.5 * y * own / (anchor + EPSILON) + 0.5 * (y + own - anchor)
            former = self.of(name, rows)
            share = 2 / (epoch + 1)
            moved = (1 - share) * former + share * moved.clamp(-self.limit, self.limit)
            self.get_buffer(f"labels_{name}")[rows] = moved

    def _alpha(self, name: str, features: Tensor) -> Tensor | None:
        """How much nearer rows are to the positive than to the negative centre, (B,); None where one is missing."""
        labels, kept = self.get_buffer(f"labels_{name}"), self.get_buffer(f"features_{name}")
        positive, negative = self.used & (labels > 0), self.used & (labels < 0)
        if not (positive.any() and negative.any()):
            return None
        to_positive, to_negative = (self._distance(features - kept[kind].mean(0)) for kind in (positive, negative))
        return (to_negative - to_positive) / (to_positive + EPSILON)

    def _distance(self, difference: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(difference, dim=-1)
        return length if self.distance == "norm" else length.square() / math.sqrt(difference.shape[-1])

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:  # noqa: ANN401
        for name, buffer in list(self.named_buffers(recurse=False)):
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)
