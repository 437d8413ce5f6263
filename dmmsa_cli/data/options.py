"""What of a dataset is used, and all that a model or an objective may know of it."""

from __future__ import annotations

from dataclasses import dataclass

from dmmsa_cli.data.missing import MissingOptions
from dmmsa_cli.data.specs import MODALITY_NAMES


@dataclass(frozen=True)
class DataOptions:
    """What of a dataset is used, and how its sequences are scaled."""

    standardise: bool = True
    """Scale audio and vision by the training rows' mean and standard deviation over real frames."""
    fraction: float = 1.0
    """The share of the training rows that is used; fractions are nested for a seed."""
    padded: bool = False
    """Take what fills a sequence up to the longest for frames of its own, as most published code does."""
    aligned: bool = False
    """The model goes word by word: see that the dataset is the variant aligned to the words."""
    modalities: tuple[str, ...] | None = None
    """Which of t, v, a (or text, vision, audio) to use; null takes all that the dataset has."""
    missing: MissingOptions | None = None
    """Train the fusion on clips that lack tokens and frames; null: on complete ones, as encoders are pretrained."""

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction: {self.fraction} is not in (0, 1]")
        letters = {name: letter for letter, name in MODALITY_NAMES.items()}
        if self.modalities is not None:  # by name too, but one run is one, however it was named
            object.__setattr__(self, "modalities", tuple(letters.get(one, one) for one in self.modalities))
        unknown = set(self.modalities or ()) - set(MODALITY_NAMES)
        if unknown or self.modalities == ():
            raise ValueError(f"modalities: {list(self.modalities or ())} is not a choice of t, v, a")


@dataclass(frozen=True)
class Capabilities:
    """All that a model or an objective may know of a dataset."""

    modalities: tuple[str, ...]
    """Which of t, v, a there are."""
    score_range: float
    """R: scores lie in [-R, R]."""
    metrics: str
    """The metric set, whose classes the coarse classification uses (`data/classes.py`)."""
    emotions: tuple[str, ...] = ()
    """Names of the emotions that training clips are labelled with; none where they are not."""
