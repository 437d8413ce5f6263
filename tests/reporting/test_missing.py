"""Results on clips that lack something: tables and a figure of their own, and what is not to be trusted told."""

import json

import plotly.graph_objects as go
import pytest

from dmmsa_cli.cli.report import _tell_damage
from dmmsa_cli.errors import RunMismatch
from dmmsa_cli.reporting.collection import collect
from dmmsa_cli.reporting.figures.missing import curve, on_page, on_paper
from dmmsa_cli.reporting.figures.subjects import subjects
from dmmsa_cli.reporting.groups import gapped
from dmmsa_cli.reporting.missing import by_grid, robust
from dmmsa_cli.reporting.report import build_report
from dmmsa_cli.reporting.rows import in_order
from dmmsa_cli.reporting.tables import build_tables
from tests.reporting.conftest import write_run

RATES = (0.0, 0.5, 0.9)
GAPS = {"data.missing.rate": "uniform"}


def lacking(run, worse=0.1, rates=RATES, present=("T", "A", "TA"), draws=2):
    """Give a run results on incomplete clips: at rate r its MAE is `worse` times r above that on complete ones."""
    measured = json.loads((run / "metrics.json").read_text())
    base = measured["test"]["fused"]

    def at(rate, draw):
        return base | {"mae": base["mae"] + worse * rate + 0.02 * draw * (rate > 0)}

    found = {
        "draws": draws,
        "rates": {repr(rate): [at(rate, draw) for draw in range(draws if rate else 1)] for rate in rates},
        "present": {name: at(1 - len(name) / 3, 0) for name in present},
    }
    (run / "missing.json").write_text(json.dumps({"test": found, "made_from": measured["made_from"]}))
    return run


@pytest.fixture
def folder(tmp_path):
    """DMMSA on complete clips and with gaps, ConFEDE, each measured on incomplete clips; one ablation that was not."""
    for seed in (1, 12):
        lacking(write_run(tmp_path, seed=seed), 0.5)
        lacking(write_run(tmp_path, variant="missing-uniform", changes=GAPS, seed=seed, error=0.85), 0.2)
        lacking(write_run(tmp_path, recipe="confede", seed=seed, error=0.9), 0.6)
        write_run(tmp_path, variant="no-msc", changes={"objective.msc.enabled": False}, seed=seed)
    return tmp_path


def tables(folder):
    return {table.id: table for table in build_tables(collect(folder).systems)}


def missing(folder):
    return {name: table for name, table in tables(folder).items() if "-missing-" in name}


def test_three_tables_of_their_own_and_no_other_changes(folder, tmp_path_factory):
    found = tables(folder)
    whole = tmp_path_factory.mktemp("whole")
    for path in folder.rglob("missing.json"):
        path.rename(whole / f"{abs(hash(path))}.json")
    without = tables(folder)
    assert list(found.keys() - without.keys()) and all("missing" in name for name in found.keys() - without.keys())
    assert {name: table.rows for name, table in found.items() if name in without} == {
        name: table.rows for name, table in without.items()
    }
    titles = [table.title for name, table in found.items() if name not in without]
    assert titles == [
        "Missing data on mosi, mean over the rates 0 to 0.9 (3 rates)",
        "Missing data on mosi, by rate",
        "Missing data on mosi, by the modalities that are there",
    ]


def test_rows_have_means_over_draws_rates_and_seeds(folder):
    mean, by_rate, present = missing(folder).values()
    (full,) = [one for one in collect(folder).systems if (one.recipe_name, one.variant) == ("dmmsa", "full")]
    complete = [run.metrics["mae"] for run in full.runs]
    own = next(row for row in mean.rows if row.label == "dmmsa full (2 seeds)")
    offset = (0 + (0.25 + 0.01) + (0.45 + 0.01)) / 3
    assert own.values["mae"] == pytest.approx(sum(complete) / 2 + offset)
    rows = {row.label: row.values["mae"] for row in by_rate.rows}
    assert rows["r = 0: dmmsa full (2 seeds)"] == pytest.approx(sum(complete) / 2)
    assert rows["r = 0.9: dmmsa full (2 seeds)"] == pytest.approx(sum(complete) / 2 + 0.46)
    assert len(rows) == 3 * 3
    assert {row.label.partition(":")[0] for row in present.rows} == {"T", "A", "TA"}


def test_best_is_marked_among_rows_that_lack_the_same_however_they_were_trained(folder):
    _, by_rate, _ = missing(folder).values()
    best = {row.label for row in by_rate.rows if row.cells[4].marks == ("best",)}
    assert {label.partition(":")[0] for label in best} == {"r = 0", "r = 0.5", "r = 0.9"}
    assert any("trained with missing data (uniform)" in label for label in best)
    assert any(note.startswith("Missing data: at rate r") for note in by_rate.notes)
    assert any(note.startswith("T, A, V:") for note in by_rate.notes)


def test_a_system_trained_with_gaps_says_so_everywhere(folder):
    found = tables(folder)
    labels = [row.label for row in found["mosi-runs"].rows]
    assert "dmmsa missing-uniform, trained with missing data (uniform) (2 seeds)" in labels
    assert not [row for row in found["dmmsa-table-3-mosi"].rows if "missing" in row.label]
    study = found["mosi-missing"]
    assert [row.label for row in study.rows] == [
        "trained on complete clips (2 seeds)",
        "trained at uniform rates (2 seeds)",
    ]


def test_other_rates_are_never_averaged_with_these(folder):
    for seed in (1, 12):
        lacking(write_run(folder, recipe="mult", seed=seed, facts={"encoders": {}, "encoder_hashes": {}}), rates=(0.5,))
    lacking(folder / "mosi" / "dmmsa" / "full" / "seed-12", rates=(0.5,))
    systems = collect(folder).systems
    assert {grid[0]: len(some) for grid, some in by_grid(systems).items()} == {RATES: 3, (0.5,): 1}
    assert {one.seeds for one in robust(systems)} == {"2 seeds", "1 of 2 seeds"}
    means = [name for name in missing(folder) if "mean" in name]
    assert len(means) == 2


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda kept: kept["made_from"]["test"].update(weights="0" * 64), "other weights or data"),
        (lambda kept: kept["test"]["rates"]["0.5"][0].pop("mae"), "is damaged"),
        (lambda kept: kept["test"].pop("draws"), "is damaged"),
        (lambda kept: kept["test"]["rates"].update({"1.5": kept["test"]["rates"]["0.5"]}), "is damaged"),
        (lambda kept: kept.pop("made_from"), "is damaged"),
    ],
)
def test_what_is_stale_or_damaged_is_told_and_the_run_itself_stays(folder, spoil, words):
    path = folder / "mosi" / "dmmsa" / "full" / "seed-12" / "missing.json"
    kept = json.loads(path.read_text())
    spoil(kept)
    path.write_text(json.dumps(kept))
    built = build_report(folder)
    (note,) = [note for note in built.notes if "missing.json" in note]
    assert words in note and "--missing 0:0.9:0.1" in note
    assert "dmmsa full (2 seeds)" in [row.label for table in built.tables for row in table.rows]
    mean = next(table for table in built.tables if "missing-mean" in table.id)
    assert "dmmsa full (1 of 2 seeds)" in [row.label for row in mean.rows]
    with pytest.raises(RunMismatch, match="One run's results on missing data were left out"):
        _tell_damage(built)


def test_no_json_at_all_is_told_too(folder):
    (folder / "mosi" / "dmmsa" / "full" / "seed-1" / "missing.json").write_text("{ no")
    assert [note for note in build_report(folder).notes if "is damaged" in note]


def test_another_split_is_none_of_the_tables(folder):
    for path in folder.rglob("missing.json"):
        path.write_text(json.dumps({"valid": json.loads(path.read_text())["test"], "made_from": {}}))
    assert missing(folder) == {}
    assert build_report(folder).collection.stale == []


def test_the_figure_has_a_line_a_system_and_the_numbers_of_the_tables(folder):
    systems = collect(folder).systems
    (subject,) = subjects(systems)
    assert [one.variant for one in subject.gapped] == ["missing-uniform"]
    drawing = on_paper(subject)
    mae, accuracy = drawing.canvas.axes
    assert [line.get_label() for line in mae.lines] == ["DMMSA", "trained at uniform rates", "ConFEDE"]
    own = next(one for one in robust(systems) if one.system is subject.full)
    assert mae.lines[0].get_xdata().tolist() == list(RATES)
    assert mae.lines[0].get_ydata().tolist() == [own.at(rate).mean["mae"] for rate in RATES]
    assert accuracy.lines[0].get_ydata().tolist() == pytest.approx(
        [100 * own.at(rate).mean["acc2_non0"] for rate in RATES]
    )
    assert (mae.get_ylabel(), accuracy.get_ylabel()) == ("MAE", "Acc-2 (%)")
    assert "mean over 2 draws" in drawing.caption and "DMMSA 2 seeds" in drawing.caption
    assert curve(own, "mae")["sd"].notna().all()


def test_runs_of_one_modality_have_no_table_by_modality(tmp_path):
    lacking(write_run(tmp_path, modalities=("t",)), present=("T",))
    assert [name.rsplit("missing-", 1)[1][:4] for name in missing(tmp_path)] == ["mean", "by-r"]
    build_report(tmp_path)


def test_rates_that_print_alike_are_two_rows(tmp_path):
    lacking(write_run(tmp_path), rates=(0.1234567, 0.1234568))
    (table,) = [table for name, table in missing(tmp_path).items() if "by-rate" in name]
    assert len(table.rows) == 2


def test_a_figure_has_systems_with_encoders_of_their_own_whatever_their_first_seeds(tmp_path):
    own = {"pretraining.per_seed": True}
    lacking(write_run(tmp_path, variant="own", changes=own, facts={"encoder_hashes": {"t": "aa"}}))
    lacking(
        write_run(tmp_path, variant="gaps", changes=own | GAPS, seed=12, facts={"encoder_hashes": {"t": "bb"}}), 0.2
    )
    first, second = collect(tmp_path).systems
    assert [one.variant for one in gapped(first, [first, second])] == [second.variant]


def test_without_results_there_is_no_figure(tmp_path):
    write_run(tmp_path)
    systems = collect(tmp_path).systems
    assert on_page(systems).variants == ()
    assert on_paper(subjects(systems)[0]) is None
    lacking(tmp_path / "mosi" / "dmmsa" / "full" / "seed-1", rates=(0.5,))
    assert on_page(collect(tmp_path).systems).variants == ()  # of one rate there is no line


def test_on_the_page_it_shows_all_systems_at_once(folder):
    chart = on_page(in_order(collect(folder).systems))
    (variant,) = chart.variants
    assert [panel.title for panel in variant.panels] == ["MAE", "Acc-2 (%)"]
    for panel in variant.panels:
        go.Figure(panel.data, panel.layout)  # raises on a key or value that there is none of
        lines = [trace for trace in panel.data if trace["mode"] == "lines+markers"]
        assert [line["name"] for line in lines] == ["DMMSA", "trained at uniform rates", "ConFEDE"]
        assert all(line["x"] == [0, 0.5, 0.9] for line in lines)


def test_many_systems_are_rows_of_cells_on_the_page(tmp_path):
    for count in range(8):
        changes = {"objective.weighting.temperature": 1 + count / 10} if count else None
        lacking(write_run(tmp_path, variant=f"tau {count}" if count else "full", changes=changes))
    (variant,) = on_page(in_order(collect(tmp_path).systems)).variants
    assert [panel.title for panel in variant.panels] == ["MAE", "Acc-2 (%)"]
    for panel in variant.panels:
        go.Figure(panel.data, panel.layout)
        (cells,) = panel.data
        assert len(cells["z"]) == len(set(panel.layout["yaxis"]["ticktext"])) == 8
        assert cells["x"] == ["0.0", "0.5", "0.9"]


def test_synthetic_results_are_marked(tmp_path):
    lacking(write_run(tmp_path, dataset="toy"))
    assert all("SYNTHETIC" in table.title for table in missing(tmp_path).values())
    assert len(missing(tmp_path)) == 3
