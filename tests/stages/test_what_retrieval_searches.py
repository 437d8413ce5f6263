"""ConFEDE's retrieval in a run on half of the rows: which embeddings and labels it searches, and what a step brings."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from dmmsa_cli.objectives import confede
from dmmsa_cli.objectives.retrieval import retrieve
from dmmsa_cli.training.loop import train
from tests.data.splits import sequences_of
from tests.interception import given_by, pooled
from tests.ragged import one_group
from tests.training_runs import open_mini

SEED, ROWS, POOL = 5, 48, 4
USED = np.sort(np.random.default_rng([SEED, ROWS]).permutation(ROWS)[:24])  # not the first ones
KINDS = (("near", True), ("far", False), ("near", False))  # two rows of each, in this order


@dataclass(frozen=True)
class Search:
    """What one search was given, what stood there beside it, and the step that followed."""

    embeddings: torch.Tensor
    labels: torch.Tensor
    expected: torch.Tensor
    """The embeddings of the used rows by the model of that moment, one row at a time, without dropout."""
    batch: object
    training: set
    """Modes of the model's parts in the step."""


def one_by_one(model, corpus, text):
    """Embeddings of the used rows, (24, widths), by a copy of a model in evaluation mode."""
    encoders, split = copy.deepcopy(model).eval().encoders, corpus["train"]
    rows = []
    for row, words in zip(USED.tolist(), text, strict=True):
        parts = [words]
        for modality, name in (("v", "vision"), ("a", "audio")):
            length = split[f"{name}_lengths"][row]
            frames = torch.from_numpy(split[name][row][:length]).unsqueeze(0)
            parts.append(encoders[modality](one_group(frames, [length]))[0])
        rows.append(torch.cat(parts))
    return torch.stack(rows).detach()


@pytest.fixture(scope="module")
def searches(prepared, micro, corpus, tmp_path_factory):
    """The searches before two epochs, between which the model's weights change."""
    settings = ("objective=confede", "data.fraction=0.5", f"pretraining.seed={SEED}")
    retrieval = (f"objective.retrieval.pool={POOL}", "objective.retrieval.refresh_every=1")
    experiment = open_mini(prepared, micro, tmp_path_factory.mktemp("retrieval"), *settings, *retrieval)
    given = given_by(experiment, "changed", seed=1)
    state, text = given["fusion"].state, given["text"]
    texts = [corpus["train"]["raw_text"][row] for row in USED]
    words = pooled(text.run.path / "text", text.state.model.state_dict(), texts)
    with pytest.MonkeyPatch.context() as patch:
        return [_search(patch, state, given["fusion"], epochs, corpus, words) for epochs in (0, 1)]


def _search(patch, state, given, epochs, corpus, words):
    """Take the first step of an epoch, by a model that has just changed, and look on."""
    heard = {}

    def listen(embeddings, labels, **options):
        heard.update(embeddings=embeddings, labels=labels)
        return retrieve(embeddings, labels, **options)

    def watch(model, arguments):
        heard.update(batch=arguments[0], training={part.training for part in model.modules()})

    state.epoch, state.step = epochs, 0
    torch.manual_seed(epochs)
    with torch.no_grad():
        for parameter in state.model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    expected = one_by_one(state.model, corpus, words)
    patch.setattr(confede, "retrieve", listen)
    hook = state.model.register_forward_pre_hook(watch)
    next(train(state, batches=given.batches, evaluate=given.evaluate))
    hook.remove()
    return Search(**heard, expected=expected)


def test_the_used_rows_are_searched_by_the_model_as_it_is_without_dropout(searches):
    for search in searches:
        torch.testing.assert_close(search.embeddings, search.expected, atol=1e-5, rtol=0)
    assert (searches[0].expected - searches[1].expected).abs().max() > 0.01


def test_the_labels_are_those_of_the_used_rows(searches, corpus):
    for search in searches:
        assert search.labels.tolist() == np.round(corpus["train"]["regression_labels"][USED]).tolist()


def test_the_step_after_a_search_is_in_training_mode(searches):
    assert [search.training for search in searches] == [{True}, {True}]


def candidates(search, place, end, same):
    """The used rows of one kind for one of them, the best first: positions among the used rows."""
    unit = torch.nn.functional.normalize(search.expected.double(), dim=1)
    others = [other for other in range(len(USED)) if other != place]
    ranked = sorted(others, key=lambda other: float(unit[place] @ unit[other]), reverse=end == "near")
    wanted = [other for other in ranked if bool(search.labels[other] == search.labels[place]) == same]
    return (wanted or ranked)[:POOL]


def test_a_step_brings_rows_of_the_three_kinds_that_are_used_and_never_the_row_itself(searches):
    for search in searches:
        own = search.batch.own
        assert search.batch.companions == 6 * own
        rows = search.batch.rows.numpy()
        for place, brought in zip(np.searchsorted(USED, rows[:own]), rows[own:].reshape(own, 3, 2), strict=True):
            for (end, same), pair in zip(KINDS, brought.tolist(), strict=True):
                allowed = USED[candidates(search, place, end, same)].tolist()
                assert {*pair} <= {*allowed}
                assert len({*pair}) == min(2, len(allowed))


def test_companions_bring_their_own_labels_and_frames(searches, corpus):
    split = corpus["train"]
    for search in searches:
        rows = search.batch.rows.tolist()
        assert search.batch.labels["y"].tolist() == split["regression_labels"][rows].tolist()
        for row, frames in zip(rows, sequences_of(search.batch.inputs["a"]), strict=True):
            np.testing.assert_array_equal(frames, split["audio"][row][: split["audio_lengths"][row]])
