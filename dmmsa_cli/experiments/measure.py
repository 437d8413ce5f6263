"""A model over the rows of a view: its predictions, and the dataset's metrics of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import nn

from dmmsa_cli.data.store import Store
from dmmsa_cli.data.validation import EMOTIONS
from dmmsa_cli.data.views import View
from dmmsa_cli.errors import TrainingDiverged
from dmmsa_cli.experiments.experiment import Experiment
from dmmsa_cli.layers.heads import Head
from dmmsa_cli.metrics import Metrics, Scores, emotion_metrics, score
from dmmsa_cli.training.inference import Predictions, predict, presence


def predictions_of(experiment: Experiment, model: nn.Module, view: View) -> Predictions:
    """Run a model over every row of a view, where and in the precision that the experiment says."""
    return predict(
        model,
        view,
        batch_size=experiment.evaluation_batch,
        device=experiment.device,
        precision=experiment.precision,
    )


def metrics_of(
    experiment: Experiment, model: nn.Module, view: View, heads: Mapping[str, Head] | None = None, *, of: str = ""
) -> Metrics:
    """Return the dataset's metrics of a model over a view's own labels, and those of emotions (`heads`).

    Args:
        experiment: what the model is of.
        model: it.
        view: of the rows.
        heads: what it is asked for beside the score.
        of: names model and rows in a warning.

    Raises:
        TrainingDiverged: a prediction is no finite number.
    """
    found = predictions_of(experiment, model, view)
    if not np.isfinite(found.scores).all():
        raise TrainingDiverged(
            "The model's predictions are no longer finite numbers.",
            "Lower the learning rate: --set fusion.learning_rate=...",
        )
    labels = {name: y.numpy()[view.rows] for name, y in view.labels.items()}
    return metrics_of_predictions(experiment.store, found, labels, heads, of=of)


def metrics_of_predictions(
    store: Store,
    predictions: Predictions,
    labels: Mapping[str, NDArray[np.float32]],
    heads: Mapping[str, Head] | None = None,
    *,
    of: str = "",
) -> Metrics:
    """Return the dataset's metrics of N rows, and those of emotions where they were predicted and somebody gave them.

    Args:
        store: the dataset.
        predictions: of the N rows.
        labels: of the same, `y` (N,), and `emotions` (N, C) where there are some.
        heads: what the model was asked for beside the score.
        of: names model and rows in a warning.
    """
    head = (heads or {}).get(EMOTIONS)
    if head is None:
        return metrics_of_scores(store, predictions.scores, labels, of=of)
    probabilities = presence(predictions.heads[EMOTIONS], head)
    return metrics_of_scores(store, predictions.scores, labels, probabilities, even=head.even, of=of)


def metrics_of_scores(
    store: Store,
    scores: Scores,
    labels: Mapping[str, NDArray[np.float32]],
    emotions: NDArray[np.float32] | None = None,
    *,
    even: float = 0.5,
    of: str = "",
) -> Metrics:
    """Return the same metrics of predicted scores (N,) and probabilities of emotions (N, C), wherever they come from.

    Args:
        store: the dataset.
        scores: predicted.
        labels: as above.
        emotions: predicted, where they are.
        even: the probability above which an emotion is said to be present.
        of: names model and rows in a warning.
    """
    spec, manifest = store.spec, store.manifest
    metrics = score(labels["y"], scores, metrics=spec.metrics, score_range=spec.score_range, of=of)
    given = labels.get(EMOTIONS) if manifest.pseudo_emotions is None else None
    if given is None or emotions is None or np.isnan(given).all():
        return metrics
    return metrics | emotion_metrics(given, emotions, manifest.emotions, even=even)
