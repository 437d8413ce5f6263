"""MMoLRE: tasks that share low-rank experts, each with a fusion of its own (Zhang et al., 2025)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from dmmsa_cli.data.ragged import Padded, cut
from dmmsa_cli.data.views import Batch
from dmmsa_cli.errors import Inapplicable
from dmmsa_cli.layers.coattention import Coattention
from dmmsa_cli.layers.dropout import Dropout
from dmmsa_cli.layers.experts import ExpertBlock
from dmmsa_cli.layers.heads import Head, check_over_fusion
from dmmsa_cli.layers.sizes import Sizes
from dmmsa_cli.models.base import SEQUENCES, Model, Outputs, Reading, sequences
from dmmsa_cli.ranges import Range, Ranges

SCORE = "score"  # the task that every objective has; each of its heads is another
WASTE = 0.25  # of padding, where a batch is cut into clips of like length


@dataclass(frozen=True)
class MmolreOptions(Sizes):
    """Options of MMoLRE's network; the defaults are the paper's for CMU-MOSI."""

    width: int = 768
    """d, of every sequence; frames and states of another width pass a linear map first."""
    shared: Literal["experts", "encoders", "fusion"] = "experts"
    """What tasks share: encoders and experts; encoders alone (pre-fusion); or all but their heads (post-fusion)."""
    score_apart: bool = False
    """The score's loss stops before what tasks share, which then learns from the other tasks alone (only MER)."""
    blocks: int = 2
    """Of experts, one after the other."""
    experts: int = 15
    """N, the shared ones."""
    ranks: int | tuple[int, ...] = 64
    """r of the shared experts: of all, or of each."""
    task_rank: int = 128
    """r of the expert that a task has for itself."""
    active: int = 11
    """k: how many shared experts a task takes for a clip; N at most."""
    router_noise: float = 0.0
    """Standard deviation of noise on a router's values in training; MLoRE has some, the paper names none."""
    layers: int = 5
    """L, of a fusion."""
    attention_heads: int = 12
    """Of every attention."""
    feedforward: int = 3072
    """Width between the two linear maps of a fusion's layer."""
    head_width: int = 512
    """Of the second hidden layer of a task's head; the first is d wide."""
    dropout: float = 0.3
    """On attention weights, on every residual branch, and before a head."""

    RANGES: ClassVar[Ranges] = {
        "blocks": Range(1, 3),
        "task_rank": Range(8, 128, log=True),
        "layers": Range(1, 5),
        "head_width": Range(32, 512, log=True),
        "router_noise": Range(0.0, 1.0),
        "dropout": Range(0.0, 0.5),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.attention_heads:
            raise ValueError(f"width: {self.width} is no multiple of {self.attention_heads}, the attention heads")
        if len(self.each_rank) != self.experts or min(self.each_rank) < 1:
            raise ValueError(f"ranks: {self.ranks} is not a number for all of {self.experts} experts, or one for each")
        if self.active > self.experts:
            raise ValueError(f"active: {self.active} is above {self.experts}, the shared experts")
        if self.score_apart and self.shared == "fusion":
            raise ValueError("score_apart: with `shared: fusion` the score has nothing but its head for itself")
        if not self.router_noise >= 0:
            raise ValueError(f"router_noise: {self.router_noise} is below 0")

    @property
    def each_rank(self) -> tuple[int, ...]:
        """The rank of every shared expert."""
        return (self.ranks,) * self.experts if isinstance(self.ranks, int) else self.ranks


class Mmolre(Model):
    """Experts make each task's features of each modality, a fusion makes one vector of these, a head the answer.

        x_m^tau = x_m;  twice: x_m^tau = sum of g_tau,n f_n(x_m^tau) + f_tau(x_m^tau)    (equation 1, `ExpertBlock`)
        z^tau = Fusion_tau([CLS; x_t^tau], [CLS; x_a^tau])                                    (equations 2 to 4)
        y^tau = MLP_tau(z^tau)

    The score is a task, and so is each head that the objective asks for: `emotions`, where it learns these. The paper
    has text and audio; with one of them alone a fusion is what is left of it, self-attention, and nothing crosses.

    Args:
        encoders: by modality; each gives a block (B, T, w).
        widths: w of every modality, in the order t, a.
        heads: what the objective asks for over the fusion; this model has no features to look at singly.
        options: fields of `MmolreOptions`.

    Raises:
        InvalidRecipe: the objective wants a head over each feature.
        Inapplicable: the score stands apart, and there is no other task.
    """

    title = "MMoLRE"
    Options = MmolreOptions
    reads: ClassVar[Mapping[str, Reading]] = SEQUENCES

    @classmethod
    def check(cls, modalities: Sequence[str]) -> None:
        """See that there is no vision."""
        if "v" in modalities:
            used = ", ".join(m for m in modalities if m != "v") or "t, a"
            raise Inapplicable(
                "MMoLRE fuses text and audio; it has no place for vision.",
                f"Leave it out: --set data.modalities=[{used}]",
            )

    def __init__(
        self, encoders: Mapping[str, nn.Module], widths: Mapping[str, int], heads: Mapping[str, Head], **options: object
    ) -> None:
        super().__init__(encoders, widths, heads)
        chosen = MmolreOptions(**options)  # type: ignore[arg-type]
        check_over_fusion(heads, type(self).__name__)
        if chosen.score_apart and not heads:
            raise Inapplicable(
                "With model.score_apart mmolre learns from tasks beside the score alone, and here is none.",
                "Give it emotions to learn (objective.emotions, and clips that have some), or leave that out.",
            )
        width = chosen.width
        outputs = {SCORE: 1, **{name: head.outputs for name, head in heads.items()}}
        self.encoders, self.score_apart = nn.ModuleDict(encoders), chosen.score_apart
        self.project = nn.ModuleDict(
            {m: nn.Identity() if w == width else nn.Linear(w, width) for m, w in widths.items()}
        )
        self.experts = nn.ModuleDict(
            {m: nn.ModuleList(_experts(chosen, list(outputs)) for _ in range(chosen.blocks)) for m in widths}
            if chosen.shared == "experts"
            else {}
        )
        fused = ["all"] if chosen.shared == "fusion" else list(outputs)
        self.fusions = nn.ModuleDict({name: _fusion(chosen, list(widths)) for name in fused})
        self.fusion_of = {task: "all" if chosen.shared == "fusion" else task for task in outputs}
        self.heads = nn.ModuleDict(
            {task: _head(len(widths) * width, width, chosen, count) for task, count in outputs.items()}
        )

    def forward(self, batch: Batch) -> Outputs:
        """Map a batch of B clips to predictions (B,) and head outputs (B, outputs)."""
        blocks = {
            m: Padded(self.project[m](x.values), x.lengths, x.full) for m, x in sequences(self.encoders, batch).items()
        }
        vectors = self._vectors(blocks)
        found = {task: head(vectors[self.fusion_of[task]]) for task, head in self.heads.items()}
        return Outputs(prediction=found.pop(SCORE).squeeze(-1), heads=found)

    def _vectors(self, blocks: Mapping[str, Padded]) -> dict[str, Tensor]:
        """What each fusion makes of the clips, (B, d modalities)."""
        parts, places = cut(blocks, WASTE)
        found = [self._fused(part) for part in parts]
        return {name: torch.cat([part[name] for part in found])[places] for name in self.fusions}

    def _fused(self, blocks: Mapping[str, Padded]) -> dict[str, Tensor]:
        features = {m: self._of_tasks(m, block) for m, block in blocks.items()}
        return {
            name: fusion(
                {m: Padded(self._reaching(name, found[name]), blocks[m].lengths) for m, found in features.items()}
            )
            for name, fusion in self.fusions.items()
        }

    def _reaching(self, fusion: str, features: Tensor) -> Tensor:
        """Features as a fusion gets them: those of the score are constants where it is apart."""
        return features.detach() if self.score_apart and fusion == SCORE else features

    def _of_tasks(self, modality: str, block: Padded) -> dict[str, Tensor]:
        """The features that each fusion gets of a modality, (B, T, d)."""
        if modality not in self.experts:
            return dict.fromkeys(self.fusions, block.values)
        mask = block.mask()
        found = dict.fromkeys(self.fusions, block.values * mask.unsqueeze(-1))
        blocks = self.experts[modality]
        assert isinstance(blocks, nn.ModuleList)
        for experts in blocks:
            found = experts(found, mask)
        return found


def _experts(options: MmolreOptions, tasks: Sequence[str]) -> ExpertBlock:
    return ExpertBlock(
        options.width,
        tasks,
        ranks=options.each_rank,
        task_rank=options.task_rank,
        active=options.active,
        noise=options.router_noise,
    )


def _fusion(options: MmolreOptions, modalities: Sequence[str]) -> Coattention:
    return Coattention(
        modalities,
        width=options.width,
        heads=options.attention_heads,
        layers=options.layers,
        feedforward=options.feedforward,
        dropout=options.dropout,
    )


def _head(features: int, width: int, options: MmolreOptions, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        Dropout(options.dropout),
        nn.Linear(features, width),
        nn.ReLU(),
        nn.Linear(width, options.head_width),
        nn.ReLU(),
        nn.Linear(options.head_width, outputs),
    )
