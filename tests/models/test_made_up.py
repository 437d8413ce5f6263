"""Adding a network is one file, one line and one recipe: contract tests and report find it, nothing else changes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.conftest import MICRO_RECIPE

ROOT = Path(__file__).resolve().parents[2]
MAIN = "import tests.models.made_up; from dmmsa_cli.cli import main; main()"


def run(*arguments):
    """In a process of its own: this one's tables stay as they are."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_every_contract_test_is_tried_with_it():
    contract = ["tests/models/test_contract.py", "-q", "-p", "no:cacheprovider", "-p", "tests.models.made_up"]
    mine = run("-m", "pytest", *contract, "-k", "made_up")
    passed = int(re.search(r"(\d+) passed", mine)[1])
    listed = run("-m", "pytest", *contract, "--collect-only", "-k", "lf_dnn").count("::test_")
    assert passed == listed > 0  # as many as any network has that takes every subset of the modalities


def test_its_recipe_trains_and_stands_in_the_report(prepared, tmp_path):
    values = MICRO_RECIPE | {"model": "made_up", "objective": "regression", "pretraining": None}
    values = values | {"fusion": {"learning_rate": 1e-3, "batch_size": 16, "epochs": 2}}
    (tmp_path / "made-up.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "both.yaml").write_text(
        "title: Both\nvariants:\n- {name: full}\n- {name: wide, label: Wide, set: {model.width: 32}}\n"
    )
    folders = ["--data-dir", str(prepared), "--runs-dir", str(tmp_path / "runs")]
    study = ["--study", str(tmp_path / "both.yaml")]
    recipe = ["--recipe", str(tmp_path / "made-up.yaml")]
    run("-c", MAIN, "ablate", "--dataset", "mini", *study, *recipe, "--seed", "1", *folders)
    assert "made-up" in run("-c", MAIN, "evaluate", "--dataset", "mini", *folders)
    out = ["--format", "markdown", "html", "csv", "--out", str(tmp_path / "report")]
    run("-c", MAIN, "report", *study, *out, "--runs-dir", str(tmp_path / "runs"))
    tables = (tmp_path / "report" / "tables.md").read_text()
    assert "*made-up full (1 seed)*" in tables
    assert "*Wide (1 seed)*" in tables
    assert (tmp_path / "report" / "index.html").exists()


def test_its_options_are_held_to_bounds():
    """As those of any network are: sizes at least 1, dropouts in [0, 1)."""
    bounds = run("-m", "pytest", "tests/experiments/test_bounds.py", "-q", "-p", "tests.models.made_up", "-k", "MadeUp")
    assert " passed" in bounds
