"""Spaces: which keys of a recipe a tuning may change, and to what. A space is declared beside options, or is a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.experiments.recipes import Recipe, faults_under, with_changes
from dmmsa_cli.plain import shown, shown_key, to_flow_yaml
from dmmsa_cli.ranges import Choices, Range, name_of, ranges_in
from dmmsa_cli.recipe import MOST_ERRORS, build, flat, full_path, keys_of, read_yaml, to_dict

Space = Mapping[str, Range | Choices]
"""By the full path of a key; the ends of a range are whole numbers where the option is one."""

TUNED = ("model", "objective", "fusion")  # whose ranges are taken where no file is given: they need no new encoders

SETTLED: Mapping[str, str] = {
    "data": "which clips and inputs are compared",
    "seeds": "which runs are compared",
    "precision": "in which arithmetic all are compared",
    "pretraining.seed": "which encoders all share",
    "pretraining.per_seed": "which encoders all share",
}
"""Keys that stay as they are, and those below them: what they decide."""


def declared_space(recipe: Recipe) -> Space:
    """Return what a recipe's model, objective and schedule of the fusion declare beside their options.

    Raises:
        InvalidRecipe: they declare nothing.
    """
    found = {key: of for part in TUNED for key, of in ranges_in(getattr(recipe, part), part)}
    return _checked(found, to_dict(recipe), "The declared space", [])


def read_space(path: Path, recipe: Recipe) -> Space:
    """Read a file of ranges: a recipe's key, in full or by its tail, and `{low, high, log, step}` or `{choices}`.

    Args:
        path: a YAML file.
        recipe: which the space is of; every end and every choice is tried in it.

    Raises:
        InvalidRecipe: the file can't be read, or has faults; all of them are told.
    """
    resolved = to_dict(recipe)
    keys, faults, found = keys_of(resolved), list[str](), dict[str, Range | Choices]()
    for written, entry in read_yaml(path).items():
        key = _full(written, keys, faults)
        if key in found:
            faults.append(f"{key}: stands there twice")
        elif key is not None and (of := _entry(entry, key, faults)) is not None:
            found[key] = of
    return _checked(found, resolved, f"Space {path}", faults)


def changes_of(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a point of a space changes in the recipe, by dotted path; choices are named by their text."""
    return {key: _value(space[key], value) for key, value in params.items()}


def _value(of: Range | Choices, value: Any) -> Any:  # noqa: ANN401
    return dict(zip(of.names, of.choices, strict=True))[value] if isinstance(of, Choices) else value


def place_of(space: Space, recipe: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return where a resolved recipe lies in a space, choices by their text; none where it lies outside."""
    own = {key: _at(recipe, key) for key in space}
    if not all(own[key] in of for key, of in space.items()):
        return None
    return {key: name_of(own[key]) if isinstance(of, Choices) else own[key] for key, of in space.items()}


def in_yaml(space: Space) -> str:
    """Return a space as a file of one's own, a line for each key."""
    return to_flow_yaml({key: _written(of) for key, of in space.items()})


def _written(of: Range | Choices) -> dict[str, Any]:
    if isinstance(of, Choices):
        return {"choices": list(of.choices)}
    return {key: value for key, value in asdict(of).items() if value is not None and value is not False}


# --- faults ---------------------------------------------------------------------------------------------------------


def _full(written: object, keys: list[str], faults: list[str]) -> str | None:
    key = shown_key(written)
    try:
        return full_path(key, keys)
    except InvalidRecipe as error:
        faults.append(f"{key}: {error.what.removeprefix(f'--set {key} ')}")
        return None


def _entry(entry: object, key: str, faults: list[str]) -> Range | Choices | None:
    settled = next((part for part in SETTLED if key == part or key.startswith(f"{part}.")), None)
    if settled is not None:
        faults.append(f"{key}: decides {SETTLED[settled]}, and stays as it is")
        return None
    if not isinstance(entry, Mapping) or not entry:
        faults.append(f"{key}: expected {{low, high}} or {{choices}}, found {shown(entry)}")
        return None
    if "choices" in entry:
        return _choices(entry, key, faults)
    built = build(Range, entry, key, {}, faults)
    assert built is None or isinstance(built, Range)
    return built


def _choices(entry: Mapping[Any, Any], key: str, faults: list[str]) -> Choices | None:
    others, values = sorted(shown_key(one) for one in entry if one != "choices"), entry["choices"]
    if others:
        faults.append(f"{key}: choices stand alone, without {', '.join(others)}")
        return None
    if not isinstance(values, list):
        faults.append(f"{key}.choices: {shown(values)} is not a list")
        return None
    try:
        return Choices(tuple(tuple(value) if isinstance(value, list) else value for value in values))
    except ValueError as error:
        faults.append(f"{key}: {error}")
        return None


def _checked(found: Space, recipe: Mapping[str, Any], origin: str, faults: list[str]) -> Space:
    """Try every end and choice in the recipe, and return the space with the option's own types.

    Raises:
        InvalidRecipe: something is refused, or there is nothing to tune.
    """
    for key, of in found.items():
        faults += _refused(recipe, key, of)
    if not faults:
        faults += _torn(found, recipe)
    if not faults and not found:
        faults.append("there is nothing in it to tune")
    if faults:
        listed = [*faults[:MOST_ERRORS], *(["and more of them"] if len(faults) > MOST_ERRORS else [])]
        raise InvalidRecipe(
            f"{origin} has {len(faults)} error{'s' * (len(faults) > 1)}:\n" + "\n".join(f"  {one}" for one in listed),
            "Correct the keys named above.",
        )
    return {key: _typed(of, key, recipe) for key, of in found.items()}


def _refused(recipe: Mapping[str, Any], key: str, of: Range | Choices) -> list[str]:
    """Return what the recipe's own checks say of the values of a key; once, where they say the same of several."""
    tried = of.choices if isinstance(of, Choices) else (of.low, of.high)
    told = [fault.removeprefix(f"{key}: ") for value in tried for fault in faults_under(recipe, {key: value})]
    return [f"{key}: {fault}" for fault in dict.fromkeys(told)]


def _torn(found: Space, recipe: Mapping[str, Any]) -> Iterator[str]:
    """Yield keys below a choice of rows that not every row has: `temperature` of `weighting`, `name: [gdwg, equal]`."""
    for name, rows in found.items():
        parent = name.removesuffix(".name")
        if parent == name or not isinstance(rows, Choices):
            continue
        for key, of in found.items():
            inside = key != name and key.startswith(f"{parent}.")
            value = of.choices[0] if isinstance(of, Choices) else of.low
            for row in rows.choices if inside else ():
                if faults_under(recipe, {name: row, key: value}):
                    yield f"{key}: {row}, which {name} may choose, has no such option"


def _typed(of: Range | Choices, key: str, recipe: Mapping[str, Any]) -> Range | Choices:
    if isinstance(of, Choices):
        return of
    low, high = (_at(with_changes(recipe, {key: end}), key) for end in (of.low, of.high))
    return replace(of, low=low, high=high)


def _at(values: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401
    return flat(values).get(key)
