"""MISA: what the modalities share, and what each has alone (Hazarika et al., ACM Multimedia 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmmsa_cli.data.ragged import Padded
from dmmsa_cli.data.views import Batch
from dmmsa_cli.layers.dropout import Dropout
from dmmsa_cli.layers.heads import Head, fusion_heads
from dmmsa_cli.layers.recurrent import at_end, both_ways
from dmmsa_cli.layers.sequence import masked_mean
from dmmsa_cli.layers.sizes import Sizes
from dmmsa_cli.layers.spaces import moment_discrepancy, orthogonality
from dmmsa_cli.models.base import SEQUENCES, SPACES, Model, Outputs, Reading, sequences
from dmmsa_cli.ranges import Choices, Range, Ranges

ORDER = "tva"  # of the six tokens: private ones first, then shared ones
HEADS, FEEDFORWARD, TRANSFORMER_DROPOUT = 2, 2048, 0.1  # torch's defaults, which no option of MISA's reaches


@dataclass(frozen=True)
class MisaOptions(Sizes):
    """Options of MISA's network; the defaults are MMSA's for CMU-MOSI."""

    width: int = 128
    """Of every representation."""
    fusion_dropout: float = 0.2
    """Between the two layers of the prediction."""
    text_lengths: bool = False
    """Read audio and vision only as far as the text is long, as MMSA does on unaligned data too."""

    RANGES: ClassVar[Ranges] = {"width": Choices((32, 64, 128, 256)), "fusion_dropout": Range(0.0, 0.6)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % HEADS:
            raise ValueError(f"width: {self.width} is no multiple of {HEADS}, the attention heads")


class Misa(Model):
    """Each modality as one vector, projected twice: by a map that all share, and by one of its own.

        u_t = mean of the token states,  u_m = final states of two stacked bidirectional LSTMs, m in {v, a}
        h_m^p = sigmoid(W_m u'_m),  h_m^c = sigmoid(W u'_m),  u'_m = norm(ReLU(W'_m u_m))       (equations 1 and 2)
        y* = MLP(Transformer([h_t^p, h_v^p, h_a^p, h_t^c, h_v^c, h_a^c]))                       (section 3.5)

    Its own losses, for objectives that want them: `similarity`, central moment discrepancy between the shared ones,
    mean over the pairs (6, 7); `difference`, their orthogonality to the private ones and of these to each other,
    summed (8, 9); `reconstruction`, of u' from the sum of both, mean over the modalities (10). Any subset of the
    modalities works.

    Args:
        encoders: by modality; each gives a block (B, T, w).
        widths: w of every modality, in the order t, v, a. The LSTMs are as wide as their frames.
        heads: what the objective asks for over the fusion; features are the private and shared representations, but
            no head looks at them singly.
        options: fields of `MisaOptions`.

    Raises:
        InvalidRecipe: the objective wants a head over each feature.
    """

    title = "MISA"
    Options = MisaOptions
    gives = frozenset({SPACES})
    reads: ClassVar[Mapping[str, Reading]] = SEQUENCES

    def __init__(
        self, encoders: Mapping[str, nn.Module], widths: Mapping[str, int], heads: Mapping[str, Head], **options: object
    ) -> None:
        super().__init__(encoders, widths, heads)
        chosen = MisaOptions(**options)  # type: ignore[arg-type]
        width, used = chosen.width, [m for m in ORDER if m in widths]
        self.text_lengths = chosen.text_lengths
        self.encoders = nn.ModuleDict(encoders)
        self.lstms = nn.ModuleDict({m: StackedLstms(widths[m]) for m in used if m != "t"})
        found = {m: widths[m] if m == "t" else 4 * widths[m] for m in used}
        self.project = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(w, width), nn.ReLU(), nn.LayerNorm(width)) for m, w in found.items()}
        )
        self.private = nn.ModuleDict({m: nn.Linear(width, width) for m in used})
        self.shared = nn.Linear(width, width)
        self.reconstruct = nn.ModuleDict({m: nn.Linear(width, width) for m in used})
        self.transformer = nn.TransformerEncoderLayer(width, HEADS, FEEDFORWARD, TRANSFORMER_DROPOUT, batch_first=True)
        tokens = 2 * len(used)
        self.fusion_layer_1 = nn.Linear(tokens * width, tokens * width // 2)
        self.dropout = Dropout(chosen.fusion_dropout)
        self.fusion_layer_2 = nn.Linear(tokens * width // 2, 1)
        self.heads = fusion_heads(tokens * width // 2, heads, type(self).__name__)

    def forward(self, batch: Batch) -> Outputs:
        """Map a batch of B clips to predictions (B,), features (B, width), and the model's own losses."""
        blocks = sequences(self.encoders, batch)
        projected: dict[str, Tensor] = {m: project(self._vector(m, blocks)) for m, project in self.project.items()}
        private = {m: torch.sigmoid(self.private[m](x)) for m, x in projected.items()}
        shared = {m: torch.sigmoid(self.shared(x)) for m, x in projected.items()}
        tokens = self.transformer(torch.stack([*private.values(), *shared.values()], dim=1))
        x = F.relu(self.dropout(self.fusion_layer_1(tokens.flatten(1))))
        restored = {m: self.reconstruct[m](private[m] + shared[m]) for m in projected}
        features = {f"private_{m}": x for m, x in private.items()} | {f"shared_{m}": x for m, x in shared.items()}
        return Outputs(
            prediction=self.fusion_layer_2(x).squeeze(-1),
            features=features,
            heads={name: head(x) for name, head in self.heads.items()},
            losses={
                "similarity": similarity(list(shared.values())),
                "difference": difference(private, shared),
                "reconstruction": torch.stack(
                    [F.mse_loss(restored[m].float(), projected[m].float()) for m in projected]
                ).mean(),
            },
        )

    def _vector(self, modality: str, blocks: Mapping[str, Padded]) -> Tensor:
        block = blocks[modality]
        if modality == "t":
            return masked_mean(block.values, block.mask())
        if self.text_lengths and "t" in blocks:
            block = replace(block, lengths=blocks["t"].lengths.clamp_max(block.values.shape[1]), full=False)
        states: Tensor = self.lstms[modality](block)
        return states


class StackedLstms(nn.Module):
    """Two bidirectional LSTMs, a layer norm between: (B, T, F) -> the four final states, (B, 4 F).

    They stand in the order first forward, second forward, first backward, second backward.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.LSTM(features, features, bidirectional=True, batch_first=True)
        self.norm = nn.LayerNorm(2 * features)
        self.second = nn.LSTM(2 * features, features, bidirectional=True, batch_first=True)

    def forward(self, block: Padded) -> Tensor:
        """Map a block to (B, 4 F); a sequence without frames is one frame of zeros."""
        lengths = block.lengths.clamp_min(1)
        first = both_ways(self.first, block.values, lengths)
        second = both_ways(self.second, self.norm(first), lengths)
        (one, other), (back, back_again) = zip(*(_ends(states, lengths) for states in (first, second)), strict=True)
        return torch.cat([one, other, back, back_again], dim=-1)


def _ends(states: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The last state of each direction: at the end of the sequence, and at its beginning."""
    hidden = states.shape[-1] // 2
    return at_end(states[..., :hidden], lengths), states[:, 0, hidden:]


def similarity(shared: list[Tensor]) -> Tensor:
    """Central moment discrepancy between every two, the mean over the pairs; 0 where there is no pair (6, 7)."""
    pairs = [moment_discrepancy(one.float(), other.float()) for one, other in combinations(shared, 2)]
    return torch.stack(pairs).mean() if pairs else shared[0].new_zeros((), dtype=torch.float32)


def difference(private: Mapping[str, Tensor], shared: Mapping[str, Tensor]) -> Tensor:
    """Sum of the orthogonality losses: each modality's private and shared ones, and every two private ones (8, 9)."""
    own = [orthogonality(private[m].float(), shared[m].float()) for m in private]
    across = [orthogonality(one.float(), other.float()) for one, other in combinations(private.values(), 2)]
    return torch.stack([*own, *across]).sum()
