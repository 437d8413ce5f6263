"""What the logs of a system's runs hold, epoch by epoch."""

from __future__ import annotations

import pandas as pd

from dmmsa_cli.reporting.runs import System


def validation_curves(system: System) -> pd.DataFrame:
    """Return the validation MAE of each run after each epoch: columns seed, epoch, mae."""
    rows = [(run.seed, line["epoch"], line["validation"]["mae"]) for run in system.runs for line in run.log]
    return pd.DataFrame(rows, columns=["seed", "epoch", "mae"])


def task_weights(system: System) -> pd.DataFrame:
    """Return lambda of each weighted task in each epoch: columns seed, epoch, task (`uni`, `cl`), weight."""
    return _of_log(system, "weights", "weight")


def task_losses(system: System) -> pd.DataFrame:
    """Return each task's mean unweighted training loss in each epoch: columns seed, epoch, task, loss."""
    return _of_log(system, "losses", "loss")


def _of_log(system: System, key: str, name: str) -> pd.DataFrame:
    rows = [
        (run.seed, line["epoch"], task, value)
        for run in system.runs
        for line in run.log
        for task, value in line[key].items()
    ]
    return pd.DataFrame(rows, columns=["seed", "epoch", "task", name])
