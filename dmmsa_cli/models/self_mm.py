"""Self-MM's network: a head of its own for each modality beside that over all (Yu et al., AAAI 2021, section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.data.views import Batch
from dmmsa_cli.layers.heads import Head, ScoreHead, fusion_heads
from dmmsa_cli.layers.sizes import Sizes
from dmmsa_cli.layers.subnets import LastState
from dmmsa_cli.models.base import SEQUENCES, UNIMODAL, Model, Outputs, Reading, sequences
from dmmsa_cli.ranges import Range, Ranges

FUSION = "fusion"


@dataclass(frozen=True)
class SelfMmOptions(Sizes):
    """Options of Self-MM's network; the defaults are MMSA's for CMU-MOSI."""

    audio_hidden: int = 16
    """Of the audio LSTM."""
    vision_hidden: int = 32
    """Of the vision LSTM."""
    audio_width: int = 16
    """Of what the audio LSTM's last state is mapped to."""
    vision_width: int = 32
    """Likewise."""
    fusion_head: int = 128
    """Width of the layers of the head over all modalities."""
    text_head: int = 32
    """Of the text's own head."""
    audio_head: int = 16
    """Of the audio's."""
    vision_head: int = 32
    """Of the vision's."""
    fusion_dropout: float = 0.0
    """Before the head over all modalities."""
    text_dropout: float = 0.1
    """Before the text's own head."""
    audio_dropout: float = 0.1
    """Before the audio's."""
    vision_dropout: float = 0.0
    """Before the vision's."""

    RANGES: ClassVar[Ranges] = {
        "audio_hidden": Range(8, 64, log=True),
        "vision_hidden": Range(8, 128, log=True),
        "fusion_head": Range(32, 256, log=True),
        "text_head": Range(8, 64, log=True),
        "fusion_dropout": Range(0.0, 0.5),
        "text_dropout": Range(0.0, 0.5),
        "audio_dropout": Range(0.0, 0.5),
        "vision_dropout": Range(0.0, 0.5),
    }


class SelfMm(Model):
    """One vector a modality, a head over all and one over each.

        F_t = [CLS] of the encoder's last layer,  F_m = W LSTM(X_m), m in {a, v}        (equations 1 and 2)
        F*_s = ReLU(W_1 F_s),  y_s = W_3 ReLU(W_2 F*_s),  s in {fusion, t, a, v}       (equations 3 to 6)

    where F_fusion = [F_t; F_a; F_v]. The features that objectives see are F*_s under `fusion`, `t`, `a`, `v`; the
    predictions of single modalities stand in `Outputs.unimodal`. Any subset of the modalities works.

    Args:
        encoders: by modality; each gives a block (B, T, w).
        widths: w of every modality, in the order t, v, a.
        heads: what the objective asks for over the fusion's feature.
        options: fields of `SelfMmOptions`.

    Raises:
        InvalidRecipe: the objective wants a head over each feature.
    """

    title = "Self-MM"
    Options = SelfMmOptions
    gives = frozenset({UNIMODAL})
    reads: ClassVar[Mapping[str, Reading]] = SEQUENCES

    def __init__(
        self, encoders: Mapping[str, nn.Module], widths: Mapping[str, int], heads: Mapping[str, Head], **options: object
    ) -> None:
        super().__init__(encoders, widths, heads)
        chosen = SelfMmOptions(**options)  # type: ignore[arg-type]
        self.encoders = nn.ModuleDict(encoders)
        made = {"a": (chosen.audio_hidden, chosen.audio_width), "v": (chosen.vision_hidden, chosen.vision_width)}
        # By the modality's name, so that a schedule's groups find them.
        self.lstms = {m: MODALITY_NAMES[m] for m in made if m in widths}
        for m, name in self.lstms.items():
            self.add_module(name, LastState(widths[m], *made[m]))
        found = {m: widths[m] if m == "t" else made[m][1] for m in "tav" if m in widths}
        self.own = nn.ModuleDict(
            {
                FUSION: ScoreHead(sum(found.values()), chosen.fusion_head, chosen.fusion_dropout),
                **{m: ScoreHead(width, *_sizes(chosen, MODALITY_NAMES[m])) for m, width in found.items()},
            }
        )
        self.heads = fusion_heads(chosen.fusion_head, heads, type(self).__name__)

    def forward(self, batch: Batch) -> Outputs:
        """Map a batch of B clips to predictions (B,), of all modalities and of each, and features (B, w)."""
        blocks = sequences(self.encoders, batch)
        vectors: dict[str, Tensor] = {
            m: blocks[m].values[:, 0] if m == "t" else self.get_submodule(self.lstms[m])(blocks[m])
            for m in "tav"
            if m in blocks
        }
        vectors = {FUSION: torch.cat(list(vectors.values()), dim=-1), **vectors}
        found = {name: head(vectors[name]) for name, head in self.own.items()}
        features = {name: feature for name, (feature, _) in found.items()}
        return Outputs(
            prediction=found[FUSION][1],
            features=features,
            heads={name: head(features[FUSION]) for name, head in self.heads.items()},
            unimodal={name: score for name, (_, score) in found.items() if name != FUSION},
        )


def _sizes(options: SelfMmOptions, modality: str) -> tuple[int, float]:
    return getattr(options, f"{modality}_head"), getattr(options, f"{modality}_dropout")
