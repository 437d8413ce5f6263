"""Scores for one's own features."""

import pickle

import numpy as np
import pandas as pd
import pytest

from dmmsa_cli.errors import InvalidInput, RunMissing, UnsafePickle
from dmmsa_cli.stages.evaluate import evaluate
from dmmsa_cli.stages.predict import predict
from dmmsa_cli.training.run import RunFolder
from tests.training_runs import open_mini, run_fuse


@pytest.fixture(scope="module", params=[False, True], ids=["frozen text", "text trained in fusion"])
def run(request, prepared, micro, tmp_path_factory):
    trained = f"text.train_in_fusion={str(request.param).lower()}"
    experiment = open_mini(prepared, micro, tmp_path_factory.mktemp("predict"), "fusion.epochs=1", trained)
    return RunFolder(run_fuse(experiment).folder)


def unlabelled(split):
    return {key: value for key, value in split.items() if not key.startswith("regression")}


def save(path, content):
    path.write_bytes(pickle.dumps(content))
    return path


def test_new_clips_get_what_evaluation_gave_them(run, prepared, corpus, tmp_path):
    """The same clips from the pickle and from the store: the run's own standardisation, tokenizer and encoders."""
    source = save(tmp_path / "new.pkl", {"test": unlabelled(corpus["test"])})
    report = predict([run], source, tmp_path / "out.csv", data_dir=prepared, device="cpu")
    assert report.rows == {"test": 24}
    evaluate([run], split="test", data_dir=prepared, device="cpu")
    known = pd.read_csv(run.path / "predictions.csv")
    told = pd.read_csv(tmp_path / "out.csv")
    assert list(told["id"]) == list(known["id"])
    assert "y_true" not in told
    np.testing.assert_allclose(told["y_pred"], known["y_pred"], atol=1e-5)
    assert set(told) >= {"split", "id", "text", "y_pred", "msc_3", "uni_T_s"}


def test_clips_whose_labels_are_unknown_are_unlabelled(run, prepared, corpus, tmp_path):
    """NaN is the usual filler; the predictions are those of a file without labels."""
    split = corpus["test"]
    filled = split | {
        key: np.full(len(values), np.nan) for key, values in split.items() if key.startswith("regression")
    }
    for name, content in (("nan", filled), ("none", unlabelled(split))):
        report = predict([run], save(tmp_path / name, {"test": content}), tmp_path / f"{name}.csv", data_dir=prepared)
        told = [warning for warning in report.warnings if "regression_labels can't be used" in warning]
        assert len(told) == (name == "nan")
    assert (tmp_path / "nan.csv").read_bytes() == (tmp_path / "none.csv").read_bytes()


def test_a_flat_pickle_without_splits(run, prepared, corpus, tmp_path):
    source = save(tmp_path / "flat.pkl", unlabelled(corpus["valid"]))
    report = predict([run], source, tmp_path / "out.csv", data_dir=prepared, device="cpu")
    assert report.rows == {"all": 24}


def test_one_split_of_several(run, prepared, corpus, tmp_path):
    source = save(tmp_path / "new.pkl", {name: unlabelled(split) for name, split in corpus.items()})
    report = predict([run], source, tmp_path / "out.csv", data_dir=prepared, device="cpu", split="valid")
    assert report.rows == {"valid": 24}
    with pytest.raises(InvalidInput, match="no split dev"):
        predict([run], source, tmp_path / "out.csv", data_dir=prepared, device="cpu", split="dev")


def test_another_width_and_a_missing_modality_are_both_named(run, prepared, corpus, tmp_path):
    split = unlabelled(corpus["test"])
    narrow = {**split, "vision": split["vision"][:, :, :7]}
    del narrow["audio"], narrow["audio_lengths"]
    source = save(tmp_path / "narrow.pkl", {"test": narrow})
    with pytest.raises(InvalidInput) as told:
        predict([run], source, tmp_path / "out.csv", data_dir=prepared, device="cpu")
    assert "vision is 7 wide" in str(told.value)
    assert "12 in" in str(told.value)
    assert "audio features" in str(told.value)
    assert not (tmp_path / "out.csv").exists()


def test_sequences_longer_than_the_run_knows_are_cut_and_counted(run, prepared, corpus, tmp_path):
    split = unlabelled(corpus["test"])
    long = {**split, "audio": np.tile(split["audio"], (1, 3, 1)) + 0.1, "audio_lengths": [120] * 24}
    report = predict([run], save(tmp_path / "long.pkl", long), tmp_path / "out.csv", data_dir=prepared, device="cpu")
    assert report.cut == {"a": 24}


def test_a_pickle_that_would_run_code_is_refused(run, prepared, tmp_path):
    import os

    class Harm:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    source = save(tmp_path / "harm.pkl", {"test": Harm()})
    with pytest.raises(UnsafePickle, match="system"):
        predict([run], source, tmp_path / "out.csv", data_dir=prepared, device="cpu")
    assert not (tmp_path / "ran").exists()


def test_an_unfinished_run_predicts_nothing(prepared, tmp_path):
    with pytest.raises(RunMissing):
        predict([RunFolder(tmp_path)], tmp_path / "new.pkl", tmp_path / "out.csv", data_dir=prepared)
