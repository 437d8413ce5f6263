"""What the training loop asks of an objective. The loop knows no loss; all it does is call these."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from dmmsa_cli.data.batches import Batch, Capabilities
from dmmsa_cli.layers.heads import Head
from dmmsa_cli.models.base import Outputs


class Objective(nn.Module, ABC):
    """A training objective: several tasks, each with a loss, and what they add up to.

    An objective is a module: what it must remember between epochs (GDWG's history, a retrieval index, labels it
    generates) is a buffer of its own, and so travels in every checkpoint.

    Args:
        capabilities: which modalities and labels there are.
        options: an instance of the class's `Options`.
    """

    Options: ClassVar[type]
    """The frozen dataclass of its options, which a recipe may set."""

    heads: Mapping[str, Head]
    """The heads it wants of a model, beside the main prediction; the model builds them, and evaluation reads them."""

    def __init__(self, capabilities: Capabilities, options: Any) -> None:  # noqa: ANN401  (each has a type of its own)
        super().__init__()
        self.capabilities = capabilities
        self.options = options
        self.heads = {}

    @abstractmethod
    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the unweighted mean loss of every task over the batch, scalars in float32."""

    @abstractmethod
    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the scalar that is minimised."""

    def weights(self) -> dict[str, float]:
        """Return the weights in force that change during training, by task, for the log."""
        return {}

    def epoch_end(self, losses: Mapping[str, float]) -> None:  # noqa: B027  (most have nothing to remember)
        """Take note of an epoch's mean losses, (task -> mean over the training rows)."""

    def remarks(self) -> list[str]:
        """Return what a reader of the log should know: a task that had to be dropped, say."""
        return []
