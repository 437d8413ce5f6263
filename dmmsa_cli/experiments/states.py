"""The token states of a frozen text encoder: computed once, ragged on disk, memory-mapped where they are read."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from dmmsa_cli.data.sequences import Tokens
from dmmsa_cli.data.specs import SPLITS
from dmmsa_cli.data.split import Split
from dmmsa_cli.data.store import mapped_batches
from dmmsa_cli.experiments.cache import what_decides_text
from dmmsa_cli.experiments.encoders import Encoders
from dmmsa_cli.experiments.experiment import digest
from dmmsa_cli.files import atomic_path, exclusive, writable
from dmmsa_cli.layers.text import TextEncoder
from dmmsa_cli.runtime import autocast

CHUNK = 1024  # transcripts written at a time: 80 MB at fifty tokens, 768 wide
BATCH = 64
COLUMN = "x_t"  # where `Split` looks for the sequences of text


def cached_states(encoders: Encoders, tokens: Callable[[str], Tokens]) -> Mapping[str, Split]:
    """Return the last layer's states of every transcript, by split, (n, width) a row, in float16.

    float16 keeps ten bits, three more than bfloat16, and no state is near its bounds. On real CMU-MOSI with MiniLM
    predictions of TFN, LMF and MulT moved by 0.0012 at most against float32, their MAE by 0.00001.

    Args:
        encoders: the run's; the states are those of its frozen text encoder.
        tokens: the transcripts of a split as token ids; called where states are missing.
    """
    facts = {**what_decides_text(encoders), "pooling": "states", "padded": padded(encoders)}
    folder = encoders.experiment.folder / "cache"
    paths = {name: folder / f"states-{digest(facts)}-{name}.arrow" for name in SPLITS}
    with exclusive(folder, wait=True, reading=True):  # runs side by side need the same states once
        missing = [name for name, path in paths.items() if read_states(name, path) is None]
        if missing and not writable(folder):
            paths |= {name: _scratch() / paths[name].name for name in missing}
        if missing:
            encoder, device = encoders.frozen_text(), encoders.experiment.device
        for name in missing:
            made = state_batches(
                encoder, tokens(name), device=device, padded=padded(encoders), precision=encoders.experiment.encodes_in
            )
            write_states(paths[name], made, encoder.width)
    found = {name: read_states(name, path) for name, path in paths.items()}
    return {name: split for name, split in found.items() if split is not None}


@cache
def _scratch() -> Path:
    """Return a folder that goes with this process, for states of runs whose own folders can't be written."""
    folder = tempfile.TemporaryDirectory(prefix="dmmsa-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def padded(encoders: Encoders) -> bool:
    """Whether what fills a transcript up to the longest counts as tokens of its own."""
    return encoders.experiment.recipe.data.padded


def read_states(name: str, path: Path) -> Split | None:
    """Map the states of a split, as `write_states` left them; none where there are none, or they are damaged."""
    try:
        return Split(name, mapped_batches(path, pa.schema([]))) if path.exists() else None
    except (pa.ArrowException, OSError, ValueError):
        return None  # damaged from outside: it is only a cache, and is written again


def write_states(path: Path, batches: Iterator[pa.RecordBatch], width: int) -> None:
    """Write states as they come, by rename.

    Raises:
        DiskFull: there is no room.
    """
    schema = _schema(width)
    with atomic_path(path) as partial, pa.OSFile(str(partial), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _schema(width: int) -> pa.Schema:
    return pa.schema([pa.field(COLUMN, pa.list_(pa.list_(pa.float16(), width)), nullable=False)])


@torch.no_grad()
def state_batches(
    encoder: TextEncoder, tokens: Tokens, *, device: torch.device, padded: bool = False, precision: str = "float32"
) -> Iterator[pa.RecordBatch]:
    """Encode transcripts in evaluation mode, some at a time, in their order; memory is that of a thousand of them.

    Within a chunk they go through in order of length, so that a batch has little padding. Of context nothing is kept.

    Args:
        encoder: whose states they are.
        tokens: the transcripts; where padding counts, filled up to one length.
        device: where it runs.
        padded: keep what the encoder gives for padding, which no token looks at, as further states.
        precision: `float32`, or `bf16` for autocast.
    """
    schema = _schema(encoder.width)
    lengths, whole, kind = tokens.own_lengths(), tokens.lengths(), schema.field(COLUMN).type
    if padded:
        lengths = whole = np.full_like(lengths, tokens.filled)
    encoder.to(device).eval()
    for start in range(0, len(lengths), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(lengths)))
        offsets = np.concatenate([[0], np.cumsum(lengths[rows])]).astype(np.int32)
        states = np.empty((int(offsets[-1]), encoder.width), np.float16)
        order = rows[np.argsort(whole[rows], kind="stable")]
        for at in range(0, len(order), BATCH):
            some = order[at : at + BATCH]
            with autocast(device, precision):
                states_of = encoder.states(tokens.collate(some).to(device), padded=padded)
            values = states_of.values.half().cpu().numpy()
            for row, state in zip(some, values, strict=True):
                first = offsets[row - start]
                states[first : first + lengths[row]] = state[: lengths[row]]
        flat = pa.FixedSizeListArray.from_arrays(pa.array(states.reshape(-1)), type=kind.value_type)
        yield pa.RecordBatch.from_arrays([pa.ListArray.from_arrays(pa.array(offsets), flat, type=kind)], schema=schema)
