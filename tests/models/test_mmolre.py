"""MMoLRE's network: what its tasks share, and what each has alone."""

import pytest
import torch

from dmmsa_cli.data.views import Batch
from dmmsa_cli.errors import Inapplicable, InvalidRecipe
from dmmsa_cli.layers.frames import FrameReader
from dmmsa_cli.layers.heads import Head
from dmmsa_cli.models.mmolre import Mmolre
from tests.ragged import one_group

WIDTHS = {"t": 8, "a": 3}
SMALL = {
    "width": 8,
    "experts": 3,
    "ranks": 2,
    "task_rank": 2,
    "active": 2,
    "layers": 1,
    "attention_heads": 2,
    "feedforward": 12,
    "head_width": 5,
    "dropout": 0.0,
}
EMOTIONS = {"emotions": Head(6, "fusion", present=tuple("abcdef"))}


def model(heads=EMOTIONS, subset="ta", **options):
    torch.manual_seed(0)
    encoders = {m: FrameReader(WIDTHS[m]) for m in subset}
    return Mmolre(encoders, {m: WIDTHS[m] for m in subset}, heads, **(SMALL | options)).eval()


def batch(subset="ta", size=4):
    generator = torch.Generator().manual_seed(1)
    lengths = {"t": [5, 2, 1, 3], "a": [1, 7, 2, 4]}
    inputs = {
        m: one_group(torch.randn(size, max(lengths[m]), WIDTHS[m], generator=generator), lengths[m]) for m in subset
    }
    return Batch(torch.arange(size), inputs, {})


def reached(made, task):
    """Names of the parameters that a task's output depends on."""
    made.zero_grad()
    outputs = made(batch())
    found = outputs.prediction if task == "score" else outputs.heads[task]
    found.square().sum().backward()
    return {name for name, p in made.named_parameters() if p.grad is not None and p.grad.any()}


def parts(names, *, but):
    """Which of the big parts these parameters belong to, leaving out those that a task has for itself."""
    return {
        name for name in names if f".{but}." not in name and not name.startswith((f"heads.{but}", f"fusions.{but}"))
    }


@pytest.mark.parametrize("shared", ["experts", "encoders"])
def test_no_task_s_gradient_reaches_what_the_other_has_for_itself(shared):
    made = model(shared=shared)
    for task, other in (("score", "emotions"), ("emotions", "score")):
        names = reached(made, task)
        assert names
        assert names == parts(names, but=other)
        assert any(name.startswith(f"heads.{task}.") for name in names)
        assert any(name.startswith(f"fusions.{task}.") for name in names)
        assert any("experts.t.1.own" in name for name in names) == (shared == "experts")


def test_both_tasks_reach_the_shared_experts_of_both_blocks_and_modalities():
    made = model(active=3)
    for task in ("score", "emotions"):
        names = reached(made, task)
        assert {
            f"experts.{m}.{b}.{part}" for m in "ta" for b in "01" for part in ("up", "bias", "down.weight")
        } <= names


def test_with_the_fusion_shared_tasks_have_heads_of_their_own_alone():
    made = model(shared="fusion")
    assert set(made.fusions) == {"all"}
    assert not made.experts
    for task, other in (("score", "emotions"), ("emotions", "score")):
        names = reached(made, task)
        assert any(name.startswith("fusions.all.") for name in names)
        assert not any(name.startswith(f"heads.{other}.") for name in names)
        assert any(name.startswith(f"heads.{task}.") for name in names)


@pytest.mark.parametrize("shared", ["experts", "encoders"])
def test_a_score_that_stands_apart_teaches_its_own_parts_alone(shared):
    made = model(shared=shared, score_apart=True)
    assert {name.split(".")[0] for name in reached(made, "score")} == {"fusions", "heads"}
    assert not any(".emotions." in name for name in reached(made, "score"))
    apart, together = reached(made, "emotions"), reached(model(shared=shared), "emotions")
    assert apart == together
    for task in ("score", "emotions"):
        outputs = [model(shared=shared, score_apart=way)(batch()) for way in (True, False)]
        values = [one.prediction if task == "score" else one.heads[task] for one in outputs]
        assert torch.equal(*values)


def test_a_score_stands_apart_only_where_it_has_a_fusion():
    with pytest.raises(ValueError, match="score_apart"):
        model(shared="fusion", score_apart=True)


def test_a_score_stands_apart_only_beside_another_task():
    with pytest.raises(Inapplicable, match="here is none"):
        model({}, score_apart=True)


def test_without_experts_every_fusion_sees_what_the_encoders_gave():
    made, given = model(shared="encoders"), batch()
    twin = made.fusions["score"].state_dict()
    made.fusions["emotions"].load_state_dict(twin)
    blocks = {m: made.encoders[m](x) for m, x in given.inputs.items()}
    vectors = made._vectors({m: type(b)(made.project[m](b.values), b.lengths) for m, b in blocks.items()})
    torch.testing.assert_close(vectors["score"], vectors["emotions"])


def test_states_as_wide_as_the_model_are_taken_as_they_are():
    made = model()
    assert isinstance(made.project["t"], torch.nn.Identity)
    assert made.project["a"].weight.shape == (8, 3)


def test_a_clip_gets_what_it_gets_alone_however_a_batch_is_cut():
    made, given = model(), batch()
    together = made(given)
    for row in range(4):
        inputs = {
            m: one_group(x.groups[0].values[row : row + 1], x.groups[0].lengths[row : row + 1])
            for m, x in given.inputs.items()
        }
        alone = made(Batch(torch.tensor([row]), inputs, {}))
        torch.testing.assert_close(alone.prediction[0], together.prediction[row], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone.heads["emotions"][0], together.heads["emotions"][row], rtol=1e-4, atol=1e-5)


def test_vision_is_refused_with_what_to_do():
    with pytest.raises(Inapplicable, match="no place for vision") as refused:
        Mmolre.check(("t", "v", "a"))
    assert "data.modalities=[t, a]" in refused.value.remedy
    for fine in ("t", "a", "ta"):
        Mmolre.check(tuple(fine))


def test_a_head_over_each_feature_is_refused():
    with pytest.raises(InvalidRecipe, match="Mmolre has one for all"):
        model({"unimodal": Head(1, "feature")})


@pytest.mark.parametrize(("rank", "millions"), [(64, 16.5), (128, 28.3)])
def test_the_paper_s_size(rank, millions):
    with torch.device("meta"):
        encoders = {m: torch.nn.Identity() for m in "ta"}
        made = Mmolre(encoders, dict.fromkeys("ta", 768), EMOTIONS, ranks=rank)
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in made.named_children()}
    assert count["project"] == 0
    assert round(count["experts"] / 1e6, 1) == millions
    assert round(count["fusions"] / 1e6) == 189
