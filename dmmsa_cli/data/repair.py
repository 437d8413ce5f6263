"""The usual repairs of real files, made and counted while rows stream by in chunks.

Values first, since a length may have to be recomputed from the last non-zero frame; lengths second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.data import chunks
from dmmsa_cli.data.validation import EMOTIONS, FEATURES, LABELS, Layout
from dmmsa_cli.data.validation.strings import is_encodable, whole_characters
from dmmsa_cli.data.validation.values import shape_of


@dataclass(frozen=True)
class Chunk:
    """Some rows, repaired.

    Attributes:
        ids: n names.
        texts: n transcripts.
        labels: (n,) each.
        sequences: by modality, lengths (n,) and the valid frames of all rows, one after the other (m, F).
        emotions: 1 where present, 0 where absent, NaN where not known, (n, C); none without such labels.
    """

    ids: list[str]
    texts: list[str]
    labels: dict[str, NDArray[np.float32]]
    sequences: dict[str, tuple[NDArray[np.int64], NDArray[np.float32]]]
    emotions: NDArray[np.float32] | None = None


def clean(split: Mapping[str, Any], layout: Layout, repairs: Counter[str]) -> Iterator[Chunk]:
    """Give the rows of a checked split in chunks, repaired: values first, lengths second.

    Args:
        split: one split of a file that `check` let through; it is not changed.
        layout: what `check` found.
        repairs: counts of repairs, to which this adds.
    """
    rows = len(split["id"])
    step = min([chunks.CHUNK_ROWS, *(_rows_within(split[FEATURES[m]]) for m in layout.widths)])
    for start in range(0, rows, step):
        part = slice(start, min(start + step, rows))
        yield Chunk(
            ids=[str(value) for value in split["id"][part]],
            texts=_texts(split["raw_text"][part], repairs) if layout.transcripts else [""] * _width(part),
            labels={key: _label_chunk(split[LABELS[key]][part], layout) for key in layout.labels},
            sequences={m: _sequence_chunk(split, FEATURES[m], part, repairs) for m in layout.widths},
            emotions=np.asarray(split[EMOTIONS][part], np.float32) if layout.emotions else None,
        )


def _width(part: slice) -> int:
    return int(part.stop - part.start)


def _rows_within(values: Any) -> int:  # noqa: ANN401
    """Rows of a feature array that fill a chunk."""
    steps, width = shape_of(values[0], 2) or (0, 0)
    return chunks.rows_within(steps, width)


def _texts(values: Any, repairs: Counter[str]) -> list[str]:  # noqa: ANN401
    """Transcripts, of which every character can be written to a file."""
    texts = [str(value) for value in values]
    halved = sum(not is_encodable(text) for text in texts)
    if halved:
        repairs["raw_text: half of a character replaced by U+FFFD (clips)"] += halved
    return [whole_characters(text) for text in texts] if halved else texts


def _label_chunk(values: Any, layout: Layout) -> NDArray[np.float32]:  # noqa: ANN401
    limit = np.float32(layout.spec.score_range)
    return np.clip(np.asarray(values, np.float32), -limit, limit)


def _sequence_chunk(
    split: Mapping[str, Any], key: str, part: slice, repairs: Counter[str]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Lengths (n,) and valid frames (m, F) of some rows of one modality."""
    with np.errstate(over="ignore"):  # what is too large for float32 becomes inf, and is repaired as such
        values = np.array(split[key][part], np.float32)  # (n, T, F), a copy: the file stays as it is
    _set_finite(values, key, repairs)
    filled = np.asarray(values.any(axis=2))  # (n, T)
    if key == "text":
        valid = _text_valid(split, part, filled)
    else:
        lengths = _repaired_lengths(split.get(f"{key}_lengths"), part, filled, key, repairs)
        valid = np.arange(filled.shape[1]) < lengths[:, None]
    return valid.sum(axis=1, dtype=np.int64), values[valid]


def _set_finite(values: NDArray[np.float32], key: str, repairs: Counter[str]) -> None:
    """Set what is not finite to 0, in place."""
    bad = ~np.isfinite(values)
    if bad.any():
        odd = values[bad]
        for name, count in (
            ("-inf", np.sum(odd == -np.inf)),
            ("+inf", np.sum(odd == np.inf)),
            ("NaN", np.sum(np.isnan(odd))),
        ):
            if count:
                repairs[f"{key}: {name} set to 0 (values)"] += int(count)
        values[bad] = 0


def _text_valid(split: Mapping[str, Any], part: slice, filled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which tokens are none of padding, (n, T): text_bert's mask, or else those that are not all zero."""
    tokens = split.get("text_bert")  # (N, 3, T)
    if tokens is None:
        return filled
    mask = tokens[part, 1] if isinstance(tokens, np.ndarray) else np.array([row[1] for row in tokens[part]])
    return np.asarray(mask > 0)


def _repaired_lengths(
    given: Any,  # noqa: ANN401
    part: slice,
    filled: NDArray[np.bool_],
    key: str,
    repairs: Counter[str],
) -> NDArray[np.int64]:
    """Lengths (n,) as given where they can be, else up to the last non-zero frame."""
    steps = filled.shape[1]
    last: NDArray[np.int64] = np.where(filled, np.arange(1, steps + 1), 0).max(axis=1, initial=0)  # (n,)
    if given is None:
        repairs[f"{key}_lengths: missing, recomputed (clips)"] += len(filled)
        return last
    lengths = np.clip(np.asarray(given[part], np.float64), -1, steps + 1).astype(np.int64)
    wrong = {
        "0 or negative, recomputed": (lengths <= 0) & (last > 0),
        "above the array, recomputed": lengths > steps,
        "of an all-zero clip, set to 0": (lengths > 0) & (lengths <= steps) & (last == 0),
    }
    for what, where in wrong.items():
        if where.any():
            repairs[f"{key}_lengths: {what} (clips)"] += int(where.sum())
    return np.where((lengths <= 0) | (lengths > steps) | (last == 0), last, lengths)
