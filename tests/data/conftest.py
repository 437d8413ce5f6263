"""A small corpus in the field's layout."""

import numpy as np
import pytest

from dmmsa_cli.data.specs import DatasetSpec

ROWS = {"train": 6, "valid": 4, "test": 5}
AUDIO, VISION = (7, 3), (9, 4)


def make_raw(rows=ROWS, seed=0, text=False):
    rng = np.random.default_rng(seed)
    raw = {}
    for name, size in rows.items():
        split = {
            "id": [f"{name}{row // 2}$_${row}" for row in range(size)],
            "raw_text": [f"clip {row} of {name}" for row in range(size)],
            "regression_labels": rng.uniform(-3, 3, size).astype(np.float32),
        }
        for letter in "TVA":
            split[f"regression_labels_{letter}"] = rng.uniform(-3, 3, size).astype(np.float32)
        for key, (steps, width) in (("audio", AUDIO), ("vision", VISION)):
            lengths = rng.integers(1, steps + 1, size)
            values = rng.normal(size=(size, steps, width)).astype(np.float32)
            values[np.arange(steps) >= lengths[:, None]] = 0
            split[key], split[f"{key}_lengths"] = values, lengths.tolist()
        if text:
            lengths = rng.integers(1, 6, size)
            split["text"] = rng.normal(size=(size, 6, 8)).astype(np.float32)
            split["text_bert"] = np.zeros((size, 3, 6), np.float32)
            split["text_bert"][:, 1] = np.arange(6) < lengths[:, None]
        raw[name] = split
    return raw


@pytest.fixture
def raw():
    return make_raw()


@pytest.fixture
def raw_with_text():
    return make_raw(text=True)


@pytest.fixture
def spec():
    return DatasetSpec(name="mine", score_range=3.0, unimodal_labels=True)
