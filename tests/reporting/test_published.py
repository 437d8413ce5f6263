import dataclasses
import re

import pytest
import yaml

from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.reporting.published import FILE, load_published

TABLES = {table.id: table for table in load_published().tables}
SIZES = {  # rows, columns as printed
    "dmmsa-table-2": (8, ["Acc-3", "Acc-5", "MAE", "Corr"]),
    "dmmsa-table-3-mosi": (9, ["Acc-2", "F1", "Acc-7", "MAE", "Corr"]),
    "dmmsa-table-3-mosei": (9, ["Acc-2", "F1", "Acc-7", "MAE", "Corr"]),
    "dmmsa-table-4": (6, ["Acc-2", "F1", "Acc-7", "MAE", "Corr"]),
    "dmmsa-table-5": (4, ["Acc-3", "Acc-5", "MAE", "Corr"]),
    "mmolre-table-1-mosi": (10, None),
    "mmolre-table-1-mosei": (11, None),
    "mmolre-table-2": (9, None),
    "mmolre-table-3": (4, None),
    "mmiln-table-2-mosi": (16, ["Acc-2", "F1", "Corr", "MAE"]),
    "mmiln-table-2-mosei": (16, ["Acc-2", "F1", "Corr", "MAE"]),
    "mmiln-table-3": (4, None),
    "seqmtl-table-3": (6, None),
    "seqmtl-table-4": (6, None),
    "seqmtl-table-5": (9, None),
    "mmsa-results": (8, None),
    "mmsa-mosei": (7, None),
    "mmsa-sims": (6, ["Acc-2", "Acc-3", "Acc-5", "F1", "MAE", "Corr"]),
    "reruns-mosi": (8, ["MAE", "Corr"]),
    "reimplementation-mosi": (9, ["MAE", "Corr"]),
}


def cells(table, name):
    return next(row.cells for row in TABLES[table].rows if row.name == name)


def test_every_table_has_the_papers_rows_and_columns():
    assert set(TABLES) == set(SIZES)
    for name, (rows, columns) in SIZES.items():
        assert len(TABLES[name].rows) == rows, name
        assert columns is None or [column.title for column in TABLES[name].columns] == columns


@pytest.mark.parametrize(
    ("table", "row", "printed"),
    [
        ("dmmsa-table-2", "DMMSA", ["69.63", "46.92", "0.3778", "0.66"]),
        ("dmmsa-table-2", "ConFEDE", ["68.36", "43.72", "0.3924", "0.6351"]),
        ("dmmsa-table-3-mosi", "MFN(A)", ["77.4", None, "77.3", None, "34.1", "0.965", "0.632"]),
        ("dmmsa-table-3-mosi", "DMMSA", ["83.97", "85.70", "83.92", "85.70", "45.39", "0.710", "0.793"]),
        ("dmmsa-table-3-mosei", "LF-DNN", ["80.60", "82.74", "80.85", "82.52", "50.83", "0.58", "0.709"]),
        ("dmmsa-table-3-mosei", "MAG-BERT", ["79.86", "86.86", "80.47", "83.88", "50.41", "0.583", "0.741"]),
        ("dmmsa-table-4", "MOSEI*0.6", ["83.77", "86.12", "84.01", "85.99", "52.77", "0.538", "0.769"]),
        ("dmmsa-table-5", "w/o GDWG", ["69.32", "46.17", "0.3776", "0.663"]),
        ("mmolre-table-1-mosi", "SPECTRA", [None, None, "87.5", None, None, None, None, None]),
        ("mmiln-table-2-mosei", "MMIM*", ["77.81", "82.55", "78.66", "82.7", "0.700", "0.615"]),
        ("seqmtl-table-4", "Sequential-MTL", ["36.0", "81.2", "81.2", "0.948", "0.639"]),
    ],
)
def test_numbers_keep_the_decimals_of_the_paper(table, row, printed):
    assert list(cells(table, row)) == printed


def test_every_number_lies_where_its_metric_can_be():
    for table in TABLES.values():
        for row in table.rows:
            for metric, text in table.texts(row).items():
                low, high = {"mae": (0.2, 1.3), "corr": (0.5, 1)}.get(metric, (25, 100))
                assert text is None or low < float(text) < high, (table.id, row.name, metric)


def test_slips_of_the_papers_are_told_where_they_stand():
    assert any("86.86" in note and "83.88" in note for note in TABLES["dmmsa-table-3-mosei"].notes)
    assert any("Acc-5" in note and "Acc-7" in note for note in TABLES["dmmsa-table-4"].notes)
    assert any("52.77" in note and "53.36" in note for note in TABLES["dmmsa-table-4"].notes)


def test_ablations_and_fractions_name_the_variants_that_fuse_and_the_studies_write():
    from dmmsa_cli.experiments.studies import load_study

    for table, study in (("dmmsa-table-4", "data"), ("dmmsa-table-5", "objectives")):
        named = [row.ours.variant for row in TABLES[table].rows]
        assert named == [variant.name for variant in load_study(study).variants][: len(named)]


def test_every_source_is_a_reference_and_no_path():
    papers = {paper.id: paper.reference for paper in load_published().papers}
    assert {name for name, reference in papers.items() if not re.search(r"\b20[12]\d\b", reference)} == {"mmiln", "msa"}
    assert "names neither authors nor venue" in papers["mmiln"]
    assert not [reference for reference in papers.values() if ".txt" in reference]


def test_decimals_are_those_of_the_most_precise_number():
    table = TABLES["dmmsa-table-2"]
    assert [table.decimals(column) for column in table.as_columns] == [2, 2, 4, 4]
    assert [column.percent for column in table.as_columns] == [True, True, False, False]


def damaged(change):
    values = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    change(values["tables"][0])
    return values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["rows"][0].update(cells=["1.0"]), "has 1 cells for 4 metrics"),
        (lambda t: t["rows"][0].update(cells=["high", "1", "1", "1"]), "'high' is no number"),
        (lambda t: t["rows"][0].update(cells=[66.91, "1", "1", "1"]), "66.91 is not"),
        (lambda t: t.update(paper="nowhere"), "no paper is called nowhere"),
        (lambda t: t["rows"].append(t["rows"][0]), "twice"),
        (lambda t: t.update(colums=[]), "did you mean columns?"),
    ],
)
def test_a_file_that_breaks_the_form_is_refused_in_words(tmp_path, change, message):
    path = tmp_path / "published.yaml"
    path.write_text(yaml.safe_dump(damaged(change)))
    with pytest.raises(InvalidRecipe, match=message.replace("?", r"\?")):
        load_published(path)


def test_what_was_read_can_not_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TABLES["dmmsa-table-2"].title = "else"
