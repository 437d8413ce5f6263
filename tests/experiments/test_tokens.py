"""How transcripts are grouped for an encoder: without any padding where a group costs next to nothing."""

from types import SimpleNamespace

import pytest
import torch
from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel

from dmmsa_cli.experiments.inputs import tokens
from dmmsa_cli.layers.pretrained import make_tiny
from dmmsa_cli.layers.text import ContextOptions, TinyOptions

TEXTS = ["great film", "dull", "it was a great and a dull film", "a film"]
SIZES = {"vocab_size": 80, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.mark.parametrize(
    ("model", "device", "padding"),
    [
        (BertModel(BertConfig(**SIZES)), "cpu", False),
        (BertModel(BertConfig(**SIZES)), "cuda", True),
        (MPNetModel(MPNetConfig(**SIZES)), "cpu", True),
    ],
    ids=["row", "gpu", "groups"],
)
def test_a_row_has_no_padding_on_a_cpu(model, device, padding, tmp_path):
    make_tiny(tmp_path, TEXTS, TinyOptions(width=16, heads=2, vocabulary=80), max_tokens=16, seed=0)
    model.config.save_pretrained(tmp_path)
    recipe = SimpleNamespace(text=SimpleNamespace(max_tokens=16))
    experiment = SimpleNamespace(device=torch.device(device), recipe=recipe, context=ContextOptions())
    rows = SimpleNamespace(ids=["x"] * len(TEXTS), texts=TEXTS)
    assert (tokens(experiment, tmp_path, rows).waste > 0) == padding
