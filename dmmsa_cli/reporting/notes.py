"""What has to be said under a table: what the spread covers, which data, what is marked, what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from dmmsa_cli.reporting.contents import Row
from dmmsa_cli.reporting.marks import has_marks
from dmmsa_cli.reporting.published import Ours
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.stages.evaluate import ALL_TRAINING, FUSION_ONLY

HASH = 12
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
    return [f"Bold is the best of a column, underlined the second best, {among}."] if has_marks(rows) else []


def about_data(systems: Sequence[System]) -> list[str]:
    """Name the data behind our own rows, once each."""
    return list(dict.fromkeys(f"Data {s.data_hash[:HASH]}: {_source(s)}." for s in systems))


def about_missing(missing: Sequence[tuple[str, Ours]], elsewhere: str) -> list[str]:
    """Name the commands that fill the rows that nothing of ours stands under."""
    by_commands: dict[tuple[str, ...], list[str]] = {}
    for name, ours in missing:
        by_commands.setdefault(ours.commands, []).append(name)
    rows = [
        f"{', '.join(names)} ({', then '.join(f'`{command}{elsewhere}`' for command in commands)})"
        for commands, names in by_commands.items()
    ]
    return [f"Not run here yet: {'; '.join(rows)}."] if rows else []


def _source(system: System) -> str:
    if system.synthetic:
        return "made up by dmmsa"
    source = system.first.facts.get("source", {})
    name = PurePath(str(source.get("path") or source.get("url") or "")).name
    kind = "the published file" if system.published_data else "not the published file"
    return f"{name}, {kind}" if name else kind
