"""Plain values out of text that anybody may have written: YAML and JSON, within bounds; and values shown in short.

Whatever is wrong with a text is a `ValueError` in words. A few hundred bytes of YAML can stand for more values than
there is memory for, by aliases of aliases, and deep nesting is a `RecursionError` in both languages' readers.
"""

from __future__ import annotations

import json
import re
import reprlib
from pathlib import Path
from typing import Any

import yaml

LONGEST = 2**18  # characters of a YAML text; PyYAML reads as many in some seconds
DEEPEST = 32  # levels of lists and mappings in YAML
MOST = 20_000  # values in a YAML text, what an alias stands for counted each time

WIDEST = 120  # characters of a value in a message
DIGITS = 40  # of a number in a message; Python refuses to write out some thousands

# What moves a cursor, ends a text or turns its direction round, and halves of characters; tabs and line ends are none.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plural(count: int, noun: str) -> str:
    """Return a number and what is counted: `1 clip`, `1,284 clips`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def spelled_out(text: str) -> str:
    r"""Spell out the control characters of a text, so that none stands raw in a file that people read.

    Example:
        >>> spelled_out("a\x1b[31mb\x00")
        'a\\x1b[31mb\\x00'
    """
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def from_yaml(text: str, *, aliases: bool = True) -> Any:  # noqa: ANN401  (whatever the text holds)
    """Read a YAML text; nothing but plain values is ever built.

    Args:
        text: it.
        aliases: whether it may hold `*alias`; what a program has written has none.

    Raises:
        ValueError: it is no YAML, or goes beyond the bounds.
    """
    if len(text) > LONGEST:
        raise ValueError(f"it has {len(text):,} characters; no more than {LONGEST:,} are read")
    try:
        loader = _Bounded(text, aliases=aliases)
        return loader.get_single_data()
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:  # PyYAML's, of a date or tag
        raise ValueError(f"a value is not what it is written as ({error})") from error


def to_yaml(values: Any) -> str:  # noqa: ANN401
    """Write plain values as YAML, in their order; `from_yaml` reads them back, without aliases."""
    text = _dump(values, allow_unicode=True)
    if from_yaml(text, aliases=False) == values:
        return text
    return _dump(values, allow_unicode=False)  # PyYAML writes U+0085 as it is, and reads a line break


def to_flow_yaml(values: dict[str, dict[str, Any]]) -> str:
    """Write a mapping of mappings as YAML, a line for each of its keys; `from_yaml` reads it back."""
    flow = {
        key: yaml.safe_dump(below, sort_keys=False, default_flow_style=True, width=10**6)
        for key, below in values.items()
    }
    return "".join(f"{key}: {text}" for key, text in flow.items())


def from_json(text: str) -> Any:  # noqa: ANN401
    """Read a JSON text.

    Raises:
        ValueError: it is none, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_json(path: Path) -> Any:  # noqa: ANN401
    """Read a JSON file.

    Raises:
        ValueError: it is none.
        OSError: it can't be read.
    """
    return from_json(path.read_text(encoding="utf-8"))


def shown(value: object) -> str:
    """Return a value as Python writes it, cut short where it is long, deep or huge."""
    text = _SHORT.repr(value)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."


def shown_key(key: object) -> str:
    """Return a mapping's key as it stands in a dotted path: text without quotes where it is short and spelled_out."""
    return key if isinstance(key, str) and len(key) <= WIDEST and key.isprintable() else shown(key)


class _Short(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if abs(x) < 10**DIGITS else f"a number of more than {DIGITS} digits"


_SHORT = _Short()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 3, WIDEST // 2, WIDEST // 2


class _Bounded(yaml.SafeLoader):
    """PyYAML's safe loader, with bounds on depth and on how many values there are once aliases are followed."""

    def __init__(self, text: str, *, aliases: bool) -> None:
        super().__init__(text)
        self._aliases = aliases
        self._depth = self._count = 0
        self._sizes: dict[str, int] = {}  # by anchor, once all of it has been read

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401
        event: yaml.NodeEvent = self.peek_event()  # type: ignore[no-untyped-call]
        before, anchor = self._count, event.anchor
        self._count += self._size(event)
        if self._count > MOST:
            raise _beyond(f"more than {MOST:,} values", event)
        self._depth += 1
        if self._depth > DEEPEST:
            raise _beyond(f"more than {DEEPEST} levels", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if anchor is not None and not isinstance(event, yaml.AliasEvent):
            self._sizes[anchor] = self._count - before
        return node

    def _size(self, event: yaml.NodeEvent) -> int:
        """Values that a node stands for, as far as they have not been counted yet."""
        if not isinstance(event, yaml.AliasEvent):
            return 1
        if not self._aliases:
            raise _beyond("an alias", event)
        if event.anchor in self.anchors and event.anchor not in self._sizes:
            raise _beyond("a value that holds itself", event)
        return self._sizes.get(str(event.anchor), 1)  # an unknown one is PyYAML's to refuse


def _beyond(what: str, event: yaml.NodeEvent) -> yaml.YAMLError:
    mark: Any = event.start_mark
    return yaml.composer.ComposerError(None, None, f"found {what}", mark)


class _WithoutAliases(yaml.SafeDumper):
    """Writes a value out each time it comes."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _dump(values: Any, *, allow_unicode: bool) -> str:  # noqa: ANN401
    text: str = yaml.dump(values, Dumper=_WithoutAliases, sort_keys=False, allow_unicode=allow_unicode, width=100)
    return text
