"""Recipes: frozen dataclasses <-> YAML <-> `--set a.b=c`.

Nothing here knows what a recipe holds. The dataclasses say which keys there are, of which type, and check what belongs
together in `__post_init__`; in `RENAMED` they say what a key of an earlier version is called now. A `Choice` field
names a row of a table that is handed in (a model, an objective), and the row's own options stand beside the name. Every
error of a recipe is told at once, each with its dotted path.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.plain import from_yaml, shown, shown_key, to_yaml

MOST_ERRORS = 30  # that a message lists
LARGEST = 2**63 - 1  # whole number that torch and numpy take

T = TypeVar("T")

Tables = Mapping[str, Mapping[str, type]]  # table -> row -> the dataclass of that row's options


@dataclass(frozen=True)
class Choice:
    """A row of a table, with its options: `model: {name: feature_decomposition, width: 768}`."""

    name: str
    options: Any


def choice(table: str, default: Choice | None = None) -> Any:  # noqa: ANN401  (stands in for the field's value)
    """Declare a field of type `Choice` whose name is looked up in `table`.

    Args:
        table: whose rows it may name.
        default: what stands there where a recipe says nothing; where it gives options alone, they are this row's.
    """
    if default is None:
        return dataclasses.field(metadata={"table": table})
    return dataclasses.field(default=default, metadata={"table": table})


def parse(kind: type[T], values: Mapping[str, Any], tables: Tables, origin: str) -> T:
    """Build the dataclass `kind` from plain `values`.

    Args:
        kind: a frozen dataclass.
        values: what YAML gave.
        tables: the rows that `Choice` fields may name.
        origin: where the values come from, for the message.

    Raises:
        InvalidRecipe: with every unknown key, missing key and impossible value.
    """
    errors: list[str] = []
    built = build(kind, values, "", tables, errors)
    if errors:
        listed = [*errors[:MOST_ERRORS], *(["and more of them"] if len(errors) > MOST_ERRORS else [])]
        raise InvalidRecipe(
            f"{origin} has {len(errors)} error{'s' * (len(errors) > 1)}:\n" + "\n".join(f"  {e}" for e in listed),
            "Correct the keys named above.",
        )
    return typing.cast(T, built)


def to_dict(value: Any) -> Any:  # noqa: ANN401
    """Turn a parsed recipe back into what YAML can hold; `parse` of the result gives an equal recipe."""
    if isinstance(value, Choice):
        return {"name": value.name, **to_dict(value.options)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [to_dict(item) for item in value]
    if isinstance(value, Mapping):
        return {key: to_dict(item) for key, item in value.items()}
    return value


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested plain values by dotted path; a mapping that holds nothing is a value.

    Example:
        >>> flat({"fusion": {"epochs": 10}, "precision": "auto"})
        {'fusion.epochs': 10, 'precision': 'auto'}
    """
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return leaves


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping, without ever building anything but plain values.

    Raises:
        InvalidRecipe: the file is missing, is no YAML, or holds something else.
    """
    try:
        values = from_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidRecipe(f"{path} can't be read: {error}", "Give a readable YAML file.") from error
    if not isinstance(values, dict):
        raise InvalidRecipe(f"{path} holds no mapping of keys to values.", "A recipe reads `key: value`.")
    return values


def dump_yaml(recipe: Any) -> str:  # noqa: ANN401
    """Write a parsed recipe as YAML, in the order of its fields."""
    return to_yaml(to_dict(recipe))


def with_settings(values: Mapping[str, Any], settings: Iterable[str], resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Apply `a.b=c` settings to the plain `values` of a recipe.

    A path that does not begin at the top may be the tail of one, while that is unique among the keys of `resolved` (the
    same recipe with all its defaults): `msc.classes=5` for `objective.msc.classes=5`. An unknown path is kept
    for `parse` to report. Another `name` of a choice takes the place of the whole of it, as in a recipe that stands on
    another: options of the one mean nothing to the other.

    Raises:
        InvalidRecipe: a setting without `=`, a value that is no YAML, or a tail that fits several keys.
    """
    result = _copy(values)
    paths = keys_of(resolved)
    # Names first: whoever chooses another row sets its options beside it, in whichever order.
    for setting in sorted(settings, key=lambda one: not one.partition("=")[0].strip().endswith(".name")):
        path, equals, text = setting.partition("=")
        if not equals:
            raise InvalidRecipe(f"--set {setting} has no value.", "Write --set key.of.recipe=value.")
        try:
            value = from_yaml(text)
        except ValueError as error:
            raise InvalidRecipe(f"--set {setting}: the value is no YAML.", str(error)) from error
        _insert(result, full_path(path.strip(), paths), value, resolved)
    return result


def full_path(path: str, paths: Sequence[str]) -> str:
    """Return the key that a path stands for, in full or as the tail of one; an unknown path is returned as it is.

    Raises:
        InvalidRecipe: it is the tail of several.
    """
    if path.partition(".")[0] in paths:  # it begins at the top, so it is meant in full
        return path
    fits = [known for known in paths if known.endswith("." + path)]
    if len(fits) > 1:
        raise InvalidRecipe(f"--set {path} fits several keys: {', '.join(fits)}.", "Write one of them in full.")
    return fits[0] if fits else path


def _insert(values: dict[str, Any], path: str, value: Any, resolved: Any) -> None:  # noqa: ANN401
    *parents, last = path.split(".")
    for parent in parents:
        resolved = resolved.get(parent) if isinstance(resolved, Mapping) else None
        below = values.get(parent)
        if not isinstance(below, dict):  # a choice may be written as its bare name, or be left to its default
            default = _copy(resolved) if isinstance(resolved, Mapping) and "name" in resolved else {}
            below = values[parent] = {"name": below} if isinstance(below, str) else default
        values = below
        if isinstance(resolved, Mapping) and values.get("name", resolved.get("name")) != resolved.get("name"):
            resolved = None  # another row has been chosen since, whose defaults are not these
    if parents and last == "name" and values.get("name") != value:  # below the top, it is a choice's
        values.clear()
    values[last] = value


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, Mapping) else v for k, v in values.items()}


def keys_of(values: Mapping[str, Any]) -> list[str]:
    """Return every key of nested values by its dotted path, those that hold further ones too."""
    return list(_leaves(values))


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for key, value in values.items():
        yield prefix + key
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")


# --- building -------------------------------------------------------------------------------------------------------


def build(kind: type, values: object, path: str, tables: Tables, errors: list[str]) -> object:
    """Build a dataclass from plain values; whatever is wrong with them is added to `errors`, and nothing is returned.

    Args:
        kind: a frozen dataclass.
        values: what YAML gave.
        path: of the values, dotted; empty at the top.
        tables: the rows that `Choice` fields may name.
        errors: gets a line for each fault.
    """
    if not isinstance(values, Mapping):
        errors.append(f"{path or 'the recipe'}: expected keys and values, found {shown(values)}")
        return None
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    _report_unknown(values, list(fields), path, errors, getattr(kind, "RENAMED", {}))
    before = len(errors)
    arguments = {}
    for name, field in fields.items():
        here = f"{path}.{name}" if path else name
        if name in values:
            table = field.metadata.get("table")
            arguments[name] = (
                _choose(values[name], here, table, tables, errors, field.default)
                if table
                else _convert(hints[name], values[name], here, tables, errors)
            )
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            errors.append(f"{here}: missing")
    if len(errors) > before:
        return None
    try:
        return kind(**arguments)
    except ValueError as error:  # a check of the dataclass's own
        errors.append(f"{path + ': ' if path else ''}{error}")
        return None


def _choose(value: object, path: str, table: str, tables: Tables, errors: list[str], default: object) -> Choice | None:
    if isinstance(value, str):
        value = {"name": value}
    if isinstance(value, Mapping) and isinstance(default, Choice):
        value = {"name": default.name, **value}
    name = value.get("name") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(name, str) or name not in tables[table]:
        errors.append(f"{path}.name: {shown(name)} is none of {', '.join(sorted(tables[table]))}")
        return None
    rest = {k: v for k, v in value.items() if k != "name"}
    return Choice(name, build(tables[table][name], rest, path, tables, errors))


def _report_unknown(
    values: Mapping[str, Any], known: list[str], path: str, errors: list[str], renamed: Mapping[str, str]
) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(shown_key(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
            hint = renamed.get(key, hint) if isinstance(key, str) else hint
            errors.append(f"{path + '.' if path else ''}{shown_key(key)}: unknown key; {hint}")


def _convert(hint: Any, value: Any, path: str, tables: Tables, errors: list[str]) -> Any:  # noqa: ANN401
    """Give `value` the declared type, or report that it can't have it."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, path, tables, errors)
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(hint, value, path, tables, errors)
    if origin is tuple:
        if isinstance(value, (list, tuple)):
            inner = typing.get_args(hint)[0]
            return tuple(_convert(inner, v, f"{path}[{i}]", tables, errors) for i, v in enumerate(value))
    elif origin in (dict, Mapping):
        if isinstance(value, Mapping):
            inner = typing.get_args(hint)[1]
            keys = {k: k if isinstance(k, str) else shown(k) for k in value}
            return {
                keys[k]: v if inner is Any else _convert(inner, v, f"{path}.{shown_key(k)}", tables, errors)
                for k, v in value.items()
            }
    elif origin is Literal:
        if value in typing.get_args(hint) and not isinstance(value, bool):
            return value
    elif (converted := _scalar(hint, value)) is not None:
        return converted
    too_large = hint is int and type(value) is int
    errors.append(f"{path}: {shown(value)} is {'too large' if too_large else f'not {_describe(hint)}'}")
    return None


def _convert_union(hint: Any, value: Any, path: str, tables: Tables, errors: list[str]) -> Any:  # noqa: ANN401
    options = typing.get_args(hint)
    if value is None and type(None) in options:
        return None
    parts = [option for option in options if dataclasses.is_dataclass(option)]
    if len(parts) == 1 and isinstance(value, Mapping):  # whatever is wrong with it is told by its own path
        return _convert(parts[0], value, path, tables, errors)
    for option in options:
        attempt: list[str] = []
        converted = _convert(option, value, path, tables, attempt)
        if not attempt and option is not type(None):
            return converted
    errors.append(f"{path}: {shown(value)} is not {_describe(hint)}")
    return None


def _scalar(kind: type, value: object) -> object:
    """Coerce by the declared type: PyYAML reads `1e-4` as a string and `1` as an int."""
    if kind is bool:
        return value if isinstance(value, bool) else None
    if isinstance(value, bool):
        return None
    if kind is float and isinstance(value, (int, float, str)):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        return number if math.isfinite(number) else None
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if kind is int and isinstance(value, int) and abs(value) > LARGEST:
        return None
    return value if isinstance(value, kind) else None


_WORDS = {float: "a number", int: "a whole number", str: "text", bool: "true or false", type(None): "null"}


def _describe(hint: Any) -> str:  # noqa: ANN401
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(option) for option in typing.get_args(hint))
    if origin is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    if origin in (dict, Mapping):
        return "keys and values"
    if origin is tuple:
        return f"a list, each {_describe(typing.get_args(hint)[0])}"
    return "keys and values" if dataclasses.is_dataclass(hint) else _WORDS.get(hint, str(hint))
