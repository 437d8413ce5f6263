"""Sequential-MTL, our reading of it: vectors of modalities and of pairs, which each task weighs for itself.

Zhang and Yin, Journal of Computer Applications 41(6), 2021 (in Chinese). STRUCTURE INFERRED: the abstract, the captions
and the tables were at hand, not the text. They name the parts; how these are joined, their widths, the form of the
weighting and the heads are our reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar

import torch
from torch import Tensor, nn

from dmmsa_cli.data.ragged import Padded
from dmmsa_cli.data.views import Batch
from dmmsa_cli.errors import Inapplicable
from dmmsa_cli.layers.dropout import Dropout
from dmmsa_cli.layers.heads import Head, check_over_fusion
from dmmsa_cli.layers.multihead import MultiheadAttention
from dmmsa_cli.layers.recurrent import both_ways
from dmmsa_cli.layers.sequence import masked_mean
from dmmsa_cli.layers.sizes import Sizes
from dmmsa_cli.models.base import SEQUENCES, SHARED, Model, Outputs, Reading, sequences
from dmmsa_cli.ranges import Choices, Range, Ranges

ORDER = "tav"


@dataclass(frozen=True)
class SequentialMtlOptions(Sizes):
    """Options of Sequential-MTL. The paper's are not known: all are ours. Switches are of its Table 5, as read."""

    width: int = 64
    """d, of every vector; each direction of a GRU has half of it."""
    kernel: int = 3
    """Frames that a convolution sees; 1 maps each by itself, which is what is left without a CNN (switch 1)."""
    attention_heads: int = 4
    """Must divide `width`."""
    dropout: float = 0.2
    """Behind the convolution, on attention weights and what attention finds, and in the heads."""
    bigru: bool = True
    """Switch 2."""
    self_attention: bool = True
    """Switch 3."""
    cross_modal: bool = True
    """Vectors of each pair of modalities, one for either way of asking (switch 4)."""
    unimodal: bool = True
    """Vectors of each modality alone, beside them (switch 5)."""
    task_weights: bool = True
    """Each task weighs the vectors for itself (switch 8); otherwise all count alike."""

    RANGES: ClassVar[Ranges] = {
        "width": Choices((32, 64, 128)),
        "kernel": Choices((1, 3, 5)),
        "dropout": Range(0.0, 0.6),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % 2:
            raise ValueError(f"width: {self.width} is odd; each direction of a GRU has half of it")
        if self.width % self.attention_heads:
            raise ValueError(f"attention_heads: {self.attention_heads} do not divide a width of {self.width}")
        if not (self.cross_modal or self.unimodal):
            raise ValueError("unimodal: neither these vectors nor those of cross_modal are left to predict from")


class SequentialMtl(Model):
    """A vector for each modality and each ordered pair; each task's own weighted sum of them, and its own head.

        S_m = attend(BiGRU(ReLU(Conv(X_m)))),  attend(X) = LN(X + MHA(X, X, X))
        S_mn = LN(S_m + MHA(S_m, S_n, S_n)),  n other than m
        v = masked means of all S_m and S_mn;  x_k = sum over j of softmax(w_k)_j v_j
        y_k = W_2 dropout(ReLU(W_1 x_k)),  k: the score, and every head that the objective asks for

    STRUCTURE INFERRED from the abstract, captions and Table 5 of the paper. Any subset of the modalities works: one
    alone has just its own vector. Features are the vectors, under `t`, `ta` (text asks audio) and so on; all losses
    pass through them.

    Args:
        encoders: by modality; each gives a block (B, T, w).
        widths: w of every modality, in the order t, v, a.
        heads: what the objective asks for; each is a task with weights and a head of its own.
        options: fields of `SequentialMtlOptions`.

    Raises:
        InvalidRecipe: the objective wants a head over each feature.
        Inapplicable: one modality alone, and vectors of pairs only.
    """

    title = "Sequential-MTL (structure inferred)"
    remark = "structure inferred"
    Options = SequentialMtlOptions
    gives = frozenset({SHARED})
    reads: ClassVar[Mapping[str, Reading]] = SEQUENCES

    def __init__(
        self, encoders: Mapping[str, nn.Module], widths: Mapping[str, int], heads: Mapping[str, Head], **options: object
    ) -> None:
        super().__init__(encoders, widths, heads)
        chosen = SequentialMtlOptions(**options)  # type: ignore[arg-type]
        check_over_fusion(heads, type(self).__name__)
        used = [m for m in ORDER if m in widths]
        self.encoders = nn.ModuleDict(encoders)
        self.streams = nn.ModuleDict({m: _Stream(widths[m], chosen) for m in used})
        pairs = [m + n for m, n in permutations(used, 2)] if chosen.cross_modal else []
        self.cross = nn.ModuleDict({pair: _Attend(chosen) for pair in pairs})
        self.names = [*(used if chosen.unimodal else []), *pairs]
        if not self.names:
            raise Inapplicable(
                f"Without model.unimodal sequential_mtl has vectors of pairs only, and here is {used[0]} alone.",
                "Use more modalities (leave data.modalities out), or set model.unimodal to true.",
            )
        count = len(self.names)
        self.score = _Task(count, chosen, outputs=1)
        self.heads = nn.ModuleDict({name: _Task(count, chosen, outputs=head.outputs) for name, head in heads.items()})

    def forward(self, batch: Batch) -> Outputs:
        """Map a batch of B clips to predictions (B,), features (B, d), and what the heads give."""
        blocks = sequences(self.encoders, batch)
        streams: dict[str, Padded] = {m: stream(blocks[m]) for m, stream in self.streams.items()}
        streams |= {pair: attend(streams[pair[0]], streams[pair[1]]) for pair, attend in self.cross.items()}
        features = {name: masked_mean(streams[name].values, streams[name].mask()) for name in self.names}
        vectors = torch.stack(list(features.values()), dim=1)  # (B, vectors, d)
        return Outputs(
            prediction=self.score(vectors).squeeze(-1),
            features=features,
            heads={name: head(vectors) for name, head in self.heads.items()},
        )


class _Stream(nn.Module):
    """Convolution, ReLU -> GRU both ways -> self-attention: (B, T, F) -> (B, T', d)."""

    def __init__(self, features: int, options: SequentialMtlOptions) -> None:
        super().__init__()
        width = options.width
        self.conv = nn.Conv1d(features, width, options.kernel, padding="same")
        self.dropout = Dropout(options.dropout)
        self.rnn = nn.GRU(width, width // 2, bidirectional=True, batch_first=True) if options.bigru else None
        self.attend = _Attend(options) if options.self_attention else None

    def forward(self, block: Padded) -> Padded:
        """Map a block, zeros behind the end of each sequence; one without frames is one frame of zeros."""
        x = self.dropout(torch.relu(self.conv(block.values.mT).mT))
        lengths = block.lengths.clamp_min(1)
        found = Padded(x if self.rnn is None else both_ways(self.rnn, x, lengths), lengths)
        return found if self.attend is None else self.attend(found, None)


class _Attend(nn.Module):
    """LN(X + dropout(MHA(X, Z, Z))), Z another block or X itself."""

    def __init__(self, options: SequentialMtlOptions) -> None:
        super().__init__()
        self.attention = MultiheadAttention(options.width, options.attention_heads, options.dropout)
        self.dropout = Dropout(options.dropout)
        self.norm = nn.LayerNorm(options.width)

    def forward(self, x: Padded, source: Padded | None) -> Padded:
        """Map (B, T, d), looking at (B, T', d), to (B, T, d)."""
        return Padded(self.norm(x.values + self.dropout(self.attention(x, source))), x.lengths)


class _Task(nn.Module):
    """One task's weights of the vectors, and its head."""

    def __init__(self, vectors: int, options: SequentialMtlOptions, *, outputs: int) -> None:
        super().__init__()
        # One vector alone has nothing to be weighed against.
        weighs = options.task_weights and vectors > 1
        self.logits = nn.Parameter(torch.zeros(vectors)) if weighs else None
        self.inner = nn.Linear(options.width, options.width)
        self.dropout = Dropout(options.dropout)
        self.outer = nn.Linear(options.width, outputs)

    def forward(self, vectors: Tensor) -> Tensor:
        """Map vectors (B, n, d) to (B, outputs)."""
        if self.logits is None:
            x = vectors.mean(1)
        else:
            x = (torch.softmax(self.logits, dim=0).unsqueeze(-1) * vectors).sum(1)
        found: Tensor = self.outer(self.dropout(torch.relu(self.inner(x))))
        return found
