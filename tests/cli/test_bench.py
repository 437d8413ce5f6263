"""What `dmmsa bench` shows."""

import json
from io import StringIO

from rich.console import Console

from dmmsa_cli.bench.benchmark import Benchmark, Measure
from dmmsa_cli.cli.bench import _show
from tests.cli.test_cli import dmmsa

DATA = {"shape": "mosi", "made_up": True, "file": "synthetic-mosi.pkl", "file_bytes": 444 * 2**20, "sha256": "ab" * 32}
MACHINE = {"device": "cpu: a processor (2 cores)", "threads": 2, "precision": "float32"}
EPOCH = {
    "seconds": 40.0,
    "refresh_seconds": 4.0,
    "steps_seconds": 32.0,
    "validation_seconds": 4.0,
    "step_seconds": 0.4,
    "steps": 81,
    "measured_steps": 81,
    "extrapolated": False,
    "clips": 8988,
    "padded_over_real": 1.04,
    "checkpoint_seconds": 0.5,
    "checkpoint_bytes": 160 * 2**20,
    "weights_bytes": 53 * 2**20,
    "peak_rss_bytes": 900 * 2**20,
    "peak_anonymous_bytes": 700 * 2**20,
    "tflop": 3.1,
    "tflop_per_second": 0.05,
    "matrix_tflop_per_second": 0.1,
    "share_of_matrix_rate": 0.5,
    "work_over_real": 1.07,
    "precision": "float32",
}


def shown(*measures, data=DATA, width=100, settings=()):
    console = Console(width=width, record=True, file=StringIO())
    _show(console, Benchmark(data, MACHINE, list(measures), settings))
    return console.export_text()


def test_an_epoch_is_told_in_its_parts():
    told = shown(Measure("epoch", [EPOCH, EPOCH, EPOCH | {"seconds": 41.0}], "dmmsa"))
    lines = {line.split("  ")[0].strip() or line.split("  ")[1]: line for line in told.splitlines()}
    assert "40.000" in lines["epoch, dmmsa"]
    assert "900" in lines["epoch, dmmsa"]
    assert "3.1 TFLOP" in lines["epoch, dmmsa"]
    assert "EXTRAPOLATED" not in told
    assert "10 %" in lines["retrieval refresh"]
    assert "80 %" in lines["81 steps"]
    assert "50 % of the matrix products' 100 GFLOP/s" in told
    assert "Medians of 3" in told


def test_what_is_extrapolated_says_so():
    told = shown(Measure("epoch", [EPOCH | {"extrapolated": True, "measured_steps": 5}], "dmmsa"))
    assert "EXTRAPOLATED from 5 steps" in told
    assert "MiB in these steps" in told


def test_made_up_data_are_told_to_be_so():
    assert "SYNTHETIC" in shown()
    assert "SYNTHETIC" not in shown(data=DATA | {"made_up": None, "file": "given.pkl"})
    assert "given.pkl" in shown(data=DATA | {"made_up": None, "file": "given.pkl"})


def test_what_is_changed_in_the_recipes_is_told():
    assert "model.width=8, seed=2" in shown(settings=("model.width=8", "seed=2"))
    assert "changed" not in shown()


def test_it_fits_a_hundred_columns():
    told = shown(Measure("epoch", [EPOCH | {"extrapolated": True, "clips": 9_999_999}], "confede-released"))
    assert len(told.splitlines()) == 13  # no cell is broken
    assert max(map(len, told.splitlines())) <= 100


def test_the_command(tmp_path):
    done = dmmsa(
        "bench", "--rows", 8, "--only", "prepare", "--only", "open", "--repeats", 1,
        "--folder", tmp_path / "kept", "--json", tmp_path / "out.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "opening the store" in done.stdout
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["data"]["made_up"] is True
    assert found["machine"]["threads"] >= 1
    prepare, opened = found["measures"]
    assert (prepare["name"], opened["name"]) == ("prepare", "open")
    assert prepare["median"]["peak_above_unpickled_bytes"] == (
        prepare["median"]["peak_rss_bytes"] - prepare["median"]["unpickled_bytes"]
    )
    assert len(opened["repeats"]) == 1
    assert (tmp_path / "kept" / "data" / "synthetic-mosi-8" / "manifest.json").exists()


def test_it_is_no_part_of_the_main_help():
    assert "bench" not in dmmsa("--help").stdout
    assert "--shape" in dmmsa("bench", "--help").stdout


def test_an_unknown_recipe(tmp_path):
    done = dmmsa("bench", "--recipe", "nosuch", "--folder", tmp_path)
    assert done.returncode == 1
    assert "There is no recipe nosuch for mosi." in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_key(tmp_path):
    done = dmmsa("bench", "--set", "model.breadth=8", "--folder", tmp_path)
    assert done.returncode == 1
    assert "model.breadth" in done.stderr
