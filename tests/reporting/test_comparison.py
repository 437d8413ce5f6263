import csv
import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dmmsa_cli.experiments.variants import PARTS
from dmmsa_cli.metrics import score, without_nan
from dmmsa_cli.reporting import bootstrap
from dmmsa_cli.reporting.collection import Collection, collect
from dmmsa_cli.reporting.comparison import by_place, compare
from dmmsa_cli.reporting.contents import Report
from dmmsa_cli.reporting.formats.tidy import comparisons_csv
from dmmsa_cli.reporting.page.comparisons import comparison_groups
from tests.reporting.conftest import measured, write_run

NO_MSC = {"objective.msc.enabled": False}


def rewrite(folder, ids, labels, predictions, dataset="mosi"):
    """Give a run these predictions, and the metrics that belong to them."""
    labels, predictions = np.float32(labels), np.float32(predictions)
    table = pd.DataFrame({"id": ids, "text": "words", "y_true": labels, "y_pred": predictions})
    metrics, limit = ("sims", 1.0) if dataset == "sims" else ("mosi", 3.0)
    found = score(labels, predictions, metrics=metrics, score_range=limit)
    measured(folder, table, {"fused": without_nan(found)})


def two_systems(folder, ids, labels, first, second, **kind):
    """DMMSA and the same without MSC, one seed each, with these predictions."""
    rewrite(write_run(folder, **kind), ids, labels, first, kind.get("dataset", "mosi"))
    second_folder = write_run(folder, variant="no-msc", changes=NO_MSC, **kind)
    rewrite(second_folder, ids, labels, second, kind.get("dataset", "mosi"))


def only(folder):
    (found,) = compare(collect(folder).systems)
    return found


def simulate(seed, videos=40, per_video=8, better=0.0, together=1.0):
    """Labels and two systems' predictions; the errors of a video's clips have a part in common."""
    draw = np.random.default_rng(seed)
    clips = videos * per_video
    ids = [f"v{i // per_video}$_${i % per_video}" for i in range(clips)]
    labels = draw.normal(0, 1.5, clips).clip(-3, 3)
    shared = together * np.repeat(draw.normal(size=(2, videos)), per_video, axis=1)
    size = np.abs(1 + 0.2 * (shared + draw.normal(size=(2, clips)))) + np.array([[0.0], [better]])
    first, second = labels + size * draw.choice([-1, 1], (2, clips))
    return ids, labels, first, second


def test_a_small_case_by_hand(tmp_path):
    ids = ["a$_$1", "a$_$2", "b$_$1", "b$_$2"]
    labels = [1.0, -1.0, 2.0, 0.0]
    two_systems(tmp_path, ids, labels, [1.5, -1.5, 2.0, 1.0], [2.0, 1.0, 2.0, -1.0])
    found = only(tmp_path)
    mae = found.differences["mae"]
    # Video a: errors 0.5 0.5 against 1 2; video b: 0 1 against 0 1. Drawn are aa, ab, ba or bb.
    assert mae.value == pytest.approx((2.0 - 4.0) / 4)
    assert (mae.low, mae.high) == (pytest.approx((1.0 - 3.0) / 2), 0.0)
    assert found.verdict("mae") == "within noise"
    assert found.differences["acc2_non0"].value == pytest.approx(1 - 2 / 3)
    assert found.differences["acc2_has0"].value == pytest.approx(1 - 2 / 4)
    assert found.differences["acc7"].value == pytest.approx((2 - 2) / 4)
    assert (found.videos, found.clips) == (2, 4)
    assert math.isnan(mae.seeds_sd)


@pytest.mark.parametrize("dataset", ["mosi", "sims"])
def test_what_is_observed_is_the_difference_of_the_tables(tmp_path, dataset):
    for seed in (1, 12, 123):
        write_run(tmp_path, dataset=dataset, seed=seed)
        write_run(tmp_path, dataset=dataset, variant="no-msc", changes=NO_MSC, seed=seed, error=0.9)
    found = only(tmp_path)
    for metric, difference in found.differences.items():
        by_seed = [
            a.metrics[metric] - b.metrics[metric] for a, b in zip(found.first.runs, found.second.runs, strict=True)
        ]
        assert difference.value == pytest.approx(np.mean(by_seed), abs=1e-9)
        assert difference.seeds_sd == pytest.approx(np.std(by_seed, ddof=1), abs=1e-9)
    accuracies = {name for name in found.first.first.metrics if name.startswith("acc")}
    assert set(found.differences) == accuracies | {"mae", "corr"}


def test_a_weighted_correlation_is_that_of_the_clips_drawn():
    draw = np.random.default_rng(3)
    labels, predictions = draw.normal(size=12).astype(np.float32), draw.normal(5, 1, (2, 12)).astype(np.float32)
    video = np.repeat(np.arange(4), 3)
    drawn = np.array([[2.0, 0.0, 1.0, 1.0]])
    chosen = np.concatenate([np.flatnonzero(video == v) for v in (0, 0, 2, 3)])
    expected = [np.corrcoef(labels[chosen], one[chosen])[0, 1] for one in predictions]
    assert bootstrap._correlation(labels, predictions, video)(drawn)[0] == pytest.approx(expected)


def test_a_known_difference_is_found(tmp_path):
    two_systems(tmp_path, *simulate(5, better=0.3))
    found = only(tmp_path)
    mae = found.differences["mae"]
    assert mae.low < mae.value < mae.high < 0
    assert mae.value == pytest.approx(-0.3, abs=0.1)
    assert found.verdict("mae") == "more than the noise of the clips"
    assert "): more than the noise of the clips" in found.sentence


def test_systems_that_say_the_same_differ_by_nothing(tmp_path):
    ids, labels, first, _ = simulate(1)
    two_systems(tmp_path, ids, labels, first, first)
    found = only(tmp_path)
    assert {"mae", "corr", "acc2_has0", "acc7"} < set(found.differences)
    for metric, difference in found.differences.items():
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)
        assert found.verdict(metric) == "within noise"
    assert "MAE is equal to that of w/o MSC" in found.sentence
    assert "within noise" in found.sentence


def test_a_clip_told_twice_within_its_video_makes_nobody_surer(tmp_path):
    ids, labels, first, second = simulate(2)
    two_systems(tmp_path / "once", ids, labels, first, second)
    twice = [*ids, *(f"{name}-again" for name in ids)]
    two_systems(tmp_path / "twice", twice, *(np.tile(values, 2) for values in (labels, first, second)))
    once, doubled = (only(tmp_path / name).differences for name in ("once", "twice"))
    for metric in ("mae", "corr", "acc7"):
        assert (doubled[metric].low, doubled[metric].high) == pytest.approx((once[metric].low, once[metric].high))


def test_clips_of_one_video_that_err_together_widen_the_interval(tmp_path):
    ids, labels, first, second = simulate(2, together=3.0)
    two_systems(tmp_path / "videos", ids, labels, first, second)
    two_systems(tmp_path / "alone", [name.replace("$_$", "-") for name in ids], labels, first, second)
    by_video, by_clip = (only(tmp_path / name).differences["mae"] for name in ("videos", "alone"))
    assert by_video.high - by_video.low > 1.5 * (by_clip.high - by_clip.low)


def test_the_order_of_rows_and_of_systems_is_irrelevant(tmp_path):
    ids, labels, first, second = simulate(4)
    two_systems(tmp_path, ids, labels, first, second)
    before = only(tmp_path)
    path = before.second.first.folder / "predictions.csv"
    pd.read_csv(path).sample(frac=1, random_state=0).to_csv(path, index=False)
    (after,) = compare(collect(tmp_path).systems[::-1])
    assert after.sentence == before.sentence
    for metric, difference in before.differences.items():
        assert (after.differences[metric].low, after.differences[metric].high) == (difference.low, difference.high)


def test_the_interval_holds_the_truth_about_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 400)
    hits = 0
    for seed in range(200):
        ids, labels, first, second = simulate(1000 + seed, videos=40, per_video=4, better=0.1)
        video = np.arange(len(ids)) // 4
        errors = [np.abs(np.float32(labels) - np.float32(predictions))[None] for predictions in (first, second)]
        of = [bootstrap._mean(error, np.ones(len(ids), bool), video) for error in errors]
        draws = np.concatenate([(of[0](w) - of[1](w)).mean(axis=1) for w in bootstrap._draws(40)])
        interval = bootstrap._difference(np.zeros(1), draws)
        hits += interval.low <= -0.1 <= interval.high
    assert 0.88 <= hits / 200 <= 0.99


@pytest.mark.parametrize(
    "other",
    [
        {"data_hash": "f" * 60},
        {"changes": NO_MSC | {"fusion.epochs": 7}},
        {"modalities": ("t", "a")},
        {"facts": {"precision": "bf16"}},
        {"facts": {"synthetic": True}},
        {"facts": {"from_scratch": True}},
    ],
    ids=["data", "schedule", "modalities", "precision", "synthetic", "encoders"],
)
def test_what_differs_in_more_than_the_objective_is_no_pair(tmp_path, other):
    write_run(tmp_path)
    write_run(tmp_path, variant="other", **({"changes": NO_MSC} | other))
    problems = []
    assert compare(collect(tmp_path).systems, problems) == ()
    assert problems == []


def test_dmmsa_is_held_against_each_other_objective_under_its_name(tmp_path):
    write_run(tmp_path)
    for task in ("msc", "cl", "gdwg", "uni"):
        write_run(tmp_path, variant=f"no-{task}", changes=PARTS[task])
    write_run(tmp_path, variant="tau-2", changes={"objective.weighting.temperature": 2.0})
    found = compare(collect(tmp_path).systems)
    assert {one.first_label for one in found} == {"DMMSA"}
    assert {one.second_label for one in found} == {"w/o MSC", "w/o CL", "w/o GDWG", "w/o Uni", "dmmsa/tau-2"}


def test_recipes_of_other_names_are_a_pair_where_only_the_objective_differs(tmp_path):
    write_run(tmp_path)
    other = write_run(tmp_path, recipe="minilm", changes={"objective.beta": 0.5})
    recipe = (tmp_path / "mosi/dmmsa/full/seed-1/recipe.yaml").read_text()
    (other / "recipe.yaml").write_text(recipe.replace("beta: 1.0", "beta: 0.5", 1).replace("- 12345", "- 7"))
    found = only(tmp_path)
    assert (found.first_label, found.second_label) == ("DMMSA", "minilm/full")  # which is not what its name promises


def test_confede_is_known_by_its_objective(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, recipe="confede", error=1.0)
    found = only(tmp_path)
    assert (found.first_label, found.second_label) == ("DMMSA", "ConFEDE")
    assert found.sentence.startswith("On mosi, DMMSA's MAE is 0.")
    assert "than ConFEDE's (95 % interval over 12 videos: " in found.sentence
    assert "; one seed): " in found.sentence
    assert "; Corr is " in found.sentence
    assert "; Acc-2 is " in found.sentence


def test_only_seeds_that_both_have_are_used(tmp_path):
    for seed in (1, 12, 123):
        write_run(tmp_path, seed=seed)
    for seed in (12, 123, 1234):
        write_run(tmp_path, seed=seed, variant="no-msc", changes=NO_MSC)
    found = only(tmp_path)
    first, second = ({run.seed: run.metrics["mae"] for run in one.runs} for one in (found.first, found.second))
    assert found.differences["mae"].value == pytest.approx(np.mean([first[s] - second[s] for s in (12, 123)]))
    assert f"sd over 2 seeds that both have (12, 123) {found.differences['mae'].seeds_sd:.4f}" in found.sentence


def test_a_single_seed_that_both_have_is_named(tmp_path):
    """The table's row of the first is over two."""
    for seed in (1, 12):
        write_run(tmp_path, seed=seed)
    write_run(tmp_path, seed=12, variant="no-msc", changes=NO_MSC)
    assert "; one seed that both have (12)): " in only(tmp_path).sentence


def _without_a_seed_in_common(folder):
    for path in folder.glob("*/*/no-msc/seed-1/environment.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": 2}))
        path.parent.rename(path.parent.with_name("seed-2"))


def _on_other_encoders(folder):
    for path in folder.glob("*/*/no-msc/seed-1/environment.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"encoder_hashes": {"t": "another"}}))


def _without_predictions(folder):
    next(folder.glob("*/*/no-msc/seed-1/predictions.csv")).unlink()


def _with_half_the_clips(folder):
    run = next(folder.glob("*/*/no-msc/seed-1"))
    table = pd.read_csv(run / "predictions.csv")[:60]
    rewrite(run, table["id"], table["y_true"], table["y_pred"])


def _with_a_clip_twice(folder):
    path = next(folder.glob("*/*/no-msc/seed-1/predictions.csv"))
    table = pd.read_csv(path)
    pd.concat([table, table[:1]]).to_csv(path, index=False)


def _with_metrics_of_other_predictions(folder):
    path = next(folder.glob("*/*/no-msc/seed-1/metrics.json"))
    measured = json.loads(path.read_text())
    measured["test"]["fused"]["mae"] -= 0.1
    path.write_text(json.dumps(measured))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_without_a_seed_in_common, "no seed in common"),
        (_on_other_encoders, "different pretrained encoders"),
        (_without_predictions, "predictions.csv is missing"),
        (_with_half_the_clips, "other clips or labels"),
        (_with_a_clip_twice, "twice"),
        (_with_metrics_of_other_predictions, "contradict"),
    ],
)
def test_a_pair_that_cannot_be_compared_is_told_and_left_out(tmp_path, damage, words):
    write_run(tmp_path)
    write_run(tmp_path, variant="no-msc", changes=NO_MSC)
    write_run(tmp_path, variant="no-cl", changes={"objective.cl.enabled": False})
    damage(tmp_path)
    problems = []
    (found,) = compare(collect(tmp_path).systems, problems)
    assert found.second_label == "w/o CL"
    (problem,) = problems
    assert problem.startswith("mosi: DMMSA against w/o MSC is left out. ")
    assert words in problem


def test_one_video_alone_is_no_sample(tmp_path):
    two_systems(tmp_path, ["a$_$1", "a$_$2"], [1.0, -1.0], [1.0, -1.5], [2.0, 1.0])
    problems = []
    assert compare(collect(tmp_path).systems, problems) == ()
    assert "one video" in problems[0]


def test_one_clip_alone_is_no_sample(tmp_path):
    with pytest.warns(UserWarning, match="constant|one"):
        two_systems(tmp_path, ["a"], [1.0], [1.0], [2.0])
    problems = []
    assert compare(collect(tmp_path).systems, problems) == ()
    assert "a single clip" in problems[0]


def test_few_videos_and_synthetic_data_are_told(tmp_path):
    two_systems(tmp_path, *simulate(5, videos=6, better=0.9), dataset="toy")
    found = only(tmp_path)
    assert found.sentence.startswith("On toy (SYNTHETIC data, tiny BERT), ")
    assert "6 videos, too few to trust it" in found.sentence
    assert "): too few to tell; " in found.sentence
    assert found.verdict("mae") == "too few to tell"
    (view,) = comparison_groups([found])[0].comparisons
    assert view.bar.noise
    (row,) = [row for row in view.rows if row["metric"] == "MAE"]
    assert row["verdict"] == "too few to tell"
    rows = csv.DictReader(io.StringIO(comparisons_csv(Report(Collection(), (), (found,)))))
    verdicts = {row["metric"]: row["verdict"] for row in rows}
    assert verdicts == {metric: found.verdict(metric) for metric in found.differences}
    assert verdicts["mae"] == "too few to tell"


def test_the_verdict_is_the_same_wherever_it_stands(tmp_path):
    for place, better in enumerate((0.0, 0.02, 0.3)):
        two_systems(tmp_path / "runs", *simulate(5, better=better), dataset=f"own{place}")
    comparisons = compare(collect(tmp_path / "runs").systems)
    assert len(comparisons) == 3
    rows = list(csv.DictReader(io.StringIO(comparisons_csv(Report(Collection(), (), comparisons)))))
    for found in comparisons:
        verdicts = {metric: found.verdict(metric) for metric in found.differences}
        assert {row["metric"]: row["verdict"] for row in rows if row["dataset"] == found.first.dataset} == verdicts
        (view,) = comparison_groups([found])[0].comparisons
        assert [row["verdict"] for row in view.rows] == list(verdicts.values())
        assert f"): {verdicts['mae']}; Corr is " in found.sentence
        assert f", {verdicts['corr']}; Acc-2 is " in found.sentence
        assert found.sentence.endswith(f", {verdicts['acc2_has0']}.")
        assert view.bar.noise == (verdicts["mae"] != "more than the noise of the clips")
    assert {found.verdict("mae") for found in comparisons} > {"within noise"}


@pytest.mark.parametrize("few", [False, True])
def test_ids_that_name_no_videos_are_told_as_clips(tmp_path, few):
    ids, *scores = simulate(5, videos=4 if few else 40, per_video=2, better=0.9)
    two_systems(tmp_path, [name.replace("$_$", "-") for name in ids], *scores)
    found = only(tmp_path)
    assert found.videos is None
    count = 8 if few else 80
    assert f"95 % interval over {count} clips{', too few to trust it' * few}: " in found.sentence
    assert "video" not in found.sentence
    assert (found.verdict("mae") == "too few to tell") == few
    (view,) = comparison_groups([found])[0].comparisons
    assert view.clips == f"{count} clips, whose ids name no videos"
    (row, *_) = csv.DictReader(io.StringIO(comparisons_csv(Report(Collection(), (), (found,)))))
    assert (row["videos"], row["clips"]) == ("", str(count))


def test_conditions_stand_in_the_sentence(tmp_path):
    kind = {"recipe": "minilm", "modalities": ("t", "a"), "published": False}
    two_systems(tmp_path, *simulate(5), **kind)
    assert only(tmp_path).sentence.startswith("On mosi (MiniLM, text+audio, not the published file), DMMSA's MAE is ")


def test_a_constant_prediction_has_no_corr_and_no_crash(tmp_path):
    ids, labels, first, _ = simulate(5)
    with pytest.warns(UserWarning, match="constant"):
        two_systems(tmp_path, ids, labels, first, np.full(len(ids), 0.5))
    found = only(tmp_path)
    assert "corr" not in found.differences
    assert "Corr" not in found.sentence


def test_ten_thousand_draws_come_in_parts_that_fit_into_memory():
    parts = list(bootstrap._draws(600))
    assert [part.shape for part in parts] == [(1_000, 600)] * 10
    assert all((part.sum(axis=1) == 600).all() for part in parts)  # as many videos as there are, with replacement
    assert np.concatenate(parts).mean(axis=0) == pytest.approx(np.ones(600), abs=0.06)  # six standard errors
    assert all(np.array_equal(part, again) for part, again in zip(parts, bootstrap._draws(600), strict=True))


def test_a_difference_that_no_printed_digit_shows_is_not_called_real(tmp_path):
    for variant, changes in (("full", None), ("no-gdwg", {"objective.weighting.name": "equal"})):
        folder = write_run(tmp_path, variant=variant, changes=changes)
        table = pd.read_csv(folder / "predictions.csv")
        # No seed of the writer's own: the same predictions, moved by a hair, and always to the worse.
        noise = np.random.default_rng(1).normal(0, 0.5, len(table))
        hair = 1e-5 * np.sign(noise) * (variant == "no-gdwg")
        table["y_pred"] = (table["y_true"] + noise + hair).astype(np.float32)
        found = score(table["y_true"], table["y_pred"], metrics="mosi", score_range=3.0)
        measured(folder, table, {"fused": found})
    (comparison,) = compare(collect(tmp_path).systems)
    assert comparison.differences["mae"].high < 0  # every draw of videos says so
    assert "MAE is equal to that of w/o GDWG" in comparison.sentence
    assert comparison.verdict("mae") == "within noise"
    assert "more than the noise" not in comparison.sentence


def test_what_is_said_to_be_equal_is_not_said_to_be_more_than_noise(tmp_path):
    for variant, changes in (("full", None), ("no-gdwg", {"objective.weighting.name": "equal"})):
        write_run(tmp_path, variant=variant, changes=changes)
    (comparison,) = compare(collect(tmp_path).systems)
    hair = {"value": -4e-5, "low": -9e-5, "high": -1e-5}  # the interval's far end would be printed, the value is not
    with_hair = {name: replace(found, **hair) for name, found in comparison.differences.items()}
    assert replace(comparison, differences=with_hair).verdict("mae") == "within noise"
    seen = {name: replace(found, **hair | {"value": -6e-5}) for name, found in comparison.differences.items()}
    assert replace(comparison, differences=seen).verdict("mae") == "more than the noise of the clips"


def with_text_alone(folder, off=0.9, metrics=None):
    """Give a run what its text encoder says alone: the labels, missed by so much."""
    table = pd.read_csv(folder / "predictions.csv").drop(columns=["weights", "data"])
    signs = np.where(np.arange(len(table)) % 3, 1, -1)
    table["text_alone"] = (table["y_true"] + off * signs).astype(np.float32)
    fused, alone = (
        score(table["y_true"], table[name], metrics="mosi", score_range=3.0) for name in ("y_pred", "text_alone")
    )
    measured(folder, table, {"fused": without_nan(fused), "text": without_nan(alone | (metrics or {}))})
    return fused["mae"] - alone["mae"]


def test_dmmsa_is_held_against_its_own_text_alone(tmp_path):
    found = [with_text_alone(write_run(tmp_path, seed=seed), off) for seed, off in ((1, 0.9), (12, 1.1))]
    write_run(tmp_path, recipe="confede")
    against, rival = compare(collect(tmp_path).systems)
    assert (against.first_label, against.second_label) == ("DMMSA", "text alone")
    assert rival.second_label == "ConFEDE"
    assert against.differences["mae"].value == pytest.approx(np.mean(found), abs=1e-6)
    assert against.differences["mae"].seeds_sd == pytest.approx(np.std(found, ddof=1), abs=1e-6)
    assert "DMMSA's MAE is" in against.sentence
    assert "lower (better) than that of text alone (95 % interval over 12 videos: " in against.sentence


def test_without_what_text_says_alone_there_is_nothing_to_hold_against(tmp_path):
    with_text_alone(write_run(tmp_path))
    write_run(tmp_path, seed=12)  # evaluated by an older dmmsa
    assert compare(collect(tmp_path).systems) == ()


def test_text_alone_that_contradicts_its_metrics_is_told(tmp_path):
    with_text_alone(write_run(tmp_path), metrics={"mae": 0.1})
    problems = []
    assert compare(collect(tmp_path).systems, problems) == ()
    assert "DMMSA against text alone is left out." in problems[0]
    assert "the MAE is another" in problems[0]


def test_the_sentence_says_what_is_better(tmp_path):
    for variant, error in (("full", 0.8), ("no-msc", 0.5)):
        write_run(tmp_path, variant=variant, error=error, changes=PARTS["msc"] if variant != "full" else None)
    better = only(tmp_path)
    assert " higher (worse) than that of w/o MSC (" in better.sentence
    assert re.search(r"Corr is 0\.\d{4} lower \(worse\), ", better.sentence)
    write_run(tmp_path, dataset="sims", variant="no-msc", error=0.9, changes=PARTS["msc"])
    write_run(tmp_path, dataset="sims", error=0.5)
    other = next(one for one in compare(collect(tmp_path).systems) if one.first.dataset == "sims")
    assert " lower (better) than that of w/o MSC (" in other.sentence
    assert re.search(r"Corr is 0\.\d{4} higher \(better\), ", other.sentence)


def test_what_is_found_on_the_same_data_stands_together_and_says_so_once(runs_dir):
    places = by_place(compare(collect(runs_dir).systems))
    assert list(places) == ["mosi", "toy (SYNTHETIC data, tiny BERT)"]
    assert [len(some) for some in places.values()] == [3, 1]
    for place, some in places.items():
        assert all(one.sentence == f"On {place}, {one.finding}" for one in some)


def test_a_studys_own_name_for_a_variant_stands_in_the_sentence(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, variant="gdwg-2", changes={"objective.weighting.temperature": 2.0})
    (comparison,) = compare(collect(tmp_path).systems)
    assert comparison.second_label == "τ = 2"


def test_two_recipes_that_both_are_all_of_dmmsa_are_told_apart(tmp_path):
    for recipe in ("dmmsa", "mosei-dmmsa"):
        write_run(tmp_path, recipe=recipe)
        write_run(tmp_path, recipe=recipe, variant="no-cl", changes=PARTS["cl"])
    found = [comparison.sentence for comparison in compare(collect(tmp_path).systems)]
    assert len(found) == len(set(found)) > 1
    assert any("mosei-dmmsa" in name for name in found)
