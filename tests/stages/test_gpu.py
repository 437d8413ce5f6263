"""The same run on a GPU. Where there is none, these skip; no other test needs one."""

import json

import pytest
import torch

from dmmsa_cli.errors import Interrupted
from dmmsa_cli.experiments.experiment import open_experiment
from dmmsa_cli.stages.evaluate import evaluate
from dmmsa_cli.training.run import RunFolder
from tests.training_runs import StopAfter, run_fuse, weights

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_training_stopping_and_evaluating_on_a_gpu(prepared, micro, tmp_path, precision):
    experiment = open_experiment(
        "mini",
        data_dir=prepared,
        runs_dir=tmp_path,
        recipe=str(micro),
        changes={"precision": precision, "text.train_in_fusion": True},
        device="cuda",
    )
    assert not torch.backends.cuda.cudnn_sdp_enabled()  # a plan for every shape: an epoch took forty times as long
    with pytest.raises(Interrupted):
        run_fuse(experiment, watch=StopAfter(5))
    run = RunFolder(run_fuse(experiment, resume=True).folder)
    assert run.environment["precision"] == precision
    assert run.environment["device"].startswith("cuda")
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 4
    (there,) = evaluate([run], split="test", data_dir=prepared, device="cuda").tables
    (here,) = evaluate([run], split="test", data_dir=prepared, device="cpu").tables
    if precision == "float32":
        assert there.systems[-1].runs[0]["mae"] == pytest.approx(here.systems[-1].runs[0]["mae"], abs=1e-4)
    assert weights(run.path)
