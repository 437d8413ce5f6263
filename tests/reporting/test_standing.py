"""A row is filled by what was computed: no folder's name, no file of other weights, no other encoder slips into it."""

import json

import pytest
import yaml

from dmmsa_cli.experiments.variants import PARTS
from dmmsa_cli.reporting.collection import collect
from dmmsa_cli.reporting.groups import groups, is_reference, label
from dmmsa_cli.reporting.report import build_report
from dmmsa_cli.reporting.tables import build_tables
from tests.reporting.conftest import WEIGHTS, write_run

NO_MSC = {"objective.msc.enabled": False}
OTHERWISE = {"fusion.epochs": 1, "objective.msc.classes": 5, "data.fraction": 0.1}


def tables(folder, **more):
    return {table.id: table for table in build_tables(collect(folder).systems, **more)}


def ours(table):
    return [row.label for row in table.rows if row.ours]


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# --- names ----------------------------------------------------------------------------------------------------------


def test_another_recipe_under_a_shipped_name_stands_under_no_published_row(tmp_path):
    for seed in (1, 12, 123):
        write_run(tmp_path, seed=seed, changes=OTHERWISE)
    found = tables(tmp_path)
    published = found["dmmsa-table-3-mosi"]
    assert ours(published) == []
    (why,) = [note for note in published.notes if note.startswith("Left out: dmmsa/full (seed 1, 12, 123)")]
    assert "data.fraction 0.1 (not 1.0), fusion.epochs 1 (not 50), and 1 more" in why
    assert any("Not run here yet" in note and "DMMSA" in note for note in published.notes)
    (row,) = [row for row in found["mosi-runs"].rows if "alone" not in row.label]
    assert row.label == "dmmsa full, with data.fraction 0.1 (not 1.0), fusion.epochs 1 (not 50), and 1 more (3 seeds)"


@pytest.mark.parametrize(
    ("variant", "changes"), [("no-msc", None), ("no-gdwg", {"objective.cl.enabled": False}), ("full", NO_MSC)]
)
def test_a_name_fills_no_row_of_a_paper_or_of_a_study(tmp_path, variant, changes):
    """Whole DMMSA named no-msc, a run without CL named no-gdwg, one without MSC named full."""
    write_run(tmp_path, dataset="sims", variant=variant, changes=changes)
    for other, task in (("full", None), ("no-msc", "msc"), ("no-cl", "cl"), ("no-gdwg", "gdwg")):
        if other != variant:
            write_run(tmp_path, dataset="sims", variant=other, changes=PARTS[task] if task else None)
    found = tables(tmp_path)
    for name in ("dmmsa-table-5", "sims-objectives"):
        rows = ours(found[name])
        assert len(rows) == 3  # all but the one that bears a name of something else
        (why,) = [note for note in found[name].notes if note.startswith("Left out:")]
        assert f"dmmsa/{variant} (seed 1)" in why
    (system,) = [s for s in collect(tmp_path).systems if s.variant == variant]
    assert label(system) == f"dmmsa/{variant}"
    assert not is_reference(system)


def test_what_its_name_promises_stands_in_its_row(tmp_path):
    for variant, changes in (("full", None), ("no-msc", NO_MSC)):
        write_run(tmp_path, dataset="sims", variant=variant, changes=changes)
    found = tables(tmp_path)
    assert len(ours(found["dmmsa-table-5"])) == 2
    assert not any(note.startswith("Left out") for table in found.values() for note in table.notes)


def test_precision_and_seeds_are_no_departure(tmp_path):
    write_run(tmp_path, changes={"precision": "bf16", "seeds": [1, 2]}, facts={"precision": "bf16"})
    assert ours(tables(tmp_path)["dmmsa-table-3-mosi"]) == ["ours (1 seed)"]


@pytest.mark.parametrize(("changes", "rows"), [({"fusion.epochs": 7}, 1), (NO_MSC, 0)])
def test_a_recipe_of_ones_own_is_named_and_has_the_objective_of_its_row(tmp_path, changes, rows):
    write_run(tmp_path, called="mine", changes=changes)
    table = tables(tmp_path)["dmmsa-table-3-mosi"]
    assert ours(table) == ["ours, recipe mine (1 seed)"][:rows]
    left_out = [note for note in table.notes if note.startswith("Left out: mine/full (seed 1)")]
    assert len(left_out) == 1 - rows
    assert all("objective.msc.enabled False (not True)" in note for note in left_out)


def test_a_study_of_a_recipe_of_ones_own_is_held_against_its_own_whole(tmp_path):
    for variant, changes in (
        ("full", {"fusion.epochs": 7}),
        ("no-msc", {"fusion.epochs": 7} | NO_MSC),
        ("no-cl", {"fusion.epochs": 9, "objective.cl.enabled": False}),
    ):
        write_run(tmp_path, called="mine", variant=variant, changes=changes)
    table = tables(tmp_path)["mosi-objectives-mine"]
    assert ours(table) == ["DMMSA (1 seed)", "w/o MSC (1 seed)"]
    assert any(note.startswith("Left out: mine/no-cl (seed 1)") and "fusion.epochs 9" in note for note in table.notes)


def test_a_variant_of_either_state_of_an_edited_recipe_is_one_of_it(tmp_path):
    """The file was edited between two runs of its own whole: a variant may belong to the one or the other."""
    for seed, epochs in ((1, 7), (12, 9)):
        write_run(tmp_path, called="mine", seed=seed, changes={"fusion.epochs": epochs})
    write_run(tmp_path, called="mine", variant="no-msc", changes={"fusion.epochs": 9} | NO_MSC)
    rows = ours(tables(tmp_path)["mosi-objectives-mine"])
    assert rows == ["DMMSA, fusion.epochs 7 (1 seed)", "DMMSA, fusion.epochs 9 (1 seed)", "w/o MSC (1 seed)"]


def test_a_recipe_that_has_changed_since_is_told(tmp_path):
    """A new version of dmmsa ships another learning rate: the old runs are not its recipe any more."""
    folder = write_run(tmp_path)
    values = yaml.safe_load((folder / "recipe.yaml").read_text())
    values["fusion"]["learning_rate"] *= 2
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
    found = tables(tmp_path)["dmmsa-table-3-mosi"]
    assert ours(found) == []
    assert any("fusion.learning_rate" in note for note in found.notes)


def test_a_key_that_an_older_dmmsa_did_not_have_takes_its_default(tmp_path):
    folder = write_run(tmp_path, seed=12)
    values = yaml.safe_load((folder / "recipe.yaml").read_text())
    del values["text"]["frozen_layers"], values["fusion"]["length_window"]
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
    write_run(tmp_path)
    (system,) = collect(tmp_path).systems
    assert system.seeds == (1, 12)
    assert ours(tables(tmp_path)["dmmsa-table-3-mosi"]) == ["ours (2 seeds)"]


# --- what differs in more than its seed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"base_text": "99" * 32}, "text encoder unnamed (99999999)"),  # by a dmmsa that kept no name
        ({"base_text": "99" * 32, "text_encoder": "another"}, "another"),
        ({"base_text": "99" * 32, "text_encoder": "bert-base-uncased"}, "text encoder bert-base-uncased (99999999)"),
        ({"encoder_hashes": {m: "99" * 32 for m in "tva"}}, "the text encoder 99999999, the vision encoder 99999999"),
        ({"precision": "bf16"}, "bf16"),
        ({"data_hash": "99" * 32}, "data 99999999"),
        ({"from_scratch": True, "encoders": {}, "encoder_hashes": {}}, "from scratch"),
    ],
)
def test_other_encoders_data_or_arithmetic_have_a_row_that_says_so(tmp_path, facts, words):
    write_run(tmp_path)
    write_run(tmp_path, seed=12, facts=facts, data_hash=facts.get("data_hash", "c0ffee" * 10))
    rows = ours(tables(tmp_path)["dmmsa-table-3-mosi"])
    assert len(rows) == len(set(rows)) == 2
    assert sum(words in row for row in rows) == 1


def test_a_text_encoder_of_ones_own_dataset_is_named(tmp_path):
    write_run(tmp_path, dataset="mine", facts={"text_encoder": "me/my-encoder"})
    (system,) = collect(tmp_path).systems
    assert system.conditions.startswith("my-encoder")


def test_runs_of_several_machines_are_one_row_with_a_note(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, seed=12, facts={"device": "cuda: H100", "packages": {"torch": "2.6.0"}, "dmmsa": "0.0.1"})
    found = tables(tmp_path)["dmmsa-table-3-mosi"]
    assert ours(found) == ["ours (2 seeds)"]
    told = " ".join(note for note in found.notes if note.startswith("Not all of one machine: ours (2 seeds)"))
    for words in ("devices: cpu, cuda: H100", "versions of torch: torch 2.13.0, torch 2.6.0", "versions of dmmsa"):
        assert words in told


def test_encoders_of_another_machine_are_told_too(tmp_path):
    folder = write_run(tmp_path)
    encoder = tmp_path / "mosi" / "encoders" / "t-0123456789ab"
    encoder.mkdir(parents=True)
    facts = json.loads((folder / "environment.json").read_text())
    (encoder / "environment.json").write_text(json.dumps(facts | {"threads": 16}))
    assert any("threads: 2, 16" in note for note in tables(tmp_path)["dmmsa-table-3-mosi"].notes)


def test_one_machine_needs_no_note(tmp_path):
    for seed in (1, 12):
        write_run(tmp_path, seed=seed)
    assert not any("machine" in note for note in tables(tmp_path)["dmmsa-table-3-mosi"].notes)


# --- metrics and predictions of the weights that lie there ------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "changes"),
    [("summary.json", {"weights": "00" * 32}), ("environment.json", {"data_hash": "00" * 32})],
)
def test_metrics_of_other_weights_or_data_are_no_metrics_of_the_run(tmp_path, file, changes):
    """It was trained anew, and nobody measured it since."""
    folder = write_run(tmp_path)
    edit(folder / file, **changes)
    built = build_report(tmp_path)
    assert built.collection.systems == []
    (why,) = built.collection.damaged
    assert "metrics.json was measured on other weights" in why.what
    assert "dmmsa evaluate" in why.remedy


def test_metrics_without_a_word_on_their_weights_have_to_be_measured_again(tmp_path):
    folder = write_run(tmp_path)
    values = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({"test": values["test"]}))
    built = build_report(tmp_path)
    assert built.collection.unevaluated == [folder]


def test_predictions_of_other_weights_are_told(tmp_path):
    folder = write_run(tmp_path)
    path = folder / "predictions.csv"
    path.write_text(path.read_text().replace(WEIGHTS, "00" * 32))
    (why,) = build_report(tmp_path).collection.damaged
    assert "predictions.csv was made from other weights" in why.what


def test_where_the_summary_is_older_the_weights_themselves_are_hashed(tmp_path):
    folder = write_run(tmp_path)
    summary = json.loads((folder / "summary.json").read_text())
    del summary["weights"]
    (folder / "summary.json").write_text(json.dumps(summary))
    assert collect(tmp_path).unevaluated == [folder]  # there are none
    (folder / "weights.safetensors").write_bytes(b"others")
    assert "other weights" in collect(tmp_path).damaged[0].what


def test_groups_hold_what_differs_in_its_objective_alone(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, variant="no-msc", changes=NO_MSC)
    write_run(tmp_path, variant="short", changes={"fusion.epochs": 2})
    write_run(tmp_path, variant="encoder", facts={"base_text": "99" * 32})
    assert sorted(sorted(s.variant for s in group) for group in groups(collect(tmp_path).systems)) == [
        ["encoder"],
        ["full", "no-msc"],
        ["short"],
    ]
