"""MulT: every modality looks at every other, frame by frame (Tsai et al., ACL 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmmsa_cli.data.ragged import Padded, cut
from dmmsa_cli.data.views import Batch
from dmmsa_cli.layers.crossmodal import Crossmodal
from dmmsa_cli.layers.dropout import dropout
from dmmsa_cli.layers.heads import Head, fusion_heads
from dmmsa_cli.layers.sizes import Sizes
from dmmsa_cli.models.base import SEQUENCES, Model, Outputs, Reading, sequences
from dmmsa_cli.ranges import Choices, Range, Ranges

ORDER = "tav"  # of the last states side by side
MEMORY_LAYERS = 3  # at least
WASTE = 0.3  # padding of a part of a batch, at most, of clips that go through the Transformers together


@dataclass(frozen=True)
class MultOptions(Sizes):
    """Options of MulT; the defaults are MMSA's for CMU-MOSI."""

    width: int = 50
    """d, of every modality behind its convolution."""
    attention_heads: int = 10
    """Must divide `width`."""
    layers: int = 4
    """Of each crossmodal Transformer; those over the two that a modality has of them have three at least."""
    text_kernel: int = 5
    """Frames that the text's convolution sees."""
    audio_kernel: int = 5
    vision_kernel: int = 5
    text_input_dropout: float = 0.5
    """On the token states."""
    input_dropout: float = 0.2
    """On what enters a Transformer."""
    text_attention_dropout: float = 0.3
    """On the attention to text, and to what modalities have found in each other."""
    audio_attention_dropout: float = 0.2
    """On the attention to audio."""
    vision_attention_dropout: float = 0.0
    """On the attention to vision."""
    relu_dropout: float = 0.0
    residual_dropout: float = 0.0
    fusion_dropout: float = 0.5
    """Between the two layers before the prediction."""

    RANGES: ClassVar[Ranges] = {
        "layers": Range(2, 6),
        "text_kernel": Choices((1, 3, 5)),
        "audio_kernel": Choices((1, 3, 5)),
        "vision_kernel": Choices((1, 3, 5)),
        "text_input_dropout": Range(0.0, 0.5),
        "input_dropout": Range(0.0, 0.5),
        "text_attention_dropout": Range(0.0, 0.5),
        "audio_attention_dropout": Range(0.0, 0.5),
        "vision_attention_dropout": Range(0.0, 0.5),
        "relu_dropout": Range(0.0, 0.5),
        "residual_dropout": Range(0.0, 0.5),
        "fusion_dropout": Range(0.0, 0.5),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.attention_heads:
            raise ValueError(f"attention_heads: {self.attention_heads} do not divide a width of {self.width}")


class Mult(Model):
    """Convolutions, six crossmodal Transformers, three over what they gave, and the last position of each.

        X'_m = Conv(X_m);  Z_m = SelfAttention([CM(X'_m, X'_n)] over n other than m);  h_m = Z_m at the last position
        y* = W (h + MLP(h)),  h = [h_t; h_a; h_v]                                        (equations 2 to 5)

    Convolutions see no frame twice at an end (no padding), so a sequence gets shorter; one that is shorter than the
    convolution has one position. Padding is seen by nobody, and the last position is the last valid one. Any subset
    of the modalities works: two look at each other, one at itself.

    Args:
        encoders: by modality; each gives a block (B, T, w).
        widths: w of every modality, in the order t, v, a.
        heads: what the objective asks for over the fusion; this model has no features to look at singly.
        options: fields of `MultOptions`.

    Raises:
        InvalidRecipe: the objective wants a head over each feature.
    """

    title = "MulT"
    Options = MultOptions
    reads: ClassVar[Mapping[str, Reading]] = SEQUENCES

    def __init__(
        self, encoders: Mapping[str, nn.Module], widths: Mapping[str, int], heads: Mapping[str, Head], **options: object
    ) -> None:
        super().__init__(encoders, widths, heads)
        chosen = MultOptions(**options)  # type: ignore[arg-type]
        used = [m for m in ORDER if m in widths]
        self.encoders = nn.ModuleDict(encoders)
        self.text_input_dropout, self.fusion_dropout = chosen.text_input_dropout, chosen.fusion_dropout
        kernels = {"t": chosen.text_kernel, "a": chosen.audio_kernel, "v": chosen.vision_kernel}
        drops = {
            "t": chosen.text_attention_dropout,
            "a": chosen.audio_attention_dropout,
            "v": chosen.vision_attention_dropout,
        }

        def transformer(width: int, layers: int, attention_dropout: float) -> Crossmodal:
            return Crossmodal(
                width=width,
                heads=chosen.attention_heads,
                layers=layers,
                attention_dropout=attention_dropout,
                input_dropout=chosen.input_dropout,
                relu_dropout=chosen.relu_dropout,
                residual_dropout=chosen.residual_dropout,
            )

        self.project = nn.ModuleDict({m: nn.Conv1d(widths[m], chosen.width, kernels[m], bias=False) for m in used})
        pairs = [(m, other) for m in used for other in used if other != m]
        self.cross = nn.ModuleDict({m + n: transformer(chosen.width, chosen.layers, drops[n]) for m, n in pairs})
        memory, depth = chosen.width * max(1, len(used) - 1), max(chosen.layers, MEMORY_LAYERS)
        self.memory = nn.ModuleDict({m: transformer(memory, depth, chosen.text_attention_dropout) for m in used})
        width = memory * len(used)
        self.fusion_layer_1 = nn.Linear(width, width)
        self.fusion_layer_2 = nn.Linear(width, width)
        self.output = nn.Linear(width, 1)
        self.heads = fusion_heads(width, heads, type(self).__name__)

    def forward(self, batch: Batch) -> Outputs:
        """Map a batch of B clips to predictions (B,)."""
        blocks = {m: self._projected(m, block) for m, block in sequences(self.encoders, batch).items()}
        last = self._last_of_all(blocks)
        hidden = dropout(F.relu(self.fusion_layer_1(last)), self.fusion_dropout, self.training)
        x = self.fusion_layer_2(hidden) + last
        return Outputs(prediction=self.output(x).squeeze(-1), heads={name: h(x) for name, h in self.heads.items()})

    def _projected(self, modality: str, block: Padded) -> Padded:
        """Through the convolution, (B, T, w) -> (B, T - k + 1, d)."""
        conv, values = self.project[modality], block.values
        assert isinstance(conv, nn.Conv1d)
        (kernel,) = conv.kernel_size
        if modality == "t":
            values = dropout(values, self.text_input_dropout, self.training)
        values = F.pad(values, (0, 0, 0, max(0, kernel - values.shape[1])))
        return Padded(conv(values.mT).mT, (block.lengths - kernel + 1).clamp_min(1))

    def _last_of_all(self, blocks: Mapping[str, Padded]) -> Tensor:
        """The last states of every modality side by side, (B, memory width * modalities)."""
        parts, places = cut(blocks, WASTE)
        return torch.cat([torch.cat([self._last(m, part) for m in self.memory], dim=-1) for part in parts])[places]

    def _last(self, modality: str, blocks: Mapping[str, Padded]) -> Tensor:
        """What a modality holds at its end, once it has looked at the others, (B, d (modalities - 1))."""
        own = blocks[modality]
        found: list[Padded] = [self.cross[modality + n](own, blocks[n]) for n in ORDER if modality + n in self.cross]
        together = Padded(torch.cat([x.values for x in found], dim=-1), own.lengths) if found else own
        states: Padded = self.memory[modality](together)
        return states.values[torch.arange(len(own.lengths), device=own.lengths.device), own.lengths - 1]
