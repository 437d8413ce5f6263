"""After the last opcode: notes become arrays, and the whole is held to a bound.

Lists that share their parts can stand for more than any memory holds: ten times one list in another, ten times that
one in a third, and so on, a few bytes a level. So everything is measured as if nothing in it were shared, before
anybody walks over it.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterator, Sized
from typing import Any

from dmmsa_cli.data.memory import Headroom
from dmmsa_cli.data.unpickling.faults import REWRITE, damaged, unsafe
from dmmsa_cli.data.unpickling.names import Name
from dmmsa_cli.data.unpickling.notes import Array, ByteArray, Dtype
from dmmsa_cli.errors import DamagedPickle

DEEPEST = 50
FREE_BYTES = 64 * 2**20  # what any file may stand for
TIMES_THE_FILE = 64
_REFERENCE = 8  # bytes
_CHECK_EVERY = 2**15  # containers between looks at the memory

_NUMBERS = frozenset({int, float, bool, type(None)})
_NOTES = frozenset({Array, ByteArray, Dtype, Name})
_HOLDING = frozenset({list, tuple, dict}) | _NOTES  # what has to be looked into; sets hold values only
_REPLACED = _NOTES | {tuple}
_WITH_CONTENT = frozenset({Array, ByteArray})


def settle(root: Any, file_size: int, headroom: Headroom) -> Any:  # noqa: ANN401  (a stranger's)
    """Turn what a machine left into what it stands for; what was shared stays shared.

    Args:
        root: values and notes. Lists and dicts are filled anew, tuples that hold notes made anew.
        file_size: bytes of the pickle.
        headroom: the memory that it may take.

    Raises:
        DamagedPickle: it contains itself, lies too deep, is out of all proportion, or an array contradicts itself.
        UnsafePickle: it holds a name where data should be.
        MemoryError: there is no room.
    """
    return _Settling(FREE_BYTES + TIMES_THE_FILE * file_size, headroom).settle(root)


class _Settling:
    """One walk over everything, depth first and without recursion."""

    def __init__(self, most: int, headroom: Headroom) -> None:
        self._most = most
        self._headroom = headroom
        # By identity: what stands in its place from now on, its bytes were nothing in it shared, how deep it goes; and
        # itself, so that nothing else gets its identity.
        self._done: dict[int, tuple[Any, int, int, Any]] = {}

    def settle(self, root: Any) -> Any:  # noqa: ANN401
        if type(root) not in _HOLDING:
            return root
        path = [(root, iter(_inner(root)))]
        within = {id(root)}  # what is on the path
        while path:
            node, inner = path[-1]
            child = self._settle_up_to(inner, within)
            if child is None:
                path.pop()
                within.discard(id(node))
                self._settle_one(node)
            elif len(path) == DEEPEST:
                raise _too_deep()
            else:
                within.add(id(child))
                path.append((child, iter(_inner(child))))
        return self._done[id(root)][0]

    def _settle_up_to(self, nodes: Iterator[Any], within: set[int]) -> Any:  # noqa: ANN401
        """Settle what holds values only, up to the first that must be looked into; that, or None."""
        for node in nodes:
            if id(node) in self._done:
                continue
            if id(node) in within:
                raise damaged("holds a list that contains itself", REWRITE)
            kinds = set(map(type, _values(node)))
            if kinds <= _NUMBERS and type(node) is list:  # most of what there is, where features are lists
                self._keep(node, node, _REFERENCE * len(node), 0)
            elif kinds.isdisjoint(_HOLDING):
                self._settle_one(node)
            else:
                return node
        return None

    def _settle_one(self, node: Any) -> None:  # noqa: ANN401
        """Settle one thing, all that lies within it being settled."""
        size, depth = self._measure(_values(node))
        if type(node) is dict:
            size += sum(len(key) if isinstance(key, Sized) else _REFERENCE for key in node)
        elif type(node) in _WITH_CONTENT and type(node.content) is bytes:
            size += len(node.content)
        if size > self._most:
            most = f"{self._most / 2**20:,.0f} MiB"
            raise damaged(f"stands for more than {most}, in lists that share their parts", REWRITE)
        if depth >= DEEPEST:
            raise _too_deep()
        self._keep(node, self._value(node), size, depth)

    def _keep(self, node: Any, value: Any, size: int, depth: int) -> None:  # noqa: ANN401
        self._done[id(node)] = value, size, depth + 1, node
        if len(self._done) % _CHECK_EVERY == 0:
            self._headroom.check()

    def _measure(self, values: Collection[Any]) -> tuple[int, int]:
        """Bytes of values and of all within them, and the depth of the deepest."""
        size, depth = _REFERENCE * len(values), 0
        for value in values:
            kind = type(value)
            if kind in _HOLDING:
                _, its_size, its_depth, _ = self._done[id(value)]
                size, depth = size + its_size, max(depth, its_depth)
            elif kind is str or (kind not in _NUMBERS and isinstance(value, Sized)):  # bytes, sets
                size += len(value)
        return size, depth

    def _value(self, node: Any) -> Any:  # noqa: ANN401
        """What stands in the place of a thing from now on: itself, unless it is a note, or a tuple that holds some."""
        kind = type(node)
        if kind is list or kind is dict:
            self._replace(node)
        elif kind is tuple:
            return self._anew(node)
        elif kind is Array:
            return node.array()
        elif kind is ByteArray:
            return bytearray(node.content)
        elif kind is Dtype:
            return node.real
        elif kind is Name:
            raise unsafe(f"holds {node.text} itself, which is no data")
        return node

    def _replace(self, container: Any) -> None:  # noqa: ANN401
        """Put what stands in their place for the notes and tuples within a list or dict."""
        if _REPLACED.isdisjoint(map(type, _values(container))):
            return
        for place, value in enumerate(container) if type(container) is list else list(container.items()):
            if type(value) in _REPLACED:
                container[place] = self._done[id(value)][0]

    def _anew(self, former: tuple[Any, ...]) -> tuple[Any, ...]:
        if _HOLDING.isdisjoint(map(type, former)):
            return former
        made = tuple(self._done[id(value)][0] if type(value) in _HOLDING else value for value in former)
        return former if all(map(operator.is_, made, former)) else made


def _values(node: list[Any] | tuple[Any, ...] | dict[Any, Any] | Array | ByteArray | Dtype | Name) -> Collection[Any]:
    """What lies within a thing, keys of dicts apart."""
    if isinstance(node, list | tuple):
        return node
    if isinstance(node, dict):
        return node.values()
    return (node.objects,) if isinstance(node, Array) and node.objects is not None else ()


def _inner(node: Any) -> list[Any]:  # noqa: ANN401
    """What within a thing has to be settled before it."""
    return [value for value in _values(node) if type(value) in _HOLDING]


def _too_deep() -> DamagedPickle:
    return damaged(f"holds lists within each other, more than {DEEPEST} deep", REWRITE)
