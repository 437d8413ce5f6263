"""Scores for one's own features."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest

from dmmsa_cli.data.store import open_store
from dmmsa_cli.errors import InvalidInput, RunMissing, UnsafePickle
from dmmsa_cli.stages.evaluate import evaluate
from dmmsa_cli.stages.predict import Cut, predict
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
    assert set(told) >= {"split", "id", "text", "y_pred", "polarity", "class_3", "class_3_of_score", "text_similar"}


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
    limit = open_store(prepared / "mini").manifest.longest["a"]
    assert report.cut == {"a": Cut(clips=24, longest=120, limit=limit)}


def test_what_no_run_reads_is_said_and_not_repaired(prepared, micro, corpus, tmp_path):
    """Here: the vision of the file, which is damaged, and its BERT features, beside which the run reads words."""
    experiment = open_mini(prepared, micro, tmp_path, "fusion.epochs=1", "data.modalities=[t,a]")
    run = RunFolder(run_fuse(experiment).folder)
    split = unlabelled(corpus["test"])
    torn = {**split, "vision": np.where(split["vision"] == 0, -np.inf, split["vision"])}
    torn["audio"] = np.where(split["audio"] == 0, -np.inf, split["audio"])
    source = save(tmp_path / "torn.pkl", {"test": torn})
    report = predict([run], source, data_dir=prepared, device="cpu")
    assert report.warnings[0] == "Of the file, vision is not used: the run was trained without."
    assert any(what.startswith("audio: -inf") for what in report.repairs)
    assert not any(what.startswith(("vision", "text")) for what in report.repairs)


def test_nothing_is_said_to_be_unused_where_all_is_read(run, prepared, corpus, tmp_path):
    report = predict([run], save(tmp_path / "new.pkl", unlabelled(corpus["test"])), data_dir=prepared, device="cpu")
    assert not any("not used" in line for line in report.warnings)


def test_clips_whose_features_are_beyond_all_measure_are_named(run, prepared, corpus, tmp_path):
    split = unlabelled(corpus["test"])
    huge = {**split, "audio": split["audio"].copy()}
    huge["audio"][3] = 3e38
    with pytest.raises(
        InvalidInput, match=f"The prediction of 1 clip is no finite number: {re.escape(split['id'][3])}"
    ):
        predict([run], save(tmp_path / "huge.pkl", huge), tmp_path / "o.csv", data_dir=prepared, device="cpu")
    assert not (tmp_path / "o.csv").exists()


def test_a_file_that_is_replaced_is_told(run, prepared, corpus, tmp_path):
    source = save(tmp_path / "new.pkl", unlabelled(corpus["test"]))
    told = [predict([run], source, tmp_path / "o.csv", data_dir=prepared, device="cpu").replaced for _ in range(2)]
    assert told == [False, True]


def test_a_pickle_that_would_run_code_is_refused(run, prepared, tmp_path):
    import os

    class Harm:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    source = save(tmp_path / "harm.pkl", {"test": Harm()})
    with pytest.raises(UnsafePickle, match="system"):
        predict([run], source, tmp_path / "out.csv", data_dir=prepared, device="cpu")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("nothing", "There is no run .*nothing"),
        ("empty", "empty holds no run"),
        ("begun/seed-1", "The run in .*seed-1 has not finished"),
        ("runs", r"is no run, but a folder of runs.*Name the one below it: .*seed-1"),
    ],
)
def test_what_is_no_finished_run_is_told_what_it_is(run, prepared, tmp_path, folder, words):
    (tmp_path / "empty").mkdir()
    begun = tmp_path / "begun" / "seed-1"
    begun.mkdir(parents=True)
    (begun / "recipe.yaml").write_text("")
    place = run.path.parents[3] if folder == "runs" else tmp_path / folder
    with pytest.raises(RunMissing) as told:
        predict([RunFolder(place)], tmp_path / "new.pkl", tmp_path / "out.csv", data_dir=prepared)
    assert re.search(words, f"{told.value.what} {told.value.remedy}")


def test_a_single_clip_and_empty_splits_are_what_people_have(run, prepared, corpus, tmp_path):
    """MMSA-FET writes all three splits, whichever have clips, and its settings beside them."""
    split = unlabelled(corpus["test"])
    empty = {key: value[:0] for key, value in split.items()}
    one = {key: value[:1] for key, value in split.items()}
    source = save(
        tmp_path / "fet.pkl", {"train": empty, "valid": empty, "test": one, "config": {"audio": {"tool": "x"}}}
    )
    report = predict([run], source, tmp_path / "out.csv", data_dir=prepared, device="cpu")
    assert report.rows == {"test": 1}
    assert [line for line in report.warnings if "config holds no clips" in line]
    assert [line for line in report.warnings if "left out: train, valid" in line]
    whole = predict(
        [run], save(tmp_path / "w.pkl", {"test": split}), tmp_path / "w.csv", data_dir=prepared, device="cpu"
    )
    np.testing.assert_allclose(report.table["y_pred"], whole.table["y_pred"][:1], atol=1e-5)


def test_clips_without_words_are_told(run, prepared, corpus, tmp_path):
    split = unlabelled(corpus["test"]) | {"raw_text": [""] * 24}
    report = predict([run], save(tmp_path / "w.pkl", split), tmp_path / "w.csv", data_dir=prepared, device="cpu")
    assert "Transcripts without a word (empty, or nan, None, null): 24 of 24." in report.warnings


def test_transcripts_that_are_cut_are_told(run, prepared, corpus, tmp_path):
    words = list(corpus["test"]["raw_text"])
    split = unlabelled(corpus["test"]) | {"raw_text": [words[0] * 300, *words[1:]]}
    with pytest.warns(UserWarning, match="mini: 1 of 24 transcripts are longer than"):
        predict([run], save(tmp_path / "w.pkl", split), tmp_path / "w.csv", data_dir=prepared, device="cpu")
