"""The stages without the command line: README's own example, in a process and folder of its own."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dmmsa_cli.data.toy import generate
from dmmsa_cli.stages import evaluate, export, fuse, missing, predict, prepare, pretrain, runs

ROOT = Path(__file__).parents[2]


def test_the_example_of_the_readme_runs_as_it_stands(tmp_path):
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## From Python\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert re.search(r"^dmmsa short, t\+v\+a: MAE \d\.\d+ over 2 runs$", done.stdout, re.MULTILINE)
    clips, _ = generate()
    assert clips["test"]["id"][0] in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"data", "runs", "clips.pkl"}


DISPENSABLE = ("watch", "watch_pretraining", "remark", "tell", "progress", "on_pass", "data_dir", "runs_dir", "split")


@pytest.mark.parametrize(
    "stage",
    [
        evaluate.evaluate,
        evaluate.find_runs,
        export.export,
        fuse.fuse,
        missing.evaluate_missing,
        predict.predict,
        predict.predict_texts,
        prepare.prepare,
        pretrain.pretrain_unimodal,
        runs.carry_out,
    ],
    ids=lambda stage: stage.__name__,
)
def test_nobody_has_to_listen(stage):
    parameters = inspect.signature(stage).parameters
    demanded = [name for name in DISPENSABLE if name in parameters and parameters[name].default is inspect._empty]
    assert not demanded
