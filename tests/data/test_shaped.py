"""The made-up pickles that speed and memory are measured on."""

import hashlib
import pickle

import numpy as np
import pytest

from dmmsa_cli.data.shaped import SHAPES, durations, generate, write_shaped
from dmmsa_cli.data.specs import SPECS
from dmmsa_cli.data.validation import check

ROWS = 16


@pytest.fixture(scope="module", params=SHAPES)
def shaped(request):
    return request.param, generate(request.param, rows=ROWS)


def test_it_has_the_shape_of_the_dataset(shaped):
    name, raw = shaped
    shape = SHAPES[name]
    for split, size in zip(("train", "valid", "test"), shape.rows, strict=True):
        rows = max(8, round(size * ROWS / shape.rows[0]))
        assert raw[split]["audio"].shape == (rows, shape.audio.longest, shape.audio.width)
        assert raw[split]["vision"].shape == (rows, shape.vision.longest, shape.vision.width)
        assert raw[split]["text"].shape == (rows, 50, 768)
        assert raw[split]["text_bert"].shape == (rows, 3, 50)
        assert raw[split]["audio"].dtype == np.float32


def test_its_rows_are_the_published_ones():
    assert {name: shape.rows for name, shape in SHAPES.items()} == {
        name: tuple(SPECS[name].split_sizes.values()) for name in SHAPES
    }


def test_it_passes_every_check(shaped):
    name, raw = shaped
    layout = check(raw, SPECS[name])
    assert layout.modalities == ("t", "v", "a")
    assert layout.unimodal_labels == SPECS[name].unimodal_labels


def test_it_says_that_it_is_made_up(shaped):
    ids = [clip for split in shaped[1].values() for clip in split["id"]]
    assert [clip for clip in ids if clip.startswith("synthetic-")] == ids
    assert len(set(ids)) == len(ids) == sum(len(split["audio"]) for split in shaped[1].values()) > 0


def test_frames_end_where_the_lengths_say(shaped):
    for split in shaped[1].values():
        for key in ("audio", "vision"):
            for frames, length in zip(split[key], split[f"{key}_lengths"], strict=True):
                assert frames[:length].any(1).all()
                assert not frames[length:].any()


@pytest.mark.parametrize(
    ("split", "mean", "squares"), [("train", 3.922, 23.74), ("valid", 3.847, 21.93), ("test", 4.932, 38.60)]
)
def test_durations_are_those_of_real_clips(split, mean, squares):
    """CMU-MOSI's own means; the work of attention goes by the squares."""
    seconds = durations(np.random.default_rng(0), split, 1284)
    assert seconds.mean() == pytest.approx(mean, rel=0.01)
    assert np.square(seconds).mean() == pytest.approx(squares, rel=0.04)


def test_words_and_frames_follow_the_duration():
    split = generate("mosi", rows=300, text=False)["train"]
    words = [len(text.split()) for text in split["raw_text"]]
    assert np.corrcoef(words, split["audio_lengths"])[0, 1] > 0.8
    assert 2.5 < np.sum(words) / (np.sum(split["audio_lengths"]) / SHAPES["mosi"].audio.rate) < 4  # words a second
    assert "text" not in split


SUMS = {  # of labels, frames, lengths, text features and token ids
    "train": (0.71, -402.25, -42.17, 2586, 455, 0.80, -0.15, 2.14, 40.15, 3219279),
    "valid": (-2.81, -141.69, 229.64, 1301, 224, -2.11, -1.52, -2.18, -101.58, 2033802),
    "test": (-2.46, 149.05, -21.39, 1597, 271, -1.94, -0.38, -0.01, 318.70, 1917724),
}
DURATIONS = (19636.33, 19088.94, 24580.22)  # of 5,000 clips each, in seconds
LABELS = [f"regression_labels{letter}" for letter in ("_T", "_V", "_A")]
SUMMED = ["regression_labels", "audio", "vision", "audio_lengths", "vision_lengths", *LABELS, "text", "text_bert"]


def test_what_is_measured_today_was_measured_before():
    """Other clips would make another cost of the same code."""
    raw = generate("sims", rows=ROWS)
    texts = "\n".join(text for split in raw.values() for text in split["raw_text"])
    assert hashlib.sha256(texts.encode()).hexdigest().startswith("c1e54737b1b739608a751fbce13512ed")
    found = {name: [float(np.sum(split[key], dtype=np.float64)) for key in SUMMED] for name, split in raw.items()}
    assert found == {name: pytest.approx(sums, abs=0.01) for name, sums in SUMS.items()}
    long = [float(durations(np.random.default_rng(0), split, 5000).sum()) for split in SUMS]
    assert long == pytest.approx(DURATIONS, abs=0.01)
    assert (raw["train"]["id"][0], raw["test"]["id"][-1]) == ("synthetic-train-0$_$1", "synthetic-test-0$_$8")


def test_the_same_bytes_every_time(tmp_path):
    write_shaped(tmp_path / "one.pkl", "sims", rows=ROWS, text=False)
    write_shaped(tmp_path / "two.pkl", "sims", rows=ROWS, text=False)
    write_shaped(tmp_path / "other.pkl", "sims", rows=ROWS, text=False, seed=8)
    one, two, other = ((tmp_path / f"{name}.pkl").read_bytes() for name in ("one", "two", "other"))
    assert one == two != other
    assert pickle.loads(one).keys() == {"train", "valid", "test"}
    assert not list(tmp_path.glob("*.partial"))
    write_shaped(tmp_path / "text.pkl", "sims", rows=ROWS)
    assert "text" in pickle.loads((tmp_path / "text.pkl").read_bytes())["train"]
