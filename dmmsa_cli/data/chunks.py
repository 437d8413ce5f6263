"""How many rows are looked at, repaired and stored at a time."""

from __future__ import annotations

CHUNK_ROWS = 256
CHUNK_BYTES = 32 * 2**20  # a chunk of one modality as float32: several copies of it are alive at a time


def rows_within(steps: int, width: int) -> int:
    """Return how many rows of shape (steps, width) fill a chunk; one at least."""
    return min(CHUNK_ROWS, max(1, CHUNK_BYTES // max(1, 4 * steps * width)))
