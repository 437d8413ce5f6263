"""MMILN: text looks at audio and at vision, layer by layer, as each of them goes on (CCL 2023, in Chinese)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from dmmsa_cli.data.ragged import Padded
from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.data.views import Batch
from dmmsa_cli.errors import Inapplicable
from dmmsa_cli.layers.gated import GateTransformer, SagTransformer
from dmmsa_cli.layers.heads import Head, ScoreHead, fusion_heads
from dmmsa_cli.layers.recurrent import states
from dmmsa_cli.layers.sequence import masked_mean
from dmmsa_cli.layers.sizes import Sizes
from dmmsa_cli.layers.spaces import moment_discrepancy, orthogonality, overlap
from dmmsa_cli.models.base import NONVERBAL, SEQUENCES, SPACES, Model, Outputs, Reading, sequences
from dmmsa_cli.ranges import Choices, Range, Ranges

FUSION = "fusion"


@dataclass(frozen=True)
class MmilnOptions(Sizes):
    """Options of MMILN's network; the defaults are for CMU-MOSI.

    The paper takes LSTMs and heads from Self-MM, whose own code has these sizes. What it leaves open of its layers is
    as in BBFN, whose gates it describes.
    """

    width: int = 40
    """d_s, of every modality behind its convolution."""
    attention_heads: int = 5
    """Must divide `width`."""
    layers: int = 3
    """l; figure 4 finds three best on CMU-MOSI."""
    kernel: int = 3
    """Positions that a convolution sees."""
    audio_hidden: int = 32
    """Of the audio LSTM."""
    vision_hidden: int = 64
    """Of the vision LSTM."""
    fusion_head: int = 128
    """Width of the layers of the head over both fused sequences."""
    audio_head: int = 16
    """Of the audio's own head."""
    vision_head: int = 32
    """Of the vision's."""
    layer_dropout: float = 0.1
    """In the fusion layers: on attention weights, behind the ReLU, and on what is added to a residual."""
    fusion_dropout: float = 0.1
    """Before the head over both fused sequences."""
    audio_dropout: float = 0.1
    """Before the audio's own head."""
    vision_dropout: float = 0.1
    """Before the vision's."""
    gates: bool = True
    """Without them (-MFM) g_r, g_c and g_s are 1, and there is nothing that the regularisers could look at."""
    source: Literal["attended", "states"] = "attended"
    """What the text side of a layer looks at: X_mh of the other modality, or the X that comes out (-GateFusion)."""
    pooling: Literal["first", "mean"] = "first"
    """How a fused sequence becomes a vector: its first position, which is [CLS], or the mean over all."""
    moments: int = 5
    """K, of the central moment discrepancy."""
    orthogonality: Literal["cosine", "raw"] = "cosine"
    """How the difference is measured: centred, rows scaled to length 1, the mean of the squares, as MISA does; or as
    equation 26 prints it, which grows with batch and width."""

    RANGES: ClassVar[Ranges] = {
        "layers": Range(1, 6),
        "kernel": Choices((1, 3, 5)),
        "audio_hidden": Range(8, 64, log=True),
        "vision_hidden": Range(8, 128, log=True),
        "layer_dropout": Range(0.0, 0.5),
        "fusion_dropout": Range(0.0, 0.5),
        "audio_dropout": Range(0.0, 0.5),
        "vision_dropout": Range(0.0, 0.5),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.attention_heads:
            raise ValueError(f"attention_heads: {self.attention_heads} do not divide a width of {self.width}")


class Mmiln(Model):
    """Layers over audio and vision, and beside them layers over text that look at what each of them attends to.

        X^0_t = Conv(states),  X^0_n = Conv(LSTM(X_n)),  n in {a, v};  X^0_tn = X^0_t            (equations 1 to 4)
        X^i_n, X_mh = GateTransformer(X^(i-1)_n),  X^i_tn = SagTransformer(X^(i-1)_tn, X_mh)     (5 to 23)
        F*_m, y_m = head([X^l_ta; X^l_tv]),  F*_n, y_n = head(mean X^l_n)                        (27, 28)

    with the layers of `layers/gated.py` and Self-MM's head. Its own losses, for objectives that want them, over the
    summaries h of the last layer's gates: `similarity`, central moment discrepancy between those of ta and tv (24, 25;
    its interval has length 1); `difference`, orthogonality of those of ta and a, and of tv and v, summed (26).
    There are no positions and no task of text alone. Features are F*_m, F*_a and F*_v under `fusion`, `a`, `v`.

    Text is needed, and audio or vision; with one of them there is no similarity.

    Args:
        encoders: by modality; each gives a block (B, T, w).
        widths: w of every modality, in the order t, v, a.
        heads: what the objective asks for over the fusion's feature.
        options: fields of `MmilnOptions`.

    Raises:
        Inapplicable: text, or both other modalities, are missing.
        InvalidRecipe: the objective wants a head over each feature.
    """

    title = "MMILN"
    Options = MmilnOptions
    gives = frozenset({NONVERBAL, SPACES})
    reads: ClassVar[Mapping[str, Reading]] = SEQUENCES

    @classmethod
    def check(cls, modalities: Sequence[str]) -> None:
        """It needs text, and something for text to look at."""
        if "t" not in modalities or len(modalities) < 2:
            raise Inapplicable(
                "mmiln lets text look at what is heard or seen with it, and needs text and one modality beside it.",
                "Use all that there are (leave data.modalities out), or another model.",
            )

    @classmethod
    def offers(cls, options: Any) -> frozenset[str]:  # noqa: ANN401
        """Without gates there are no summaries, and so no losses over them."""
        return cls.gives if options.gates else cls.gives - {SPACES}

    def __init__(
        self, encoders: Mapping[str, nn.Module], widths: Mapping[str, int], heads: Mapping[str, Head], **options: object
    ) -> None:
        super().__init__(encoders, widths, heads)
        self.check(tuple(widths))
        self.options = chosen = MmilnOptions(**options)  # type: ignore[arg-type]
        self.encoders = nn.ModuleDict(encoders)
        hidden = {"a": chosen.audio_hidden, "v": chosen.vision_hidden}
        # By the modality's name, so that a schedule's groups find them.
        self.lstms = {m: MODALITY_NAMES[m] for m in hidden if m in widths}
        for m, name in self.lstms.items():
            self.add_module(name, nn.LSTM(widths[m], hidden[m], batch_first=True))
        self.project = nn.ModuleDict(
            {
                m: nn.Conv1d(hidden.get(m, widths[m]), chosen.width, chosen.kernel, padding="same", bias=False)
                for m in ("t", *self.lstms)
            }
        )
        self.layers = nn.ModuleList(_FusionLayer(list(self.lstms), chosen) for _ in range(chosen.layers))
        self.own = nn.ModuleDict(
            {
                FUSION: ScoreHead(len(self.lstms) * chosen.width, chosen.fusion_head, chosen.fusion_dropout),
                **{m: ScoreHead(chosen.width, *_sizes(chosen, name)) for m, name in self.lstms.items()},
            }
        )
        self.heads = fusion_heads(chosen.fusion_head, heads, type(self).__name__)

    def forward(self, batch: Batch) -> Outputs:
        """Map a batch of B clips to predictions (B,), of all modalities and of a and v, features (B, w), and losses."""
        blocks = {m: self._projected(m, block) for m, block in sequences(self.encoders, batch).items()}
        alone = {m: blocks[m] for m in self.lstms}
        fused = dict.fromkeys(self.lstms, blocks["t"])
        summaries: dict[str, Tensor] = {}
        for layer in self.layers:
            alone, fused, summaries = layer(alone, fused)
        vectors = {FUSION: torch.cat([self._pooled(block) for block in fused.values()], dim=-1)}
        vectors |= {m: masked_mean(block.values, block.mask()) for m, block in alone.items()}
        found = {name: head(vectors[name]) for name, head in self.own.items()}
        features = {name: feature for name, (feature, _) in found.items()}
        return Outputs(
            prediction=found[FUSION][1],
            features=features,
            heads={name: head(features[FUSION]) for name, head in self.heads.items()},
            unimodal={m: found[m][1] for m in self.lstms},
            losses=self._losses({name: x.float() for name, x in summaries.items()}),
        )

    def _projected(self, modality: str, block: Padded) -> Padded:
        """Through the LSTM, where there is one, and the convolution, (B, T, w) -> (B, T, d_s)."""
        lstm = self.get_submodule(self.lstms[modality]) if modality in self.lstms else None
        # Zeros behind the end, so that a convolution sees there what it sees beyond a block.
        block = states(lstm, block) if isinstance(lstm, nn.LSTM) else block
        return Padded(self.project[modality](block.values.mT).mT, block.lengths.clamp_min(1))

    def _pooled(self, block: Padded) -> Tensor:
        first = self.options.pooling == "first"
        return block.values[:, 0] if first else masked_mean(block.values, block.mask())

    def _losses(self, summaries: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The regularisers of the summaries h, (B, d_s) each, under `a`, `ta`, `v`, `tv`; none where there are none."""
        if not summaries:
            return {}
        apart = orthogonality if self.options.orthogonality == "cosine" else overlap
        pairs = [(summaries["ta"], summaries["tv"])] if len(self.lstms) == 2 else []
        near = [moment_discrepancy(one, other, self.options.moments) for one, other in pairs]
        return {
            "similarity": near[0] if near else next(iter(summaries.values())).new_zeros(()),
            "difference": torch.stack([apart(summaries[f"t{m}"], summaries[m]) for m in self.lstms]).sum(),
        }


def _sizes(options: MmilnOptions, modality: str) -> tuple[int, float]:
    return getattr(options, f"{modality}_head"), getattr(options, f"{modality}_dropout")


class _FusionLayer(nn.Module):
    """One layer for each of audio and vision, and one over text beside each."""

    def __init__(self, modalities: Sequence[str], options: MmilnOptions) -> None:
        super().__init__()
        self.source = options.source
        sizes: dict[str, Any] = {
            "width": options.width,
            "heads": options.attention_heads,
            "dropout": options.layer_dropout,
            "gates": options.gates,
        }
        self.alone = nn.ModuleDict({m: GateTransformer(**sizes) for m in modalities})
        self.fused = nn.ModuleDict({m: SagTransformer(**sizes) for m in modalities})

    def forward(
        self, alone: Mapping[str, Padded], fused: Mapping[str, Padded]
    ) -> tuple[dict[str, Padded], dict[str, Padded], dict[str, Tensor]]:
        """Map the blocks of audio and vision, and those of text beside each, to such; and the summaries, (B, d_s)."""
        own, both, summaries = {}, {}, {}
        for m, layer in self.alone.items():
            own[m], attended, summaries[m] = layer(alone[m])
            source = attended if self.source == "attended" else own[m]
            both[m], summaries[f"t{m}"] = self.fused[m](fused[m], source)
        return own, both, {name: x for name, x in summaries.items() if x is not None}
