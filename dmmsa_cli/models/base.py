"""What every model takes and gives. A model knows no dataset: it is told widths, modalities and the heads wanted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from dmmsa_cli.data.ragged import Padded
from dmmsa_cli.data.views import Batch
from dmmsa_cli.layers.heads import Head


@dataclass(frozen=True)
class Outputs:
    """What a model makes of a batch of B clips."""

    prediction: Tensor
    """y*, the sentiment intensity, (B,)."""
    features: Mapping[str, Tensor] = field(default_factory=dict)
    """Features that objectives compare, by name, (B, w) each."""
    heads: Mapping[str, Tensor] = field(default_factory=dict)
    """Outputs of the heads that the objective asked for: (B, outputs) over the fusion, (B, features, outputs) over
    each feature in the order of `features`."""
    unimodal: Mapping[str, Tensor] = field(default_factory=dict)
    """Predictions of single modalities, of models that make such, (B,) each."""
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    """Further losses that belong to the model itself, scalars in float32."""


Reading = Literal["embedding", "sequence", "tokens"]
"""How a modality reaches a model: as one vector a clip, (B, w); as a padded block of states or frames, (B, T, w); or,
for text, as token ids beside the text encoder itself, which the model then runs in its own way."""

DECOMPOSITION = "similarity and dissimilarity features of each modality"
UNIMODAL = "predictions of single modalities"
NONVERBAL = "predictions of audio and vision alone"
SPACES = "losses over a shared space and private ones"
SHARED = "features that all tasks pass through"  # `features` fixed, no loss changes with anything before them

SEQUENCES: Mapping[str, Reading] = dict.fromkeys("tva", "sequence")


class Model(nn.Module, ABC):
    """A network over the encoders of some modalities.

    Args:
        encoders: by modality; one that is absent here must arrive as embeddings.
        widths: width of every modality as it is read, in the order t, v, a.
        heads: what the objective asks for beside the main prediction.
        options: the fields of the class's `Options`, one by one.
    """

    title: ClassVar[str] = ""
    """What papers call the system that it is the network of; empty where several differ in their objective alone."""

    remark: ClassVar[str] = ""
    """What has to be said wherever its results stand."""

    Options: ClassVar[type]
    """The frozen dataclass of its options, which a recipe may set. `width` is what audio and vision encoders give."""

    gives: ClassVar[frozenset[str]] = frozenset()
    """What of `Outputs` it fills beside the prediction and heads over the fusion, which every model has."""

    reads: ClassVar[Mapping[str, Reading]] = dict.fromkeys("tva", "embedding")
    """What it reads of each modality."""

    @classmethod
    def check(cls, modalities: Sequence[str]) -> None:  # noqa: B027  (most take any)
        """See that the model means something over these modalities.

        Raises:
            Inapplicable: it does not; the message says which it needs, and why.
        """

    @classmethod
    def offers(cls, options: Any) -> frozenset[str]:  # noqa: ANN401  (each model has a type of its own)
        """Return what of `gives` it fills under some options."""
        return cls.gives

    @abstractmethod
    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        widths: Mapping[str, int],
        heads: Mapping[str, Head],
        **options: Any,  # noqa: ANN401  (each model names its own)
    ) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, batch: Batch) -> Outputs:
        """Map a batch of B clips to predictions (B,), features and head outputs."""


def embed(encoders: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Encode every modality of a batch, (B, width) each; one that arrives as embeddings is taken as it is."""
    return {m: x if isinstance(x, Tensor) else encoders.get_submodule(m)(x) for m, x in batch.inputs.items()}


def sequences(encoders: nn.Module, batch: Batch) -> dict[str, Padded]:
    """Read every modality of a batch as a padded block (B, T, w) with its lengths, in the order of its rows."""
    return {m: encoders.get_submodule(m)(x) for m, x in batch.inputs.items()}
