"""A corpus small enough to train on in seconds, and what trains on it."""

import os
import pickle
import signal
from pathlib import Path

import hypothesis
import pytest
import yaml

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for the hub, but for those that stand in for it

# What is started in the background of a script ignores Ctrl-C, and so would every command that a test stops.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A slow example is a busy machine's doing, not the code's.
hypothesis.settings.register_profile("dmmsa", deadline=None)
hypothesis.settings.load_profile("dmmsa")

MICRO_RECIPE = {
    "text": {"source": "tiny", "tiny": {"width": 16, "layers": 1, "heads": 2, "vocabulary": 300}},
    "vision": {"heads": 2, "position_dropout": 0.1, "layer_dropout": 0.1},
    "audio": {"heads": 2, "position_dropout": 0.1, "layer_dropout": 0.1},
    "model": {"name": "feature_decomposition", "width": 16, "projector_dropout": 0.1},
    "objective": "dmmsa",
    "pretraining": {
        "objective": "regression",
        "text": {"learning_rate": 1e-3, "batch_size": 16, "epochs": 3, "frozen_share": 0.34},
        "vision": {"learning_rate": 1e-3, "batch_size": 16, "epochs": 2},
        "audio": {"learning_rate": 1e-3, "batch_size": 16, "epochs": 2},
    },
    "fusion": {"learning_rate": 1e-3, "batch_size": 16, "epochs": 4},
    "seeds": [1, 12],
}

SPEC = {"score_range": 3.0, "metrics": "mosi", "unimodal_labels": True, "text_encoder": "bert-base-uncased"}


def cut(raw, rows):
    """The first rows of each split of a pickle's content."""
    return {name: {key: values[: rows[name]] for key, values in split.items()} for name, split in raw.items()}


@pytest.fixture(autouse=True)
def usual_folders():
    """What a test says of the folders that its process works in is no other's business."""
    yield
    from dmmsa_cli.commands import DATA, RUNS, work_in

    work_in(data_dir=DATA, runs_dir=RUNS)


@pytest.fixture(scope="session")
def corpus():
    """The toy corpus, cut short, in the field's layout."""
    from dmmsa_cli.data import toy

    return cut(toy.generate()[0], {"train": 48, "valid": 24, "test": 24})


@pytest.fixture(scope="session")
def prepared(corpus, tmp_path_factory) -> Path:
    """A data folder in which the cut corpus is prepared as `mini`."""
    from dmmsa_cli.stages.prepare import prepare

    folder = tmp_path_factory.mktemp("prepared")
    (folder / "mini.pkl").write_bytes(pickle.dumps(corpus))
    (folder / "mini.yaml").write_text(yaml.safe_dump(SPEC))
    prepare("mini", data_dir=folder / "data", source=str(folder / "mini.pkl"), spec_file=folder / "mini.yaml")
    return folder / "data"


@pytest.fixture(scope="session")
def micro(tmp_path_factory) -> Path:
    """A recipe that trains in seconds."""
    path = tmp_path_factory.mktemp("recipes") / "micro.yaml"
    path.write_text(yaml.safe_dump(MICRO_RECIPE))
    return path


@pytest.fixture(scope="session")
def golden():
    """The folder of reference values made with the field's own code."""
    if not os.environ.get("DMMSA_GOLDEN"):
        pytest.skip("DMMSA_GOLDEN names no folder of reference values")
    return Path(os.environ["DMMSA_GOLDEN"])
