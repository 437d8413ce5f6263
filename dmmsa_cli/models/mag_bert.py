"""MAG-BERT: a text encoder whose words are shifted by audio and vision (Rahman et al., ACL 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from dmmsa_cli.data.ragged import Padded, Ragged
from dmmsa_cli.data.views import Batch
from dmmsa_cli.errors import Inapplicable
from dmmsa_cli.layers.adaptation import AdaptationGate
from dmmsa_cli.layers.dropout import Dropout
from dmmsa_cli.layers.heads import Head, fusion_heads
from dmmsa_cli.layers.sizes import Sizes
from dmmsa_cli.layers.text import TextEncoder
from dmmsa_cli.models.base import Model, Outputs, Reading
from dmmsa_cli.ranges import Range, Ranges


@dataclass(frozen=True)
class MagBertOptions(Sizes):
    """Options of MAG-BERT; the defaults are MMSA's for CMU-MOSI."""

    beta: float = 1.0
    """How far a word may be moved, in lengths of its vector."""
    gate_dropout: float = 0.3
    """Behind the gate."""
    fusion_dropout: float = 0.3
    """Before the prediction."""
    frames: Literal["aligned", "spread"] = "aligned"
    """Each token has the frame at its own place; or frames are spread over the tokens, each taking the mean of its
    share of them (one frame a clip then goes to all)."""

    RANGES: ClassVar[Ranges] = {
        "beta": Range(0.1, 2.0, log=True),
        "gate_dropout": Range(0.0, 0.6),
        "fusion_dropout": Range(0.0, 0.6),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.beta > 0:
            raise ValueError(f"beta: {self.beta} is not above 0")


class MagBert(Model):
    """The text encoder, with a gate behind its embeddings and before its first layer.

        Z' = MAG(Z, X_a, X_v)  (`layers/adaptation.py`),  y* = W dropout(pool(Encoder(Z')))

    Text is needed, and one other modality at least. The encoder is trained along. Where it reads clips around one, the
    words of these have no frames, as words behind the last frame have none.

    Args:
        encoders: the text encoder, which here reads token ids; of audio and vision what gives a block (B, T, w).
        widths: w of every modality, in the order t, v, a.
        heads: what the objective asks for over the pooled text; this model has no features to look at singly.
        options: fields of `MagBertOptions`.

    Raises:
        InvalidRecipe: text or every other modality is missing, the text encoder is not trained along or not built as
            BERT is, or the objective wants a head over each feature.
    """

    title = "MAG-BERT"
    Options = MagBertOptions
    reads: ClassVar[Mapping[str, Reading]] = {"t": "tokens", "v": "sequence", "a": "sequence"}

    @classmethod
    def check(cls, modalities: Sequence[str]) -> None:
        """It needs text, and something to shift it by."""
        if "t" not in modalities or len(modalities) < 2:
            raise Inapplicable(
                "mag_bert shifts words by what is heard or seen with them, and needs text and one modality beside it.",
                "Use all that there are (leave data.modalities out), or another model.",
            )

    def __init__(
        self, encoders: Mapping[str, nn.Module], widths: Mapping[str, int], heads: Mapping[str, Head], **options: object
    ) -> None:
        super().__init__(encoders, widths, heads)
        chosen = MagBertOptions(**options)  # type: ignore[arg-type]
        self.check(tuple(widths))
        others = {m: widths[m] for m in "va" if m in widths}
        self.frames = chosen.frames
        self.encoders = nn.ModuleDict(encoders)
        self.gate = AdaptationGate(widths["t"], others, beta=chosen.beta, dropout=chosen.gate_dropout)
        self.dropout = Dropout(chosen.fusion_dropout)
        self.output = nn.Linear(widths["t"], 1)
        self.heads = fusion_heads(widths["t"], heads, type(self).__name__)

    def forward(self, batch: Batch) -> Outputs:
        """Map a batch of B clips to predictions (B,)."""
        encoder, tokens = self.encoders["t"], batch.inputs["t"]
        assert isinstance(encoder, TextEncoder) and isinstance(tokens, Ragged)
        blocks: dict[str, Padded] = {m: self.encoders[m](batch.inputs[m]) for m in self.gate.gates}
        clips = tokens.clips()
        place = self._spread if self.frames == "spread" else self._aligned

        def shift(group: int, words: Tensor) -> Tensor:
            rows, text = clips[group], tokens.groups[group]
            frames = {m: place(block, rows, text.own_lengths, words.shape[1]) for m, block in blocks.items()}
            if text.own is not None:  # what was heard with a clip was not with those around it
                frames = {m: found * text.own_mask().unsqueeze(-1) for m, found in frames.items()}
            shifted: Tensor = self.gate(words, frames)
            return shifted

        x: Tensor = self.dropout(encoder(tokens, behind_embeddings=shift))
        return Outputs(
            prediction=self.output(x).squeeze(-1), heads={name: head(x) for name, head in self.heads.items()}
        )

    @staticmethod
    def _aligned(block: Padded, rows: Tensor, lengths: Tensor, positions: int) -> Tensor:
        """The frame at each token's place, (n, positions, w); zeros where there is none."""
        found = block.values[rows, :positions]
        return torch.nn.functional.pad(found, (0, 0, 0, positions - found.shape[1]))

    @staticmethod
    def _spread(block: Padded, rows: Tensor, lengths: Tensor, positions: int) -> Tensor:
        """The mean of each token's share of the frames, (n, positions, w)."""
        values, frames = block.values[rows], block.lengths[rows].clamp_min(1)
        place = torch.arange(positions, device=values.device)
        first = (place * frames.unsqueeze(1)).div(lengths.unsqueeze(1), rounding_mode="floor")
        last = -(-(place + 1) * frames.unsqueeze(1)).div(lengths.unsqueeze(1), rounding_mode="floor")
        last = torch.maximum(last, first + 1).clamp_max(values.shape[1])
        first = torch.minimum(first, last - 1)
        sums = torch.nn.functional.pad(values.double().cumsum(1), (0, 0, 1, 0))
        taken = [sums.gather(1, at.unsqueeze(-1).expand(-1, -1, values.shape[2])) for at in (last, first)]
        return ((taken[0] - taken[1]) / (last - first).unsqueeze(-1)).to(values.dtype)
