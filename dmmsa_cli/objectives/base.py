"""What the training loop asks of an objective. The loop knows no loss; all it does is call these."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.views import Batch
from dmmsa_cli.layers.heads import Head
from dmmsa_cli.models.base import Outputs


class TrainingRows(Protocol):
    """The training split, as an objective may look at it before an epoch."""

    @property
    def rows(self) -> NDArray[np.int64]:
        """Which rows of the split are used, (N,)."""
        ...

    @property
    def labels(self) -> Mapping[str, Tensor]:
        """Of the whole split, by name."""
        ...

    def embeddings(self) -> Tensor:
        """Encode the N rows as the model now is, in evaluation mode: all modalities side by side, (N, widths)."""
        ...


class Objective(nn.Module, ABC):
    """A training objective: several tasks, each with a loss, and what they add up to.

    An objective is a module: what it must remember between epochs (GDWG's history, a retrieval index, labels it
    generates) is a buffer of its own, what it learns (weights of tasks) a parameter, and so both travel in every
    checkpoint.

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

    @classmethod
    def needs(cls, options: Any) -> frozenset[str]:  # noqa: ANN401
        """Return what it wants of a model beside the prediction and heads over the fusion, by the names of `gives`."""
        return frozenset()

    @classmethod
    def labels(cls, options: Any) -> frozenset[str]:  # noqa: ANN401
        """Return which labels it learns beside the scores, by the names that batches have for them."""
        return frozenset()

    @abstractmethod
    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the unweighted mean loss of every task over the batch, scalars in float32."""

    @abstractmethod
    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the scalar that is minimised."""

    def begin_epoch(self, epoch: int, training: TrainingRows) -> None:  # noqa: B027  (most need no more than batches)
        """Look at the training split before an epoch, counted from 1; what is kept of it is a buffer."""

    def companions(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return rows of the training split that a step over `rows` needs beside them, or none."""
        return None

    def weights(self) -> dict[str, float]:
        """Return the weights in force that change during training, by task, for the log."""
        return {}

    def epoch_end(self, losses: Mapping[str, float]) -> None:  # noqa: B027  (most have nothing to remember)
        """Take note of an epoch's mean losses, (task -> mean over the training rows)."""

    def tally(self) -> dict[str, int]:
        """Return what is worth counting of an epoch, for the log."""
        return {}

    @property
    def learning_rate(self) -> float:
        """Peak rate of its own parameters (a rule's trained weights), a group of their own of the optimiser."""
        return 0.0

    def check(self) -> None:  # noqa: B027  (most need nothing that may be missing)
        """See that all that training needs is installed.

        Raises:
            InvalidRecipe: something is not; the message says how to get it.
        """

    def remarks(self) -> list[str]:
        """Return what a reader of the log should know: a task that had to be dropped, say."""
        return []
