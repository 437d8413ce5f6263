import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.views import Batch, View
from dmmsa_cli.models.base import Outputs
from dmmsa_cli.objectives.confede import Confede, ConfedeOptions, RetrievalOptions, pairs

ALL = ("T_s", "V_s", "A_s", "T_d", "V_d", "A_d")
GOLDEN = {"T_s": "Ts", "V_s": "Vs", "A_s": "As", "T_d": "Td", "V_d": "Vd", "A_d": "Ad"}


def objective(*modalities, **options):
    chosen = modalities or ("t", "v", "a")
    return Confede(Capabilities(chosen, 3.0, "mosi"), ConfedeOptions(**options))


def outputs(rows, names=ALL, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = {name: torch.randn(rows, width, generator=generator) for name in names}
    head = torch.randn(rows, len(names), 1, generator=generator)
    return Outputs(torch.randn(rows, generator=generator), features, {"unimodal": head})


def batch(own, companions=0, **labels):
    rows = own + companions
    return Batch(torch.arange(rows), {}, {"y": torch.linspace(-2, 2, rows), **labels}, companions)


class Training:
    """A training split of which rows 1, 3, 5, ... are used."""

    def __init__(self, rows=40):
        self.rows = np.arange(1, rows, 2)
        self.labels = {"y": torch.arange(rows).remainder(5).float() - 2}
        self.asked = 0

    def embeddings(self):
        self.asked += 1
        return torch.randn(len(self.rows), 6, generator=torch.Generator().manual_seed(self.asked))


def test_the_contrast_is_that_of_the_published_code(golden):
    reference = load_file(golden / "confede_contrastive.safetensors")
    features = {
        name: torch.cat([reference[f"io.anchor.{theirs}"], reference[f"io.retrieved.{theirs}"]])
        for name, theirs in GOLDEN.items()
    }
    found = objective().contrast(features, 4)
    torch.testing.assert_close(found, reference["io.loss_per_sample"], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.mean(), reference["io.loss"].squeeze(), atol=1e-5, rtol=0)


def test_the_pairs_are_those_of_the_published_code(golden):
    reference = load_file(golden / "confede_contrastive.safetensors")
    for found, kind in zip(pairs(list(ALL), 6), ("pos", "neg"), strict=True):
        theirs = zip(reference[f"io.{kind}_anchor"].tolist(), reference[f"io.{kind}_other"].tolist(), strict=True)
        assert sorted(found) == sorted(theirs)


def test_the_contrast_is_what_a_loop_over_its_pairs_gives():
    features = outputs(2 * 7).features
    names = [(name, r) for name in ALL for r in range(7)]
    same_label, other_label = (1, 2), (3, 4, 5, 6)
    for clip in (0, 1):
        rows = [clip, *range(2 + 6 * clip, 8 + 6 * clip)]
        x = {(name, r): features[name][row].double() for name in ALL for r, row in enumerate(rows)}

        def pull(a, b, x=x):
            return math.exp(torch.cosine_similarity(x[a], x[b], dim=0).item() / 0.5)

        together = [((f, 0), (f, r)) for f in ALL[:3] for r in same_label]
        together += [(("T_s", r), (f, r)) for r in range(7) for f in ("V_s", "A_s")]
        apart = [((f, 0), (f, r)) for f in ALL[:3] for r in other_label]
        apart += [(("T_s", r), (f, r)) for r in range(7) for f in ALL[3:]]
        terms = [
            -math.log(pull(a, p) / (pull(a, p) + sum(pull(b, n) for b, n in apart if b == a))) for a, p in together
        ]
        assert len(names) == 42 and len(terms) == 20
        found = objective().contrast(features, 2)[clip].item()
        assert found == pytest.approx(sum(terms) / len(terms), abs=1e-5)


def test_every_clip_is_contrasted_on_its_own():
    whole = outputs(4 * 7).features
    alone = {name: torch.cat([x[2:3], x[4 + 12 : 4 + 18]]) for name, x in whole.items()}
    torch.testing.assert_close(objective().contrast(whole, 4)[2:3], objective().contrast(alone, 1))


def test_both_errors_run_over_the_clips_and_their_companions():
    said, given = outputs(14), batch(2, 12)
    losses = objective()(said, given)
    y = given.labels["y"]
    torch.testing.assert_close(losses["msr"], ((said.prediction - y) ** 2).mean())
    torch.testing.assert_close(losses["uni"], ((said.heads["unimodal"].squeeze(-1) - y.unsqueeze(1)) ** 2).mean())


def test_dissimilarity_features_predict_their_own_modality_where_it_has_labels():
    own = {m: torch.full((7,), value) for m, value in zip("tva", (0.1, 0.2, 0.3), strict=True)}
    exact = torch.stack([batch(1, 6).labels["y"]] * 3 + [own[m] for m in "tva"], dim=1).unsqueeze(-1)
    said = Outputs(torch.zeros(7), outputs(7).features, {"unimodal": exact})
    assert objective()(said, batch(1, 6, **own))["uni"] == 0


def test_the_total_has_the_published_weights():
    losses = {"msr": torch.tensor(1.0), "cl": torch.tensor(2.0), "uni": torch.tensor(3.0)}
    assert objective().total(losses).item() == pytest.approx(1 + 0.2 + 0.03)


@pytest.mark.parametrize("modalities", [("t", "v", "a"), ("t", "a"), ("v", "a"), ("t",), ("a",)])
@pytest.mark.parametrize("companions", [0, 6])
def test_any_subset_of_the_modalities_gives_a_finite_contrast(modalities, companions):
    names = [f"{m.upper()}_{kind}" for kind in "sd" for m in modalities]
    features = outputs(3 * (1 + companions), names).features
    found = objective(*modalities).contrast(features, 3)
    assert found.shape == (3,)
    assert found.isfinite().all()
    assert (found > 0).all() == bool(pairs(names, companions)[0])


def test_companions_are_rows_that_are_used_and_not_the_clip_itself():
    confede, training = objective(), Training()
    confede.begin_epoch(1, training)
    rows = training.rows[[4, 0, 7]]
    brought = confede.companions(rows).reshape(3, 6)
    assert np.isin(brought, training.rows).all()
    assert not (brought == rows[:, None]).any()
    labels = training.labels["y"].numpy()
    same = labels[brought] == labels[rows][:, None]
    assert same[:, :2].all() and not same[:, 2:].any()


def test_the_split_is_searched_every_so_many_epochs_and_drawn_from_every_epoch():
    confede, training = objective(retrieval=RetrievalOptions(refresh_every=2)), Training()
    drawn = []
    for epoch in (1, 2, 3, 4):
        confede.begin_epoch(epoch, training)
        drawn.append(confede.drawn.clone())
    assert training.asked == 2
    assert not any(a.equal(b) for a, b in zip(drawn, drawn[1:], strict=False))


def test_a_checkpoint_holds_pools_and_draws():
    confede, training = objective(), Training()
    confede.begin_epoch(1, training)
    other = objective()
    other.load_state_dict(confede.state_dict())
    assert other.companions(training.rows).tolist() == confede.companions(training.rows).tolist()
    torch.manual_seed(4)
    confede.begin_epoch(2, training)
    torch.manual_seed(4)
    other.begin_epoch(2, training)
    assert other.drawn.equal(confede.drawn)
    assert training.asked == 1


def test_shortages_are_told():
    confede, training = objective(), Training()
    training.labels["y"][training.rows[0]] = 3.0  # nobody else has it
    confede.begin_epoch(1, training)
    assert confede.tally() == {"pools_of_one": 0, "pools_of_none": 1}


def test_a_step_brings_its_companions_along():
    confede, training = objective(), Training()
    confede.begin_epoch(1, training)
    view = View({"t": torch.randn(40, 5)}, training.labels, training.rows)
    steps = list(view.shuffled(4, seed=1, epoch=1).starting_at(0, confede.companions))
    assert [(len(step), step.own) for step in steps] == [(28, 4)] * 5
    assert sorted(row for step in steps for row in step.rows[:4].tolist()) == training.rows.tolist()
    assert steps[0].rows[4:10].tolist() == confede.drawn[steps[0].rows[0]].tolist()
    assert steps[0].labels["y"].equal(training.labels["y"][steps[0].rows])


@pytest.mark.parametrize(
    "options",
    [{"searched": 0}, {"searched": 1.5}, {"pool": 1}, {"refresh_every": 0}],
)
def test_impossible_retrieval_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        RetrievalOptions(**options)


@pytest.mark.parametrize("options", [{"temperature": 0}, {"contrast_weight": -1}, {"unimodal_weight": -0.1}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ConfedeOptions(**options)


@pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")
def test_what_it_remembers_is_whole_numbers_and_lies_where_it_is():
    """Also when a checkpoint is loaded on another device than it was written on."""
    capabilities = Capabilities(("t", "v", "a"), 3.0, "mosi")
    there = Confede(capabilities, ConfedeOptions())
    there.pools, there.drawn = there.pools.new_zeros(9, 3, 10), there.drawn.new_zeros(9, 6)
    here = Confede(capabilities, ConfedeOptions()).to("meta")
    here.load_state_dict(there.state_dict())
    for objective, device in ((there, "cpu"), (here, "meta")):
        found = {name: (value.dtype, value.device.type) for name, value in objective.named_buffers()}
        assert found == dict.fromkeys(("pools", "pool_sizes", "shortages", "drawn"), (torch.int64, device))
    assert here.pools.shape == (9, 3, 10)
