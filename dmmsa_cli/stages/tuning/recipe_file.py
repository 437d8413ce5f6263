"""The recipe that a tuning writes: it opens with the command that runs it, and says how it was found."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmmsa_cli.commands import command, nearby
from dmmsa_cli.errors import InvalidInput
from dmmsa_cli.experiments.spaces import changes_of
from dmmsa_cli.experiments.variants import departures
from dmmsa_cli.files import write_text
from dmmsa_cli.plain import spelled_out
from dmmsa_cli.recipe import dump_yaml, to_dict
from dmmsa_cli.stages.tuning.luck import Luck
from dmmsa_cli.stages.tuning.plan import Tuning
from dmmsa_cli.stages.tuning.words import counted, score_in_words

WIDTH = 118
MARK = "# Found by tuning: "


@dataclass(frozen=True)
class Found:
    """What came of a tuning."""

    number: int
    """Of the best trial."""
    params: Mapping[str, Any]
    """What it tries, choices by their text."""
    counts: Mapping[str, int]
    """How many trials ended how; the first are those that were scored."""
    luck: Luck
    fresh_seeds: Sequence[int]


def target_of(tuning: Tuning, out: Path | None) -> Path:
    """Return where the recipe goes: beside the journal, where no file is named.

    Raises:
        InvalidInput: the file is another one, which is not to be lost.
    """
    path = out or tuning.folder / f"{tuning.name}-tuned.yaml"
    if path.suffix not in (".yaml", ".yml"):
        raise InvalidInput(f"--out {path}: a recipe's file ends in .yaml.", "Name it so.")
    if path.exists() and f"{MARK}{_mark(tuning)}\n" not in path.read_text(encoding="utf-8", errors="replace"):
        raise InvalidInput(
            f"{path} is there, and not from this tuning.", "Give another file to --out, or move that one."
        )
    return path


def write_recipe(tuning: Tuning, known: Mapping[str, Any], found: Found, path: Path) -> None:
    """Write the best trial's recipe, by rename.

    Args:
        tuning: whose.
        known: what the tuning's folder says of it.
        found: what came of it.
        path: the file.
    """
    experiment = tuning.open(tuning.dataset, changes_of(tuning.space, found.params))
    start = to_dict(tuning.open(tuning.dataset, {}).recipe)
    changed = departures(to_dict(experiment.recipe), start)
    head = [
        f"# {command('fuse', dataset=tuning.dataset, recipe=nearby(path.resolve()))}",
        "#",
        f"{MARK}{_mark(tuning)}",
        *(f"# {line}" for text in _story(tuning, known, found) for line in textwrap.wrap(spelled_out(text), WIDTH)),
        "#",
        f"# What it changes in {known['made']['recipe']}:" if changed else "# It changes nothing.",
        *(f"#   {key}: {new}   (was {old})" for key, (new, old) in changed.items()),
    ]
    write_text(path, "\n".join(head) + "\n\n" + dump_yaml(experiment.recipe))


def _mark(tuning: Tuning) -> str:
    return f"{tuning.dataset}/{tuning.name}"


def _story(tuning: Tuning, known: Mapping[str, Any], found: Found) -> Iterator[str]:
    made = known["made"]
    kind = "SYNTHETIC data" if made["synthetic"] else "data"
    yield f"Command: {made['command']}"
    yield (
        f"Trial {found.number} of {counted(found.counts)}, from the recipe {made['recipe']}, on {kind} "
        f"{known['tuning']['data'][:12]} of {tuning.dataset}; {made['dmmsa_with']}."
    )
    yield f"Score: {score_in_words(tuning.seeds, tuning.folds)}; no label of the test split was read."
    yield f"Fresh seeds: {', '.join(map(str, found.fresh_seeds))}."
    yield from found.luck.in_words()
