"""Sequential-MTL against what its docstring says, written out for one clip at a time; its switches; its tasks."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dmmsa_cli.data.ragged import Padded
from dmmsa_cli.data.views import Batch
from dmmsa_cli.errors import Inapplicable, InvalidRecipe
from dmmsa_cli.layers.heads import Head
from dmmsa_cli.models.sequential_mtl import SequentialMtl
from dmmsa_cli.recipe import to_dict
from tests.models.test_mmiln import Given, block_of, same, slow_attention, spread

D = 8
LENGTHS = {"t": [6, 3, 1, 4], "v": [7, 2, 40, 1], "a": [1, 30, 3, 2]}
WIDTHS = {"t": 10, "v": 5, "a": 3}
TASKS = {"polarity": Head(1, "fusion"), "intensity": Head(1, "fusion"), "classes": Head(3, "fusion")}
VECTORS = ["t", "a", "v", "ta", "tv", "at", "av", "vt", "va"]


def inputs(subset="tva"):
    return {m: block_of(LENGTHS[m], WIDTHS[m]) for m in subset}


def network(subset="tva", heads=TASKS, **options):
    torch.manual_seed(0)
    values = to_dict(dataclasses.replace(SequentialMtl.Options(), **{"width": D, "attention_heads": 2, **options}))
    model = SequentialMtl({m: Given() for m in subset}, {m: WIDTHS[m] for m in subset}, heads, **values)
    return spread(model).eval()


def run(model, subset="tva"):
    return model(Batch(torch.arange(4), inputs(subset), {}))


# --- one clip at a time -----------------------------------------------------------------------------------------------


def slow_attend(part, x, source):
    return part.norm(x + slow_attention(part.attention, x, source))


def slow_stream(stream, x):
    kernel = stream.conv.kernel_size[0]
    around = F.pad(x, (0, 0, kernel // 2, kernel // 2))
    windows = [around[i : i + kernel] for i in range(len(x))]
    x = torch.stack([torch.einsum("dwk,kw->d", stream.conv.weight, w) + stream.conv.bias for w in windows]).relu()
    if stream.rnn is not None:
        x = stream.rnn(x.unsqueeze(0))[0][0]
    return x if stream.attend is None else slow_attend(stream.attend, x, x)


def slow_task(task, vectors):
    logits = torch.zeros(len(vectors)) if task.logits is None else task.logits
    shares = [torch.exp(one) / torch.exp(logits).sum() for one in logits]
    x = sum(share * vector for share, vector in zip(shares, vectors, strict=True))
    return task.outer.weight @ torch.relu(task.inner.weight @ x + task.inner.bias) + task.outer.bias


def slow_network(model, row, subset):
    streams = {
        m: slow_stream(model.streams[m], inputs()[m].values[row, : LENGTHS[m][row]]) for m in "tav" if m in subset
    }
    pairs = {p: slow_attend(model.cross[p], streams[p[0]], streams[p[1]]) for p in model.cross}
    vectors = {name: {**streams, **pairs}[name].mean(0) for name in model.names}
    heads = {name: slow_task(task, list(vectors.values())) for name, task in model.heads.items()}
    return vectors, slow_task(model.score, list(vectors.values()))[0], heads


SWITCHES = {
    "none": {},
    "no-cnn": {"kernel": 1},
    "no-bigru": {"bigru": False},
    "no-self-attention": {"self_attention": False},
    "no-cross-modal": {"cross_modal": False},
    "no-unimodal": {"unimodal": False},
    "no-task-weights": {"task_weights": False},
}


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("subset", ["tva", "ta"])
def test_it_is_what_it_says_clip_by_clip(subset, switch):
    model = network(subset, **SWITCHES[switch])
    said = run(model, subset)
    assert list(said.features) == model.names
    for row in range(4):
        vectors, score, heads = slow_network(model, row, subset)
        for name, vector in vectors.items():
            same(said.features[name][row], vector)
        same(said.prediction[row], score)
        for name, found in heads.items():
            same(said.heads[name][row], found)


# --- switches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "names"),
    [({}, VECTORS), ({"cross_modal": False}, VECTORS[:3]), ({"unimodal": False}, VECTORS[3:])],
)
def test_vectors_are_those_of_modalities_and_of_ordered_pairs(options, names):
    model = network(**options)
    assert list(run(model).features) == names
    assert len(model.score.logits) == len(names)


@pytest.mark.parametrize("m", "tva")
def test_a_modality_alone_has_its_own_vector_and_nothing_to_weigh(m):
    model = network(m)
    assert list(run(model, m).features) == [m]
    assert model.score.logits is None
    with pytest.raises(Inapplicable, match=f"{m} alone"):
        network(m, unimodal=False)


def parts(model):
    return {name.rpartition(".")[2] for name, _ in model.named_modules()} | {
        name.rpartition(".")[2] for name, _ in model.named_parameters()
    }


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        ({"bigru": False}, "rnn"),
        ({"self_attention": False}, "attend"),
        ({"cross_modal": False}, "ta"),
        ({"task_weights": False}, "logits"),
    ],
)
def test_what_is_switched_off_has_no_parameters(options, gone):
    assert gone in parts(network())
    assert gone not in parts(network(**options))


def test_without_its_own_weights_every_task_takes_the_mean():
    model = network(task_weights=False)
    said = run(model)
    mean = torch.stack(list(said.features.values())).mean(0)
    expected = model.score.outer(torch.relu(model.score.inner(mean))).squeeze(-1)
    same(said.prediction, expected)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"width": 9, "attention_heads": 3}, "width: 9 is odd"),
        ({"attention_heads": 3}, "do not divide a width of 64"),
        ({"unimodal": False, "cross_modal": False}, "unimodal: neither"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        SequentialMtl.Options(**options)


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_a_tasks_weights_and_head_learn_from_that_task_alone():
    model = network()
    said = run(model)
    outputs = {"score": said.prediction, **said.heads}
    owned = {"score": "score.", **{name: f"heads.{name}." for name in TASKS}}
    own = dict(model.named_parameters())
    for task, output in outputs.items():
        slopes = torch.autograd.grad(output.sum(), list(own.values()), retain_graph=True, allow_unused=True)
        touched = {name for name, slope in zip(own, slopes, strict=True) if slope is not None and slope.any()}
        assert f"{owned[task]}logits" in touched
        assert not [
            name for name in touched for other in owned.values() if other != owned[task] and name.startswith(other)
        ]
        assert any(name.startswith("streams.t.") for name in touched)


def test_all_tasks_pass_through_the_features():
    """What a weighting rule may look at: behind them nothing of the encoders is reached any more."""
    model = network()
    said = run(model)
    for output in (said.prediction, *said.heads.values()):
        slopes = torch.autograd.grad(output.sum(), list(said.features.values()), retain_graph=True)
        assert all(slope.any() for slope in slopes)


def test_weights_start_alike_and_heads_give_what_was_asked_for():
    torch.manual_seed(0)
    options = to_dict(SequentialMtl.Options())
    model = SequentialMtl({m: Given() for m in "tva"}, WIDTHS, TASKS, **options)
    assert not model.score.logits.any()
    assert {name: x.shape for name, x in run(model).heads.items()} == {
        "polarity": (4, 1),
        "intensity": (4, 1),
        "classes": (4, 3),
    }


def test_a_head_over_each_feature_is_refused():
    with pytest.raises(InvalidRecipe, match="looks at each feature by itself"):
        network(heads={"unimodal": Head(1, "feature")})


def test_in_training_something_is_dropped_behind_the_convolution_in_attention_and_in_heads():
    model = network(dropout=0.5).train()
    assert not torch.equal(run(model).prediction, run(model).prediction)
    for part in (model.streams["t"].dropout, model.streams["t"].attend.dropout, model.score.dropout):
        assert part.p == 0.5
    assert model.streams["t"].attend.attention.dropout == 0.5


def test_a_block_without_any_frame_is_one_frame_of_zeros():
    model = network("ta")
    empty = {"t": inputs()["t"], "a": Padded(torch.zeros(4, 1, WIDTHS["a"]), torch.zeros(4, dtype=torch.int64))}
    one = {**empty, "a": Padded(empty["a"].values, torch.ones(4, dtype=torch.int64))}
    found = [model(Batch(torch.arange(4), given, {})).prediction for given in (empty, one)]
    same(*found)


def test_it_says_that_its_structure_is_inferred():
    assert "structure inferred" in SequentialMtl.title
    assert "STRUCTURE INFERRED" in (SequentialMtl.__doc__ or "")
    assert isinstance(SequentialMtl({"t": Given()}, {"t": 4}, {}), nn.Module)
