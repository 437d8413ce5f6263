"""MFN: a memory of what the modalities do together, from step to step (Zadeh et al., AAAI 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmmsa_cli.data.ragged import Padded
from dmmsa_cli.data.views import Batch
from dmmsa_cli.layers.dropout import Dropout
from dmmsa_cli.layers.heads import Head, fusion_heads
from dmmsa_cli.layers.recurrent import at_end, in_pieces
from dmmsa_cli.layers.sequence import masked_mean
from dmmsa_cli.layers.sizes import Sizes
from dmmsa_cli.models.base import SEQUENCES, Model, Outputs, Reading, sequences
from dmmsa_cli.ranges import Range, Ranges

ORDER = "tav"  # of the cells' states side by side


@dataclass(frozen=True)
class MfnOptions(Sizes):
    """Options of MFN; the defaults are MMSA's for CMU-MOSI."""

    text_hidden: int = 256
    """Of the text's LSTM cell."""
    audio_hidden: int = 32
    """Of the audio's."""
    vision_hidden: int = 256
    """Of the vision's."""
    memory: int = 400
    """Width of the memory."""
    attention_width: int = 32
    """Between the two layers of the attention over cell states."""
    attention_dropout: float = 0.2
    candidate_width: int = 64
    """Between the two layers of what may be written."""
    candidate_dropout: float = 0.0
    retain_width: int = 256
    """Between the two layers of the gate on what is kept."""
    retain_dropout: float = 0.7
    update_width: int = 32
    """Between the two layers of the gate on what is written."""
    update_dropout: float = 0.5
    means: bool = False
    """Give audio and vision as the mean of their frames, the same at every step of the text: for data that are not
    aligned to its words, and what MMSA does with those that are."""
    fusion_width: int = 128
    """Between the two layers of the prediction."""
    fusion_dropout: float = 0.0

    RANGES: ClassVar[Ranges] = {
        "text_hidden": Range(32, 256, log=True),
        "audio_hidden": Range(8, 128, log=True),
        "vision_hidden": Range(8, 256, log=True),
        "memory": Range(32, 512, log=True),
        "attention_dropout": Range(0.0, 0.7),
        "candidate_dropout": Range(0.0, 0.7),
        "retain_dropout": Range(0.0, 0.7),
        "update_dropout": Range(0.0, 0.7),
        "fusion_dropout": Range(0.0, 0.7),
    }


class Mfn(Model):
    """An LSTM for each modality, stepped together, and a gated memory of what their cells do at once.

        a^t = softmax(D_a [c^(t-1); c^t]) * [c^(t-1); c^t],  u' = tanh(D_u a^t)                  (equations 1 to 3)
        u^t = sigmoid(D_1 [a^t; u^(t-1)]) u^(t-1) + sigmoid(D_2 [a^t; u^(t-1)]) u'               (equations 4 to 6)
        y*  = MLP([h_t^T; h_a^T; h_v^T; u^T])

    Step for step, so the modalities have to be aligned (`data.aligned`), or be told by their `means`. Each clip ends
    at the end of its longest modality; a shorter one has frames of zeros behind its end. Any subset of the modalities
    works.

    Args:
        encoders: by modality; each gives a block (B, T, w).
        widths: w of every modality, in the order t, v, a.
        heads: what the objective asks for over the fusion; this model has no features to look at singly.
        options: fields of `MfnOptions`.

    Raises:
        InvalidRecipe: the objective wants a head over each feature.
    """

    title = "MFN"
    Options = MfnOptions
    reads: ClassVar[Mapping[str, Reading]] = SEQUENCES

    def __init__(
        self, encoders: Mapping[str, nn.Module], widths: Mapping[str, int], heads: Mapping[str, Head], **options: object
    ) -> None:
        super().__init__(encoders, widths, heads)
        chosen = MfnOptions(**options)  # type: ignore[arg-type]
        hidden = {"t": chosen.text_hidden, "a": chosen.audio_hidden, "v": chosen.vision_hidden}
        used = [m for m in ORDER if m in widths]
        states, memory = sum(hidden[m] for m in used), chosen.memory
        self.memory, self.means = memory, chosen.means
        self.encoders = nn.ModuleDict(encoders)
        self.cells = nn.ModuleDict({m: nn.LSTMCell(widths[m], hidden[m]) for m in used})
        self.attend = _Net(2 * states, chosen.attention_width, 2 * states, chosen.attention_dropout)
        self.candidate = _Net(2 * states, chosen.candidate_width, memory, chosen.candidate_dropout)
        self.retain = _Net(2 * states + memory, chosen.retain_width, memory, chosen.retain_dropout)
        self.update = _Net(2 * states + memory, chosen.update_width, memory, chosen.update_dropout)
        self.output_1 = nn.Linear(states + memory, chosen.fusion_width)
        self.dropout = Dropout(chosen.fusion_dropout)
        self.output_2 = nn.Linear(chosen.fusion_width, 1)
        self.heads = fusion_heads(chosen.fusion_width, heads, type(self).__name__)

    def forward(self, batch: Batch) -> Outputs:
        """Map a batch of B clips to predictions (B,)."""
        blocks = sequences(self.encoders, batch)
        if self.means:
            blocks = repeated_means(blocks)
        lengths = torch.stack([block.lengths for block in blocks.values()]).amax(0).clamp_min(1)
        pieces = in_pieces(lengths)
        found = [self._fuse({m: block.select(rows) for m, block in blocks.items()}, lengths[rows]) for rows in pieces]
        fused = torch.cat(found).index_select(0, torch.argsort(torch.cat(pieces)))
        x = self.dropout(F.relu(self.output_1(fused)))
        return Outputs(
            prediction=self.output_2(x).squeeze(-1), heads={name: head(x) for name, head in self.heads.items()}
        )

    def _fuse(self, blocks: Mapping[str, Padded], lengths: Tensor) -> Tensor:
        """Step through some clips: their last states and the memory behind them, (n, states + memory)."""
        walked = [self._walk(m, blocks[m], int(lengths.max())) for m in self.cells]
        hidden, cells = (torch.cat(parts, dim=-1) for parts in zip(*walked, strict=True))  # (n, T, states)
        return torch.cat([at_end(hidden, lengths), self._remember(cells, lengths)], dim=-1)

    def _walk(self, modality: str, block: Padded, steps: int) -> tuple[Tensor, Tensor]:
        """Step a modality's cell through a block; its hidden and cell states, (B, T, hidden) each."""
        cell = self.cells[modality]
        assert isinstance(cell, nn.LSTMCell)
        values = F.pad(block.values, (0, 0, 0, max(0, steps - block.values.shape[1])))[:, :steps]
        inputs = F.linear(values, cell.weight_ih, cell.bias_ih + cell.bias_hh).unbind(1)  # of all steps at once
        weight = cell.weight_hh.T
        h = c = inputs[0].new_zeros(len(values), cell.hidden_size)
        hidden, cells = [], []
        for given in inputs:
            i, f, g, o = (given + h @ weight).chunk(4, dim=-1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            hidden.append(h)
            cells.append(c)
        return torch.stack(hidden, dim=1), torch.stack(cells, dim=1)

    def _remember(self, cells: Tensor, lengths: Tensor) -> Tensor:
        """Return the memory behind the last step of each clip, (B, memory).

        The memory feeds no cell, so everything but its own update is one product over all steps.
        """
        both = torch.cat([F.pad(cells, (0, 0, 1, 0))[:, :-1], cells], dim=-1)  # (B, T, 2 states)
        attended = torch.softmax(self.attend(both), dim=-1) * both
        written = torch.tanh(self.candidate(attended)).unbind(1)
        to_retain, to_update = (net.without_memory(attended).unbind(1) for net in (self.retain, self.update))
        memory = cells.new_zeros(len(cells), self.memory)
        for step, value in enumerate(written):
            kept = torch.sigmoid(self.retain.with_memory(to_retain[step], memory))
            new = torch.sigmoid(self.update.with_memory(to_update[step], memory))
            memory = torch.where((step < lengths).unsqueeze(1), kept * memory + new * value, memory)
        return memory


def repeated_means(blocks: Mapping[str, Padded]) -> dict[str, Padded]:
    """Put the mean of the frames of audio and vision at every step of the text; at one step where there is none."""
    means = {m: masked_mean(block.values, block.mask()).unsqueeze(1) for m, block in blocks.items() if m != "t"}
    text = blocks.get("t")
    if text is None:
        return {m: Padded(mean, torch.ones_like(blocks[m].lengths)) for m, mean in means.items()}
    steps = text.values.shape[1]
    return {"t": text, **{m: Padded(mean.expand(-1, steps, -1), text.lengths) for m, mean in means.items()}}


class _Net(nn.Module):
    """Linear, ReLU, dropout, linear: over a vector, or over one beside the memory, whose share comes step by step."""

    def __init__(self, inputs: int, hidden: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Linear(inputs, hidden)
        self.dropout = Dropout(dropout)
        self.outer = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        return self._outer(self.inner(x))

    def without_memory(self, x: Tensor) -> Tensor:
        """What the inner layer makes of all that stands before the memory, (..., hidden)."""
        return F.linear(x, self.inner.weight[:, : x.shape[-1]], self.inner.bias)

    def with_memory(self, given: Tensor, memory: Tensor) -> Tensor:
        """Add the memory's share to what `without_memory` gave, and go on, (B, outputs)."""
        return self._outer(given + memory @ self.inner.weight[:, -memory.shape[-1] :].T)

    def _outer(self, hidden: Tensor) -> Tensor:
        outputs: Tensor = self.outer(self.dropout(F.relu(hidden)))
        return outputs
