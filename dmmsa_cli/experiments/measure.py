"""A model over the rows of a view: its predictions, and the dataset's metrics of them."""

from __future__ import annotations

import numpy as np
from torch import nn

from dmmsa_cli.data.views import View
from dmmsa_cli.errors import TrainingDiverged
from dmmsa_cli.experiments.experiment import Experiment
from dmmsa_cli.metrics import Metrics, score
from dmmsa_cli.training.inference import Predictions, predict


def predictions_of(experiment: Experiment, model: nn.Module, view: View) -> Predictions:
    """Run a model over every row of a view, where and in the precision that the experiment says."""
    return predict(
        model,
        view,
        batch_size=experiment.evaluation_batch,
        device=experiment.device,
        precision=experiment.precision,
    )


def metrics_of(experiment: Experiment, model: nn.Module, view: View) -> Metrics:
    """Return the dataset's metrics of a model over a view's own labels.

    Raises:
        TrainingDiverged: a prediction is no finite number.
    """
    predictions = predictions_of(experiment, model, view).scores
    if not np.isfinite(predictions).all():
        raise TrainingDiverged(
            "The model's predictions are no longer finite numbers.",
            "Lower the learning rate: --set fusion.learning_rate=...",
        )
    spec, labels = experiment.store.spec, view.labels["y"].numpy()[view.rows]
    return score(labels, predictions, metrics=spec.metrics, score_range=spec.score_range)
