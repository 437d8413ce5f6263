import json
from pathlib import Path

import pytest
import yaml

from dmmsa_cli.commands import work_in
from dmmsa_cli.experiments.variants import PARTS
from dmmsa_cli.reporting.collection import collect
from dmmsa_cli.reporting.contents import Cell, Row
from dmmsa_cli.reporting.marks import with_marks
from dmmsa_cli.reporting.results import Column
from dmmsa_cli.reporting.tables import build_tables
from tests.reporting.conftest import write_run


def tables(folder, **options):
    return {table.id: table for table in build_tables(collect(folder).systems, **options)}


def labels(table):
    return [row.label for row in table.rows]


def ours(table):
    return [row.label for row in table.rows if row.ours]


def texts(table, label):
    return [cell.text for cell in next(row for row in table.rows if row.label == label).cells]


# --- published tables -----------------------------------------------------------------------------------------------


def test_table_3_has_the_papers_rows_columns_decimals_and_cells(tmp_path):
    table = tables(tmp_path)["dmmsa-table-3-mosi"]
    assert [column.heading for column in table.columns] == ["Acc-2 ↑", "F1 ↑", "Acc-7 ↑", "MAE ↓", "Corr ↑"]
    assert [row.label for row in table.rows if not row.further][:3] == ["LF-DNN", "MFN(A)", "LMF"]
    assert texts(table, "MFN(A)") == ["77.4/-", "77.3/-", "34.1", "0.965", "0.632"]
    assert texts(table, "MulT(A)") == ["-/83.0", "-/82.8", "40.0", "0.871", "0.698"]
    assert texts(table, "DMMSA") == ["83.97/85.70", "83.92/85.70", "45.39", "0.710", "0.793"]
    assert "Applied Sciences" in table.source


def test_marks_are_those_of_the_paper(tmp_path):
    rows = {row.label: row for row in tables(tmp_path)["dmmsa-table-3-mosei"].rows}
    assert rows["MAG-BERT"].cells[0].marks == ("", "best")
    assert rows["MISA(A)"].cells[0].marks == ("best", "")
    assert rows["DMMSA"].cells[0].marks == ("second", "second")
    assert [rows[name].cells[3].marks for name in ("DMMSA", "ConFEDE", "MISA(A)")] == [
        ("best",),
        ("second",),
        ("second",),  # 0.555 both
    ]


def test_our_row_stands_below_the_published_one_it_answers_to(runs_dir):
    table = tables(runs_dir)["dmmsa-table-5"]
    assert labels(table) == ["DMMSA", "ours (3 seeds)", "w/o MSC", "w/o CL", "w/o GDWG"]
    row = table.rows[1]
    found = next(s for s in collect(runs_dir).systems if s.dataset == "sims").summary
    assert row.cells[0].text == f"{100 * found.mean['acc3']:.2f}"
    assert row.cells[0].spread == f"{100 * found.sd['acc3']:.2f}"
    assert row.cells[2].text == f"{found.mean['mae']:.4f}"  # as the most precise published MAE
    assert row.cells[3].text == f"{found.mean['corr']:.3f}"
    assert row.values["acc3"] == 100 * found.mean["acc3"]
    assert row.cells[0].marks == ("",)


def test_mae_and_corr_of_ours_have_three_decimals_at_least(runs_dir):
    cells = next(row for row in tables(runs_dir)["mmiln-table-2-mosi"].rows if row.ours).cells
    assert [len(cell.text.partition(".")[2]) for cell in cells[2:]] == [3, 3]


def test_rows_that_would_share_a_label_are_told_apart(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, seed=12, data_hash="deadbeef" * 8)
    write_run(tmp_path, seed=123, facts={"precision": "bf16"})
    write_run(tmp_path, recipe="minilm", modalities=("t", "a"), published=False)
    found = ours(tables(tmp_path)["dmmsa-table-3-mosi"])
    assert len(set(found)) == len(found) == 4
    assert "ours, data c0ffeec0, float32 (1 seed)" in found
    assert "ours, data c0ffeec0, bf16 (1 seed)" in found
    assert "ours, data deadbeef (1 seed)" in found
    assert "ours, MiniLM, text+audio, not the published file (1 seed)" in found


def test_settings_tell_apart_what_nothing_else_does(tmp_path):
    for seed, epochs in ((1, 5), (12, 7)):
        write_run(tmp_path, called="mine", seed=seed, changes={"fusion.epochs": epochs})
    found = ours(tables(tmp_path)["dmmsa-table-3-mosi"])
    assert found == [f"ours, recipe mine, fusion.epochs {epochs} (1 seed)" for epochs in (5, 7)]


def test_rows_below_different_published_ones_carry_their_names(tmp_path):
    for recipe in ("dmmsa", "confede", "confede-released"):
        write_run(tmp_path, dataset="sims", recipe=recipe)
    table = tables(tmp_path)["dmmsa-table-2"]
    assert labels(table)[-5:] == [
        "ConFEDE",
        "ours, ConFEDE (1 seed)",
        "ours, ConFEDE, recipe confede-released (1 seed)",
        "DMMSA",
        "ours, DMMSA (1 seed)",
    ]


def test_a_recipe_of_ones_own_is_named(tmp_path):
    write_run(tmp_path, called="mine")
    assert ours(tables(tmp_path)["dmmsa-table-3-mosi"]) == ["ours, recipe mine (1 seed)"]


def test_dmmsa_stands_at_the_end_of_related_papers_tables(runs_dir):
    table = tables(runs_dir)["mmolre-table-1-mosi"]
    assert labels(table)[-2:] == ["MMoLRE", "ours, DMMSA (3 seeds)"]
    unknown = tables(runs_dir)["seqmtl-table-4"].rows[-1]
    assert [cell.text for cell in unknown.cells[1:3]] == ["-", "-"]  # which Acc-2 that is, nobody says


def test_synthetic_runs_never_stand_beside_published_numbers(tmp_path):
    write_run(tmp_path, facts={"synthetic": True})  # under the name of a published dataset
    write_run(tmp_path, dataset="toy")
    found = tables(tmp_path)
    assert [name for name, table in found.items() if ours(table)] == ["mosi-runs", "toy-runs"]
    assert all(row.ours for name in ("mosi-runs", "toy-runs") for row in found[name].rows)
    assert found["toy-runs"].synthetic
    assert "SYNTHETIC" in found["toy-runs"].title
    assert "SYNTHETIC" in found["toy-runs"].notes[0]


def test_variants_that_a_table_has_not_do_not_enter_it(tmp_path):
    write_run(tmp_path, dataset="sims", variant="no-uni", changes={"objective.uni.enabled": False})
    assert not ours(tables(tmp_path)["dmmsa-table-5"])


@pytest.mark.parametrize(
    ("table", "command"),
    [
        ("dmmsa-table-2", "`dmmsa fuse --dataset sims --recipe confede`"),
        ("dmmsa-table-2", "`dmmsa fuse --dataset sims`"),
        ("dmmsa-table-3-mosei", "`dmmsa evaluate --dataset mosei`"),
        ("dmmsa-table-4", "`dmmsa ablate --dataset mosei --study data`"),
        ("dmmsa-table-5", "`dmmsa ablate --dataset sims --study objectives`"),
    ],
)
def test_a_table_without_runs_names_the_command(tmp_path, table, command):
    assert command in tables(tmp_path)[table].notes[-1]


def test_commands_name_a_folder_that_is_not_the_usual_one(tmp_path):
    work_in(runs_dir=Path("other"))
    note = tables(tmp_path)["dmmsa-table-5"].notes[-1]
    assert "--study objectives --runs-dir other`" in note


def test_a_table_with_all_its_runs_names_no_command(tmp_path):
    for variant, task in (("full", None), ("no-msc", "msc"), ("no-cl", "cl"), ("no-gdwg", "gdwg")):
        changes = PARTS[task] if task else None
        write_run(tmp_path, dataset="sims", variant=variant, changes=changes)
    assert not any("dmmsa ablate" in note for note in tables(tmp_path)["dmmsa-table-5"].notes)


def test_one_dataset_is_all_that_is_asked_for(runs_dir):
    found = tables(runs_dir, dataset="sims")
    assert {table.dataset for table in found.values()} == {"sims"}
    assert {"dmmsa-table-2", "dmmsa-table-5", "mmsa-sims", "sims-runs"} == set(found)


# --- notes ----------------------------------------------------------------------------------------------------------


def test_what_the_spread_covers_is_told(tmp_path):
    for seed in (1, 12):
        write_run(tmp_path, seed=seed)
        write_run(tmp_path, variant="per-seed", seed=seed, changes={"pretraining.per_seed": True})
    found = tables(tmp_path)
    (note,) = [note for note in found["dmmsa-table-3-mosi"].notes if "±" in note]
    assert note.startswith("± is") and "the fusion only: encoders are shared" in note
    both = [note for note in found["mosi-runs"].notes if note.startswith("± of")]
    assert len(both) == 2
    assert "dmmsa per-seed (2 seeds)" in next(note for note in both if "all training" in note)


def test_a_single_seed_has_no_spread_and_no_note_of_one(tmp_path):
    write_run(tmp_path)
    table = tables(tmp_path)["dmmsa-table-3-mosi"]
    assert ours(table)
    assert all(cell.spread == "" for row in table.rows if not row.further for cell in row.cells)
    assert not any("±" in note for note in table.notes)


def test_the_data_are_named(tmp_path):
    write_run(tmp_path, published=False)
    assert "Data c0ffeec0ffee: mosi.pkl, not the published file." in tables(tmp_path)["dmmsa-table-3-mosi"].notes


# --- our own tables -------------------------------------------------------------------------------------------------


def test_all_runs_stand_in_one_table_in_a_sensible_order(tmp_path):
    fractions = {"fraction-0.2": 0.2, "fraction-0.8": 0.8}
    for variant in ("other", "no-cl", "fraction-0.2", "full", "fraction-0.8"):
        changes = {"data.fraction": fractions[variant]} if variant in fractions else {}
        changes |= {"objective.cl.enabled": False} if variant == "no-cl" else {}
        write_run(tmp_path, variant=variant, changes=changes)
    assert labels(tables(tmp_path)["mosi-runs"]) == [
        "text alone (the shared encoder)",
        *(f"dmmsa {name} (1 seed)" for name in ("full", "no-cl", "fraction-0.8", "fraction-0.2", "other")),
    ]


def test_encoders_alone_stand_once_where_they_are_shared(tmp_path):
    for variant in ("full", "no-cl"):
        for seed in (1, 12):
            write_run(tmp_path, variant=variant, seed=seed)
    (row,) = [row for row in tables(tmp_path)["mosi-runs"].rows if "alone" in row.label]
    first = next(s for s in collect(tmp_path).systems if s.variant == "full").first
    assert row.values["mae"] == first.alone["text"]["mae"]
    assert row.cells[-1].spread == ""


def test_encoders_of_their_own_for_each_seed_are_averaged(tmp_path):
    for seed in (1, 12):
        facts = {"encoder_hashes": {m: f"{m}{seed}" for m in "tva"}}
        write_run(tmp_path, seed=seed, changes={"pretraining.per_seed": True}, facts=facts)
    row = tables(tmp_path)["mosi-runs"].rows[0]
    assert row.label == "text alone (2 seeds)"
    assert row.cells[-1].spread


def test_a_study_has_a_table_once_two_of_its_variants_have_run(runs_dir):
    found = tables(runs_dir)
    assert labels(found["mosi-objectives"]) == [f"{n} (3 seeds)" for n in ("DMMSA", "w/o MSC", "w/o CL", "w/o GDWG")]
    assert "mosi-data" not in found
    assert any(note.endswith("among rows of the same data.") for note in found["mosi-objectives"].notes)
    assert "toy-objectives" in found and found["toy-objectives"].synthetic


def test_the_comparison_with_confede_is_named_for_its_recipes(tmp_path):
    for recipe in ("minilm", "minilm-confede"):
        write_run(tmp_path, recipe=recipe, modalities=("t", "a"), published=False)
    table = tables(tmp_path)["mosi-comparison-minilm"]
    assert labels(table) == ["DMMSA (1 seed)", "ConFEDE (1 seed)"]
    assert "All rows: MiniLM, text+audio, not the published file." in table.notes


def test_own_rows_are_marked_among_those_of_the_same_conditions(tmp_path):
    for place, task in enumerate((None, "cl", "msc")):
        changes = PARTS[task] if task else None
        write_run(tmp_path, variant=f"no-{task}" if task else "full", changes=changes, error=0.5 + 0.4 * place)
    write_run(tmp_path, recipe="minilm", modalities=("t", "a"), error=0.1)
    rows = {row.label: row for row in tables(tmp_path)["mosi-runs"].rows}
    mae = {label: row.cells[4].marks[0] for label, row in rows.items()}
    assert mae["minilm full, MiniLM, text+audio (1 seed)"] == ""
    assert mae["dmmsa full (1 seed)"] == "best"
    assert mae["dmmsa no-msc (1 seed)"] == ""


def test_undefined_numbers_are_dashes(tmp_path):
    folder = write_run(tmp_path)
    values = json.loads((folder / "metrics.json").read_text())
    values["test"]["fused"]["corr"] = None
    (folder / "metrics.json").write_text(json.dumps(values))
    row = next(row for row in tables(tmp_path)["dmmsa-table-3-mosi"].rows if row.ours)
    assert row.cells[-1].text == "-"
    assert "corr" not in row.values


# --- marks ----------------------------------------------------------------------------------------------------------

PAIR, MAE = Column("Acc-2", ("acc2_has0", "acc2_non0")), Column("MAE", ("mae",), percent=False)


def marks(*cells, column=PAIR, group_of=lambda row: "all"):
    rows = [Row(str(i), (Cell(text),)) for i, text in enumerate(cells)]
    return [row.cells[0].marks for row in with_marks(rows, [column], group_of)]


def test_parts_are_marked_apart_and_dashes_take_no_part():
    assert marks("80.0/-", "-/82.0", "81.0/81.0") == [("second", ""), ("", "best"), ("best", "second")]


def test_the_lower_error_is_the_better_one():
    assert marks("0.70", "0.80", "0.90", column=MAE) == [("best",), ("second",), ("",)]


def test_equal_numbers_are_marked_alike():
    assert marks("0.7", "0.70", "0.90", "0.8", column=MAE) == [("best",), ("best",), ("",), ("second",)]


def test_two_rows_have_no_marks():
    assert marks("0.7", "0.8", column=MAE) == [("",), ("",)]


def test_rows_outside_every_group_are_never_marked():
    group_of = {"0": None, "1": "a", "2": "a", "3": "a"}.get
    found = marks("0.1", "0.7", "0.8", "0.9", column=MAE, group_of=lambda row: group_of(row.label))
    assert found == [("",), ("best",), ("second",), ("",)]


def test_a_study_of_ones_own_has_a_table_and_says_what_is_missing(tmp_path):
    for variant, width in (("narrow", 384), ("wide", 768)):
        write_run(tmp_path / "runs", variant=variant, changes={"model.width": width})
    names = [{"name": "narrow", "label": "d = 384", "set": {"model.width": 384}}, {"name": "wide"}, {"name": "wider"}]
    path = tmp_path / "how wide.yaml"
    path.write_text(yaml.safe_dump({"title": "How wide?", "variants": names}))
    work_in(runs_dir=Path("r"))
    tables = build_tables(collect(tmp_path / "runs").systems, "mosi", studies=[str(path)])
    (found,) = [table for table in tables if table.title == "How wide?: dmmsa on mosi"]
    assert [row.label for row in found.rows] == ["d = 384 (1 seed)", "wide (1 seed)"]
    assert f"Not run yet: wider (`dmmsa ablate --dataset mosi --study '{path}' --runs-dir r`)." in found.notes


def test_a_partner_of_a_study_is_no_base_of_it(tmp_path):
    write_run(tmp_path / "runs")
    write_run(tmp_path / "runs", recipe="confede")
    write_run(tmp_path / "runs", recipe="confede", variant="narrow")
    names = [{"name": "full"}, {"name": "narrow"}, {"name": "full", "label": "ConFEDE", "recipe": "confede"}]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"title": "Mine", "variants": names}))
    found = build_tables(collect(tmp_path / "runs").systems, "mosi", studies=[str(path)])
    assert [table.title for table in found if table.title.startswith("Mine")] == ["Mine: dmmsa on mosi"]
