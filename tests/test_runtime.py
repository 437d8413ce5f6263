"""What a run stands on."""

import os

import numpy as np
import pytest
import torch

from dmmsa_cli.runtime import LARGEST_SEED, check_seed, choose_device, seed_everything


@pytest.mark.parametrize("seed", [0, 1, 12345, LARGEST_SEED])
def test_every_generator_takes_a_seed(seed):
    check_seed(seed)
    seed_everything(seed)
    assert torch.initial_seed() == seed
    assert int(float(seed)) == seed  # as a browser's JSON holds it
    np.random.default_rng([seed, 1])


@pytest.mark.parametrize(
    "seed", [-1, LARGEST_SEED + 1, 10**23, 10**5000], ids=["below 0", "above", "far above", "huge"]
)
def test_what_is_no_seed_is_told_in_words(seed):
    with pytest.raises(ValueError, match="is no seed, a whole number from 0 to 9,007,199,254,740,991"):
        check_seed(seed)


@pytest.mark.parametrize("own", [None, "7"])
def test_kernels_of_every_shape_are_not_kept_on_a_cpu_unless_someone_says_so(own, monkeypatch):
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    monkeypatch.setenv(name, own or "")
    if own is None:
        monkeypatch.delenv(name)
    choose_device("cpu")
    assert os.environ[name] == (own or "256")
