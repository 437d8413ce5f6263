"""Tunings among the runs: what was tuned, what came of it, and how much of that was luck."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmmsa_cli.commands import command, folder_of, nearby
from dmmsa_cli.errors import RunMismatch
from dmmsa_cli.plain import read_json
from dmmsa_cli.stages.tuning.luck import Luck
from dmmsa_cli.stages.tuning.names import FACTS, RESULT, TUNING
from dmmsa_cli.stages.tuning.words import counted, score_in_words

ABOUT = (
    "Settings chosen by their validation score; no label of the test split was read for them. The best of many trials "
    "is partly the luckiest: what fresh seeds show is what is left of its gain."
)


@dataclass(frozen=True)
class TunedRecipe:
    """A tuning, as far as it has come."""

    folder: Path
    dataset: str
    synthetic: bool
    recipe: str
    """That it starts from."""
    data_dir: Path
    data_hash: str
    score: str
    """What a trial is scored by, in words."""
    result: dict[str, Any] | None
    """None while it has not ended."""

    @property
    def title(self) -> str:
        """What it is called."""
        name = "" if self.folder.name == self.recipe else f" ({self.folder.name})"
        return f"{self.recipe}{name} on {self.dataset}"

    @property
    def sentences(self) -> list[str]:
        """What there is to say of it."""
        data = f"{'SYNTHETIC data' if self.synthetic else 'Data'} {self.data_hash[:12]}; a trial's score: {self.score}."
        return [data, *(self._ended() if self.result else self._under_way())]

    def _under_way(self) -> Iterator[str]:
        yield "It has not ended; the command that began it goes on with it."

    def _ended(self) -> Iterator[str]:
        assert self.result is not None
        yield f"The best is trial {self.result['number']} of {counted(self.result['counts'])}."
        yield from Luck(**self.result["luck"]).in_words()
        file, usual = nearby(Path(self.result["recipe_file"])), folder_of("data_dir").resolve()
        elsewhere = {} if usual == self.data_dir else {"data_dir": nearby(self.data_dir)}
        yield f"To train it: `{command('fuse', dataset=self.dataset, recipe=file, **elsewhere)}`."


def tunings(runs_dir: Path, dataset: str | None, problems: list[str]) -> tuple[TunedRecipe, ...]:
    """Return the tunings in a folder of runs, by dataset and name; those on made-up data last.

    Args:
        runs_dir: the folder.
        dataset: of this one alone.
        problems: gets a line for each that can't be read.
    """
    found = []
    for path in sorted(runs_dir.glob(f"{dataset or '*'}/{TUNING}/*/{FACTS}")):
        try:
            found.append(_read(path.parent))
        except RunMismatch as error:
            problems.append(f"Damaged, and left out: {error.what} {error.remedy}")
    return tuple(sorted(found, key=lambda one: one.synthetic))


def _read(folder: Path) -> TunedRecipe:
    try:
        facts = read_json(folder / FACTS)
        tuning, made = facts["tuning"], facts["made"]
        result = read_json(folder / RESULT) if (folder / RESULT).exists() else None
        read = TunedRecipe(
            folder=folder,
            dataset=str(tuning["dataset"]),
            synthetic=bool(made["synthetic"]),
            recipe=str(made["recipe"]),
            data_dir=Path(made["data_dir"]),
            data_hash=str(tuning["data"]),
            score=score_in_words(tuning["seeds"], tuning["folds"]),
            result=result,
        )
        _ = read.sentences  # told if it is damaged
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunMismatch(
            f"{folder} holds no whole tuning: {error}.", "The command that began it writes it anew."
        ) from error
    return read
