"""What the name of a variant stands for, and in what a recipe departs from what it is named after.

`full` is a recipe as it is; flags have names of their own (`no-msc-fraction-0.6`); the variants of the shipped studies
have theirs. Under such a name nothing else is trained, and nothing else stands in a row of a table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from dmmsa_cli.errors import InvalidInput, InvalidRecipe
from dmmsa_cli.experiments.experiment import Experiment
from dmmsa_cli.experiments.recipes import find_recipe, load_recipe
from dmmsa_cli.experiments.studies import load_study, study_names
from dmmsa_cli.recipe import flat, to_dict

PARTS: Mapping[str, Mapping[str, Any]] = {
    "msc": {"objective.msc.enabled": False},
    "cl": {"objective.cl.enabled": False},
    "uni": {"objective.uni.enabled": False},
    "gdwg": {"objective.weighting.name": "equal"},
}
"""Parts of DMMSA's objective that a flag leaves out, and what that changes in a recipe, by dotted path."""
FULL = "full"
FROM_SCRATCH = "from-scratch"
CONDITIONS = ("seeds", "precision")  # of a recipe, but not of what it computes: labels name them for themselves

_FLAGS = re.compile(rf"(no-(?:{'|'.join(PARTS)})|fraction-[0-9.e+-]*[0-9]|{FROM_SCRATCH})(?:-|$)")


@dataclass(frozen=True)
class Meaning:
    """What a variant does to its recipe."""

    set: Mapping[str, Any] = field(default_factory=dict)
    """Changes, by dotted path."""
    from_scratch: bool = False
    """Whether it starts from untrained encoders."""


def variant_name(dropped: Sequence[str], fraction: float | None, from_scratch: bool, *, changed: bool) -> str:
    """Name a variant for its flags: `full`, `no-gdwg`, `no-msc-no-cl`, `fraction-0.6`, `from-scratch`.

    Args:
        dropped: parts of the objective that are left out, of `PARTS`.
        fraction: share of the training rows.
        from_scratch: whether the encoders start untrained.
        changed: whether `--set` or the like changes the recipe, which no flag can name.

    Raises:
        InvalidInput: `changed`.
    """
    if changed:
        raise InvalidInput(
            "--set, --epochs, --learning-rate and --batch-size change the recipe, so the run needs a name of its own.",
            "Add --name NAME.",
        )
    parts = [f"no-{task}" for task in dropped]
    parts += [f"fraction-{float(fraction)!r}"] if fraction is not None and fraction != 1 else []  # every digit of it
    parts += [FROM_SCRATCH] if from_scratch else []
    return "-".join(parts) or FULL


def meaning_of(variant: str) -> Meaning | None:
    """Return what a name stands for: of flags, or of a shipped study; none where it is one's own.

    Example:
        >>> meaning_of("no-msc-fraction-0.6")
        Meaning(set={'objective.msc.enabled': False, 'data.fraction': 0.6}, from_scratch=False)
    """
    if variant == FULL:
        return Meaning()
    return _of_flags(variant) or _of_studies().get(variant)


def _of_flags(variant: str) -> Meaning | None:
    parts, at = [], 0
    while at < len(variant):
        match = _FLAGS.match(variant, at)
        if match is None:
            return None
        parts.append(match[1])
        at = match.end()
    changes: dict[str, Any] = {}
    for part in parts:
        if part.startswith("no-"):
            changes |= PARTS[part.removeprefix("no-")]
        elif part != FROM_SCRATCH:
            try:
                changes["data.fraction"] = float(part.removeprefix("fraction-"))
            except ValueError:
                return None
    return Meaning(changes, FROM_SCRATCH in parts) if parts else None


@cache
def _of_studies() -> dict[str, Meaning]:
    variants = [variant for name in study_names() for variant in load_study(name).variants]
    return {variant.name: Meaning(variant.set) for variant in variants}


# --- holding a recipe against what it is named after ----------------------------------------------------------------


def shipped_recipe(name: str, family: str, changes: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """Return the plain values of a shipped recipe under some changes; none where there is no such recipe.

    Args:
        name: of the recipe.
        family: the dataset's folder of recipes.
        changes: by dotted path.
    """
    return _shipped(name, family, json.dumps(dict(changes or {}), sort_keys=True))


@cache
def _shipped(name: str, family: str, changes: str) -> dict[str, Any] | None:
    try:
        values: dict[str, Any] = to_dict(load_recipe(find_recipe(name, family), changes=json.loads(changes)))
    except InvalidRecipe:  # none of this name, or the changes are of another objective
        return None
    return values


def departures(recipe: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return in what a resolved recipe departs from another: key -> its own value and the other's.

    Seeds and precision are no departure; a key that the one lacks has the value None there. Another model or objective
    comes first: what else differs may follow from it.
    """
    own, other = flat(recipe), flat(reference)
    order = sorted(own.keys() | other.keys(), key=lambda key: (not key.endswith(".name"), key))
    keys = [key for key in order if key.partition(".")[0] not in CONDITIONS]
    return {key: (own.get(key), other.get(key)) for key in keys if own.get(key) != other.get(key)}


def in_words(found: Mapping[str, tuple[Any, Any]], most: int = 2) -> str:
    """Say in what a recipe departs: `fusion.epochs 1 (not 15), msc.classes 5 (not 3), and 2 more`."""
    words = [f"{key} {_short(own)} (not {_short(other)})" for key, (own, other) in list(found.items())[:most]]
    return ", ".join([*words, *([f"and {len(found) - most} more"] if len(found) > most else [])])


def _short(value: Any) -> str:  # noqa: ANN401  (whatever a recipe holds)
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def check_names(experiment: Experiment, variant: str, *, from_scratch: bool) -> None:
    """See that a run's recipe and variant bear no name of something else.

    Args:
        experiment: whose recipe has been changed as the run wants it.
        variant: the run's.
        from_scratch: whether it starts from untrained encoders.

    Raises:
        InvalidInput: a recipe file named like a shipped one holds another recipe, or the variant's name is that of a
            flag or of a shipped study, which stand for something else.
    """
    _check_recipe_name(experiment)
    meaning = meaning_of(variant)
    if meaning is None:
        return
    wrong = _departure(experiment, meaning, from_scratch)
    if wrong:
        what = "a recipe as it is" if variant == FULL else f"{_stands_for(meaning)} and nothing else"
        raise InvalidInput(
            f"{variant!r} is the name of {what}; this run departs from that: {wrong}.", "Give it another --name."
        )


def _departure(experiment: Experiment, meaning: Meaning, from_scratch: bool) -> str:
    """Say in what a run departs from the meaning of its name; nothing where it does not."""
    if from_scratch != meaning.from_scratch:
        return "--from-scratch" if from_scratch else "no --from-scratch"
    if experiment.recipe_file is None:
        return ""
    try:
        reference = load_recipe(experiment.recipe_file, changes=meaning.set)
    except InvalidRecipe:
        return f"the objective {experiment.recipe.objective.name} has no such part"
    return in_words(departures(to_dict(experiment.recipe), to_dict(reference)))


def _check_recipe_name(experiment: Experiment) -> None:
    file, family = experiment.recipe_file, experiment.store.spec.recipes
    shipped = shipped_recipe(experiment.name, family)
    if file is None or shipped is None:
        return
    found = departures(to_dict(load_recipe(file)), shipped)
    if found:
        raise InvalidInput(
            f"{file} bears the name of the shipped recipe {experiment.name} and departs from it: {in_words(found)}.",
            f"Give the file a name of its own, such as {Path(file).stem}-mine.yaml.",
        )


def _stands_for(meaning: Meaning) -> str:
    words = [f"{key} {value}" for key, value in meaning.set.items()]
    return ", ".join([*words, *([FROM_SCRATCH] if meaning.from_scratch else [])]) or "the recipe as it is"
