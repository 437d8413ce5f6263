"""What was pickled is what the store gives back, whatever happens on the way."""

import json
import os
import pickle
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli import files
from dmmsa_cli.data import store, validation
from dmmsa_cli.data.features import read_features
from dmmsa_cli.data.manifest import SCHEMA_VERSION
from dmmsa_cli.data.specs import MODALITIES, SPECS, SPLITS
from dmmsa_cli.data.store import DOWNLOADS, dataset_folder, open_store
from dmmsa_cli.data.unpickling import load
from dmmsa_cli.data.writing import write_store
from dmmsa_cli.errors import DatasetMissing, DiskFull, InvalidDataset, InvalidInput, StoreMismatch


def write(folder, raw, spec, **more):
    folder.mkdir(parents=True, exist_ok=True)
    return write_store(folder, dict(raw), validation.check(raw, spec), {"path": "x.pkl"}, **more)


def assert_equal_to(raw, split):
    """A split of a store against the pickle's arrays, row by row."""
    assert split.ids == raw["id"]
    assert split.texts == raw["raw_text"]
    assert len(split) == len(raw["id"])
    np.testing.assert_array_equal(split.labels["y"], raw["regression_labels"])
    for modality, key in (("a", "audio"), ("v", "vision")):
        assert split.lengths(modality).tolist() == list(raw[f"{key}_lengths"])
        for row, length in enumerate(raw[f"{key}_lengths"]):
            np.testing.assert_array_equal(split.sequence(modality, row), raw[key][row, :length])


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr("dmmsa_cli.data.chunks.CHUNK_ROWS", 2)


def test_the_store_gives_back_what_was_pickled(tmp_path, raw, spec, small_chunks):
    manifest = write(tmp_path / "mine", raw, spec)
    opened = open_store(tmp_path / "mine")
    assert opened.manifest == manifest
    for name in raw:
        split = opened.split(name)
        assert_equal_to(raw[name], split)
        assert set(split.labels) == {"y", "t", "v", "a"}
        np.testing.assert_array_equal(split.labels["a"], raw[name]["regression_labels_A"])
        assert opened.split(name) is split
    assert manifest.rows == {"train": 6, "valid": 4, "test": 5}
    assert manifest.longest == {
        m: max(max(raw[s][f"{k}_lengths"]) for s in raw) for m, k in (("v", "vision"), ("a", "audio"))
    }


def test_text_features_come_back(tmp_path, raw_with_text, spec, small_chunks):
    write(tmp_path / "mine", raw_with_text, spec)
    split, train = open_store(tmp_path / "mine").split("train"), raw_with_text["train"]
    for row in range(len(split)):
        np.testing.assert_array_equal(split.sequence("t", row), train["text"][row][train["text_bert"][row, 1] > 0])


def test_sequences_are_views_into_the_mapped_file(tmp_path, raw, spec):
    write(tmp_path / "mine", raw, spec)
    sequence = open_store(tmp_path / "mine").split("train").sequence("a", 1)
    assert sequence.dtype == np.float32
    assert not sequence.flags.owndata
    assert not sequence.flags.writeable


def test_no_such_row(tmp_path, raw, spec):
    write(tmp_path / "mine", raw, spec)
    split = open_store(tmp_path / "mine").split("train")
    for row in (-1, 6):
        with pytest.raises(IndexError):
            split.sequence("a", row)


def test_the_hash_is_of_the_content_alone(tmp_path, raw, spec, monkeypatch):
    first = write(tmp_path / "one", raw, spec)
    monkeypatch.setattr("dmmsa_cli.data.chunks.CHUNK_ROWS", 2)
    second = write(tmp_path / "two", raw, spec)
    assert first.files != second.files
    assert first.data_hash == second.data_hash
    raw["test"]["audio"][0, 0, 0] += 1
    assert write(tmp_path / "three", raw, spec).data_hash != first.data_hash


@pytest.mark.parametrize("key", ["id", "raw_text"])
def test_every_string_enters_the_hash(tmp_path, raw, spec, key):
    first = write(tmp_path / "one", raw, spec)
    raw["train"][key][0] += "x"
    assert write(tmp_path / "two", raw, spec).data_hash != first.data_hash


def test_a_new_store_replaces_the_old_one_whole(tmp_path, raw, spec):
    write(tmp_path, raw, spec)
    (tmp_path / "train-0000.arrow.partial").write_text("left by a kill")
    raw["train"]["regression_labels"][0] = 1.25
    manifest = write(tmp_path, raw, spec)
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.json", *manifest.files.values()}
    assert open_store(tmp_path).split("train").labels["y"][0] == 1.25


def replace_store(folder, raw, spec):
    """Put in a store whose every split differs from the former one's."""
    other = {name: split | {"raw_text": ["replaced"] * len(split["id"])} for name, split in raw.items()}
    return write(folder, other, spec)


def test_an_open_store_outlives_its_replacement(tmp_path, raw, spec):
    """No split has been asked for when the store is replaced: training maps the test split minutes after the others."""
    write(tmp_path, raw, spec)
    opened = open_store(tmp_path)
    replace_store(tmp_path, raw, spec)
    for name in raw:
        assert_equal_to(raw[name], opened.split(name))
    assert {open_store(tmp_path).split(name).texts[0] for name in raw} == {"replaced"}


@pytest.mark.parametrize("before", ["train", "test"])
def test_a_store_that_is_replaced_while_it_is_opened_is_the_new_one_whole(tmp_path, raw, spec, monkeypatch, before):
    """It is replaced after the manifest has been read, before the split of that name is mapped."""
    folder = tmp_path / "mine"
    write(folder, raw, spec)
    map_split, replaced = store._map, []

    def replacing_map(folder, manifest, name):
        if name == before and not replaced:
            replaced.append(replace_store(folder, raw, spec))
        return map_split(folder, manifest, name)

    monkeypatch.setattr(store, "_map", replacing_map)
    opened = open_store(folder)
    assert opened.manifest == replaced[0]
    assert {opened.split(name).texts[0] for name in raw} == {"replaced"}


@pytest.mark.parametrize("fails", ["train", "test", "manifest"])
def test_a_full_disk_leaves_the_former_store(tmp_path, raw, spec, monkeypatch, fails):
    """Every write to /dev/full fails as on a full disk: a link from the partial file leads there."""
    if not os.path.exists("/dev/full"):  # noqa: PTH110
        pytest.skip("no /dev/full on this system")
    folder = tmp_path / "mine"
    former = write(folder, raw, spec)
    raw["train"]["regression_labels"][0] = 1.25
    atomic_path = files.atomic_path

    @contextmanager
    def on_full_disk(target):
        with atomic_path(target) as partial:
            if target.name.startswith(fails):
                partial.symlink_to("/dev/full")
            yield partial

    monkeypatch.setattr(files, "atomic_path", on_full_disk)
    with pytest.raises(DiskFull, match=fails):
        write(folder, raw, spec)
    assert open_store(folder).manifest == former
    assert open_store(folder).split("train").labels["y"][0] != 1.25
    assert not list(folder.glob("*.partial"))
    monkeypatch.undo()
    write(folder, raw, spec)
    assert len(list(folder.glob("*.arrow"))) == 3


@pytest.mark.parametrize("split", ["train", "test"])
def test_half_a_character_is_refused_and_leaves_the_former_store(tmp_path, raw, spec, split):
    """The check of a file looks for it too; what gets past that must not reach the disk."""
    folder, layout = tmp_path / "mine", validation.check(raw, spec)
    former = write(folder, raw, spec)
    raw[split]["id"][3] = "bad \ud800"
    with pytest.raises(InvalidDataset, match=r"id holds what is no text.*ud800.*surrogates not allowed.*character 4"):
        write_store(folder, dict(raw), layout, {})
    assert open_store(folder).manifest == former
    assert {path.name for path in folder.iterdir()} == {"manifest.json", *former.files.values()}
    with pytest.raises(InvalidDataset):
        read_features(pickled(tmp_path / "x.pkl", raw), spec)


@given(
    name=st.text() | st.sampled_from(["", ".", "..", "/", "a/b", "../mini", "/data/mini", "a\n", "downloads", "ünï"])
)
def test_a_name_leads_to_a_folder_of_its_own_or_is_refused(name):
    data = Path("/somewhere/data")
    try:
        folder = dataset_folder(data, name)
    except InvalidInput as error:
        assert "can't be a dataset's name" in str(error)
    else:
        assert (folder.parent, folder.name) == (data, name)
        assert folder not in (data / DOWNLOADS, data)


@pytest.mark.parametrize("move", [shutil.copytree, Path.rename], ids=["copied", "renamed"])
def test_the_name_of_a_dataset_is_that_of_its_folder(tmp_path, raw, spec, move):
    written = write(tmp_path / "mine", raw, spec)
    move(tmp_path / "mine", tmp_path / "other")
    manifest = open_store(tmp_path / "other").manifest
    assert manifest.spec == replace(spec, name="other")
    assert replace(manifest, spec=spec) == written


def test_nothing_prepared(tmp_path):
    with pytest.raises(DatasetMissing, match="dmmsa prepare mosi --aligned"):
        open_store(dataset_folder(tmp_path, "mosi-aligned"))
    (tmp_path / "toy").mkdir()
    with pytest.raises(DatasetMissing, match="dmmsa prepare toy`"):
        open_store(dataset_folder(tmp_path, "toy"))


def set_in_manifest(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_store_of_another_schema_version(tmp_path, raw, spec):
    write(tmp_path, raw, spec)
    set_in_manifest(tmp_path, schema_version=99)
    with pytest.raises(StoreMismatch, match=rf"version 99; this dmmsa reads version {SCHEMA_VERSION}(.|\n)*--force"):
        open_store(tmp_path)


def damage_train(folder, change):
    (path,) = folder.glob("train-*.arrow")
    change(path)


DAMAGES = {
    "a file cut short": lambda folder: damage_train(folder, lambda path: os.truncate(path, 100)),
    "a file removed": lambda folder: damage_train(folder, lambda path: path.unlink()),
    "a manifest cut short": lambda folder: os.truncate(folder / "manifest.json", 50),
    "an empty manifest": lambda folder: (folder / "manifest.json").write_text(""),
    "a manifest without keys": lambda folder: (folder / "manifest.json").write_text('{"schema_version": 1}'),
    "a manifest with a list of files": lambda folder: set_in_manifest(folder, files=[1]),
    "a manifest without sizes": lambda folder: set_in_manifest(folder, sizes={}),
    "a manifest with a width that no array has": lambda folder: set_in_manifest(folder, widths={"v": 2**31, "a": 3}),
    "a manifest that leads elsewhere": lambda folder: set_in_manifest(
        folder, files={split: f"../{split}.arrow" for split in SPLITS}
    ),
    "a manifest that is nested too deeply": lambda folder: (folder / "manifest.json").write_text("[" * 10**6),
    "a manifest with a number too long": lambda folder: (folder / "manifest.json").write_text("9" * 5000),
    "a manifest of something else": lambda folder: (folder / "manifest.json").write_text("[1]"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_store(tmp_path, raw, spec, damage):
    write(tmp_path, raw, spec)
    damage(tmp_path)
    with pytest.raises(StoreMismatch, match="--force"):
        open_store(tmp_path)
    write(tmp_path, raw, spec)
    assert open_store(tmp_path)


def test_a_file_of_the_right_size_that_is_no_arrow_file(tmp_path, raw, spec):
    write(tmp_path, raw, spec)
    damage_train(tmp_path, lambda path: path.write_bytes(b"\0" * path.stat().st_size))
    with pytest.raises(StoreMismatch, match="damaged"):
        open_store(tmp_path)


def test_a_file_with_another_byte_here_and_there_is_read_or_refused(tmp_path, raw_with_text, spec):
    """No reading beyond its end, and no error from below."""
    manifest = write(tmp_path, raw_with_text, spec)
    path, rng, refused = tmp_path / manifest.files["train"], np.random.default_rng(0), 0
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(300):
        changed = whole.copy()
        changed[rng.integers(len(whole), size=rng.integers(1, 4))] = rng.integers(256)
        path.write_bytes(changed.tobytes())
        try:
            split = open_store(tmp_path).split("train")
        except StoreMismatch as error:
            assert "is damaged" in str(error)
            refused += 1
        else:
            assert len(split.ids) == len(split.texts) == len(split.labels["y"]) == 6
            assert all(split.sequence(m, row).ndim == 2 for m in manifest.widths for row in range(6))
    assert 0 < refused < 300


OTHER_FILES = {
    "rows": lambda manifest: {"rows": {"train": 5, "valid": 4, "test": 5}},
    "width": lambda manifest: {"widths": {"v": 4, "a": 2}},
    "another split's file": lambda manifest: {
        key: manifest[key] | {"train": manifest[key]["test"]} for key in ("files", "sizes")
    },
}


@pytest.mark.parametrize("change", OTHER_FILES.values(), ids=OTHER_FILES)
def test_a_manifest_of_other_files(tmp_path, raw, spec, change):
    write(tmp_path, raw, spec)
    set_in_manifest(tmp_path, **change(json.loads((tmp_path / "manifest.json").read_text())))
    with pytest.raises(StoreMismatch, match="where the manifest says|that the manifest says"):
        open_store(tmp_path)


# --- features for predict ---------------------------------------------------------------------------------------


def pickled(path, value):
    path.write_bytes(pickle.dumps(value, 4))
    return path


def test_features_by_split(tmp_path, raw, spec):
    del raw["valid"]
    features = read_features(pickled(tmp_path / "x.pkl", raw), spec)
    assert list(features.splits) == ["train", "test"]
    assert features.layout.widths == {"v": 4, "a": 3}
    for name in raw:
        assert_equal_to(raw[name], features.splits[name])


def test_flat_features_without_labels(tmp_path, raw, spec):
    flat = {key: value for key, value in raw["test"].items() if not key.startswith("regression")}
    flat["audio"][0, 0, 0] = -np.inf
    features = read_features(pickled(tmp_path / "x.pkl", flat), spec)
    assert list(features.splits) == ["all"]
    assert features.splits["all"].labels == {}
    assert features.splits["all"].ids == flat["id"]
    assert features.splits["all"].sequence("a", 0)[0, 0] == 0
    assert features.repairs == {"audio: -inf set to 0 (values)": 1}


def test_features_with_faults(tmp_path, raw, spec):
    raw["test"]["audio"] = raw["test"]["audio"][:2]
    with pytest.raises(InvalidDataset, match="has 2 rows where the split has 5"):
        read_features(pickled(tmp_path / "x.pkl", raw["test"]), spec)


# --- real files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mosi_text_audio", "mosi_three_modalities_leaky"])
def test_real_files(tmp_path, name):
    folder = os.environ.get("DMMSA_REAL_DATA")
    if not folder:
        pytest.skip("DMMSA_REAL_DATA is not set")
    raw = load(Path(folder) / "mosi" / f"{name}.pkl")
    manifest = write(tmp_path, raw, SPECS["mosi"])
    assert manifest.rows == SPECS["mosi"].split_sizes
    assert manifest.modalities == tuple(m for m in MODALITIES if m != "v" or "vision" in raw["train"])
    opened = open_store(tmp_path)
    for split in raw:
        np.testing.assert_array_equal(opened.split(split).labels["y"], raw[split]["regression_labels"])
        frames = np.stack([opened.split(split).sequence("a", row) for row in range(manifest.rows[split])])
        np.testing.assert_array_equal(frames, raw[split]["audio"])
