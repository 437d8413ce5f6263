"""The papers' systems beside each other: their rows, what others got, sentences, collapse, and the figure."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from dmmsa_cli.data.prediction_table import read_predictions, write_predictions
from dmmsa_cli.experiments.studies import load_study
from dmmsa_cli.metrics import score
from dmmsa_cli.models import MODELS
from dmmsa_cli.reporting.bootstrap import Side, interval
from dmmsa_cli.reporting.collection import collect
from dmmsa_cli.reporting.comparison import compare
from dmmsa_cli.reporting.figures.subjects import subjects
from dmmsa_cli.reporting.figures.systems import by_mae, drawn_from, on_page, on_paper, printed
from dmmsa_cli.reporting.figures.write import draw
from dmmsa_cli.reporting.groups import label
from dmmsa_cli.reporting.published import load_published, printed_maes
from dmmsa_cli.reporting.tables import build_tables
from tests.reporting.conftest import measured, write_run

BASELINES = {
    "lf-dnn": "LF-DNN",
    "tfn": "TFN",
    "lmf": "LMF",
    "mfn": "MFN",
    "mult": "MulT",
    "misa": "MISA",
    "mag-bert": "MAG-BERT",
    "self-mm": "Self-MM",
}
SISTERS = {
    "mmiln": "MMILN",
    "sequential-mtl": "Sequential-MTL (structure inferred)",
    "mmolre": "MMoLRE",
    "mean-pooling": "Mean pooling",
}  # of papers of their own, or of none
NONE = {"encoders": {}, "encoder_hashes": {}}  # such a system stands on no encoder that was trained here
SENTENCES = "dmmsa-table-2", "dmmsa-table-3-mosi", "dmmsa-table-3-mosei"


def baseline(folder, recipe="mult", dataset="mosi", **more):
    return write_run(folder, dataset=dataset, recipe=recipe, facts=NONE, **more)


def tables(folder):
    return {table.id: table for table in build_tables(collect(folder).systems)}


def predicted(folder, values):
    """Give a run other predictions."""
    table = pd.read_csv(folder / "predictions.csv")[["id", "text", "y_true"]]
    table["y_pred"] = np.asarray(values, np.float32)
    found = score(table["y_true"].to_numpy(np.float32), table["y_pred"].to_numpy(), metrics="mosi", score_range=3.0)
    measured(folder, table, {"fused": {k: None if np.isnan(v) else v for k, v in found.items()}})


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", SISTERS)
def test_a_sister_system_is_called_as_its_paper_calls_it(tmp_path, recipe):
    baseline(tmp_path, recipe)
    baseline(tmp_path, recipe, variant="mine", changes={"fusion.epochs": 3})
    assert {label(one) for one in collect(tmp_path).systems} == {SISTERS[recipe], f"{recipe}/mine"}


@pytest.mark.parametrize(("recipe", "name"), BASELINES.items())
def test_a_network_is_called_as_the_papers_call_it(tmp_path, recipe, name):
    baseline(tmp_path, recipe)
    baseline(tmp_path, f"{recipe}-released")
    baseline(tmp_path, recipe, variant="mine", changes={"fusion.epochs": 3})
    baseline(tmp_path, recipe, variant="full", called=f"{recipe}-short", changes={"fusion.epochs": 3})
    labels = {(one.recipe_name, one.variant): label(one) for one in collect(tmp_path).systems}
    assert labels == {
        (recipe, "full"): name,
        (f"{recipe}-released", "full"): name,
        (recipe, "mine"): f"{recipe}/mine",
        (f"{recipe}-short", "full"): name,
    }


def test_a_network_that_is_trained_otherwise_than_its_paper_says_is_called_by_its_recipe(tmp_path):
    changes = {"objective": {"name": "regression", "loss": "l1"}}
    baseline(tmp_path, "self-mm", called="self-mm-alone", changes=changes)
    baseline(tmp_path, "misa", changes={"fusion.epochs": 3})
    assert {label(one) for one in collect(tmp_path).systems} == {"self-mm-alone/full", "misa/full"}


# --- rows of tables ---------------------------------------------------------------------------------------------------


def test_every_published_row_of_tables_2_and_3_has_runs_that_answer_to_it():
    known = {name: MODELS[name].title for name in MODELS}
    for table in load_published().tables:
        if table.id in SENTENCES:
            for row in table.rows:
                assert row.ours is not None, row.name
                assert known[row.ours.model] in ("", row.system)


@pytest.mark.parametrize("recipe", BASELINES)
@pytest.mark.parametrize(("dataset", "table"), [("mosi", "dmmsa-table-3-mosi"), ("mosei", "dmmsa-table-3-mosei")])
def test_a_row_of_ones_own_stands_under_every_published_one(tmp_path, recipe, dataset, table):
    on = f"{dataset}-aligned" if recipe in ("mfn", "mag-bert") else dataset
    folder = tmp_path / on / recipe / "full" / "seed-1"
    write_run(tmp_path, dataset=dataset, recipe=recipe, facts=NONE | {"dataset": on, "recipes": dataset})
    if on != dataset:
        folder.parent.mkdir(parents=True)
        (tmp_path / dataset / recipe / "full" / "seed-1").rename(folder)
    rows = tables(tmp_path)[table].rows
    (place,) = [i for i, row in enumerate(rows) if row.ours]
    if recipe == "self-mm":  # the one that stands in Table 2 alone: the paper has no number of it on these
        assert rows[place].label == "ours, Self-MM (1 seed)"
        return
    above = [row for row in rows[:place] if not row.further][-1]
    assert above.label.removesuffix("(A)") == BASELINES[recipe]
    assert rows[place].label == ("ours, aligned (1 seed)" if on != dataset else "ours (1 seed)")


SISTER_TABLES = [
    ("mmiln", "mosi", "mmiln-table-2-mosi", "MMILN"),
    ("mmiln", "mosei", "mmiln-table-2-mosei", "MMILN"),
    ("mmiln", "mosei", "mmiln-table-3", "MMILN"),
    ("sequential-mtl", "mosi", "seqmtl-table-4", "Sequential-MTL"),
    ("sequential-mtl", "mosei", "seqmtl-table-3", "Sequential-MTL"),
    ("sequential-mtl", "mosei", "seqmtl-table-5", "none off"),
    ("mmolre", "mosi", "mmolre-table-1-mosi", "MMoLRE"),
    ("mmolre", "mosei", "mmolre-table-1-mosei", "MMoLRE"),
]


@pytest.mark.parametrize(("recipe", "dataset", "table", "printed_name"), SISTER_TABLES)
def test_a_row_of_ones_own_stands_under_that_of_a_sister_system(tmp_path, recipe, dataset, table, printed_name):
    baseline(tmp_path, recipe, dataset)
    found = tables(tmp_path)[table]
    (place,) = [i for i, row in enumerate(found.rows) if row.ours]
    assert found.rows[place - 1].label == printed_name
    inferred = recipe == "sequential-mtl"
    assert found.rows[place].label == ("ours, structure inferred (1 seed)" if inferred else "ours (1 seed)")
    told = {
        "sequential-mtl": "Structure inferred",
        "mmiln": "Ours is trained on",
        "mmolre": "Ours reads the text encoder",
    }
    assert any(note.startswith(told[recipe]) for note in found.notes)
    (own,) = tables(tmp_path)[f"{dataset}-runs"].rows[-1:]
    assert own.label == (f"{recipe} full, structure inferred (1 seed)" if inferred else f"{recipe} full (1 seed)")


@pytest.mark.parametrize(
    ("study", "table", "recipe"),
    [
        ("mmiln", "mmiln-table-3", "mmiln"),
        ("sequential-mtl", "seqmtl-table-5", None),
        ("mmolre-ranks", "mmolre-table-3", "mmolre"),
    ],
)
def test_ablations_of_a_sister_system_stand_under_the_published_ones_and_in_a_table_of_their_own(
    tmp_path, study, table, recipe
):
    """Though DMMSA itself, whose recipe the study is run with, has not been run."""
    variants = load_study(study).variants
    for variant in variants:
        baseline(tmp_path, recipe or study, "mosei", variant=variant.name, changes=variant.set)
    found = tables(tmp_path)
    rows, printed_rows = found[table].rows, {row.name: row.ours for row in load(table).rows}
    under = {rows[i - 1].label for i, row in enumerate(rows) if row.ours}
    assert under == {name for name, ours in printed_rows.items() if ours}
    assert {ours.variant for ours in printed_rows.values() if ours} == {variant.name for variant in variants}
    own = found[f"mosei-{study}"]
    assert [row.label for row in own.rows] == [f"{variant.title} (1 seed)" for variant in variants]
    assert own.title.endswith(f": {recipe or study} on mosei")
    assert not [note for note in own.notes if note.startswith(("Not run", "Left out"))]


def load(table):
    return next(one for one in load_published().tables if one.id == table)


def test_other_networks_of_mmilns_table_have_rows_of_ones_own_too(tmp_path):
    baseline(tmp_path, "self-mm")
    rows = tables(tmp_path)["mmiln-table-2-mosi"].rows
    (place,) = [i for i, row in enumerate(rows) if row.ours]
    assert rows[place - 1].label == "Self-MM"


def test_released_settings_are_named(tmp_path):
    baseline(tmp_path, "mult")
    baseline(tmp_path, "mult-released")
    labels = [row.label for row in tables(tmp_path)["dmmsa-table-3-mosi"].rows if row.ours]
    assert labels == ["ours (1 seed)", "ours, recipe mult-released (1 seed)"]


def test_a_row_that_was_changed_stands_under_no_published_one(tmp_path):
    baseline(tmp_path, "mult", changes={"model.layers": 1})
    table = tables(tmp_path)["dmmsa-table-3-mosi"]
    assert not [row for row in table.rows if row.ours]
    assert any("mult/full (seed 1)" in note and "model.layers 1 (not 4)" in note for note in table.notes)


def test_what_others_got_stands_under_it_too_and_is_no_best_number():
    found = {table.id: table for table in build_tables([])}
    rows = {row.label: row for row in found["dmmsa-table-3-mosi"].rows}
    order = list(rows)
    at = order.index("MulT(A)")
    assert order[at + 1 : at + 4] == [
        "MulT: MMSA's own runs",
        "MulT: MMSA, run again",
        "MulT: reimplemented",
    ]
    again = rows["MAG-BERT: MMSA, run again"]
    assert [cell.text for cell in again.cells] == ["-/-", "-/-", "-", "0.7380", "0.7891"]
    assert [cell.spread for cell in again.cells] == ["", "", "", "0.0226", ""]
    assert order[-1] == "text only, BERT tuned: reimplemented"
    assert not [mark for row in rows.values() if row.further for cell in row.cells for mark in cell.marks if mark]
    assert rows["DMMSA"].cells[3].marks == ("best",)  # 0.710, though Self-MM's code has 0.7080
    assert [row.label for row in found["dmmsa-table-2"].rows if row.further] == [
        f"{name}: MMSA's own runs" for name in ("LF-DNN", "MFN", "LMF", "TFN", "MulT", "Self-MM")
    ]
    assert any("'MMSA, run again': github.com/youngwhite/msa" in note for note in found["dmmsa-table-3-mosi"].notes)


def test_further_rows_have_the_numbers_of_their_source():
    assert dict(printed_maes("mosei")["Self-MM"]) == {"MMSA's own runs": 0.5309}
    assert dict(printed_maes("mosi")["MulT"]) == {
        "DMMSA's paper": 0.871,
        "MMSA's own runs": 0.8799,
        "MMSA, run again": 0.9270,
        "reimplemented": 0.8997,
    }


# --- the study --------------------------------------------------------------------------------------------------------


def test_the_study_has_a_table_of_all(tmp_path):
    named = [variant.title for variant in load_study("systems").variants]
    others = BASELINES | SISTERS
    assert sorted(named) == sorted(["DMMSA", "ConFEDE", *others.values()])
    for recipe in ("minilm", "minilm-confede", *(f"minilm-{name}" for name in others)):
        facts = NONE if recipe.removeprefix("minilm-") in others else None
        write_run(tmp_path, recipe=recipe, modalities=("t", "a"), published=False, facts=facts)
    table = tables(tmp_path)["mosi-systems-minilm"]
    assert [row.label for row in table.rows] == [f"{name} (1 seed)" for name in named]
    assert not [note for note in table.notes if note.startswith(("Not run", "Left out"))]


# --- sentences --------------------------------------------------------------------------------------------------------


def test_dmmsa_is_held_against_each_network_of_its_protocol(tmp_path):
    for seed in (1, 12, 123):
        write_run(tmp_path, seed=seed, error=0.6)
        baseline(tmp_path, "mult", seed=seed, error=1.0)
        baseline(tmp_path, "self-mm-released", seed=seed, error=1.0)
        baseline(tmp_path, "lmf", seed=seed, changes={"text.max_tokens": 40}, called="lmf-short", error=1.0)
    systems, problems = collect(tmp_path).systems, []
    (found,) = compare(systems, problems)
    assert (found.first_label, found.second_label) == ("DMMSA", "MulT")
    assert problems == []  # the others are no rivals, and need no excuse
    assert [label(one) for one in subjects(systems)[0].rivals] == ["MulT"]
    assert found.sentence.startswith("On mosi, DMMSA's MAE is 0.")
    assert "lower (better) than MulT's (95 % interval over 12 videos" in found.sentence
    assert "sd over 3 seeds" in found.sentence
    assert "more than the noise of the clips" in found.sentence


@pytest.mark.parametrize("both", [False, True])
def test_a_system_on_aligned_data_is_held_against_dmmsa_on_the_same_clips(tmp_path, both):
    """And where DMMSA has been trained on aligned data too, against that one alone."""
    write_run(tmp_path)
    moved = [("mfn", NONE)] + ([("dmmsa", {})] if both else [])
    for recipe, facts in moved:
        more = {"dataset": "mosi-aligned", "recipes": "mosi", "data_hash": "aa" * 32}
        source = write_run(tmp_path / "other", recipe=recipe, facts=facts | more)
        folder = tmp_path / "mosi-aligned" / recipe / "full" / "seed-1"
        folder.parent.mkdir(parents=True)
        source.rename(folder)
        made_from = json.loads((folder / "metrics.json").read_text())
        made_from["made_from"]["test"]["data"] = "aa" * 32
        (folder / "metrics.json").write_text(json.dumps(made_from))
        table = pd.read_csv(folder / "predictions.csv").assign(data="aa" * 32)
        table.to_csv(folder / "predictions.csv", index=False)
    problems = []
    found = [(c.first.dataset, c.second_label) for c in compare(collect(tmp_path).systems, problems)]
    assert problems == []
    assert found == [("mosi-aligned", "MFN")] if both else [("mosi", "MFN on mosi-aligned")]


# --- collapse ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "collapsed"), [(0.049, True), (0.051, False)])
def test_a_run_whose_predictions_barely_vary_is_named_and_stays_in_the_mean(tmp_path, share, collapsed):
    for seed in (1, 12):
        folder = baseline(tmp_path, "mult", seed=seed)
        if seed == 12:
            labels = pd.read_csv(folder / "predictions.csv")["y_true"]
            predicted(folder, 0.3 + share * (labels - labels.mean()))
    found = tables(tmp_path)
    for name in ("dmmsa-table-3-mosi", "mosi-runs"):
        told = [note for note in found[name].notes if note.startswith("Collapsed")]
        assert len(told) == collapsed
        assert all("seed 12 (sd 0.0" in note and "seed 1 " not in note for note in told)
        assert len([row for row in found[name].rows if row.ours and "2 seeds" in row.label]) == 1


# --- the figure -------------------------------------------------------------------------------------------------------


@pytest.fixture
def several(tmp_path):
    for seed in (1, 12, 123):
        write_run(tmp_path, seed=seed, error=0.6)
        baseline(tmp_path, "mult", seed=seed, error=1.0)
        baseline(tmp_path, "misa", seed=seed, error=0.8)
    return collect(tmp_path).systems


def test_systems_stand_by_their_mae_with_intervals(several):
    table = by_mae(several)
    assert list(table["name"]) == ["DMMSA", "MISA", "MulT"]
    for system in several:
        row = table[table["name"] == label(system)].iloc[0]
        maes = [run.metrics["mae"] for run in system.runs]
        assert row["mae"] == pytest.approx(np.mean(maes))
        assert row["sd"] == pytest.approx(np.std(maes, ddof=1))
        assert row["low"] < row["mae"] < row["high"]


def test_the_interval_is_that_of_the_videos(several):
    """Against the interval of a normal distribution, which that of so many clips comes near to."""
    (full,) = [one for one in several if label(one) == "DMMSA"]
    side = Side.of(full, full.seeds)
    errors = np.abs(side.predictions - side.clips["y_true"].to_numpy()).mean(0)
    by_video = pd.Series(errors).groupby(side.clips["video"].to_numpy()).mean()
    half = 1.96 * by_video.std(ddof=1) / np.sqrt(len(by_video))
    low, high = interval(side, "mae")
    assert (low, high) == pytest.approx((errors.mean() - half, errors.mean() + half), abs=0.3 * half)


@pytest.mark.parametrize(("ids", "drawn"), [("video{}$_${}", "videos"), ("{}x{}", "clips")])
def test_intervals_are_over_videos_where_ids_name_some(several, tmp_path, ids, drawn):
    for path in tmp_path.glob("*/*/*/*/predictions.csv"):
        table = read_predictions(path)
        write_predictions(path, table.assign(id=[ids.format(i % 12, i) for i in range(len(table))]))
    found = collect(tmp_path).systems
    assert drawn_from(found) == drawn
    (drawing,) = [drawing for drawing in draw(found) if drawing.id == "systems-mosi"]
    assert f"intervals over {drawn}." in drawing.caption
    assert f"95 %, over {drawn}" in [text.get_text() for text in drawing.canvas.axes[0].get_legend().get_texts()]


def test_published_values_are_open_marks_of_the_same_systems(several):
    found = printed(by_mae(several), several[0])
    assert list(dict.fromkeys(found["source"])) == [
        "DMMSA's paper",
        "MMSA's own runs",
        "MMSA, run again",
        "reimplemented",
    ]
    assert set(found["name"]) == {"DMMSA", "MISA", "MulT"}
    (subject,) = subjects(several)
    drawing = on_paper(subject)
    axes = drawing.canvas.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["DMMSA", "MISA", "MulT"]
    open_marks = [c for c in axes.collections if isinstance(c, PathCollection) and not len(c.get_facecolor())]
    assert sum(len(c.get_offsets()) for c in open_marks) == len(found)
    (variant,) = on_page(several).variants
    marks = [trace for trace in variant.panels[0].data if str(trace["marker"].get("symbol", "")).endswith("-open")]
    assert sum(len(trace["x"]) for trace in marks) == len(found)


def test_dmmsa_alone_makes_no_such_figure(tmp_path):
    write_run(tmp_path)
    systems = collect(tmp_path).systems
    assert on_paper(subjects(systems)[0]) is None
    assert on_page(systems).variants == ()


def test_made_up_data_have_no_published_marks(tmp_path):
    write_run(tmp_path, dataset="toy")
    baseline(tmp_path, "mult", dataset="toy")
    systems = collect(tmp_path).systems
    assert len(printed(by_mae(systems), systems[0])) == 0
    assert "SYNTHETIC" in on_paper(subjects(systems)[0]).caption
