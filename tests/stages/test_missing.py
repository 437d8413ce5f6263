"""Clips that lack tokens and frames: what a model is given of them, in training and in evaluation."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from dmmsa_cli.data.missing import Gaps
from dmmsa_cli.data.sequences import Tokens
from dmmsa_cli.data.store import open_store
from dmmsa_cli.errors import Inapplicable, Interrupted, InvalidInput, RunMismatch
from dmmsa_cli.experiments import missing as gaps_module
from dmmsa_cli.experiments.build import Fused
from dmmsa_cli.experiments.encoders import Encoders
from dmmsa_cli.experiments.identity import identity_in
from dmmsa_cli.experiments.measure import metrics_of
from dmmsa_cli.experiments.missing import Incomplete, gaps_of_draw, gaps_of_epoch
from dmmsa_cli.experiments.reopen import reopen
from dmmsa_cli.experiments.robustness import Robustness, parse_rates, presences
from dmmsa_cli.experiments.systems import by_system
from dmmsa_cli.stages.evaluate import evaluate, find_runs
from dmmsa_cli.stages.missing import evaluate_missing
from dmmsa_cli.training.run import RunFolder
from tests.conftest import MICRO_RECIPE
from tests.training_runs import StopAfter, log, open_mini, prepare_mini, run_fuse, weights

UNIFORM = "data.missing.rate=uniform"
TRAINED = "text.train_in_fusion=true"
SEQUENCES = {
    "text": MICRO_RECIPE["text"],
    "model": {"name": "mult", "width": 10, "attention_heads": 2, "layers": 1},
    "objective": {"name": "regression", "loss": "l1"},
    "pretraining": None,
    "fusion": {"learning_rate": 1e-3, "batch_size": 16, "epochs": 2},
}
ONE_EPOCH = {"learning_rate": 1e-3, "batch_size": 16, "epochs": 1}
BRIEF = {
    **MICRO_RECIPE,
    "pretraining": {"objective": "regression", **dict.fromkeys(("text", "vision", "audio"), ONE_EPOCH)},
    "fusion": ONE_EPOCH,
}


@pytest.fixture(scope="module")
def recipes(tmp_path_factory):
    """Recipes of one or two epochs: on what encoders make of sequences, and on these themselves."""
    folder = tmp_path_factory.mktemp("recipes")
    for name, values in (("brief", BRIEF), ("sequences", SEQUENCES)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))
    return folder


@pytest.fixture(scope="module")
def runs(prepared, recipes, tmp_path_factory):
    """Two seeds on frozen text, one trained along, one on sequences, one without text."""
    folder = tmp_path_factory.mktemp("runs")
    brief, sequences = recipes / "brief.yaml", recipes / "sequences.yaml"
    for seed in (1, 12):
        run_fuse(open_mini(prepared, brief, folder), seed=seed)
    run_fuse(open_mini(prepared, brief, folder, TRAINED), "trained")
    run_fuse(open_mini(prepared, brief, folder, "data.modalities=[v,a]"), "va")
    run_fuse(open_mini(prepared, sequences, folder))
    return folder


@pytest.fixture
def begun(runs, tmp_path):
    """A folder of runs in which encoders have been pretrained, and nothing else is."""
    for name in ("encoders", "cache"):
        shutil.copytree(runs / "mini" / name, tmp_path / "runs" / "mini" / name)
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def featured(corpus, tmp_path_factory):
    """The corpus with text features beside the transcripts."""
    draw = np.random.default_rng(0)
    text = {name: draw.normal(size=(len(split["id"]), 4, 3)).astype(np.float32) for name, split in corpus.items()}
    masks = {name: np.ones((len(found), 3, 4), np.int64) for name, found in text.items()}
    raw = {name: split | {"text": text[name], "text_bert": masks[name]} for name, split in corpus.items()}
    return prepare_mini(raw, tmp_path_factory.mktemp("featured"))


def place(runs, recipe="brief", variant="full", seed=1):
    return RunFolder(runs / "mini" / recipe / variant / f"seed-{seed}")


def of(run, prepared, split="test"):
    return Incomplete(reopen(run, data_dir=prepared, device="cpu").inputs, split, every_row=True)


def measured(found, prepared, rates=(0.0, 0.5, 1.0), **more):
    return evaluate_missing(found, rates, split="test", data_dir=prepared, device="cpu", **more)


# --- what a model is given ------------------------------------------------------------------------------------------


def given_tokens(clips, gaps):
    """The token ids that a run's text encoder gets, whichever way it runs."""
    if not clips.encodes_anew:
        return [ids.tolist() for ids in clips.view(gaps).inputs["t"].ids]
    seen = {}
    encoder = clips._encoder
    run, states = encoder.forward, encoder.states

    def note(tokens):
        for group in tokens.groups:
            for values, length in zip(group.values, group.lengths, strict=True):
                seen.setdefault(len(seen), values[:length].tolist())

    encoder.forward = lambda tokens, **more: (note(tokens), run(tokens, **more))[1]
    encoder.states = lambda tokens, **more: (note(tokens), states(tokens, **more))[1]
    try:
        clips.view(gaps)
    finally:
        del encoder.forward, encoder.states
    return list(seen.values())


def test_frozen_and_trained_text_have_the_same_corrupted_tokens(runs, prepared):
    """Of one tokenizer; the pretrained encoder, the one trained along and the one whose states are read share it."""
    kinds = [place(runs), place(runs, variant="trained"), place(runs, "sequences")]
    clips = [of(run, prepared) for run in kinds]
    assert [one.encodes_anew for one in clips] == [True, False, True]
    gaps = gaps_of_draw(clips[0].inputs.encoders.experiment, "test", 1, 0.5)
    pretrained, trained, states = (sorted(given_tokens(one, gaps)) for one in clips)
    assert pretrained == trained == states
    complete = sorted(ids.tolist() for ids in clips[0]._tokens.ids)
    assert [len(ids) for ids in pretrained] != [] and pretrained != complete


def test_two_networks_and_seeds_see_the_very_same_gaps(runs, prepared):
    views = {}
    for run in (place(runs), place(runs, seed=12), place(runs, "sequences"), place(runs, variant="va")):
        clips = of(run, prepared)
        experiment = clips.inputs.encoders.experiment
        view = clips.view(gaps_of_draw(experiment, "test", 2, 0.4))
        views[run] = [view.inputs["a"].split.sequence("a", row) for row in range(24)]
    first, *others = views.values()
    assert any((frames == 0).all(1).any() for frames in first)
    for other in others:
        assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_zero_is_zero_as_the_dataset_has_it_before_any_scaling(runs, prepared):
    clips = of(place(runs), prepared)
    view = clips.view(Gaps("", "a", 1.0))
    stored = clips.whole.inputs["a"]
    batch = view.batch(np.arange(3)).inputs["a"]
    assert all((group.values == 0).all() for group in batch.groups)
    assert view.inputs["a"].lengths().tolist() == stored.lengths().tolist()
    encoder = reopen(place(runs), data_dir=prepared, device="cpu").finished().get_submodule("encoders.a")
    assert encoder.mean.abs().max() > 1e-3  # so that a zero is not the mean


def test_modalities_without_gaps_are_untouched(runs, prepared):
    clips = of(place(runs), prepared)
    view = clips.view(Gaps("", "v", 1.0))
    assert view.inputs["t"] is clips.whole.inputs["t"]
    assert view.inputs["a"] is clips.whole.inputs["a"]
    assert view.inputs["v"] is not clips.whole.inputs["v"]


def test_corrupted_text_is_encoded_as_complete_text_is(runs, prepared):
    """Without gaps, what is computed here and now is what the cache holds; with gaps it is not."""
    for run in (place(runs), place(runs, "sequences")):
        clips = of(run, prepared)
        none, all_of_them = (clips.view(Gaps("", "t", rate)).inputs["t"] for rate in (0.0, 1.0))
        cached = clips.whole.inputs["t"]
        if isinstance(cached, torch.Tensor):
            assert none.equal(cached)
            assert not all_of_them.equal(cached)
        else:
            rows = range(24)
            pairs = [(none.split.sequence("t", row), cached.split.sequence("t", row)) for row in rows]
            assert all(np.array_equal(a, b) for a, b in pairs)
            assert all_of_them.lengths().tolist() == cached.lengths().tolist()
            assert not np.allclose(all_of_them.split.sequence("t", 0), cached.split.sequence("t", 0), atol=1e-3)


def test_nothing_of_it_is_kept(runs, prepared):
    cache = runs / "mini" / "cache"
    before = sorted(path.name for path in cache.iterdir())
    of(place(runs), prepared).view(Gaps("", "t", 0.5))
    of(place(runs, "sequences"), prepared).view(Gaps("", "t", 0.5))
    assert sorted(path.name for path in cache.iterdir()) == before


def test_text_that_comes_as_features_is_refused(featured, recipes, tmp_path):
    features = recipes / "brief.yaml", tmp_path, "text.source=features"
    experiment = open_mini(featured, *features)
    with pytest.raises(Inapplicable, match="made of the complete transcript"):
        Incomplete(Fused(Encoders(experiment, RunFolder(tmp_path), 1, {})).inputs, "test")
    with pytest.raises(Inapplicable, match="made of the complete transcript"):
        run_fuse(open_mini(featured, *features, UNIFORM), "x")
    assert not (tmp_path / "mini").exists()
    gaps_module.check_text(open_mini(featured, *features, "data.modalities=[a]"), None)


def test_a_run_of_which_nothing_can_be_missing_stops_no_other(featured, recipes, tmp_path):
    for name, settings in (("features", ["text.source=features"]), ("audio", ["data.modalities=[a]"])):
        run_fuse(open_mini(featured, recipes / "brief.yaml", tmp_path, *settings), f"{name}-alone")
    found = measured(find_runs([], "mini", tmp_path), featured, (0.5,), draws=1)
    assert list(systems(found)) == ["brief audio-alone, a"]
    assert list(systems(found)["brief audio-alone, a"].present) == ["A"]
    (why,) = found.left_out
    assert isinstance(why, Inapplicable)


def test_a_tokenizer_without_unknown_is_told_before_there_is_a_run(prepared, recipes, tmp_path, monkeypatch):
    monkeypatch.setattr(gaps_module, "tokenize", lambda *_: Tokens([], 0))
    with pytest.raises(Inapplicable, match="no token for what is unknown"):
        run_fuse(open_mini(prepared, recipes / "brief.yaml", tmp_path, UNIFORM), "x")
    assert not (tmp_path / "mini" / "brief").exists()


# --- training -------------------------------------------------------------------------------------------------------


def given_in_training(prepared, recipe, folder, monkeypatch, *settings, **more):
    """The views that batches are taken from, epoch by epoch, and the rows of validation."""
    seen = []
    shuffled = gaps_module.View.shuffled

    def note(view, size, **which):
        seen.append((which["epoch"], view))
        return shuffled(view, size, **which)

    monkeypatch.setattr(gaps_module.View, "shuffled", note)
    experiment = open_mini(prepared, recipe, folder, *settings)
    report = run_fuse(experiment, "gaps", **more)
    monkeypatch.undo()
    return experiment, report, [view for _, view in seen]


def test_each_epoch_has_gaps_of_its_own_that_seed_and_epoch_decide(prepared, recipes, begun, monkeypatch):
    settings = UNIFORM, "fusion.epochs=2", TRAINED
    recipe = recipes / "brief.yaml"
    experiment, _, (first, second) = given_in_training(prepared, recipe, begun, monkeypatch, *settings)
    complete = experiment.store.split("train")
    for epoch, view in ((1, first), (2, second)):
        gaps = gaps_of_epoch(experiment, 1)(epoch)
        assert (gaps.key, gaps.rate) == (f"training/1/{epoch}", "uniform")
        for row in range(48):
            frames, found = complete.sequence("a", row), view.inputs["a"].split.sequence("a", row)
            missing = gaps.of("a", row, len(frames))
            assert (found[missing] == 0).all() and np.array_equal(found[~missing], frames[~missing])
    texts = [[ids.tolist() for ids in view.inputs["t"].ids] for view in (first, second)]
    assert texts[0] != texts[1]
    _, _, (other, _) = given_in_training(prepared, recipe, begun, monkeypatch, *settings, seed=12)
    assert [ids.tolist() for ids in other.inputs["t"].ids] != texts[0]


def test_validation_is_complete(prepared, recipes, begun, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "dmmsa_cli.stages.fuse.metrics_of",
        lambda *given, **named: (seen.append(given[2]), metrics_of(*given, **named))[1],
    )
    run_fuse(open_mini(prepared, recipes / "brief.yaml", begun, "data.missing.rate=0.99"), "gaps")
    (view,) = seen
    valid = open_store(prepared / "mini").split("valid")
    for row in range(24):
        assert np.array_equal(view.inputs["a"].split.sequence("a", row), valid.sequence("a", row))
    assert view.inputs["t"].shape[0] == 24  # what the cache holds


def test_frozen_text_is_encoded_anew_each_epoch_and_it_is_said(prepared, recipes, begun, monkeypatch):
    said = []
    _, report, (first, second) = given_in_training(
        prepared, recipes / "brief.yaml", begun, monkeypatch, UNIFORM, "fusion.epochs=2", remark=said.append
    )
    (line,) = [line for line in said if "data.missing" in line]
    assert "reads 48 corrupted transcripts anew before each epoch" in line
    assert isinstance(first.inputs["t"], torch.Tensor)
    assert not first.inputs["t"].equal(second.inputs["t"])
    names = {path.name for path in report.folder.iterdir()}
    assert "text" not in names  # the frozen encoder is no part of the run


def test_only_rows_in_use_are_encoded(prepared, recipes, tmp_path):
    experiment = open_mini(prepared, recipes / "sequences.yaml", tmp_path, "data.fraction=0.25", UNIFORM)
    clips = Incomplete(Fused(Encoders(experiment, RunFolder(tmp_path), 1, {})).inputs, "train")
    lengths, used = clips.view(Gaps("", "t", 0.5)).inputs["t"].lengths(), clips.whole.rows
    assert len(used) == 12
    assert lengths[used].tolist() == clips._tokens.lengths()[used].tolist()
    assert (np.delete(lengths, used) == 1).all()


def test_rows_that_are_not_in_use_have_no_context_either(prepared, recipes, tmp_path):
    settings = ("data.fraction=0.25", UNIFORM, "text.context.before=2")
    experiment = open_mini(prepared, recipes / "sequences.yaml", tmp_path, *settings)
    clips = Incomplete(Fused(Encoders(experiment, RunFolder(tmp_path), 1, {})).inputs, "train")
    lengths, used = clips.view(Gaps("", "t", 0.5)).inputs["t"].lengths(), clips.whole.rows
    assert lengths[used].tolist() == clips._tokens.own_lengths()[used].tolist()
    assert (np.delete(lengths, used) == 1).all()


@pytest.mark.parametrize(
    ("recipe", "settings", "events"),
    [
        ("brief", (), 1),
        ("brief", (), 4),  # right after an epoch
        ("brief", (), 6),  # within the second
        ("brief", (TRAINED,), 6),
        ("sequences", (), 6),
    ],
)
def test_training_with_gaps_stopped_and_resumed_is_bit_for_bit_the_same(
    prepared, recipes, begun, recipe, settings, events
):
    experiment = open_mini(prepared, recipes / f"{recipe}.yaml", begun, UNIFORM, "fusion.epochs=2", *settings)
    whole = run_fuse(experiment, "whole").folder
    with pytest.raises(Interrupted):
        run_fuse(experiment, "stopped", watch=StopAfter(events))
    report = run_fuse(experiment, "stopped", resume=True)
    assert weights(report.folder) == weights(whole)
    assert log(report.folder) == log(whole)


def test_a_run_with_gaps_is_another_run_and_is_labelled(runs, prepared, recipes, tmp_path):
    shutil.copytree(runs / "mini", tmp_path / "mini")
    recipe = recipes / "brief.yaml"
    with pytest.raises(RunMismatch, match=r"data\.missing"):
        run_fuse(open_mini(prepared, recipe, tmp_path, UNIFORM, "fusion.epochs=1"), "trained")
    for name, settings in (("u", (UNIFORM,)), ("f", ("data.missing.rate=0.3", "data.missing.whole=0.5"))):
        run_fuse(open_mini(prepared, recipe, tmp_path, *settings), name)
    found = {name: identity_in(place(tmp_path, variant=name)) for name in ("full", "u", "f")}
    assert len({one.system for one in found.values()}) == 3
    assert len({one.protocol for one in found.values()}) == 3
    assert {name: one.trained_with_gaps for name, one in found.items()} == {
        "full": "",
        "u": "trained with missing data (uniform)",
        "f": "trained with missing data (0.3, 50 % whole)",
    }
    assert len(by_system(found.values(), lambda one: one, lambda one: "one name")) == 3
    (table,) = evaluate(
        find_runs([place(tmp_path, variant="u").path], None, tmp_path), split="test", data_dir=prepared, device="cpu"
    ).tables
    assert table.systems[-1].title == "brief u, t+v+a, trained with missing data (uniform)"


# --- evaluation -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outcome(runs, prepared):
    """Every run measured once, and what was said and heard meanwhile."""
    said, passes = [], []
    found = measured(
        find_runs([], "mini", runs), prepared, draws=2, remark=said.append, on_pass=lambda *one: passes.append(one)
    )
    return found, said, passes


def systems(found):
    (table,) = found.tables
    return {system.title: system for system in table.systems}


def test_at_rate_0_the_numbers_are_those_of_plain_evaluation(outcome, runs, prepared):
    (table,) = evaluate(find_runs([], "mini", runs), split="test", data_dir=prepared, device="cpu").tables
    plain = {row.title: row for row in table.systems}
    for title, system in systems(outcome[0]).items():
        assert [run.rates[0.0] for run in system.runs] == [[one] for one in plain[title].runs]
        assert [list(run.present.values())[-1] for run in system.runs] == plain[title].runs
        assert system.seeds == plain[title].seeds and system.covers == plain[title].covers
    assert len(systems(outcome[0])) == 4


def test_rates_draws_and_modalities_are_all_there(outcome):
    for title, system in systems(outcome[0]).items():
        for run in system.runs:
            assert {rate: len(draws) for rate, draws in run.rates.items()} == {0.0: 1, 0.5: 2, 1.0: 1}
            assert run.rates[0.5][0] != run.rates[0.5][1]
            expected = ["A", "V", "AV"] if "t+" not in title else ["T", "A", "V", "TA", "TV", "AV", "TAV"]
            assert list(run.present) == expected


def test_means_are_over_draws_then_rates_and_spreads_over_seeds(outcome):
    system = systems(outcome[0])["brief full, t+v+a"]
    by_run = [{r: np.mean([one["mae"] for one in draws]) for r, draws in run.rates.items()} for run in system.runs]
    halves = [run[0.5] for run in by_run]
    assert system.at(0.5).mean["mae"] == pytest.approx(np.mean(halves), abs=1e-12)
    assert system.at(0.5).sd["mae"] == pytest.approx(np.std(halves, ddof=1), abs=1e-12)
    means = [np.mean(list(run.values())) for run in by_run]
    assert system.over_rates.mean["mae"] == pytest.approx(np.mean(means), abs=1e-12)
    assert system.over_rates.sd["mae"] == pytest.approx(np.std(means, ddof=1), abs=1e-12)


def test_a_modality_left_out_is_all_unknown_or_all_zero(outcome, runs, prepared):
    fused = reopen(place(runs), data_dir=prepared, device="cpu")
    rows = fused.experiment.store.split("test")
    clips = Incomplete(fused.inputs, "test")
    model = fused.finished().eval()
    unknown, special = clips._tokens.unknown, clips._tokens.special
    ids = [np.array([one if one in special else unknown for one in row]) for row in clips._tokens.ids]
    text = fused.inputs.encoded(replace(clips._tokens, ids=ids), fused.encoders.frozen_text())
    zero = Zero(rows)
    view = clips.whole.with_inputs(t=text, v=replace(clips.whole.inputs["v"], split=zero))
    with torch.no_grad():
        scores = model(view.batch(np.arange(24))).prediction.numpy()
    expected = np.abs(scores - rows.labels["y"]).mean()
    found = systems(outcome[0])["brief full, t+v+a"].runs[0]
    assert found.present["A"]["mae"] == pytest.approx(expected, abs=1e-5)
    assert found.present["A"]["mae"] != pytest.approx(found.present["TAV"]["mae"], abs=1e-5)


class Zero:
    """A stored split of zeros."""

    def __init__(self, split):
        self.split = split

    def lengths(self, modality):
        return self.split.lengths(modality)

    def sequence(self, modality, row):
        return np.zeros_like(self.split.sequence(modality, row))


def test_it_says_what_is_computed_anew_and_how_far_it_is(outcome):
    _, said, passes = outcome
    assert said == [
        "Text is frozen, and its cache knows complete transcripts only: the encoder reads all 24 of test anew in 6 of "
        "11 passes a run, 6 times what it took once; none of it is kept."
    ]
    frozen = [(done, total) for run, done, total in passes if run.endswith("brief/full/seed-1")]
    assert frozen == [(done, 11) for done in range(12)]


def test_what_was_found_lies_in_the_run_with_what_it_was_made_from(outcome, runs, prepared):
    run = place(runs)
    kept = json.loads((run.path / "missing.json").read_text())
    assert kept["made_from"] == {
        "test": {"weights": run.weights_hash(), "data": open_store(prepared / "mini").manifest.data_hash}
    }
    again = Robustness.from_json(kept["test"])
    assert again == systems(outcome[0])["brief full, t+v+a"].runs[0]


def test_it_leaves_what_plain_evaluation_found_alone(runs, prepared):
    evaluate([place(runs)], split="test", data_dir=prepared, device="cpu")
    names = "metrics.json", "predictions.csv", "features.json"
    before = [(place(runs).path / name).read_bytes() for name in names]
    measured([place(runs)], prepared, (0.3,))
    assert [(place(runs).path / name).read_bytes() for name in names] == before


def test_other_splits_are_kept_beside_it(runs, prepared):
    run = place(runs, variant="trained")
    evaluate_missing([run], (0.5,), split="valid", data_dir=prepared, device="cpu")
    measured([run], prepared, (0.5,))
    kept = json.loads((run.path / "missing.json").read_text())
    assert kept.keys() == {"valid", "test", "made_from"}
    assert kept["made_from"].keys() == {"valid", "test"}
    assert kept["valid"]["rates"] != kept["test"]["rates"]


def test_the_batch_size_changes_no_gap(runs, prepared, monkeypatch):
    first = systems(measured([place(runs)], prepared, (0.5,)))["brief full, t+v+a"].runs[0]
    monkeypatch.setattr("dmmsa_cli.experiments.experiment.Experiment.evaluation_batch", 5)
    second = systems(measured([place(runs)], prepared, (0.5,)))["brief full, t+v+a"].runs[0]
    for one, other in zip(first.rates[0.5], second.rates[0.5], strict=True):
        assert one["mae"] == pytest.approx(other["mae"], abs=1e-5)


def test_training_anew_takes_it_away(runs, prepared, tmp_path):
    shutil.copytree(place(runs).path, tmp_path / "run")
    (tmp_path / "run" / "missing.json").write_text("{}")
    RunFolder(tmp_path / "run").clear()
    assert not (tmp_path / "run" / "missing.json").exists()


def test_a_second_run_of_the_same_system_is_left_out(runs, prepared, tmp_path):
    shutil.copytree(runs / "mini", tmp_path / "mini")
    found = measured([place(runs), place(tmp_path)], prepared, (0.5,), draws=1)
    assert ["second run of" in why.what for why in found.left_out] == [True]


def test_no_draw_is_told(prepared):
    with pytest.raises(InvalidInput, match="--draws 0"):
        measured([], prepared, draws=0)


def test_the_json_has_every_number_and_no_nan(outcome):
    (table,) = outcome[0].tables
    whole = json.loads(json.dumps(table.to_json(), allow_nan=False))
    assert whole.keys() == {"dataset", "synthetic", "split", "rows", "data_hash", "draws", "systems"}
    one = whole["systems"][0]
    assert one.keys() == {"system", "seeds", "sd_covers", "rates", "mean_over_rates", "present", "runs"}
    assert one["rates"].keys() == {"0.0", "0.5", "1.0"}
    assert one["rates"]["1.0"]["mean"]["corr"] is None or isinstance(one["rates"]["1.0"]["mean"]["corr"], float)


# --- rates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("0:0.9:0.1", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)),
        ("0:1:0.25", (0.0, 0.25, 0.5, 0.75, 1.0)),
        ("0.1:0.9:0.3", (0.1, 0.4, 0.7)),
        ("0.5:0.5:0.1", (0.5,)),
        ("0,0.3,0.6", (0.0, 0.3, 0.6)),
        ("0.6, 0,0.6", (0.0, 0.6)),
        ("1", (1.0,)),
    ],
)
def test_rates_are_read(text, rates):
    assert parse_rates(text) == rates


@pytest.mark.parametrize(
    "text",
    ["", "x", "0:0.9", "0:0.9:0", "0.9:0:0.1", "0:0.9:-0.1", "0:1.1:0.1", "-0.1,0.5", "0,2", "nan", "inf", "0:nan:0.1"]
    + ["0:0.9:0.1:0.1", "0:0.5,0.1", "0:1:0.0001", "0,,1"],
)
def test_what_names_no_rates_is_told_in_one_message(text):
    with pytest.raises(InvalidInput, match="--missing ") as told:
        parse_rates(text)
    assert "0:0.9:0.1" in told.value.remedy


def test_presences_go_from_one_by_one_over_pairs_to_all():
    assert presences(("t", "v", "a")) == {
        "T": ("a", "v"), "A": ("t", "v"), "V": ("t", "a"), "TA": ("v",), "TV": ("a",), "AV": ("t",), "TAV": (),
    }  # fmt: skip
    assert presences(("v",)) == {"V": ()}


def test_results_are_read_back_as_they_were_and_nonsense_is_refused():
    nan = float("nan")
    whole = Robustness(2, {0.0: [{"mae": 1.0, "corr": nan}], 0.5: [{"mae": 2.0, "corr": 0.5}] * 2}, {"T": {"mae": 3.0}})
    again = Robustness.from_json(json.loads(json.dumps(whole.to_json(), allow_nan=False)))
    assert again.to_json() == whole.to_json()
    assert again.over_rates["mae"] == 1.5
    assert np.isnan(again.over_rates["corr"])
    for wrong in ({}, {"rates": {}, "present": {"T": {}}}, {"rates": {"0.5": []}, "present": {"T": {}}}):
        with pytest.raises((KeyError, ValueError)):
            Robustness.from_json({"draws": 3, **wrong})
