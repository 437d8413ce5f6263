"""Which commands are killed, on what, and how often: the toy corpus, cut small, and recipes that train in a moment."""

import hashlib
import pickle
import shutil
from pathlib import Path

import yaml

from dmmsa_cli.data import toy
from dmmsa_cli.data.store import open_store
from dmmsa_cli.errors import DatasetMissing
from dmmsa_cli.stages.prepare import prepare
from tests.conftest import MICRO_RECIPE, SPEC, cut
from tests.kills.campaign import Case

KILLS = {
    "prepare": 100,
    "prepare-over": 50,
    "prepare-download": 50,
    "prepare-emotions": 50,
    "fuse": 250,
    "ablate": 200,
    "ablate-ray": 100,
    "tune": 200,
}

ROWS = {"train": 48, "valid": 24, "test": 24}
WIDER = 40  # times the frames' numbers, so that a store takes a while to write
UNSEEN = {"modalities": ["v", "a"]}  # of runs whose processes would import the libraries of text for seconds
STUDY = {
    "title": "two",
    "variants": [{"name": "full"}, {"name": "no-msc", "set": {"objective.msc.enabled": False}}],
}
SPACE = {
    "fusion.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "fusion.epochs": {"low": 1, "high": 4},
    "objective.msc.classes": {"choices": [2, 3, [2, 3]]},
}
ONE_THREAD = ("--threads", "1", "--device", "cpu")


def make_material(folder):
    """Lay into a folder what the commands need."""
    raw = cut(toy.generate()[0], ROWS)
    (folder / "mini.pkl").write_bytes(pickle.dumps(raw))
    (folder / "large.pkl").write_bytes(pickle.dumps({name: _widened(split) for name, split in raw.items()}))
    (folder / "bare.pkl").write_bytes(pickle.dumps({name: _unfelt(split) for name, split in raw.items()}))
    files = {
        "mini.yaml": SPEC,
        "micro.yaml": MICRO_RECIPE,
        "unseen.yaml": MICRO_RECIPE | {"data": UNSEEN},
        "study.yaml": STUDY,
        "space.yaml": SPACE,
    }
    for name, values in files.items():
        (folder / name).write_text(yaml.safe_dump(values))
    prepare("mini", data_dir=folder / "data", source=str(folder / "mini.pkl"), spec_file=folder / "mini.yaml")


def _widened(split):
    return split | {key: split[key].repeat(WIDER, axis=-1) for key in ("audio", "vision")}


def _unfelt(split):
    return {key: values for key, values in split.items() if key != "emotions"}


def cases(material, address):
    """Return the cases by name.

    Args:
        material: the folder that `make_material` filled.
        address: HTTP address at which `large.pkl` lies.
    """
    sha256 = hashlib.sha256((material / "large.pkl").read_bytes()).hexdigest()
    large = ("prepare", "mini", "--from", "large.pkl", "--spec", "mini.yaml")
    prepared = lay(material, "data", "micro.yaml", "unseen.yaml", "study.yaml", "space.yaml")
    fused = ("fuse", "--dataset", "mini", "--recipe", "micro.yaml", "--seed", "1", "12", "--resume", *ONE_THREAD)
    study = ("ablate", "--dataset", "mini", "--study", "study.yaml", "--recipe", "unseen.yaml", "--seed", "1")
    tuned = ("tune", "--dataset", "mini", "--recipe", "micro.yaml", "--space", "space.yaml", "--trials", "7")
    bare = ("prepare", "bare", "--from", "bare.pkl", "--spec", "mini.yaml")
    return {
        "prepare": Case([large], lay(material, "large.pkl", "mini.yaml")),
        "prepare-over": Case(
            [(*large, "--force")], lay(material, "large.pkl", "mini.yaml", "data"), check=Either(material / "data")
        ),
        "prepare-download": Case(
            [("prepare", "mini", "--from", address, "--sha256", sha256, "--spec", "mini.yaml")],
            lay(material, "mini.yaml"),
        ),
        "prepare-emotions": Case(
            [(*bare, "--emotions-from", "mini", "--recipe", "micro.yaml")],
            lay(material, "data", "bare.pkl", "mini.yaml", "micro.yaml"),
        ),
        "fuse": Case([fused, ("evaluate", "--dataset", "mini", "--device", "cpu")], prepared),
        "ablate": Case([(*study, "--jobs", "2", *ONE_THREAD)], prepared),
        "ablate-ray": Case(
            [(*study, "--jobs", "2", "--engine", "ray", *ONE_THREAD)],
            prepared,
            environment={"RAY_AUTH_MODE": "disabled"},  # no token is left in the home of whoever runs the tests
            survives=("a worker", "one that it had started"),
            alone=True,
            slow=("ray::DashboardAgent", "ray::RuntimeEnvAgent"),  # these wait a minute for an answer of the dead
        ),
        "tune": Case([(*tuned, "--seeds", "1", *ONE_THREAD)], prepared),
    }


def lay(material, *names):
    """Return what lays some of the material into a folder."""

    def begin(place):
        for name in names:
            source = material / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, place / name)

    return begin


class Either:
    """A store that is being replaced is the former or the new one, never none.

    Args:
        former: folder of the stores as they were.
    """

    def __init__(self, former: Path) -> None:
        self.former = open_store(former / "mini").manifest.data_hash

    def __call__(self, place):
        try:
            store = open_store(place / "data" / "mini")
        except DatasetMissing:
            raise AssertionError("the former store is lost") from None
        assert store.manifest.widths["a"] in (8, 8 * WIDER)
        assert (store.manifest.data_hash == self.former) == (store.manifest.widths["a"] == 8)
