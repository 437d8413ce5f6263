"""What lies in a folder: can all of it be read, and is it what an undisturbed run leaves?"""

import hashlib
import json
import os
import re
import time

import pyarrow as pa
import yaml
from filelock import FileLock
from safetensors import safe_open

from dmmsa_cli.data.manifest import MANIFEST
from dmmsa_cli.data.store import open_store
from dmmsa_cli.files import STALE_SECONDS
from dmmsa_cli.stages.tuning.journal import read_journal
from dmmsa_cli.stages.tuning.names import JOURNAL

VARYING = ("seconds", "resumed", "mtime_ns", "git_revision")  # keys of what two runs need not share
TAG = re.compile(r"-[0-9a-f]{8}(?=\.arrow)")  # of a store's files, by chance
CHECKPOINT = "/checkpoint.safetensors"  # there while a run has not finished
FINAL = ("summary.json", "score.json")  # what stays as it is, once it is there


def names(place):
    """Return the files below a folder, by the name that they have in every run; locks are none."""
    found = sorted(path for path in place.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {TAG.sub("-TAG", str(path.relative_to(place))): path for path in found if path.name != ".lock"}


def contents(place):
    """Return what lies below a folder, by name, without what no two runs share."""
    return {name: _content(path) for name, path in names(place).items()}


def _content(path):
    if path.name == JOURNAL:
        trials = read_journal(path.parent).get_trials(deepcopy=False)
        return [[t.number, t.state.name, t.params, t.value, t.intermediate_values, t.user_attrs] for t in trials]
    if path.suffix == ".json":
        return _shared(json.loads(TAG.sub("-TAG", path.read_text())))
    if path.suffix == ".jsonl":
        return [_shared(json.loads(line)) for line in path.read_text().splitlines()]
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _shared(value):
    if isinstance(value, dict):
        return {key: _shared(inner) for key, inner in value.items() if key not in VARYING}
    return [_shared(inner) for inner in value] if isinstance(value, list) else value


def assert_same(place, whole):
    """See that what lies below a folder is the whole of an undisturbed run, and that nobody holds a lock."""
    found = contents(place)
    assert sorted(found) == sorted(whole), f"files: {sorted(found.keys() ^ whole.keys())}"
    for name, content in whole.items():
        assert found[name] == content, f"{name} is another"
    for lock in place.rglob("*.lock"):
        with FileLock(lock, timeout=0):
            pass


# --- after a kill ---------------------------------------------------------------------------------------------------


class Witness:
    """Looks at a folder after each kill: is what has its own name whole, and is what was finished still there?

    Args:
        place: the folder.
        known: names of the files of an undisturbed run; others, but for checkpoints, are what a kill left.
    """

    def __init__(self, place, known):
        self.place, self.known, self.kept, self.steps = place, known, {}, {}

    def look(self):
        for path in self._whole().values():
            try:
                read(path)
            except FileNotFoundError:
                assert not path.exists()  # removed by another process of the command, which goes on
            except Exception as error:
                raise AssertionError(f"{path} is damaged: {error!r}") from error
        for path, content in self.kept.items():
            there = path.read_bytes() if path.exists() else b""
            assert there.startswith(content) if path.name == JOURNAL else there == content, f"{path} has lost something"
        self.kept |= {path: path.read_bytes() for path in self._whole().values() if path.name in (*FINAL, JOURNAL)}
        self._look_at_steps()

    def _look_at_steps(self):
        """See that no training goes on from an earlier step than it could have; a trial may end early instead."""
        now = {path: step for path in self._whole().values() if (step := step_of(path)) is not None}
        for path, step in self.steps.items():
            finished = (path.parent / "summary.json").exists() or "trials" in path.parts
            assert finished or now.get(path, (0, 0)) >= step, f"{path} was at epoch and step {step}"
        self.steps = now

    def age(self):
        """Let what kills have left be as old as it takes to be known for that; nobody may be writing."""
        old = time.time() - STALE_SECONDS - 1
        for path in self.leftovers():
            os.utime(path, (old, old))

    def leftovers(self):
        """Return the files that an undisturbed run does not leave."""
        return [path for name, path in names(self.place).items() if not self._is_known(name)]

    def _whole(self):
        return {name: path for name, path in names(self.place).items() if self._is_known(name)}

    def _is_known(self, name):
        return name in self.known or name.endswith(CHECKPOINT)


def step_of(path):
    """Return epoch and step of a checkpoint; none of other files, and of one that has just been removed."""
    if not str(path).endswith(CHECKPOINT):
        return None
    try:
        with safe_open(path, "pt") as file:
            counters = json.loads(file.metadata()["facts"])["counters"]
    except FileNotFoundError:
        return None
    return counters["epoch"], counters["step"]


def read(path):
    """Read a file to its end, as what its name says it is."""
    reader = READERS.get(path.suffix)
    if path.name == MANIFEST and any(path.parent.glob("*.arrow")):
        open_store(path.parent)
    elif reader:
        reader(path)


def _lines(path):
    text = path.read_text()
    assert text.endswith("\n") or not text, "a line without an end"
    return [json.loads(line) for line in text.splitlines()]


def _tensors(path):
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118  (it is no dict)
            file.get_tensor(name)
        json.loads((file.metadata() or {}).get("facts", "{}"))


def _columns(path):
    with pa.memory_map(str(path)) as file:
        pa.ipc.open_file(file).read_all().validate(full=True)


def _table(path):
    import pandas as pd

    assert len(pd.read_csv(path, na_values=[])), "no rows"
    assert path.read_bytes().endswith(b"\n"), "a row without an end"


READERS = {
    ".json": lambda path: json.loads(path.read_text()),
    ".jsonl": _lines,
    ".yaml": lambda path: yaml.safe_load(path.read_text()) or _fail("nothing in it"),
    ".safetensors": _tensors,
    ".arrow": _columns,
    ".csv": _table,
}


def _fail(problem):
    raise ValueError(problem)
