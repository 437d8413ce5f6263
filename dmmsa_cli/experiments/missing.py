"""The clips of a run's split with gaps in them (`data/missing.py`), as its model reads them.

Where text is frozen its cached states know nothing of gaps: the encoder reads every corrupted transcript anew, and none
of that is kept. A cache of its own would be read once, as often as it is written: each rate, draw and epoch has others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.data.missing import Gaps, with_unknown, with_zeros
from dmmsa_cli.data.sequences import Frames, Tokens
from dmmsa_cli.data.views import View
from dmmsa_cli.errors import Inapplicable
from dmmsa_cli.experiments.experiment import Experiment
from dmmsa_cli.experiments.inputs import Inputs, Source
from dmmsa_cli.layers.pretrained import tokenize


class Incomplete:
    """A split of which a run's model is given clips that lack tokens and frames.

    The frozen text encoder, where there is one, is loaded here, which draws random numbers: a training seeds its own
    afterwards.

    Args:
        inputs: what the model reads.
        split: `train`, `valid` or `test`.
        every_row: whatever fraction of them is in use.

    Raises:
        Inapplicable: gaps mean nothing in the text that the run reads.
    """

    def __init__(self, inputs: Inputs, split: str, *, every_row: bool = False) -> None:
        experiment = inputs.encoders.experiment
        check_text(experiment, inputs.encoders.text_folder if experiment.has_text_encoder else None)
        self.inputs = inputs
        view = inputs.split(split)
        self.whole = view.whole() if every_row else view
        """The complete clips: text that is frozen comes from the cache."""
        self._tokens = self._transcripts(split)
        self._encoder = inputs.encoders.frozen_text() if self.encodes_anew else None

    def _transcripts(self, split: str) -> Tokens | None:
        read = self.whole.inputs.get("t")
        return read if read is None or isinstance(read, Tokens) else self.inputs.transcripts(split)

    @property
    def encodes_anew(self) -> bool:
        """Whether text with gaps has to pass a frozen encoder, whose output on complete text is cached."""
        return self._tokens is not None and not isinstance(self.whole.inputs["t"], Tokens)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those that can have gaps, in the order t, v, a."""
        return self.inputs.encoders.experiment.modalities

    def view(self, gaps: Gaps) -> View:
        """Return the rows in use with gaps in the modalities that these name."""
        return self.whole.with_inputs(**{m: self._with(gaps, m) for m in self.modalities if m in gaps.modalities})

    def _with(self, gaps: Gaps, modality: str) -> Source:
        if modality == "t":
            return self._text(gaps)
        frames = self.whole.inputs[modality]
        assert isinstance(frames, Frames)  # audio and vision are frames wherever they go
        return with_zeros(frames, gaps)

    def _text(self, gaps: Gaps) -> Source:
        assert self._tokens is not None
        corrupted = with_unknown(self._tokens, gaps)
        if self._encoder is None:
            return corrupted
        return self.inputs.encoded(_only(corrupted, self.whole.rows), self._encoder)


def _only(tokens: Tokens, rows: NDArray[np.int64]) -> Tokens:
    """Leave a single token of the transcripts that are not in use: they cost next to nothing, and rows keep places."""
    used = np.isin(np.arange(len(tokens.ids)), rows)
    ids = [one if row else one[:1] for one, row in zip(tokens.ids, used, strict=True)]
    own = None if tokens.own is None else np.where(used, tokens.own, np.minimum(tokens.own, 1))
    return replace(tokens, ids=ids, own=own)


def check_text(experiment: Experiment, folder: Path | None) -> None:
    """See that gaps mean something in the text that a run reads.

    Args:
        experiment: dataset, recipe and place.
        folder: where the tokenizer lies; none where there is no text encoder.

    Raises:
        Inapplicable: text comes as features, made once of the complete transcript, or the tokenizer has no [UNK].
    """
    if "t" in experiment.modalities and not experiment.has_text_encoder:
        raise Inapplicable(
            "Text comes as features (text.source: features), each of them made of the complete transcript: a word left "
            "out would still speak through its neighbours, so nothing can be said of missing words.",
            "Use an encoder: --set text.source=encoder, or a recipe that has one, as --recipe default/tiny.",
        )
    if folder is not None:
        with_unknown(tokenize(folder, [], experiment.recipe.text.max_tokens), _NOWHERE)


# --- which gaps -----------------------------------------------------------------------------------------------------

_NOWHERE = Gaps("", (), 0.0)


def gaps_of_draw(experiment: Experiment, split: str, draw: int, rate: float) -> Gaps:
    """Return the gaps of one draw at one rate: the same for all runs on a dataset, whatever they are.

    Args:
        experiment: of any run on the dataset.
        split: of it.
        draw: counted from 1.
        rate: share that is missing, in [0, 1].
    """
    return Gaps(f"{experiment.dataset}/{split}/{draw}", experiment.modalities, rate)


def gaps_of_epoch(experiment: Experiment, seed: int) -> Callable[[int], Gaps]:
    """Return the gaps that `data.missing` asks for, by the epoch's number, which with the run's seed decides them.

    As the order of rows they are no part of the state of the loop: a killed run finds those of its epoch again.
    """
    missing = experiment.recipe.data.missing
    assert missing is not None, "nobody asks where nothing is missing"
    modalities = experiment.modalities
    return lambda epoch: Gaps(f"training/{seed}/{epoch}", modalities, missing.rate, missing.whole)
