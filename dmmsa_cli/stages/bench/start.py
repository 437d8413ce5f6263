"""From a fresh interpreter to the first step of `dmmsa fuse`, text cached."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from dmmsa_cli.stages.bench.place import Place
from dmmsa_cli.stages.bench.process import Facts, peak_memory

if TYPE_CHECKING:
    from dmmsa_cli.training.fit import Progress
    from dmmsa_cli.training.loop import EpochEnd, StepEnd

SEED = 1
VARIANT = "bench"


class _Stepped(Exception):
    """The first step is done."""


def started(place: Place, recipe: str) -> Facts:
    """Do as `dmmsa fuse` does, its imports included, until the first step; the caller holds the clock.

    Encoders of audio and vision start from scratch; reading pretrained ones takes some milliseconds more.
    """
    began = time.perf_counter()
    import torch  # noqa: F401  (first, to know what it takes)

    torch_seconds = time.perf_counter() - began
    import dmmsa_cli.cli
    import dmmsa_cli.cli.training_view  # noqa: F401  (as the command does)
    from dmmsa_cli.stages.fuse import fuse

    with suppress(_Stepped):
        fuse(
            place.open(recipe),
            VARIANT,
            SEED,
            watch=lambda: _stop,
            watch_pretraining=lambda modality: _stop,
            remark=lambda line: None,
            from_scratch=True,
            force=True,
        )
    return {
        "torch_import_seconds": torch_seconds,
        "transformers_imported": "transformers" in sys.modules,
        "peak_rss_bytes": peak_memory(),
    }


def _stop(event: StepEnd | EpochEnd, progress: Progress) -> None:
    raise _Stepped
