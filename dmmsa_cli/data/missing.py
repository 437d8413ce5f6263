"""What is missing from a clip: tokens that nobody understood, frames that nobody saw or heard.

The protocol is that of LNLN (Zhang et al., NeurIPS 2024): at rate r each token of the text becomes [UNK] with
probability r, [CLS], [SEP] and padding never; each frame of audio and of vision becomes zero with probability r. Its
released code zeroes the features of the file, which it does not standardise; so it is here: a missing frame is zero as
the dataset has it, before the run's own scaling by the complete training rows. Lengths stay what they are. Unlike the
released code, which draws all modalities from one seed, each has numbers of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.data.sequences import Frames, SplitFrames, Tokens
from dmmsa_cli.data.specs import MODALITIES
from dmmsa_cli.errors import Inapplicable


@dataclass(frozen=True)
class MissingOptions:
    """How much of the clips that the fusion is trained on is missing; drawn anew each epoch, never in validation."""

    rate: float | Literal["uniform"] = "uniform"
    """Of every clip and modality; `uniform` draws one for each from [0, 1), as LNLN is trained."""
    whole: float = 0.0
    """The share of clips of which nothing is missing, drawn for each modality; LNLN's released code has 0.5."""

    def __post_init__(self) -> None:
        if self.rate != "uniform" and not 0 < self.rate < 1:
            raise ValueError(f"rate: {self.rate} is neither uniform nor in (0, 1)")
        if not 0 <= self.whole < 1:
            raise ValueError(f"whole: {self.whole} is not in [0, 1)")


@dataclass(frozen=True)
class Gaps:
    """Which tokens and frames of a split are missing: a function of `key` and of the clip's row, and of nothing else.

    Numbers are drawn clip by clip, so that no batch, model or order changes them; with one `key` what is missing at a
    lower rate is missing at a higher one too.
    """

    key: str
    """Stands for the dataset, the split and the draw; or for a run's seed and its epoch."""
    modalities: Collection[str]
    """Those that have gaps; others stay whole."""
    rate: float | Literal["uniform"]
    """Share that is missing, in [0, 1]; `uniform` draws one for each clip and modality from [0, 1)."""
    whole: float = 0.0
    """Share of the clips that stay whole, drawn for each modality."""

    def of(self, modality: str, row: int, length: int) -> NDArray[np.bool_]:
        """Return where the clip of a row lacks its tokens or frames, (length,)."""
        draw = np.random.default_rng([*self._seed, MODALITIES.index(modality), row])
        spared, own_rate = draw.random(2)
        rate = own_rate if self.rate == "uniform" else self.rate
        missing: NDArray[np.bool_] = draw.random(length) < (0.0 if spared < self.whole else rate)
        return missing

    @property
    def _seed(self) -> list[int]:
        return list(np.frombuffer(hashlib.sha256(self.key.encode()).digest(), np.uint32)[:4].tolist())


def with_unknown(tokens: Tokens, gaps: Gaps) -> Tokens:
    """Return transcripts whose missing tokens are [UNK]; what the tokenizer puts around the words stays.

    Raises:
        Inapplicable: the tokenizer has no such token.
    """
    if tokens.unknown is None:
        raise Inapplicable(
            "The text encoder's tokenizer has no token for what is unknown, which stands for a missing one.",
            "Choose another encoder: --set text.encoder=bert-base-uncased",
        )
    kept = np.array(sorted(tokens.special), np.int64)
    ids = [
        np.where(gaps.of("t", row, len(one)) & ~np.isin(one, kept), tokens.unknown, one)
        for row, one in enumerate(tokens.ids)
    ]
    return replace(tokens, ids=ids)


def with_zeros(frames: Frames, gaps: Gaps) -> Frames:
    """Return the same sequences, as long as they were, whose missing frames are zero."""
    return replace(frames, split=_Zeroed(frames.split, gaps))


@dataclass(frozen=True)
class _Zeroed:
    """A stored split some of whose frames are zero."""

    split: SplitFrames
    gaps: Gaps

    def lengths(self, modality: str) -> NDArray[np.int64]:
        """Length of every row of a modality, (N,): what it was."""
        return self.split.lengths(modality)

    def sequence(self, modality: str, row: int) -> NDArray[np.float32]:
        """One row of a modality, (n, F)."""
        frames = self.split.sequence(modality, row)
        missing = self.gaps.of(modality, row, len(frames))
        return np.where(missing[:, None], np.float32(0), frames)
