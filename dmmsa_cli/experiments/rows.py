"""Which rows of a split a run uses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.data.views import fraction_of
from dmmsa_cli.experiments.experiment import Experiment


def used_rows(experiment: Experiment, split: str, seed: int) -> NDArray[np.int64]:
    """Return the rows of a split that a run of this seed uses: all, but for the training split under a fraction.

    The subset goes by the encoders' seed: shared encoders have seen just the rows that the runs on them see.
    """
    fraction = experiment.recipe.data.fraction if split == "train" else 1.0
    rows = experiment.store.manifest.rows[split]  # a run that is opened without its data knows how many there were
    return fraction_of(rows, fraction, experiment.encoder_seed(seed))
