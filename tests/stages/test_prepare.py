"""`dmmsa prepare` as a whole."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import typer
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from dmmsa_cli import files
from dmmsa_cli.cli.prepare import _show
from dmmsa_cli.cli.prepare import prepare as command
from dmmsa_cli.data import sources, toy
from dmmsa_cli.data.manifest import Manifest
from dmmsa_cli.data.specs import SPECS, Source
from dmmsa_cli.data.splitting import Shares
from dmmsa_cli.data.store import open_store
from dmmsa_cli.errors import (
    DamagedPickle,
    DatasetMissing,
    DmmsaError,
    FolderBusy,
    HashMismatch,
    InvalidDataset,
    InvalidInput,
    InvalidSpec,
    StoreMismatch,
    UnsafePickle,
)
from dmmsa_cli.stages import ways
from dmmsa_cli.stages.prepare import prepare
from tests.conftest import SPEC
from tests.plain_values import PLAIN

OWN_SPEC = "score_range: 3\nunimodal_labels: true\nmodalities: [t, v, a]\n"


@pytest.fixture(scope="module")
def corpus():
    return toy.generate()[0]


@pytest.fixture
def pickled(tmp_path, corpus):
    path = tmp_path / "features.pkl"
    path.write_bytes(pickle.dumps(corpus, 4))
    return path


@pytest.fixture
def own_spec(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(OWN_SPEC)
    return path


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def test_reading_is_told_when_it_begins_and_when_it_is_done(tmp_path, pickled):
    (tmp_path / "mine.yaml").write_text(OWN_SPEC)
    told = []
    prepare(
        "mine",
        data_dir=tmp_path / "data",
        source=str(pickled),
        spec_file=tmp_path / "mine.yaml",
        progress=lambda *event: told.append(event),
    )
    assert [event for event in told if event[0] == "read"] == [("read", 0, None), ("read", 1, 1)]
    for what in {event[0] for event in told}:
        done, total = [event[1:] for event in told if event[0] == what][-1]
        assert done == total


@pytest.fixture
def no_rereading(monkeypatch):
    """Call it, and from then on reading a pickle or hashing a file fails."""

    def forbid(*arguments):
        raise AssertionError("read again")

    def switch_on():
        monkeypatch.setattr(sources, "hash_file", forbid)
        monkeypatch.setattr(ways.unpickling, "load", forbid)

    return switch_on


def test_toy_is_known_to_be_synthetic(data):
    report = prepare("toy", data_dir=data)
    assert report.written
    assert report.manifest.spec.synthetic
    assert report.manifest.notes["best_reachable_mae"]["test"] == pytest.approx(0.16, abs=0.03)
    assert report.lengths["a"].longest <= toy.AUDIO.steps
    assert sum(bar.count for bar in report.histogram) == 1050
    assert [bar.centre for bar in report.histogram][::5] == [-3, 0, 3]


def test_the_second_time_nothing_is_done(data, pickled, no_rereading):
    first = prepare("mosi", data_dir=data, source=str(pickled))
    listed = sorted(path.name for path in (data / "mosi").iterdir())
    no_rereading()
    for source in (str(pickled), None):
        again = prepare("mosi", data_dir=data, source=source)
        assert (first.written, again.written) == (True, False)
        assert again == replace(first, written=False)
    assert sorted(path.name for path in (data / "mosi").iterdir()) == listed


def test_a_copy_of_the_same_file_is_the_same_source(data, pickled, tmp_path):
    prepare("mosi", data_dir=data, source=str(pickled))
    copy = tmp_path / "copy.pkl"
    copy.write_bytes(pickled.read_bytes())
    assert not prepare("mosi", data_dir=data, source=str(copy)).written


def test_another_source_needs_force(data, pickled, corpus, tmp_path):
    former = prepare("mosi", data_dir=data, source=str(pickled)).manifest
    other = tmp_path / "other.pkl"
    other.write_bytes(pickle.dumps({**corpus, "test": corpus["valid"], "valid": corpus["test"]}, 4))
    with pytest.raises(StoreMismatch, match=r"features\.pkl, not from .*other\.pkl\.\n.*--force"):
        prepare("mosi", data_dir=data, source=str(other))
    assert open_store(data / "mosi").manifest == former
    report = prepare("mosi", data_dir=data, source=str(other), force=True)
    assert report.written
    assert report.manifest.data_hash != former.data_hash
    assert report.manifest.rows == {"train": 600, "valid": 300, "test": 150}


def test_a_file_without_splits_is_dealt_out(tmp_path, corpus):
    whole = {key: np.concatenate([np.asarray(split[key]) for split in corpus.values()]) for key in corpus["train"]}
    (tmp_path / "whole.pkl").write_bytes(pickle.dumps(whole))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(SPEC))
    given = {"data_dir": tmp_path / "data", "source": str(tmp_path / "whole.pkl"), "spec_file": tmp_path / "mine.yaml"}
    with pytest.raises(InvalidDataset, match="has no splits"):
        prepare("mine", **given)
    (tmp_path / "one.pkl").write_bytes(pickle.dumps({key: values[:1] for key, values in whole.items()}))
    with pytest.raises(InvalidDataset, match="holds one clip, of which no splits can be made"):
        prepare("mine", **given | {"source": str(tmp_path / "one.pkl")})
    report = prepare("mine", **given, shares=Shares.parse("7,1,2"))
    assert sum(report.manifest.rows.values()) == len(whole["id"])
    assert min(report.manifest.rows.values()) > 0
    assert not [line for line in report.warnings if "more than one split" in line]
    assert not prepare("mine", **given, shares=Shares.parse("0.7,0.1,0.2")).written
    for other in (Shares.parse("8,1,1"), Shares.parse("7,1,2", seed=2), None):
        with pytest.raises(StoreMismatch, match=r"whole\.pkl \(--split 0\.7,0\.1,0\.2 --by video"):
            prepare("mine", **given, shares=other)
    (tmp_path / "split.pkl").write_bytes(pickle.dumps(corpus))
    with pytest.raises(InvalidInput, match="has splits of its own"):
        prepare("other", **given | {"source": str(tmp_path / "split.pkl")}, shares=Shares.parse("7,1,2"))


def test_a_file_that_is_not_the_published_one_is_taken_and_told(data, pickled):
    report = prepare("mosi", data_dir=data, source=str(pickled))
    assert not report.manifest.source["published"]
    assert any("published file" in warning for warning in report.warnings)
    assert any("train 600 (published: 1,284)" in warning for warning in report.warnings)


def test_the_published_file_is_known_by_its_hash(data, pickled, monkeypatch):
    sha256 = sources.hash_file(pickled, lambda *_: None)
    spec = replace(SPECS["mosi"], source=Source("MOSI/Processed/features.pkl", sha256))
    monkeypatch.setitem(SPECS, "mosi", spec)
    fetched = sources.Fetched(pickled, sha256)
    monkeypatch.setattr(sources, "fetch", lambda spec, into, progress: fetched)
    report = prepare("mosi", data_dir=data)
    assert report.manifest.source["published"]
    assert report.manifest.source["inside"] == "MOSI/Processed/features.pkl"


def test_sha256_of_a_local_file(data, pickled):
    with pytest.raises(HashMismatch, match="0{64}"):
        prepare("mosi", data_dir=data, source=str(pickled), sha256="0" * 64)
    assert prepare("mosi", data_dir=data, source=str(pickled), sha256="any").written


def test_what_an_address_must_hash_to(data, pickled, own_spec, monkeypatch):
    asked = []

    def fetch_url(url, into, sha256, progress):
        asked.append(sha256)
        return sources.Fetched(pickled, sources.hash_file(pickled, progress))

    monkeypatch.setattr(sources, "fetch_url", fetch_url)
    url = "https://example.org/x.pkl"
    for sha256 in (None, "AB" * 32, "any"):
        prepare("mosi", data_dir=data, source=url, sha256=sha256, force=True)
    prepare("mine", data_dir=data, source=url, spec_file=own_spec)
    assert asked == [SPECS["mosi"].source.sha256, "ab" * 32, None, None]
    assert not prepare("mine", data_dir=data, source=url).written
    assert len(asked) == 4


def test_a_dataset_of_ones_own_needs_its_spec_once(data, pickled, own_spec):
    prepare("mine", data_dir=data, source=str(pickled), spec_file=own_spec)
    own_spec.unlink()
    assert not prepare("mine", data_dir=data).written
    report = prepare("mine", data_dir=data, source=str(pickled), force=True)
    assert report.written
    assert report.manifest.spec.recipes == "default"
    assert report.manifest.unimodal_labels


def test_a_copied_store_is_a_dataset_of_its_own(data, pickled, own_spec):
    former = prepare("mine", data_dir=data, source=str(pickled), spec_file=own_spec)
    shutil.copytree(data / "mine", data / "copy")
    report = prepare("copy", data_dir=data)
    assert not report.written
    assert (report.manifest.spec.name, report.manifest.data_hash) == ("copy", former.manifest.data_hash)
    assert prepare("copy", data_dir=data, source=str(pickled), force=True).manifest.spec.name == "copy"


def test_another_spec_needs_force(data, pickled, own_spec):
    prepare("mine", data_dir=data, source=str(pickled), spec_file=own_spec)
    own_spec.write_text(OWN_SPEC + "metrics: sims\n")
    with pytest.raises(StoreMismatch, match="another description"):
        prepare("mine", data_dir=data, source=str(pickled), spec_file=own_spec)


def test_a_store_of_another_schema_version_is_replaced_by_force_only(data):
    prepare("toy", data_dir=data)
    manifest = data / "toy" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema_version": 0}))
    with pytest.raises(StoreMismatch, match="--force"):
        prepare("toy", data_dir=data)
    assert prepare("toy", data_dir=data, force=True).written


WRONG = {
    "unknown": ({"name": "mosy"}, InvalidInput, "no dataset mosy. Known ones: mosi"),
    "own without spec": ({"name": "mine", "source": "x.pkl"}, InvalidInput, "--from FILE --spec FILE"),
    "a name that leads elsewhere": ({"name": "../x"}, InvalidInput, "can't be a dataset's name"),
    "the folder of downloads": ({"name": "downloads"}, InvalidInput, "can't be a dataset's name"),
    "no such file": ({"name": "mosi", "source": "nothing.pkl"}, InvalidInput, "nothing.pkl"),
    "no aligned variant": ({"name": "sims", "aligned": True}, InvalidInput, "one of mosi and mosei"),
    "no hash": ({"name": "mosi", "source": "x.pkl", "sha256": "abc"}, InvalidInput, "64 hexadecimal"),
    "a hash for nothing": ({"name": "mosi", "sha256": "any"}, InvalidInput, "--from"),
    "a file for toy": ({"name": "toy", "source": "x.pkl"}, InvalidInput, "generator"),
}


@pytest.mark.parametrize(("arguments", "error", "told"), WRONG.values(), ids=WRONG)
def test_wrong_arguments_leave_nothing_behind(data, arguments, error, told):
    with pytest.raises(error) as raised:
        prepare(**arguments, data_dir=data)
    assert told in str(raised.value)
    assert not data.exists()


def test_a_spec_for_a_known_dataset(data, pickled, own_spec):
    with pytest.raises(InvalidInput, match="a name of its own"):
        prepare("mosi", data_dir=data, source=str(pickled), spec_file=own_spec)
    own_spec.write_text("score_range: none\n")
    with pytest.raises(InvalidSpec):
        prepare("mine", data_dir=data, source=str(pickled), spec_file=own_spec)


class Runs:
    def __reduce__(self):
        return os.system, ("touch ran",)


def bad_file(path, corpus, kind):
    if kind is UnsafePickle:
        path.write_bytes(pickle.dumps({**corpus, "test": Runs()}))
    elif kind is DamagedPickle:
        os.truncate(path, path.stat().st_size // 2)
    else:
        path.write_bytes(pickle.dumps({"train": corpus["train"]}))


@pytest.mark.parametrize("kind", [UnsafePickle, DamagedPickle, InvalidDataset])
def test_a_bad_file_leaves_the_former_store_or_none(data, pickled, corpus, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    former = prepare("mosi", data_dir=data, source=str(pickled)).manifest
    bad_file(pickled, corpus, kind)
    with pytest.raises(kind):
        prepare("mosi", data_dir=data, source=str(pickled), force=True)
    assert open_store(data / "mosi").manifest == former
    with pytest.raises(kind):
        prepare("mosei", data_dir=data, source=str(pickled))
    with pytest.raises(DatasetMissing):
        open_store(data / "mosei")
    assert not (tmp_path / "ran").exists()


def test_one_process_at_a_time(data):
    with files.exclusive(data / "toy"), pytest.raises(FolderBusy):
        prepare("toy", data_dir=data)


# --- the command ------------------------------------------------------------------------------------------------


@pytest.fixture
def invoke(data, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    app = typer.Typer()
    app.command()(command)

    def run(*arguments):
        result = CliRunner().invoke(app, [*map(str, arguments), "--data-dir", str(data)])
        if isinstance(result.exception, DmmsaError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_the_command_shows_what_a_person_wants_to_see(invoke):
    shown = invoke("toy")
    for part in ("SYNTHETIC", "best reachable MAE", "600", "95th perc.", "vision", "data hash", "own labels"):
        assert part in shown
    assert all(len(line) <= 80 for line in shown.splitlines() if not line.startswith("Next: "))
    assert "was prepared before" in invoke("toy")


def test_the_command_shows_repairs_and_the_paper_s_numbers(invoke, pickled, corpus):
    dirty = {name: dict(split) for name, split in corpus.items()}
    dirty["train"]["audio"] = dirty["train"]["audio"].copy()
    dirty["train"]["audio"][0, 0, :2] = -np.inf
    pickled.write_bytes(pickle.dumps(dirty))
    shown = invoke("mosi", "--from", pickled)
    assert "1,284" in shown
    assert "audio: -inf set to 0 (values)" in shown
    assert "SYNTHETIC" not in shown


@pytest.fixture(scope="module")
def opened_by_anything(tmp_path_factory, corpus):
    """A prepared dataset, and a function that writes its manifest anew and has `dmmsa prepare` look at it."""
    folder = tmp_path_factory.mktemp("any")
    (folder / "mine.pkl").write_bytes(pickle.dumps(corpus, 4))
    (folder / "mine.yaml").write_text(OWN_SPEC)
    prepare("mine", data_dir=folder, source=str(folder / "mine.pkl"), spec_file=folder / "mine.yaml")
    whole = (folder / "mine" / "manifest.json").read_text()

    def look(manifest):
        (folder / "mine" / "manifest.json").write_text(json.dumps(manifest))
        _show(Console(file=io.StringIO()), prepare("mine", data_dir=folder))

    return json.loads(whole), look


KEYS = [*Manifest.__dataclass_fields__, "x"]


@given(data=st.data())
def test_any_json_in_a_manifest_is_taken_or_a_damaged_store(opened_by_anything, data):
    """A value in the place of any key, of any key of a key's value, or a key less."""
    manifest, look = opened_by_anything
    key = data.draw(st.sampled_from(KEYS))
    value = data.draw(PLAIN | st.floats() | st.none())
    inside = manifest.get(key)
    if isinstance(inside, dict) and data.draw(st.booleans()):
        value = inside | {data.draw(st.sampled_from([*inside, "x"])): value}
    changed = manifest | {key: value}
    if data.draw(st.booleans()):
        changed.pop(data.draw(st.sampled_from(list(manifest))))
    try:
        look(changed)
    except StoreMismatch as error:
        assert "--force" in str(error)
    except InvalidInput as error:
        assert "can't be read from its store" in str(error)


def left_by_kills(folder):
    """Lay into a store what kills leave that come once it is whole: a replaced split, and a part."""
    left = [folder / "train-01234567.arrow", folder / "manifest.json.01234567.partial"]
    for path in left:
        path.write_text("left")
    return left


def test_what_a_kill_left_beside_a_whole_store_goes_with_the_next(data):
    kept = prepare("toy", data_dir=data).store
    left = left_by_kills(kept.folder)
    assert not prepare("toy", data_dir=data).written
    assert not any(path.exists() for path in left)
    assert open_store(kept.folder).manifest == kept.manifest


def test_where_another_process_holds_the_store_it_may_be_that_ones(data):
    folder = prepare("toy", data_dir=data).store.folder
    left = left_by_kills(folder)
    with files.exclusive(folder):
        assert not prepare("toy", data_dir=data).written
    assert all(path.exists() for path in left)


# --- slow: memory -----------------------------------------------------------------------------------------------

# Linux counts what the parent held before exec into ru_maxrss; VmHWM is of this program alone.
MEASURE = """
import sys
from pathlib import Path
from dmmsa_cli.stages.prepare import prepare
prepare("mosei", data_dir=Path(sys.argv[2]), source=sys.argv[1])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.slow
def test_memory_stays_within_half_a_gigabyte_of_the_file(data, tmp_path):
    """Shapes of MOSEI, a tenth of its rows in training; every clip is dirty, every frame is used."""
    if not sys.platform.startswith("linux"):
        pytest.skip("measured through /proc, which Linux has")
    rng, raw = np.random.default_rng(0), {}
    for name, rows in (("train", 1632), ("valid", 1871), ("test", 1200)):
        audio = rng.standard_normal((rows, 500, 74), np.float32)
        audio[:, ::97, 3] = -np.inf
        raw[name] = {
            "id": [f"{name}$_${row}" for row in range(rows)],
            "raw_text": ["a clip"] * rows,
            "audio": audio,
            "vision": rng.standard_normal((rows, 500, 35), np.float32),
            "regression_labels": [0.0] * rows,
        }
    path = tmp_path / "mosei.pkl"
    with path.open("wb") as file:
        pickle.dump(raw, file, 4)
    del raw
    size = path.stat().st_size
    assert size > 1e9
    shown = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), str(data)], check=True, capture_output=True, text=True
    )
    peak = int(shown.stdout) * 1024
    assert peak - size < 0.5e9, f"peak {peak / 1e6:.0f} MB, file {size / 1e6:.0f} MB"
