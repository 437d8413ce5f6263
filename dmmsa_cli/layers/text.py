"""The text encoder: any pretrained encoder of `transformers`, pooled to one vector a transcript."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dmmsa_cli.data.ragged import Padded, Ragged, block
from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.layers.dropout import Dropout
from dmmsa_cli.layers.heads import NARROWEST
from dmmsa_cli.layers.packing import in_a_row, pack
from dmmsa_cli.layers.sequence import masked_mean

Pooling = Literal["pooler", "mean"]

Change = Callable[[int, Tensor], Tensor]
"""From the number of a group and what the embeddings gave for it, (n, T, width), to what the layers take for it."""

Encoded = tuple[Tensor, Tensor | None]
"""The last layer's states of a group, (n, T, width), and the pooled output, (n, width), where that is asked for."""


@dataclass(frozen=True)
class TinyOptions:
    """A small BERT made on the spot, its WordPiece vocabulary learned from the training transcripts."""

    width: int = 64
    """Hidden size, at least 8."""
    layers: int = 2
    """Transformer layers."""
    heads: int = 4
    """Attention heads; must divide `width`."""
    vocabulary: int = 2000
    """WordPiece tokens at most."""

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "vocabulary"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is below 1")
        if self.width < NARROWEST:
            raise ValueError(f"width: {self.width} is below {NARROWEST}; a head narrows to an eighth of it")
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}")


MOST_CONTEXT = 32  # clips on a side: far more than fit behind a clip of the usual length


@dataclass(frozen=True)
class ContextOptions:
    """How many of the neighbouring clips of a video stand behind a clip's own words, for these to look at."""

    before: int = 0
    """Earlier clips at most, the nearest ones."""
    after: int = 0
    """Later ones."""

    def __post_init__(self) -> None:
        for name in ("before", "after"):
            value = getattr(self, name)
            if not 0 <= value <= MOST_CONTEXT:
                raise ValueError(f"{name}: {value} is not in [0, {MOST_CONTEXT}]")

    @property
    def wanted(self) -> bool:
        """Whether there is to be any."""
        return bool(self.before or self.after)

    def in_words(self) -> str:
        """Say which clips they are: `2 clips before`, `2 clips before and 1 after`; nothing where there are none."""
        sides = [f"{count} {side}" for side in ("before", "after") if (count := getattr(self, side))]
        first, _, rest = " and ".join(sides).partition(" ")
        return f"{first} clip{'s' * (first != '1')} {rest}" if sides else ""


@dataclass(frozen=True)
class TextOptions:
    """Where the text embedding comes from."""

    source: Literal["encoder", "features", "tiny"] = "encoder"
    """A pretrained encoder; the pickle's own `text` features; or a tiny BERT made from the training transcripts."""
    encoder: str | None = None
    """Hugging Face name or local folder; null takes the dataset's (bert-base-uncased, bert-base-chinese, ...)."""
    pooling: Pooling = "pooler"
    """The pooled [CLS] output, or the masked mean for an encoder without a trained pooler."""
    max_tokens: int = 256
    """Longer transcripts are cut; before them their context is."""
    context: ContextOptions = field(default_factory=ContextOptions)
    """Neighbouring clips of the same video and split, which the encoder reads behind the clip; none by default."""
    train_in_fusion: bool = False
    """Go on training the encoder in the fusion stage; otherwise it runs once and its output is kept."""
    dropout: float | None = None
    """Dropout inside the encoder; null keeps its own (0.1 for BERT)."""
    frozen_layers: int | None = None
    """Never train the embeddings and this many lowest layers, wherever the encoder is trained; null trains all."""
    tiny: TinyOptions = field(default_factory=TinyOptions)
    """Shape of the encoder where `source` is tiny."""

    def __post_init__(self) -> None:
        if self.max_tokens < 3:
            raise ValueError(f"max_tokens: {self.max_tokens} leaves no room for a word between [CLS] and [SEP]")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout} is not in [0, 1)")
        if self.frozen_layers is not None and self.frozen_layers < 0:
            raise ValueError(f"frozen_layers: {self.frozen_layers} is below 0; null trains all layers")
        if self.source == "features" and self.train_in_fusion:
            raise ValueError("train_in_fusion: there is no encoder to train where source is features")
        if self.source == "features" and self.context.wanted:
            raise ValueError(
                f"context: {self.context.in_words()} can't be read where source is features, "
                "which were extracted clip by clip"
            )


class TextEncoder(nn.Module):
    """A pretrained encoder and its pooling: token ids (B, T) -> embeddings (B, width).

    Args:
        backbone: a `transformers` encoder whose output has `last_hidden_state`, and `pooler_output` for `pooler`.
        pooling: `pooler`, the trained [CLS] pooler's output; `mean`, the mean over valid tokens that are no context.
    """

    def __init__(self, backbone: Any, *, pooling: Pooling) -> None:  # noqa: ANN401  (transformers is untyped here)
        super().__init__()
        if pooling == "mean" and getattr(backbone, "pooler", None) is not None:
            backbone.pooler = None  # never used: its weights would only be stored and decayed
        _cheapen_dropout(backbone)
        self.backbone = backbone
        self.packed = pack(backbone)
        self.pooling = pooling
        self.width: int = backbone.config.hidden_size

    def freeze(self, layers: int | None) -> None:
        """Take the embeddings and the lowest `layers` layers out of training; None freezes nothing.

        Raises:
            InvalidRecipe: the encoder has fewer layers, or is not built as BERT is.
        """
        if layers is None:
            return
        stack = getattr(getattr(self.backbone, "encoder", None), "layer", None)
        if stack is None or not hasattr(self.backbone, "embeddings") or layers > len(stack):
            available = "no such layers" if stack is None else f"{len(stack)} layers"
            raise InvalidRecipe(
                f"text.frozen_layers is {layers}; this text encoder has {available}.", "Leave it out, or choose fewer."
            )
        for part in (self.backbone.embeddings, *stack[:layers]):
            part.requires_grad_(False)

    def forward(self, tokens: Ragged, behind_embeddings: Change | None = None) -> Tensor:
        """Map the token ids of B transcripts, (n, T) a group, to embeddings (B, width).

        Args:
            tokens: transcripts.
            behind_embeddings: changes what the encoder's embeddings give before its first layer takes it: from the
                number of a group and (n, T, width) to (n, T, width).

        Raises:
            InvalidRecipe: there is such a change, and the encoder has no embeddings to stand behind.
        """
        pooled = [self._pool(group, *found) for group, found in self._run(tokens, behind_embeddings)]
        return torch.cat(pooled).index_select(0, tokens.places)

    def states(self, tokens: Ragged, *, padded: bool = False) -> Padded:
        """Map the token ids of B transcripts, (n, T) a group, to the last layer's states, a block (B, T, width).

        What stands behind a clip's own tokens has been looked at by these; its states are dropped.

        Args:
            tokens: transcripts.
            padded: keep the states of padding, instead of zeros.
        """
        groups = [replace(group, full=True) if padded else group.without_context() for group in tokens.groups]
        states = [found for _, (found, _) in self._run(tokens)]
        kept = [_first(part, group.values.shape[1]) for part, group in zip(states, groups, strict=True)]
        return block(replace(tokens, groups=tuple(groups)), kept)

    def _run(self, tokens: Ragged, change: Change | None = None) -> Iterator[tuple[Padded, Encoded]]:
        """Yield each group and what the backbone gives for it."""
        # One lookup for all groups: its gradient is as large as the vocabulary, however few words were looked up.
        words = self.backbone.get_input_embeddings()(torch.cat([group.values.flatten() for group in tokens.groups]))
        if self.packed:
            yield from self._in_a_row(tokens.groups, words, change)
            return
        for number, (group, part) in enumerate(zip(tokens.groups, _apart(words, tokens.groups), strict=True)):
            with self._changed(None if change is None else partial(change, number)):
                types = {"token_type_ids": group.types()} if group.segment else {}
                output = self.backbone(inputs_embeds=part, attention_mask=group.mask().long(), **types)
            yield group, (output.last_hidden_state, output.pooler_output if self.pooling == "pooler" else None)

    def _in_a_row(
        self, groups: Sequence[Padded], words: Tensor, change: Change | None
    ) -> Iterator[tuple[Padded, Encoded]]:
        def change_each(row: Tensor) -> Tensor:
            assert change is not None
            # A row may be filled up.
            real, rest = torch.split(row.squeeze(0), [len(words), row.shape[1] - len(words)])
            changed = [change(number, part) for number, part in enumerate(_apart(real, groups))]
            return torch.cat([*(part.flatten(0, 1) for part in changed), rest]).unsqueeze(0)

        with self._changed(None if change is None else change_each):
            states = in_a_row(self.backbone, groups, words)
        for group, part in zip(groups, _apart(states, groups), strict=True):
            yield group, (part, self.backbone.pooler(part) if self.pooling == "pooler" else None)

    @contextmanager
    def _changed(self, change: Callable[[Tensor], Tensor] | None) -> Iterator[None]:
        """Put a change behind the embeddings, whatever else the encoder does with them."""
        if change is None:
            yield
            return
        embeddings = getattr(self.backbone, "embeddings", None)
        if not isinstance(embeddings, nn.Module):
            raise InvalidRecipe(
                "This text encoder is not built as BERT is: there are no embeddings to shift words behind.",
                "Choose another encoder: --set text.encoder=bert-base-uncased",
            )
        hook = embeddings.register_forward_hook(lambda module, given, words: change(words))
        try:
            yield
        finally:
            hook.remove()

    def _pool(self, tokens: Padded, states: Tensor, pooled: Tensor | None) -> Tensor:
        return masked_mean(states, tokens.own_mask()) if pooled is None else pooled


def _first(states: Tensor, positions: int) -> Tensor:
    return states if states.shape[1] == positions else states[:, :positions]


def _apart(row: Tensor, groups: Sequence[Padded]) -> list[Tensor]:
    """Take apart what lies in a row, (S, w) -> (n, T, w) for each group."""
    parts = torch.split(row, [group.values.numel() for group in groups])
    return [part.view(*group.values.shape, -1) for part, group in zip(parts, groups, strict=True)]


class TextStates(nn.Module):
    """The same encoder where a model reads sequences: token ids -> a padded block of states (B, T, width).

    Args:
        encoder: a pretrained encoder; its pooling is not used.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.width = encoder.width

    def forward(self, tokens: Ragged) -> Padded:
        """Map the token ids of B transcripts to the last layer's states."""
        return self.encoder.states(tokens)


def _cheapen_dropout(module: nn.Module) -> None:
    """Put our dropout (`layers/dropout.py`) in the place of torch's modules; that within attention is torch's own."""
    for name, part in module.named_children():
        if isinstance(part, nn.Dropout):
            setattr(module, name, Dropout(part.p).train(part.training))
        _cheapen_dropout(part)
