"""Transcripts, ids, names of datasets, variants and files of any kind, from the pickle to every format and back."""

import csv
import json
import pickle
import re

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dmmsa_cli.data.prediction_table import from_cell, read_predictions
from dmmsa_cli.data.specs import SPECS
from dmmsa_cli.data.store import open_store
from dmmsa_cli.errors import InvalidDataset
from dmmsa_cli.experiments.experiment import open_experiment
from dmmsa_cli.experiments.studies import is_folder_name
from dmmsa_cli.reporting.report import report
from dmmsa_cli.stages.evaluate import evaluate, find_runs
from dmmsa_cli.stages.predict import predict
from dmmsa_cli.stages.prepare import prepare
from dmmsa_cli.training.run import RunFolder
from tests.conftest import SPEC
from tests.training_runs import run_fuse

AWKWARD = (
    "ends in\r",
    "two\r\nlines",
    'a "quote", a comma',
    '=HYPERLINK("http://x")',
    "'=1",
    "@me",
    "[/red]",
    ":smile:",
    "<script>alert(1)</script>",
    "$x$ % & # _ {",
    "\u202e",
    "NA",
    "",
    "007",
    "电影 é",
    "\x85",
    "\x1b[31m",
    "\x00",
)

ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(is_folder_name)
DATASETS = st.from_regex(r"\w[\w.-]{0,10}", fullmatch=True).filter(lambda name: name not in (*SPECS, "downloads"))


@st.composite
def texts(draw):
    """Twelve transcripts and as many ids, no two ids the same."""
    return (
        draw(st.lists(st.sampled_from(AWKWARD) | ANY, min_size=12, max_size=12)),
        draw(st.lists(st.sampled_from(AWKWARD) | ANY, min_size=12, max_size=12, unique=True)),
    )


@given(texts=texts(), dataset=DATASETS, variant=NAMES, file=NAMES)
@example(
    texts=(list(AWKWARD[:12]), list(AWKWARD[6:])), dataset="电影.v2", variant="[a] :smile: $x$", file="50 % of #1 {x}"
)
@settings(max_examples=3, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
def test_any_text_comes_back_as_it_was(corpus, micro, tmp_path_factory, texts, dataset, variant, file):
    folder = tmp_path_factory.mktemp("any")
    transcripts, ids = texts
    raw = {name: {key: values[:12] for key, values in split.items()} for name, split in corpus.items()}
    raw["test"] |= {"raw_text": transcripts, "id": ids}
    raw["train"]["raw_text"] = transcripts
    for name in ("train", "valid"):
        raw[name]["id"] = [f"{name}-{row}" for row in range(12)]
    source, spec, recipe = (folder / f"{file}{ending}" for ending in (".pkl", ".yaml", "-recipe.yaml"))
    source.write_bytes(pickle.dumps(raw))
    spec.write_text(yaml.safe_dump(SPEC), encoding="utf-8")
    recipe.write_text(micro.read_text())
    data_dir, runs_dir = folder / "data", folder / "runs"
    prepare(dataset, data_dir=data_dir, source=str(source), spec_file=spec)
    stored = open_store(data_dir / dataset).split("test")
    assert (stored.ids, stored.texts) == (ids, transcripts)

    settings = ("fusion.epochs=1", "pretraining.text.epochs=1", "pretraining.audio.epochs=1", "data.modalities=[t, a]")
    experiment = open_experiment(
        dataset, data_dir=data_dir, runs_dir=runs_dir, recipe=str(recipe), settings=settings, device="cpu"
    )
    run = RunFolder(run_fuse(experiment, f"{variant} x").folder)
    outcome = evaluate(find_runs([], dataset, runs_dir), split="test", data_dir=data_dir, device="cpu")
    assert outcome.left_out == []
    table = read_predictions(run.path / "predictions.csv")
    assert (list(table["id"]), list(table["text"])) == (ids, transcripts)

    predict([run], source, folder / f"{file}.csv", data_dir=data_dir, device="cpu", split="test")
    with (folder / f"{file}.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(from_cell(row["id"]), from_cell(row["text"])) for row in rows] == list(zip(ids, transcripts, strict=True))

    built, written = report(runs_dir, {"markdown", "latex", "csv", "html"}, folder / f"{file} report", dataset)
    assert built.collection.damaged == []
    assert all(path.exists() for path in written)
    page = (folder / f"{file} report" / "index.html").read_text(encoding="utf-8")
    clips = [
        json.loads(found) for found in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.S)
    ]
    assert clips
    with (folder / f"{file} report" / "tables.csv").open(encoding="utf-8", newline="") as lines:
        assert {row["dataset"] for row in csv.DictReader(lines)} <= {dataset}


def with_half_a_character(corpus, folder, key):
    raw = {name: {key: values[:12] for key, values in split.items()} for name, split in corpus.items()}
    raw["valid"][key] = [*raw["valid"][key][:3], "bad \ud800", *raw["valid"][key][4:]]
    (folder / "m.pkl").write_bytes(pickle.dumps(raw))
    (folder / "m.yaml").write_text(yaml.safe_dump(SPEC))
    return prepare("m", data_dir=folder / "data", source=str(folder / "m.pkl"), spec_file=folder / "m.yaml")


def test_half_a_character_of_a_transcript_is_replaced_and_told(corpus, tmp_path):
    report = with_half_a_character(corpus, tmp_path, "raw_text")
    assert report.store.split("valid").texts[3] == "bad \ufffd"
    assert any("half of a character" in what for what in report.manifest.repairs)


def test_half_a_character_of_an_id_is_refused_with_its_row_and_leaves_nothing(corpus, tmp_path):
    with pytest.raises(InvalidDataset, match=r"valid +id +1 id is with half of a character, the first in row 3"):
        with_half_a_character(corpus, tmp_path, "id")
    assert not list((tmp_path / "data").rglob("*.arrow*"))
