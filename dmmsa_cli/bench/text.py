"""Encoding transcripts with an encoder of BERT-base's size and random weights: the same work, no download."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from dmmsa_cli.bench.place import Place
from dmmsa_cli.bench.process import AnonymousPeak, Facts, peak_memory
from dmmsa_cli.data.ragged import Ragged
from dmmsa_cli.data.specs import SPLITS
from dmmsa_cli.data.store import dataset_folder, open_store
from dmmsa_cli.experiments.base_text import base_text
from dmmsa_cli.experiments.cache import embed_tokens
from dmmsa_cli.experiments.inputs import tokens
from dmmsa_cli.experiments.states import read_states, state_batches, write_states
from dmmsa_cli.files import PARTIAL
from dmmsa_cli.layers.pretrained import load_encoder, make_tiny
from dmmsa_cli.layers.text import TinyOptions
from dmmsa_cli.training.run import RunFolder

SEED = 1


@dataclass(frozen=True)
class EncoderSize:
    """Size of the text encoder; the defaults are BERT-base's."""

    width: int = 768
    layers: int = 12
    heads: int = 12
    feedforward: int = 3072
    vocabulary: int = 30522
    tokens: int = 512


def made(place: Place, size: EncoderSize) -> Facts:
    """Write the encoder where it is not there: a vocabulary learned from the transcripts, random weights."""
    from transformers import BertConfig, BertModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    if place.encoder.exists():
        return {}
    texts = open_store(dataset_folder(place.data_dir, place.dataset)).split("train").texts
    config = BertConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=size.feedforward,
        max_position_embeddings=size.tokens,
    )
    partial = place.encoder.with_name(place.encoder.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    least = TinyOptions(width=8, layers=1, heads=1, vocabulary=size.vocabulary)
    make_tiny(partial, texts, least, max_tokens=size.tokens, seed=SEED)  # for its vocabulary
    torch.manual_seed(SEED)
    BertModel(config).save_pretrained(partial)
    partial.replace(place.encoder)
    return {}


class _Counting(nn.Module):
    """Counts the tokens that pass to an encoder."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.real = self.slots = 0

    def forward(self, tokens: Ragged) -> Tensor:
        """Map token ids of B transcripts to embeddings (B, width)."""
        self.real, self.slots = self.real + tokens.real, self.slots + tokens.slots
        embedded: Tensor = self.encoder(tokens)
        return embedded


def encoded(place: Place, recipe: str) -> Facts:
    """Measure loading the encoder (with importing transformers), tokenizing, and encoding every transcript."""
    experiment = place.open(recipe)
    began = time.perf_counter()
    folder = base_text(experiment, SEED)
    encoder = _Counting(load_encoder(folder, pooling=experiment.recipe.text.pooling))
    loaded = time.perf_counter()
    splits = [tokens(experiment, folder, experiment.store.split(name)) for name in SPLITS]
    tokenized = time.perf_counter()
    for split in splits:
        # Its result lies on the CPU: nothing is left to do.
        embed_tokens(encoder, split, device=experiment.device, precision=experiment.encodes_in)
    seconds = time.perf_counter() - tokenized
    return {
        "seconds": seconds,
        "load_seconds": loaded - began,
        "tokenize_seconds": tokenized - loaded,
        "tokens": encoder.real,
        "tokens_per_second": encoder.real / seconds,
        "encoder_parameters": sum(weights.numel() for weights in encoder.parameters()),
        "padded_over_real": encoder.slots / encoder.real,
        "peak_rss_bytes": peak_memory(),
    }


def reads_states(place: Place, recipes: Sequence[str]) -> str | None:
    """Return the first recipe whose model reads the token states of a frozen encoder."""
    for recipe in recipes:
        experiment = place.open(recipe)
        if experiment.reading("t") == "sequence" and not experiment.trains_text:
            return recipe
    return None


def states(place: Place, recipe: str) -> Facts:
    """Measure writing the token states of every transcript, some at a time, and mapping them again."""
    experiment = place.open(recipe)
    folder = base_text(experiment, SEED)
    encoder = load_encoder(folder, pooling="mean")
    splits = {name: tokens(experiment, folder, experiment.store.split(name)) for name in SPLITS}
    with TemporaryDirectory(dir=place.folder) as scratch, AnonymousPeak() as anonymous:
        paths, before, began = {name: Path(scratch) / name for name in SPLITS}, anonymous.bytes, time.perf_counter()
        for name, split in splits.items():
            batches = state_batches(encoder, split, device=experiment.device, precision=experiment.encodes_in)
            write_states(paths[name], batches, encoder.width)
        written = time.perf_counter()
        found = [read_states(name, path) for name, path in paths.items()]
        opened = time.perf_counter() - written
        count = sum(int(split.lengths("t").sum()) for split in found if split is not None)
        size = sum(path.stat().st_size for path in paths.values())
    peak, seconds = anonymous.bytes, written - began
    return {
        "seconds": seconds,
        "open_seconds": opened,
        "states": count,
        "states_per_second": count / seconds,
        "file_bytes": size,
        "peak_rss_bytes": peak_memory(),
        "peak_above_encoder_bytes": None if peak is None or before is None else peak - before,
    }


def cached(place: Place, recipes: Sequence[str]) -> Facts:
    """See that embeddings and states are where `fuse` looks for them."""
    for recipe in recipes:
        place.fused(recipe, RunFolder(place.folder / "unused"), SEED).inputs.split("train")
    return {}
