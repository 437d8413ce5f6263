"""From a fresh interpreter to the first step of `dmmsa fuse`, text cached."""

from __future__ import annotations

import io
import runpy
import sys
import time
from contextlib import redirect_stdout, suppress
from typing import TYPE_CHECKING
from unittest import mock

from dmmsa_cli.bench.place import Place
from dmmsa_cli.bench.process import Facts, peak_memory

if TYPE_CHECKING:
    from dmmsa_cli.training.loop import Training

VARIANT = "bench"


class _Stepped(BaseException):
    """The first step is done; nothing in the command takes this for an error of its own."""


def started(place: Place, recipe: str, *, pretrains: bool = True) -> Facts:
    """Run `dmmsa fuse`, its imports included, until the first step; the caller holds the clock.

    It is the command itself that runs here, in a process of its own. Encoders of audio and vision start from scratch;
    reading pretrained ones takes some milliseconds more.

    Args:
        place: where the data lie.
        recipe: its name.
        pretrains: whether it has encoders that it can start without.
    """
    began = time.perf_counter()
    import torch  # noqa: F401  (first, to know what it takes)

    torch_seconds = time.perf_counter() - began
    from dmmsa_cli.training.loop import Training

    scratch = ["--from-scratch"] if pretrains else []
    command = ["dmmsa", "fuse", *place.options(recipe), *scratch, "--force", "--name", VARIANT, "--seed", "1"]
    with (
        suppress(_Stepped),
        redirect_stdout(io.StringIO()),
        mock.patch.object(sys, "argv", command),
        mock.patch.object(Training, "advance", _stop_after(Training)),
    ):
        runpy.run_module("dmmsa_cli", run_name="__main__")
    return {
        "torch_import_seconds": torch_seconds,
        "transformers_imported": "transformers" in sys.modules,
        "peak_rss_bytes": peak_memory(),
    }


def _stop_after(kind: type[Training]) -> object:
    advance = kind.advance

    def once(self: Training, *arguments: object) -> None:
        advance(self, *arguments)  # type: ignore[arg-type]  # whatever the loop hands on
        raise _Stepped

    return once
