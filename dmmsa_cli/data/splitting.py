"""Three splits of a file that has none: by videos, so that no clip is tested on whose neighbours were trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.data.layouts import WHOLE
from dmmsa_cli.data.specs import SPLITS
from dmmsa_cli.data.validation.values import size_of
from dmmsa_cli.data.videos import FORMS, names_videos, videos_of
from dmmsa_cli.errors import InvalidInput

By = Literal["video", "clip"]
SEED = 1


@dataclass(frozen=True)
class Shares:
    """How a file is to be split."""

    parts: tuple[float, float, float]
    """Of train, valid and test, 1 together."""
    by: By = "video"
    seed: int = SEED

    @classmethod
    def parse(cls, text: str, by: str = "video", seed: int = SEED) -> Shares:
        """Read `0.7,0.1,0.2`; any three positive numbers, such as `7,1,2`, are shares of their sum.

        Raises:
            InvalidInput: they are not three positive numbers, or `by` is neither `video` nor `clip`.
        """
        try:
            parts = [float(part) for part in text.split(",")]
        except ValueError:
            parts = []
        if len(parts) != len(SPLITS) or not all(0 < part < math.inf for part in parts):
            raise InvalidInput(
                f"--split {text!r} is not three positive numbers.", "Give shares of train, valid and test: 0.7,0.1,0.2."
            )
        if not 0 <= seed < 2**63:
            raise InvalidInput(f"--split-seed {seed} is no seed.", "Give a whole number from 0 on.")
        if by not in get_args(By):
            raise InvalidInput(f"--by {by!r} is neither video nor clip.", "By video, no video is cut.")
        train, valid, test = (part / sum(parts) for part in parts)
        return cls((train, valid, test), "video" if by == "video" else "clip", seed)

    def record(self) -> dict[str, str | int]:
        """Return what makes the splits, for the store's record of its source."""
        return {"split": ",".join(f"{part:.6g}" for part in self.parts), "by": self.by, "split_seed": self.seed}


def deal_out(splits: dict[str, Any], shares: Shares) -> dict[str, Any]:
    """Return a file without splits, `{all: {key: values}}`, in three.

    Videos, in a random order of the seed, go one by one to the split that lacks most of its share of clips.

    Raises:
        InvalidInput: there are no ids, or they name no videos; there are too few clips or videos for three splits.
    """
    values = splits[WHOLE]
    ids = values.get("id") if isinstance(values, dict) else None
    if size_of(ids) is None or ids is None or not all(isinstance(name, str) for name in ids):
        raise InvalidInput("--split goes by the ids of clips, and the file has no list of them (`id`).")
    if shares.by == "video" and not names_videos(ids):
        raise InvalidInput(
            f"--by video: ids name no videos ({FORMS}).",
            "Give the clips such ids; or --by clip, if no two clips are of one speaker.",
        )
    units = videos_of(ids) if shares.by == "video" else list(ids)
    if len(set(units)) < len(SPLITS):
        raise InvalidInput(f"{len(set(units))} {shares.by}s can't be dealt out to three splits.")
    owner = _owners(units, shares)
    return {
        name: {key: _rows(value, np.flatnonzero(owner == number), len(ids)) for key, value in values.items()}
        for number, name in enumerate(SPLITS)
    }


def _owners(units: Sequence[str], shares: Shares) -> NDArray[np.int64]:
    """Return the number of each clip's split, (N,)."""
    names, unit = np.unique(np.asarray(units, object).astype(str), return_inverse=True)
    sizes = np.bincount(unit)
    lacking = np.array(shares.parts) * len(units)
    owner = np.zeros(len(names), np.int64)
    order = np.random.default_rng(shares.seed).permutation(len(names))
    for place, one in enumerate(order):
        empty = np.setdiff1d(np.arange(len(SPLITS)), owner[order[:place]])
        # The last ones left go where there is none yet, so that no split stays empty.
        choice = empty if len(order) - place <= len(empty) else np.arange(len(SPLITS))
        owner[one] = choice[lacking[choice].argmax()]
        lacking[owner[one]] -= sizes[one]
    return owner[unit]


def _rows(values: Any, chosen: NDArray[np.int64], rows: int) -> Any:  # noqa: ANN401  (a stranger's)
    """Return some rows of what has as many as there are clips; anything else as it is, for `validation` to refuse."""
    if size_of(values) != rows:
        return values
    return values[chosen] if isinstance(values, np.ndarray) else [values[row] for row in chosen]
