"""What LF-DNN, TFN and LMF make of a modality before they fuse (Zadeh et al., EMNLP 2017, section 4; MMSA's code)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from dmmsa_cli.data.ragged import Padded
from dmmsa_cli.layers.dropout import Dropout
from dmmsa_cli.layers.recurrent import last_state
from dmmsa_cli.layers.sequence import masked_mean
from dmmsa_cli.layers.sizes import Sizes
from dmmsa_cli.ranges import Range, Ranges


class FrameSubnet(nn.Module):
    """Mean over time -> batch norm -> dropout -> three linear layers, a ReLU behind each: (B, T, F) -> (B, hidden).

    Args:
        features: F.
        hidden: width of all three layers.
        dropout: behind the norm.
    """

    def __init__(self, features: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.width = hidden
        self.norm = BatchNorm(features)
        self.dropout = Dropout(dropout)
        self.linear_1 = nn.Linear(features, hidden)
        self.linear_2 = nn.Linear(hidden, hidden)
        self.linear_3 = nn.Linear(hidden, hidden)

    def forward(self, frames: Padded) -> Tensor:
        """Map a block to (B, hidden)."""
        x: Tensor = self.dropout(self.norm(masked_mean(frames.values, frames.mask())))
        for layer in (self.linear_1, self.linear_2, self.linear_3):
            x = F.relu(layer(x))
        return x


class LastState(nn.Module):
    """An LSTM's state behind the last valid token -> linear: (B, T, w) -> (B, outputs).

    Args:
        features: w.
        hidden: of the LSTM.
        outputs: width of what comes out.
    """

    def __init__(self, features: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.width = outputs
        self.rnn = nn.LSTM(features, hidden, batch_first=True)
        self.linear_1 = nn.Linear(hidden, outputs)

    def forward(self, states: Padded) -> Tensor:
        """Map a block to (B, outputs)."""
        outputs: Tensor = self.linear_1(last_state(self.rnn, states))
        return outputs


class BatchNorm(nn.BatchNorm1d):
    """Batch norm that takes a batch of one clip, which has no deviation, by what it has seen so far."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, F)."""
        if self.training and len(x) == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


@dataclass(frozen=True)
class SubnetOptions(Sizes):
    """Sizes and dropout of the three subnets; the defaults are MMSA's for CMU-MOSI."""

    text_hidden: int = 128
    """Of the text's LSTM."""
    audio_hidden: int = 16
    """Of the three layers over the mean of the audio frames."""
    vision_hidden: int = 128
    """Of those of vision."""
    audio_dropout: float = 0.2
    """Behind the norm of the mean frame."""
    vision_dropout: float = 0.2
    """Likewise."""

    RANGES: ClassVar[Ranges] = {
        "text_hidden": Range(16, 256, log=True),
        "audio_hidden": Range(4, 64, log=True),
        "vision_hidden": Range(8, 256, log=True),
        "audio_dropout": Range(0.0, 0.5),
        "vision_dropout": Range(0.0, 0.5),
    }


class Subnets(nn.Module):
    """One subnet for each modality in use, in the order a, v, t in which the three systems fuse them.

    Args:
        widths: of the frames or states, by modality.
        options: their sizes.
        text_width: of what the text's subnet gives.

    Attributes:
        widths: of what each gives.
    """

    def __init__(self, widths: Mapping[str, int], options: SubnetOptions, *, text_width: int) -> None:
        super().__init__()
        makers: dict[str, Callable[[int], FrameSubnet | LastState]] = {
            "a": lambda width: FrameSubnet(width, options.audio_hidden, options.audio_dropout),
            "v": lambda width: FrameSubnet(width, options.vision_hidden, options.vision_dropout),
            "t": lambda width: LastState(width, options.text_hidden, text_width),
        }
        made = {m: make(widths[m]) for m, make in makers.items() if m in widths}
        self.each = nn.ModuleDict(made)
        self.widths = {m: subnet.width for m, subnet in made.items()}

    def forward(self, blocks: Mapping[str, Padded]) -> dict[str, Tensor]:
        """Map blocks (B, T, w) to vectors (B, hidden), by modality."""
        return {m: subnet(blocks[m]) for m, subnet in self.each.items()}
