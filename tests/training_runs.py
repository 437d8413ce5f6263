"""Small trainings on the cut corpus, for all tests that need one."""

import json
import os
import pickle
import signal

import yaml
from safetensors.torch import load_file

from dmmsa_cli.experiments.experiment import open_experiment
from dmmsa_cli.experiments.recipes import load_recipe
from dmmsa_cli.stages.fuse import fuse
from dmmsa_cli.stages.prepare import prepare
from tests.conftest import SPEC


def quiet(*_):
    """Listen to nothing."""


def prepare_mini(raw, folder, spec=SPEC):
    """Prepare a raw corpus as `mini`, and return the data folder."""
    (folder / "mini.pkl").write_bytes(pickle.dumps(raw))
    (folder / "mini.yaml").write_text(yaml.safe_dump(spec))
    prepare("mini", data_dir=folder / "data", source=str(folder / "mini.pkl"), spec_file=folder / "mini.yaml")
    return folder / "data"


def open_mini(prepared, micro, runs, *settings, **changes):
    return open_experiment(
        "mini", data_dir=prepared, runs_dir=runs, recipe=str(micro), settings=settings, changes=changes, device="cpu"
    )


def run_fuse(experiment, variant=None, seed=1, watch=quiet, remark=quiet, **flags):
    """Train a run; without a name it is `full` where nothing is changed, and `changed` elsewhere."""
    if variant is None:
        as_it_is = experiment.recipe_file and experiment.recipe == load_recipe(experiment.recipe_file)
        variant = "full" if as_it_is and not flags.get("from_scratch") else "changed"
    return fuse(
        experiment, variant, seed, watch=lambda: watch, watch_pretraining=lambda m: quiet, remark=remark, **flags
    )


def log(folder):
    """metrics.jsonl without what no two runs share."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def weights(folder):
    return {name: value.numpy().tobytes() for name, value in load_file(folder / "weights.safetensors").items()}


class StopAfter:
    """Ask the process to stop, as Ctrl-C does, after so many events."""

    def __init__(self, events, number=signal.SIGINT):
        self.left, self.number = events, number

    def __call__(self, event, progress):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)
