"""What a figure on paper is about: the whole of DMMSA under one recipe, and the systems that may stand beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dmmsa_cli.data.specs import MODALITIES
from dmmsa_cli.reporting import labels
from dmmsa_cli.reporting.groups import Task, gapped, groups, is_reference, pairs, rivals
from dmmsa_cli.reporting.naming import slug, unique
from dmmsa_cli.reporting.runs import System

SYNTHETIC = "SYNTHETIC data"
_DATASET_TITLES = {"mosi": "MOSI", "mosei": "MOSEI", "sims": "CH-SIMS"}


@dataclass(frozen=True)
class Subject:
    """The whole of DMMSA under one recipe, and the systems that may stand beside it."""

    full: System
    group: tuple[System, ...]
    slug: str
    """End of file names, its own: the dataset, and where it departs, recipe and modalities."""
    rivals: tuple[System, ...] = ()
    """Other networks under the same protocol."""
    gapped: tuple[System, ...] = ()
    """The same as the whole, trained on clips with gaps."""
    note: str = ""
    """What else tells it from others, in words."""

    @property
    def words(self) -> list[str]:
        """The dataset as the papers write it, and what has to be known of the data and conditions."""
        name = self.full.clips
        return [
            _DATASET_TITLES.get(name, name),
            *filter(None, (SYNTHETIC if self.full.synthetic else "", self.full.conditions, self.note)),
        ]

    @property
    def place(self) -> str:
        """The same in one phrase, for titles and captions."""
        dataset, *conditions = self.words
        return f"{dataset} ({', '.join(conditions)})" if conditions else dataset

    def without(self, task: Task) -> System | None:
        """Return the system that lacks `task` and nothing else."""
        return next((lacking for full, lacking in pairs(self.group, task) if full is self.full), None)


def subjects(systems: Sequence[System]) -> list[Subject]:
    """Return every subject that there is among some systems, no two of the same name or words."""
    found = [(full, group) for group in groups(systems) for full in filter(is_reference, group)]
    fulls = [full for full, _ in found]
    names = unique(_slug(full) for full in fulls)
    plain = [
        Subject(full, group, name, tuple(rivals(full, systems)), tuple(gapped(full, systems)))
        for (full, group), name in zip(found, names, strict=True)
    ]
    apart = labels.tell_apart([subject.place for subject in plain], fulls)
    notes = [words.removeprefix(subject.place).removeprefix(", ") for words, subject in zip(apart, plain, strict=True)]
    return [replace(subject, note=note) for subject, note in zip(plain, notes, strict=True)]


def _slug(full: System) -> str:
    parts = [full.dataset]
    parts += [full.recipe_name] if full.recipe_name != "dmmsa" else []
    parts += ["".join(full.modalities)] if full.modalities != MODALITIES else []
    return slug("-".join(parts))


def seeds_of(*systems: System) -> str:
    """Return how many seeds stand behind a figure, for its caption: `5 seeds`, `one seed`, `5 and 3 seeds`."""
    *others, last = dict.fromkeys(len(system.seeds) for system in systems)
    if not others:
        return "one seed" if last == 1 else f"{last} seeds"
    return f"{', '.join(map(str, others))} and {last} seeds"


def with_seeds(names: Sequence[str], seeds: Sequence[Sequence[int]]) -> list[str]:
    """Add to names how many seeds each is of, where they differ in that: else the caption says it once."""
    counts = [len(some) for some in seeds]
    if len(set(counts)) == 1:
        return list(names)
    return [f"{name} ({labels.seeds_of(some)})" for name, some in zip(names, seeds, strict=True)]


def averaged(*systems: System, spread: str = "") -> str:
    """Return how the seeds were averaged, and what shows their `spread`; a single seed has neither."""
    seeds = seeds_of(*systems)
    if seeds == "one seed":
        return seeds
    return f"mean over {seeds}, {spread} ± 1 sample sd" if spread else f"mean over {seeds}"
