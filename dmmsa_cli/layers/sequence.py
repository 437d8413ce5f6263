"""The encoder of audio and vision sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmmsa_cli.data.ragged import Padded, Ragged
from dmmsa_cli.layers.attention import Block, TransformerLayer
from dmmsa_cli.layers.dropout import dropout
from dmmsa_cli.layers.tiles import Tiling, filling, products_are_compiled, tiling

# Positions that are encoded at a time on a CPU: 1,024, about 3 MB at the paper's width, cost no speed in float32 and
# save half the memory; in bfloat16 an epoch of ConFEDE is a twentieth faster with 2,048.
CHUNK, CHUNK_OF_BF16 = 1024, 2048
ROUND = 128  # there they are filled up to a multiple of this: few shapes of products (layers/tiles.py)


@dataclass(frozen=True)
class SequenceOptions:
    """Shape and dropout of the Transformer encoder of one modality."""

    layers: int = 1
    """Transformer layers, L."""
    heads: int = 8
    """Attention heads; must divide the model's width."""
    position_dropout: float = 0.5
    """After the position embeddings."""
    layer_dropout: float = 0.5
    """Inside the Transformer layers."""

    def __post_init__(self) -> None:
        if self.layers < 1 or self.heads < 1:
            raise ValueError(f"layers and heads must be at least 1, found {self.layers} and {self.heads}")
        for name in ("position_dropout", "layer_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is not in [0, 1)")


class SequenceEncoder(nn.Module):
    """ConFEDE's encoder of a frame sequence, with padding left out (SPEC section 3).

    standardise -> linear F -> d -> [CLS] in front -> + positions -> dropout -> L Transformer layers -> layer norm ->
    mean over the valid positions, [CLS] included. The released code averages over padding too; at full length both
    agree.

    Args:
        features: F, width of a frame.
        longest: frames of the longest sequence; there is one position for each, plus one for [CLS].
        width: d.
        layers: L.
        heads: attention heads; must divide `width`.
        position_dropout: after the position embeddings.
        layer_dropout: inside the Transformer layers.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        *,
        features: int,
        longest: int,
        width: int,
        layers: int,
        heads: int,
        position_dropout: float,
        layer_dropout: float,
    ) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.position_dropout = position_dropout
        # The training rows' statistics travel with the weights: whoever loads them scales new data alike.
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.project = nn.Linear(features, width)
        self.cls = nn.Parameter(torch.ones(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(longest + 1, width))
        self.layers = nn.ModuleList(
            TransformerLayer(width=width, heads=heads, feedforward=width, dropout=layer_dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def standardise_by(self, mean: Tensor, deviation: Tensor) -> None:
        """Scale frames by these statistics from now on, (F,) each."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def forward(self, frames: Ragged) -> Tensor:
        """Map the frames of B clips, (n, T, F) a group, to embeddings (B, d).

        Raises:
            ValueError: frames of another width, or sequences longer than there are positions.
        """
        means = [self._encode(groups) for groups in _chunks(frames.groups)]
        return torch.cat(means).index_select(0, frames.places)

    def _encode(self, groups: Sequence[Padded]) -> Tensor:
        """Map the frames of some groups to embeddings, in the order of their sequences."""
        blocks = [self._block(group) for group in groups]
        positions = sum(block.positions for block in blocks)
        compiled = products_are_compiled(groups[0].values.device)
        layout = _tiling(groups, self.heads) if compiled else blocks
        x, place = self._in_a_row(groups, filling(positions, ROUND) if compiled else 0)  # (S, d), (S,)
        starts = _starts(blocks, x.device)
        x.index_copy_(0, starts, self.cls.view(1, -1).to(x.dtype).expand(len(starts), -1))
        x = dropout(x + F.embedding(place, self.positions), self.position_dropout, self.training)
        for layer in self.layers:
            x = layer(x, layout)
        parts = self.norm(x[:positions]).split([block.positions for block in blocks])
        return torch.cat([_mean(part, block) for part, block in zip(parts, blocks, strict=True)])

    def _block(self, group: Padded) -> Block:
        features, longest = len(self.mean), len(self.positions) - 1
        n, t, width = group.values.shape
        if width != features:
            raise ValueError(f"frames are {width} wide, this encoder was made for {features}")
        if t > max(longest, 1):
            raise ValueError(f"a sequence has {t} frames, this encoder has {longest} positions")
        return Block(n, 1 + t, None if group.full else F.pad(group.mask(), (1, 0), value=True))

    def _in_a_row(self, groups: Sequence[Padded], more: int) -> tuple[Tensor, Tensor]:
        """Project all frames of all groups, a place for [CLS] before each clip's, (S, d); place in its clip, (S,).

        So many more positions follow, of no clip.
        """
        framed = torch.cat([F.pad(group.values, (0, 0, 1, 0)).flatten(0, 1) for group in groups])  # (S, F)
        place = torch.cat(
            [torch.arange(1 + g.values.shape[1], device=framed.device).repeat(len(g.values)) for g in groups]
        )
        framed, place = F.pad(framed, (0, 0, 0, more)), F.pad(place, (0, more))
        return self.project((framed - self.mean) / self.deviation), place


def _chunks(groups: Sequence[Padded]) -> Iterator[Sequence[Padded]]:
    """Cut a batch into parts that are encoded one after the other; a GPU takes it whole.

    On a CPU large tensors of ever other sizes leave holes in memory that nothing fits into: over an epoch of ConFEDE's
    batches, which bring six clips along for each, it grew to twice of what they need. Small ones find their place.
    """
    device = groups[0].values.device
    if device.type != "cpu":
        yield groups
        return
    part: list[Padded] = []
    room = chunk = CHUNK_OF_BF16 if products_are_compiled(device) else CHUNK
    for group in groups:
        positions = group.values.shape[0] * (1 + group.values.shape[1])
        if part and positions > room:
            yield part
            part, room = [], chunk
        part.append(group)
        room -= positions
    yield part


def _tiling(groups: Sequence[Padded], heads: int) -> Tiling:
    lengths = [1 + group.values.shape[1] for group in groups for _ in range(len(group.lengths))]
    valid = [1 + length for group in groups for length in group.lengths.tolist()]
    return tiling(lengths, valid, heads)


def _starts(blocks: Sequence[Block], device: torch.device) -> Tensor:
    """Return where in a row of several blocks each sequence begins."""
    ends = accumulate(block.positions for block in blocks)
    return torch.cat(
        [
            torch.arange(end - block.positions, end, block.length, device=device)
            for block, end in zip(blocks, ends, strict=True)
        ]
    )


def _mean(x: Tensor, block: Block) -> Tensor:
    """Mean of each sequence of a block over its valid positions, (n T, d) -> (n, d)."""
    x = x.view(block.count, block.length, -1)
    return x.mean(1) if block.mask is None else masked_mean(x, block.mask)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of x (B, T, d) over the positions where `mask` (B, T) is True, (B, d); zeros where there is none."""
    weights = mask.unsqueeze(-1).to(x.dtype)
    return (x * weights).sum(1) / weights.sum(1).clamp_min(1)
