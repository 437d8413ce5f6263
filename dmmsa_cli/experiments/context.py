"""The clips around one as context of its words: which they are, what they decide, and what has to be said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dmmsa_cli.data.specs import SPLITS
from dmmsa_cli.data.videos import FORMS, Around, around, places_of
from dmmsa_cli.experiments.base_text import base_text
from dmmsa_cli.experiments.experiment import Experiment
from dmmsa_cli.layers.pretrained import tokenize
from dmmsa_cli.layers.text import ContextOptions
from dmmsa_cli.recipe import to_dict


def clips_around(experiment: Experiment, ids: Sequence[str]) -> list[Around] | None:
    """Return the context of each clip of a split, by their ids; none where the recipe wants no context.

    All clips of the split are taken, whatever fraction of them is trained on: transcripts are input, not labels.
    """
    context = experiment.context
    return around(ids, context.before, context.after, experiment.store.video_form) if context.wanted else None


def check_context(experiment: Experiment, seed: int) -> None:
    """See that the tokenizer can put a context behind a clip, where the recipe wants one.

    Raises:
        EncoderUnavailable: it can't, or there is none.
    """
    if experiment.context.wanted:
        tokenize(base_text(experiment, seed), ["a"], experiment.recipe.text.max_tokens, [Around((), ())])


def what_context_decides(context: ContextOptions) -> dict[str, Any]:
    """Return what of a context belongs into a key: nothing where there is none, as keys were before there was any."""
    return {"context": to_dict(context)} if context.wanted else {}


def context_remarks(experiment: Experiment, ids: Sequence[str] | None = None) -> list[str]:
    """Say where a context that the recipe wants can't be had.

    Args:
        experiment: dataset and recipe.
        ids: of the clips of a file; none for those of the dataset.
    """
    if not experiment.context.wanted:
        return []
    if ids is None:
        ids = [name for split in SPLITS for name in experiment.store.split(split).ids]
    places = places_of(ids, experiment.store.video_form)
    if not any(places):
        return [
            f"Ids name no videos ({FORMS}), so no clip has another for its context: text.context does nothing here."
        ]
    without = sum(place is None or place.number is None for place in places)
    if not without:
        return []
    return [
        f"{without} of {len(ids)} ids name no video, or no number of a clip there: these clips have no context, and "
        "are in none (text.context)."
    ]
