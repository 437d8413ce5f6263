"""The field's layout: its keys, and what a file that was checked against it holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from dmmsa_cli.data.specs import DatasetSpec

FEATURES = {
    "t": "text",
    "v": "vision",
    "a": "audio",
}  # key of each modality's sequences
LABELS = {
    "y": "regression_labels",
    "t": "regression_labels_T",
    "v": "regression_labels_V",
    "a": "regression_labels_A",
}
EMOTIONS = "emotions"


@dataclass(frozen=True)
class Layout:
    """What a checked file holds.

    Attributes:
        spec: the dataset it was checked against.
        modalities: which of `t`, `v`, `a` there are.
        transcripts: whether there are words.
        widths: feature width of each modality that has sequences.
        labels: keys of `LABELS` that are there and can be used.
        emotions: names of the emotions that clips are labelled with; none where they are not.
        rows: rows by split.
        repairs: repairs that concern a whole array (lists, float64), counted.
        warnings: what the reader should know, and nothing had to be refused for.
    """

    spec: DatasetSpec
    modalities: tuple[str, ...]
    transcripts: bool
    widths: dict[str, int]
    labels: tuple[str, ...]
    rows: dict[str, int]
    emotions: tuple[str, ...] = ()
    repairs: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def unimodal_labels(self) -> bool:
        """Whether there are labels of each modality alone."""
        return len(self.labels) > 1
