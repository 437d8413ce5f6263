"""A run's folder: what is removed when a run is replaced, and when it ends."""

import pytest
import torch

from dmmsa_cli.errors import RunMismatch
from dmmsa_cli.training.run import RunFolder

STATE = {
    *("recipe.yaml", "manifest.json", "summary.json", "checkpoint.safetensors", "weights.safetensors"),
    *("metrics.jsonl", "metrics.json", "features.json", "predictions.csv", "predictions-valid.csv"),
}


@pytest.mark.parametrize("there", [STATE, set(), STATE - {"recipe.yaml"}, {"recipe.yaml"}], ids=len)
def test_a_replaced_run_leaves_nothing_of_its_state_and_all_else(tmp_path, there):
    for name in (*there, "notes.txt", "environment.json"):
        (tmp_path / name).write_text("x")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.json").write_text("{}")
    RunFolder(tmp_path).clear()
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "environment.json"}


def test_a_run_that_ends_leaves_neither_its_checkpoint_nor_what_kills_left(tmp_path):
    run = RunFolder(tmp_path)
    run.save_weights({"a": torch.zeros(1)})
    run.save_checkpoint({"a": torch.zeros(1)}, {})
    (tmp_path / "text").mkdir()
    for left in ("checkpoint.safetensors.01234567.partial", ".tmpAb12Cd", "text/config.json.01234567.partial"):
        (tmp_path / left).write_text("half")
    run.finish({"best_epoch": 1})
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"weights.safetensors", "summary.json"}


@pytest.mark.parametrize(
    ("told", "short"),
    [("one", "one"), ("one\n  two\n\tthree\n", "one two three"), ("one\ntwo\nthree\nfour", "one two three ...")],
)
def test_of_a_long_error_the_first_lines_are_told(tmp_path, told, short, monkeypatch):
    class Refuses(torch.nn.Linear):
        def load_state_dict(self, *arguments, **more):
            raise RuntimeError(told)

    run, model = RunFolder(tmp_path), Refuses(2, 1)
    run.save_weights(model.state_dict())
    with pytest.raises(RunMismatch) as refused:
        run.load_weights(model)
    assert refused.value.what.endswith(f": {short}")
