"""What has to be said under a table: what the spread covers, which data, what is marked, what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from dmmsa_cli.commands import in_place
from dmmsa_cli.data.specs import SPECS
from dmmsa_cli.reporting.contents import Row
from dmmsa_cli.reporting.marks import has_marks
from dmmsa_cli.reporting.published import Ours, Published, PublishedTable
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.stages.evaluation import ALL_TRAINING, FUSION_ONLY

HASH = 12
MARKED = "Bold is the best of a column, underlined the second best"
SYNTHETIC = "SYNTHETIC data: nothing in this table is a result of the method on real speech."
METHOD = (
    "Each clip's absolute error is averaged over the seeds; videos, not clips, are drawn again and again, since clips "
    "of one video are not independent (clips, where their ids name no videos). Where the 95 % interval holds 0, the "
    "difference is within noise. Nothing corrects for many pairs: of twenty equal ones, one is expected outside by "
    "chance."
)
ALONE = "'alone': a pretrained encoder with its own head, scored against y."


def about_spread(rows: Sequence[Row]) -> list[str]:
    """Say what the standard deviation covers; which rows, where they differ in that."""
    kinds: dict[str, list[str]] = {}
    for row in rows:
        if row.system is not None and any(cell.spread for cell in row.cells):
            kinds.setdefault(FUSION_ONLY if row.system.shares_encoders else ALL_TRAINING, []).append(row.label)
    return [
        f"±{'' if len(kinds) == 1 else ' of ' + '; '.join(labels)} is the sample standard deviation over the seeds; "
        f"it covers {covers}."
        for covers, labels in kinds.items()
    ]


def about_marks(rows: Sequence[Row], among: str) -> list[str]:
    """Say among which rows the marked numbers are the best."""
    parted = ", which a line or a gap parts from others" if any(row.begins for row in rows) else ""
    return [f"{MARKED}, {among}{parted}."] if has_marks(rows) else []


def about_data(systems: Sequence[System]) -> list[str]:
    """Name the data behind our own rows, once each."""
    return list(dict.fromkeys(f"{_data(s)}: {_source(s)}." for s in systems))


def _data(system: System) -> str:
    """Name the data; those of a fold are one of several, whose hash stands for that fold alone."""
    return "Data" if system.whole != system.dataset else f"Data {system.data_hash[:HASH]}"


def about_machines(rows: Sequence[Row]) -> list[str]:
    """Name the rows whose runs, or whose encoders, come from more than one device or version: their bits may differ."""
    found: dict[str, list[str]] = {}
    for row in rows:
        machines = [machine for run in row.system.runs for machine in run.machines] if row.system else []
        for name, read in _MACHINE.items():
            values = list(dict.fromkeys(value for machine in machines if (value := read(machine))))
            if len(values) > 1:
                found.setdefault(f"{name}: {', '.join(values)}", []).append(row.label)
    return [f"Not all of one machine: {'; '.join(labels)} ({what})." for what, labels in found.items()]


def _package(name: str) -> Callable[[Mapping[str, Any]], str]:
    def read(machine: Mapping[str, Any]) -> str:
        packages = machine.get("packages")
        return f"{name} {packages[name]}" if isinstance(packages, Mapping) and packages.get(name) else ""

    return read


_MACHINE: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "devices": lambda machine: str(machine.get("device") or ""),
    "threads": lambda machine: str(machine.get("threads") or ""),
    "versions of dmmsa": lambda machine: str(machine.get("dmmsa") or ""),
    "versions of torch": _package("torch"),
    "versions of transformers": _package("transformers"),
}


def about_collapse(rows: Sequence[Row]) -> list[str]:
    """Name the runs whose predictions barely vary: such a seed has learned next to nothing, and draws its mean down."""
    found = {
        run.folder: f"{row.label}, seed {run.seed} (sd {run.spread[0]:.4f}, the labels' {run.spread[1]:.4f})"
        for row in rows
        for run in (row.system.runs if row.system else ())
        if run.collapsed
    }
    if not found:
        return []
    return [f"Collapsed (predictions that hardly vary; they count in the means): {'; '.join(found.values())}."]


def about_further(published: Published, table: PublishedTable) -> list[str]:
    """Say where rows come from that the paper itself does not print."""
    return [
        f"'{other.called}': {published.reference(other).rstrip('.')}"
        f"{', with the standard deviations printed there' * any(row.sd for row in other.rows)}."
        for other in published.further(table)
    ]


def about_missing(missing: Sequence[tuple[str, Ours]]) -> list[str]:
    """Name the commands that fill the rows that nothing of ours stands under."""
    by_commands: dict[tuple[str, ...], list[str]] = {}
    for name, ours in missing:
        by_commands.setdefault(ours.commands, []).append(name)
    listed = [
        f"{', '.join(names)} ({', then '.join(f'`{in_place(command)}`' for command in commands)})"
        for commands, names in by_commands.items()
    ]
    return [f"Not run here yet: {'; '.join(listed)}."] if listed else []


def _source(system: System) -> str:
    if system.synthetic:
        return "made up by dmmsa"
    source = system.first.facts.get("source", {})
    name = PurePath(str(source.get("path") or source.get("url") or "")).name
    spec = SPECS.get(system.whole)
    if spec is None or spec.source is None:  # a dataset of one's own has no published file
        return name or "one's own"
    kind = "the published file" if system.published_data else "not the published file"
    return f"{name}, {kind}" if name else kind
