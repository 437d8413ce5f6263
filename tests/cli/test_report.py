"""`dmmsa report` as a user meets it: in a process of its own."""

import pytest

from tests.cli.running import dmmsa
from tests.reporting.conftest import write_run


def test_without_runs_the_published_tables_are_shown_with_commands(tmp_path):
    done = dmmsa("report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("There are no runs in runs yet")
    assert "77.4/-" in done.stdout
    assert "dmmsa fuse --dataset sims" in done.stdout
    assert not list(tmp_path.iterdir())


def test_unfinished_runs_are_told_and_no_error(tmp_path):
    (write_run(tmp_path / "runs") / "summary.json").unlink()
    done = dmmsa("report", "--dataset", "mosi", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Unfinished, or still running: seed-1 in runs/mosi/dmmsa/full" in done.stdout
    assert "`dmmsa fuse --dataset mosi --resume`" in done.stdout


def test_runs_of_two_data_hashes_are_two_rows(tmp_path):
    write_run(tmp_path / "runs")
    write_run(tmp_path / "runs", seed=12, data_hash="deadbeef" * 8)
    done = dmmsa("report", "--dataset", "mosi", cwd=tmp_path, COLUMNS="160")
    assert done.returncode == 0, done.stderr
    assert "ours, data c0ffeec0 (1 seed)" in done.stdout
    assert "ours, data deadbeef (1 seed)" in done.stdout


@pytest.fixture
def damaged(tmp_path):
    """A folder whose `runs` hold one sound and one damaged run."""
    write_run(tmp_path / "runs")
    found = '{"test": {"fused": {"mae": "low"}}, "made_from": {}}'
    (write_run(tmp_path / "runs", seed=12) / "metrics.json").write_text(found)
    return tmp_path


def test_a_damaged_run_is_told_at_both_ends_and_all_else_is_made(damaged):
    done = dmmsa("report", "--dataset", "mosi", cwd=damaged)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("Damaged, and left out everywhere: runs/mosi/dmmsa/full/seed-12/metrics.json")
    assert "ours (1 seed)" in done.stdout
    assert done.stderr.startswith("Error: One run is damaged and was left out")
    assert "dmmsa evaluate runs/mosi/dmmsa/full/seed-12" in done.stderr


def test_files_are_named_a_line_each(damaged):
    done = dmmsa("report", "--dataset", "mosi", "--format", "csv", "markdown", "--out", "made", cwd=damaged)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-4:] == [
        "made/tables.md",
        "made/tables.csv",
        "made/comparisons.csv",
        "made/figures",
    ]
    assert (damaged / "made/tables.md").exists()
    assert "77.4/-" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset", "nope"], ["neither a run of nope", "dmmsa fuse --dataset nope"]),
        (["--format", "csv", "--out", "taken"], ["taken"]),
    ],
    ids=["a dataset that nobody knows", "a file where the folder should be"],
)
def test_bad_input_gets_one_clear_message(tmp_path, arguments, words):
    (tmp_path / "taken").write_text("")
    done = dmmsa("report", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("Error:") == 1
    assert all(word in done.stderr for word in words)


def test_an_unknown_format_is_refused(tmp_path):
    done = dmmsa("report", "--format", "pdf", cwd=tmp_path)
    assert done.returncode == 2
    assert "'pdf'" in done.stderr
