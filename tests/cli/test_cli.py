"""The command line as a user meets it: in a process of its own."""

import inspect
import json
import os
import pickle
import re
import shlex
import subprocess
import sys
import time

import pytest
import yaml

from dmmsa_cli.cli.evaluate import evaluate
from dmmsa_cli.commands import spread_lists
from dmmsa_cli.uncertainty import LEVEL
from tests.cli.running import dmmsa

COMMANDS = ["prepare", "pretrain-unimodal", "fuse", "ablate", "evaluate", "predict", "report", "list", "export"]


@pytest.mark.parametrize("arguments", [[], *([command] for command in COMMANDS)], ids=lambda a: " ".join(a) or "dmmsa")
def test_help_imports_nothing_heavy(arguments):
    """Half a second is what that buys; the imports are counted, not the seconds."""
    heavy = ["torch", "transformers", "pandas", "numpy", "pyarrow", "scipy", "yaml", "matplotlib", "plotly", "jinja2"]
    code = (
        "import sys\nfrom dmmsa_cli.cli import main\n"
        f"sys.argv = ['dmmsa', *{arguments}, '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"sys.exit(','.join(name for name in {heavy} if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout


def test_every_command_is_in_the_help():
    text = dmmsa("--help").stdout
    assert all(command in text for command in COMMANDS)


@pytest.mark.parametrize(
    ("given", "spread"),
    [
        (["fuse", "--seed", "1", "12", "-d", "x"], ["fuse", "--seed", "1", "--seed", "12", "-d", "x"]),
        (["fuse", "--seed", "1 12"], ["fuse", "--seed", "1", "--seed", "12"]),
        (["fuse", "--seed=1,12", "x"], ["fuse", "--seed", "1", "--seed", "12", "x"]),
        (["pretrain-unimodal", "--modality", "t", "v"], ["pretrain-unimodal", "--modality", "t", "--modality", "v"]),
        (["evaluate", "a", "b"], ["evaluate", "a", "b"]),
        (["fuse", "--seed"], ["fuse", "--seed"]),
        (["fuse", "--seed", "--no-cl"], ["fuse", "--seed", "--no-cl"]),
        (["fuse", "--seed", "-1"], ["fuse", "--seed", "-1"]),
    ],
)
def test_lists_are_spread(given, spread):
    assert spread_lists(given) == spread


@pytest.fixture(scope="module")
def trained(prepared, micro, tmp_path_factory):
    """A run trained through the command line, in its folder."""
    cwd = tmp_path_factory.mktemp("cli")
    done = dmmsa(
        "fuse",
        "--dataset",
        "mini",
        "--recipe",
        micro,
        "--seed",
        "1",
        "12",
        "--data-dir",
        prepared,
        "--device",
        "cpu",
        cwd=cwd,
    )
    assert done.returncode == 0, done.stderr
    return cwd, done.stdout


def test_fuse_prints_a_line_an_epoch_and_what_comes_next(trained):
    cwd, told = trained
    assert "The vision encoder is not pretrained yet; that comes first." in told
    assert "full seed 12  epoch 4/4  msr" in told
    assert "λ_uni" in told
    assert "dmmsa evaluate --dataset mini" in told
    assert (cwd / "runs/mini/micro/full/seed-12/summary.json").exists()


def test_what_is_changed_most_often_has_options_of_its_own(trained, prepared, micro):
    cwd, _ = trained
    places = ("--dataset", "mini", "--recipe", micro, "--seed", "1", "--data-dir", prepared, "--device", "cpu")
    more = ("--epochs", "2", "--learning-rate", "0.002", "--batch-size", "7", "--threads", "1")
    unnamed = dmmsa("fuse", *places, *more, cwd=cwd)
    assert unnamed.returncode == 1
    assert "Add --name NAME." in unnamed.stderr
    done = dmmsa("fuse", *places, *more, "--name", "short", cwd=cwd)
    assert done.returncode == 0, done.stderr
    run = cwd / "runs/mini/micro/short/seed-1"
    fusion = yaml.safe_load((run / "recipe.yaml").read_text())["fusion"]
    assert (fusion["epochs"], fusion["learning_rate"], fusion["batch_size"]) == (2, 0.002, 7)
    assert json.loads((run / "environment.json").read_text())["threads"] == 1
    before = set(cwd.glob("runs/mini/encoders/vision-*"))
    places = [part for part in places if part not in ("--seed", "1")]
    done = dmmsa("pretrain-unimodal", *places, "--modality", "vision", "v", "--epochs", "1", cwd=cwd)
    assert done.returncode == 0, done.stderr
    (made,) = set(cwd.glob("runs/mini/encoders/vision-*")) - before
    assert yaml.safe_load((made / "recipe.yaml").read_text())["schedule"]["epochs"] == 1


def test_what_is_there_is_listed(trained, prepared):
    cwd, _ = trained
    told = dmmsa("list", "--data-dir", prepared, cwd=cwd).stdout
    assert re.search(r"mini +\d+ +24 +24 +text, vision, audio", told)
    assert "data of one's own" in told
    assert re.search(r"mini/micro/full +seed 1 12", told)
    told = dmmsa("list", "recipes", "--dataset", "toy", cwd=cwd).stdout
    assert re.search(r"toy/dmmsa +DMMSA on the synthetic corpus", told)


def test_a_run_is_exported_and_used_without_anything_else(trained, prepared, tmp_path, corpus):
    cwd, _ = trained
    run = "runs/mini/micro/full/seed-1"
    done = dmmsa("export", run, "--out", tmp_path / "a model", "--data-dir", prepared, cwd=cwd)
    assert done.returncode == 0, done.stderr
    command = re.search(r"Next: (dmmsa predict .*) --from FILE.pkl --out predictions.csv", done.stdout)
    clips = {key: value[:2] for key, value in corpus["test"].items()}
    (tmp_path / "clips.pkl").write_bytes(pickle.dumps(clips))
    arguments = [*shlex.split(command[1])[1:], "--from", "clips.pkl", "--out", "p.csv"]
    done = dmmsa(*arguments, cwd=tmp_path, HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert "p.csv: predictions for 2 clips" in done.stdout
    assert re.search(r"-?\d\.\d\d +(negative|neutral|positive) ", done.stdout)


@pytest.fixture(scope="module")
def evaluated(trained, prepared):
    """The same folder with the run evaluated, and what that printed."""
    cwd, _ = trained
    done = dmmsa("evaluate", "--dataset", "mini", "--data-dir", prepared, "--json", "out.json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd, done.stdout


def test_an_unfinished_run_is_told_and_no_error(evaluated, prepared):
    cwd, _ = evaluated
    begun = cwd / "runs/mini/micro/full/seed-5"
    begun.mkdir()
    (begun / "recipe.yaml").touch()
    done = dmmsa("evaluate", "--dataset", "mini", "--data-dir", prepared, cwd=cwd)
    (begun / "recipe.yaml").unlink()
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("Left out:"))
    assert "runs/mini/micro/full/seed-5 has begun and not finished" in line


def test_evaluate_prints_the_table_and_writes_json(evaluated):
    cwd, told = evaluated
    for words in ("training mean", "text alone", "micro full, t+v+a", "2 seeds", "±", "fusion only"):
        assert words in told
    assert json.loads((cwd / "out.json").read_text())["dataset"] == "mini"


def test_evaluate_tells_what_predictions_are_worth(trained, prepared):
    cwd, _ = trained
    line = ["evaluate", "--dataset", "mini", "--data-dir", prepared, "--ensemble", "--level", "0.8", "--json", "w.json"]
    done = dmmsa(*line, cwd=cwd)
    assert done.returncode == 0, done.stderr
    for words in (
        *("2 runs together (mean", "Intervals of 80 %", "n=", "Calibration of classes", "  2 runs together"),
        *("not guaranteed", "Expected calibration error: mean over clips", "95 % intervals over", "MAE"),
    ):
        assert words in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    values = json.loads((cwd / "w.json").read_text())
    assert values["intervals"]["level"] == 0.8
    assert values["together"][0]["runs"] == 2


def test_the_level_that_help_names_is_the_usual_one():
    (level,) = (x for x in inspect.signature(evaluate, eval_str=True).parameters["level"].annotation.__metadata__)
    assert level.help.endswith(f"test split: {LEVEL}.")


def test_words_alone_are_printed_with_their_scores(prepared, micro, tmp_path):
    line = ["--dataset", "mini", "--recipe", micro, "--seed", "1", "--data-dir", prepared, "--device", "cpu"]
    fast = ["--set", "data.modalities=[t]", "--set", "fusion.epochs=1", "--set", "pretraining.text.epochs=1"]
    assert dmmsa("fuse", *line, *fast, "--name", "words", cwd=tmp_path).returncode == 0
    run = "runs/mini/micro/words/seed-1"
    assert dmmsa("evaluate", run, "--data-dir", prepared, cwd=tmp_path).returncode == 0
    texts = ["--text", "what a [bold] film", "--text", "no :smile:"]
    done = dmmsa("predict", run, *texts, "--level", "0.5", "--data-dir", "nowhere", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["score", "50", "%", "text"]
    for shown, text in zip(lines, ("what a [bold] film", "no :smile:"), strict=True):
        assert re.fullmatch(rf" *-?\d\.\d\d +\w+ +\[-?\d\.\d\d, -?\d\.\d\d\] +{re.escape(text)} *", shown)


def test_predictions_of_its_own_are_scored(evaluated, prepared):
    cwd, _ = evaluated
    path = cwd / "runs/mini/micro/full/seed-1/predictions.csv"
    done = dmmsa(
        "evaluate", "--predictions", path, "--dataset", "mini", "--data-dir", prepared, "--json", "p.json", cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    assert 0 < json.loads((cwd / "p.json").read_text())["mae"] < 3


ERRORS = {
    "an unknown key, told with all others": (
        ["fuse", "--dataset", "mini", "--set", "fusion.epoch=3", "--set", "text.source=nowhere", "--name", "x"],
        ["fusion.epoch: unknown key; did you mean epochs?", "text.source: 'nowhere' is not one of"],
    ),
    "a dataset that is not prepared": (
        ["fuse", "--dataset", "mosi"],
        ["mosi is not prepared", "dmmsa prepare mosi"],
    ),
    "a path where a dataset's name should be": (
        ["fuse", "--dataset", "./data/mini", "--recipe", "MICRO", "--seed", "1"],
        ["'./data/mini' can't be a dataset's name", "--data-dir"],
    ),
    "a recipe that is not there": (["fuse", "--dataset", "mini", "--recipe", "nope"], ["no recipe nope", "dmmsa"]),
    "--set without --name": (["fuse", "--dataset", "mini", "--set", "fusion.epochs=1"], ["--name"]),
    "another recipe under a name that stands for one": (
        ["fuse", "--dataset", "mini", "--recipe", "MICRO", "--seed", "1", "--set", "fusion.epochs=9", "--name", "full"],
        ["'full' is the name of a recipe as it is; this run departs from that: fusion.epochs 9 (not 4)", "--name"],
    ),
    "a run that is not there": (["evaluate", "nothing"], ["There is no finished run in", "nothing"]),
    "an encoder that can't be had": (
        ["fuse", "--dataset", "mini", "--seed", "1"],
        ["bert-base-uncased", "Ways out", "--recipe default/tiny"],
    ),
    "a device that is not there": (
        ["fuse", "--dataset", "mini", "--recipe", "MICRO", "--device", "mps"],
        ["no mps device", "--device cpu"],
    ),
    "a name that is a path": (
        ["fuse", "--dataset", "mini", "--recipe", "MICRO", "--name", "a/b"],
        ["no name for a folder"],
    ),
    "a seed below 0": (
        ["fuse", "--dataset", "mini", "--seed", "1", "-1"],
        ["--seed: -1 is no seed", "9,007,199,254,740,991"],
    ),
    "a seed that no generator takes": (
        ["pretrain-unimodal", "--dataset", "mini", "--seed", "99999999999999999999999"],
        ["--seed: 99999999999999999999999 is no seed"],
    ),
    "--force with --resume": (["fuse", "--dataset", "mini", "--force", "--resume"], ["Give one of them"]),
    "a file where a folder should be": (
        ["fuse", "--dataset", "mini", "--recipe", "MICRO", "--seed", "1", "--runs-dir", "MICRO"],
        ["micro.yaml", "path"],
    ),
    "nothing to predict": (
        ["predict", "runs/mini/micro/full/seed-1"],
        ["There is nothing to predict", "exactly one of --from FILE, --text WORDS and --csv FILE"],
    ),
    "two things to predict": (
        ["predict", "runs/mini/micro/full/seed-1", "--text", "a film", "--csv", "x.csv"],
        ["--text and --csv are given", "exactly one"],
    ),
    "many predictions and nowhere to put them": (
        ["predict", "runs/mini/micro/full/seed-1", "--csv", "x.csv"],
        ["--csv needs a file for the predictions", "--out FILE.csv"],
    ),
    "predictions into a folder": (
        ["predict", "runs/mini/micro/full/seed-1", "--from", "x.pkl", "--out", "runs"],
        ["--out runs is a folder", "--out runs/predictions.csv"],
    ),
    "predictions of another ending": (
        ["predict", "runs/mini/micro/full/seed-1", "--from", "x.pkl", "--out", "p.json"],
        ["--out p.json: predictions are written as CSV", "--out p.csv"],
    ),
    "a split of words": (
        ["predict", "runs/mini/micro/full/seed-1", "--text", "a film", "--split", "test"],
        ["--split chooses among the splits of the file given to --from"],
    ),
    "a level that is no share": (
        ["predict", "runs/mini/micro/full/seed-1", "--text", "a film", "--level", "90"],
        ["--level 90 is not between 0 and 1"],
    ),
    "a level that is no share, in evaluate": (
        ["evaluate", "--dataset", "mini", "--level", "1"],
        ["--level 1 is not between 0 and 1"],
    ),
    "words for a run that needs more": (
        ["predict", "runs/mini/micro/full/seed-1", "--text", "a film"],
        ["needs vision features and audio features, which --text and --csv do not give", "--from FILE"],
    ),
    "one file together": (
        ["evaluate", "--predictions", "x.csv", "--dataset", "mini", "--ensemble"],
        ["--ensemble means nothing beside --predictions"],
    ),
    "predictions without a dataset": (["evaluate", "--predictions", "x.csv"], ["--dataset NAME"]),
}


@pytest.mark.parametrize("case", ERRORS, ids=str)
def test_bad_input_gets_one_clear_message(trained, prepared, micro, case):
    cwd, _ = trained
    arguments, words = ERRORS[case]
    before = sorted(path for path in cwd.rglob("*") if path.name != ".lock")
    done = dmmsa(
        *[str(micro) if argument == "MICRO" else argument for argument in arguments], "--data-dir", prepared, cwd=cwd
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("Error:") == 1
    for word in words:
        assert word in done.stderr
    assert sorted(path for path in cwd.rglob("*") if path.name != ".lock") == before


def test_want_of_memory_is_told_in_words(prepared, micro, tmp_path):
    line = ["fuse", "-d", "mini", "--recipe", micro, "--seed", "1", "--from-scratch", "--data-dir", prepared]
    too_large = ["--set", "model.width=1000000000000000", "--set", "data.modalities=[v, a]", "--name", "x"]
    done = dmmsa(*line, *too_large, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Error: This machine has not enough memory" in done.stderr
    assert "model.width" in done.stderr


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_folder_whose_name_is_no_utf_8_is_printed_all_the_same(tmp_path, encoding):
    if sys.platform != "linux":
        pytest.skip("only Linux's file systems take any bytes as a name")
    folder = os.fsdecode(bytes(tmp_path) + b"/d\xff[/]\xc3\xbc")
    done = dmmsa("prepare", "toy", "--data-dir", folder, PYTHONIOENCODING=encoding, COLUMNS="300")
    assert done.returncode == 0, done.stderr
    assert r"d\udcff[/]" in done.stdout


def test_debug_shows_the_traceback(tmp_path):
    done = dmmsa("fuse", "--dataset", "mosi", "--debug", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_the_second_process_on_a_run_folder_is_told(prepared, micro, tmp_path):
    line = ["fuse", "--dataset", "mini", "--recipe", micro, "--seed", "1", "--data-dir", prepared, "--from-scratch"]
    long = [*line, "--set", "fusion.epochs=5000", "--name", "x"]
    first = subprocess.Popen(
        [sys.executable, "-m", "dmmsa_cli", *map(str, long)], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    folder = tmp_path / "runs/mini/micro/x/seed-1"
    try:
        while not (folder / "metrics.jsonl").exists() and first.poll() is None:
            time.sleep(0.05)
        second = dmmsa(*long, "--resume", cwd=tmp_path)
        assert second.returncode == 1
        assert "Another dmmsa process is writing" in second.stderr
    finally:
        first.terminate()
        assert first.wait() == 130  # SIGTERM: saved, and said
    assert (folder / "checkpoint.safetensors").exists()


def test_a_full_disk_leaves_nothing_half_written(prepared, micro, tmp_path):
    """The largest file the process may write is smaller than a checkpoint: the writer is cut off in the middle."""
    code = (
        "import resource, signal, sys\n"
        "from dmmsa_cli.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))\n"
        f"sys.argv = ['dmmsa', 'fuse', '-d', 'mini', '--recipe', {str(micro)!r}, '--seed', '1',\n"
        f"            '--data-dir', {str(prepared)!r}, '--set', 'data.modalities=[v, a]', '--name', 'x',\n"
        "            '--from-scratch']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "room" in done.stderr
    assert not list(tmp_path.rglob("*.partial"))
