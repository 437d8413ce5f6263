"""Encoders of `transformers` on all transcripts of a batch at once, one behind the other in a single row.

A pass through the encoder for each group of like length would read its weights once a group, and add up as many
gradients as large as they are: at BERT-base's size that costs as much as the products themselves. In a row every map
that knows no neighbours sees all tokens at once. Attention goes through the row in windows, some transcripts each, and
a token sees those of its own transcript. On a CPU in bfloat16 windows give way to tiles, and the row is filled up, for
the reason that `layers/tiles.py` gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmmsa_cli.data.ragged import Padded
from dmmsa_cli.layers.attention import biased_attention
from dmmsa_cli.layers.tiles import Tiling, attention_in_tiles, filling, products_are_compiled, tiling

IN_A_ROW = "dmmsa-in-a-row"  # under this name `transformers` knows the attention below

PACKED = frozenset({"bert", "camembert", "electra", "roberta", "xlm-roberta"})
"""Kinds of encoder (`model_type` of config.json) in which tokens meet nowhere but in attention that can be replaced."""

# Positions that a window has where no transcript alone has more. Narrow ones compute little that is not looked at, wide
# ones are few: of 64 to 256 this was the fastest on a CPU, for 16 clips and for 64. A GPU waits for kernels.
WINDOW, WINDOW_OF_A_GPU = 96, 512
ROUND = 32  # to a multiple of which a row is filled up; of 32, 64 and 128 the fastest for MiniLM and 16 clips


def reads_rows(config: Any) -> bool:  # noqa: ANN401  (transformers is untyped here)
    """Tell from an encoder's configuration whether it takes a row; before its version 5 `transformers` lets none."""
    import transformers

    return config.model_type in PACKED and int(transformers.__version__.partition(".")[0]) >= 5


def pack(backbone: Any) -> bool:  # noqa: ANN401
    """Give an encoder attention that goes through a row in windows, and tell whether it is of a kind that takes it."""
    taken = reads_rows(backbone.config)
    if taken:
        _register()
        backbone.set_attn_implementation(IN_A_ROW)
    return taken


@cache
def _register() -> None:
    from transformers import AttentionInterface

    AttentionInterface.register(IN_A_ROW, _attend)


def in_a_row(backbone: Any, groups: Sequence[Padded], words: Tensor) -> Tensor:  # noqa: ANN401
    """Run a packed encoder on the transcripts of several groups.

    Args:
        backbone: an encoder that `pack` took.
        groups: token ids (n, T) each, S in all.
        words: what the encoder's word embeddings give for them, (S, w).

    Returns:
        The last layer's states, (S, d).
    """
    # RoBERTa counts positions from behind its padding's, which has an embedding as words have.
    first = 1 + getattr(backbone.embeddings, "padding_idx", -1)
    places = [torch.arange(first, first + t, device=words.device).repeat(n) for n, t in map(_shape, groups)]
    more = filling(len(words), ROUND) if products_are_compiled(words.device) else 0
    output = backbone(
        inputs_embeds=F.pad(words, (0, 0, 0, more)).unsqueeze(0),
        position_ids=F.pad(torch.cat(places), (0, more), value=first).unsqueeze(0),
        layout=_layout(groups, backbone.config.num_attention_heads),
        **_token_types(groups, more),
    )
    states: Tensor = output.last_hidden_state.squeeze(0)[: len(words)]
    return states


def _token_types(groups: Sequence[Padded], more: int) -> dict[str, Tensor]:
    """What an encoder is told beside the row where its tokens are of two types, (1, S)."""
    if not any(group.segment for group in groups):
        return {}
    types = torch.cat([group.types().flatten() for group in groups])
    return {"token_type_ids": F.pad(types, (0, more)).unsqueeze(0)}


def _layout(groups: Sequence[Padded], heads: int) -> _Windows | Tiling:
    device = groups[0].values.device
    if products_are_compiled(device):
        return _tiling(groups, heads)
    return _windows(groups, WINDOW if device.type == "cpu" else WINDOW_OF_A_GPU)


def _tiling(groups: Sequence[Padded], heads: int) -> Tiling:
    lengths = [t for n, t in map(_shape, groups) for _ in range(n)]
    return tiling(lengths, [length for group in groups for length in group.lengths.tolist()], heads)


@dataclass(frozen=True)
class _Windows:
    """Where a row is cut for attention."""

    sizes: list[int]
    biases: list[Tensor]
    """Of each window, (L, L): 0 where the token of a row may look, -inf elsewhere."""


def _windows(groups: Sequence[Padded], widest: int) -> _Windows:
    """Cut a row between transcripts, into windows of at most `widest` positions where no transcript alone has more."""
    cuts, at = [0], 0
    for n, t in map(_shape, groups):
        for _ in range(n):
            if at + t - cuts[-1] > widest and at > cuts[-1]:
                cuts.append(at)
            at += t
    cuts.append(at)
    device = groups[0].values.device
    lengths = torch.tensor([t for n, t in map(_shape, groups) for _ in range(n)], device=device)
    owner = torch.repeat_interleave(lengths, output_size=at)  # which transcript a position is of
    # One without any token looks at its padding: something has to be looked at.
    valid = torch.cat([Padded(group.values, group.lengths.clamp_min(1)).mask().flatten() for group in groups])
    biases = []
    for begin, end in pairwise(cuts):
        seen = (owner[begin:end].unsqueeze(1) == owner[begin:end]) & valid[begin:end]
        biases.append(torch.zeros(seen.shape, device=device).masked_fill_(~seen, -torch.inf))
    return _Windows([end - begin for begin, end in pairwise(cuts)], biases)


def _shape(group: Padded) -> tuple[int, int]:
    n, t = group.values.shape
    return n, t


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,  # that of `transformers`, which knows nothing of windows
    *,
    layout: _Windows | Tiling,
    dropout: float = 0.0,
    **others: object,
) -> tuple[Tensor, None]:
    """Attention within the windows or tiles of a row, (1, heads, S, w) -> (1, S, heads, w)."""
    if isinstance(layout, Tiling):
        _, heads, s, _ = query.shape
        qkv = torch.cat([x.squeeze(0).transpose(0, 1).flatten(1) for x in (query, key, value)], dim=1)  # (S, 3 heads w)
        return attention_in_tiles(qkv, layout, dropout).view(1, s, heads, -1), None
    parts = zip(*(torch.split(x.squeeze(0), layout.sizes, dim=1) for x in (query, key, value)), strict=True)
    mixed = [
        biased_attention(q, k, v, bias, dropout).transpose(0, 1)
        for (q, k, v), bias in zip(parts, layout.biases, strict=True)
    ]
    return torch.cat(mixed).unsqueeze(0), None
