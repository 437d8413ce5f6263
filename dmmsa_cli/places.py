"""Where data and runs lie unless a command is told otherwise."""

from __future__ import annotations

import shlex
from pathlib import Path

DATA = Path("data")
RUNS = Path("runs")


def elsewhere(data_dir: Path = DATA, runs_dir: Path = RUNS) -> str:
    """Return the options that a command named to the user needs, where folders are not the usual ones.

    Example:
        >>> elsewhere(runs_dir=Path("my runs"))
        " --runs-dir 'my runs'"
    """
    options = [("--data-dir", data_dir, DATA), ("--runs-dir", runs_dir, RUNS)]
    return "".join(f" {name} {shlex.quote(str(folder))}" for name, folder, usual in options if folder != usual)
