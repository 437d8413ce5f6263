"""The machine that a pickle is a program for: a stack, marks in it, and a memo of what may be needed again."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from dmmsa_cli.data.memory import Headroom
from dmmsa_cli.data.unpickling.faults import COMPARE, REWRITE, NoPickle, damaged, unsafe
from dmmsa_cli.data.unpickling.keys import Keys
from dmmsa_cli.data.unpickling.literals import LITERALS, uint32, uint64
from dmmsa_cli.data.unpickling.names import Calls, find
from dmmsa_cli.data.unpickling.runs import RUNS, Run
from dmmsa_cli.data.unpickling.stream import Stream
from dmmsa_cli.data.words import kind_of, printable
from dmmsa_cli.errors import DamagedPickle

_CHECK_EVERY = 2**15  # opcodes between looks at the memory
_LONGEST_NAME = 1000
_LONGEST_PLACE = 15  # digits: integers of more can have one hash, and the memo would compare each with each


class Machine:
    """Runs one pickle.

    Args:
        stream: its bytes.
        headroom: the memory that it may take.
    """

    def __init__(self, stream: Stream, headroom: Headroom) -> None:
        self.stream = stream
        self._headroom = headroom
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # what lies under each mark
        self._memo: dict[int, Any] = {}
        self._keys = Keys()
        self._calls = Calls(self._keys, stream.size)

    def run(self) -> Any:  # noqa: ANN401  (a stranger's)
        """Obey opcodes up to the last, and return what it leaves: values and notes.

        Raises:
            UnsafePickle: the program wants what is no data.
            DamagedPickle: it is none, or is broken.
            MemoryError: it makes more than there is room for.
        """
        stream, stop = self.stream, pickle.STOP[0]
        while True:
            self._headroom.check()
            for _ in range(_CHECK_EVERY):
                code = stream.byte()
                literal = _LITERALS[code]
                if literal is not None:
                    self._stack.append(literal(stream))
                elif code != stop:
                    _STEPS[code](self)
                else:
                    return self._stack.pop()

    # --- the stack; an IndexError means that the program takes from it what isn't there -----------------------------

    def _push(self, value: Any) -> None:  # noqa: ANN401
        self._stack.append(value)

    def _pair(self) -> list[Any]:
        value = self._stack.pop()
        return [self._stack.pop(), value]

    def _double(self) -> None:
        self._stack.append(self._stack[-1])

    def _discard(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._marked()

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _marked(self) -> list[Any]:
        """Take what lies above the last mark, and the mark."""
        items, self._stack = self._stack, self._below.pop()
        return items

    # --- containers -------------------------------------------------------------------------------------------------

    def _tuple(self, size: int) -> None:
        if len(self._stack) < size:
            raise IndexError("too few for a tuple")
        self._stack[-size:] = [tuple(self._stack[-size:])]

    def _append(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise unsafe(f"appends to {kind_of(target)}")
        target.extend(values)

    def _set_items(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict:
            raise unsafe(f"sets items of {kind_of(target)}")
        target.update(self._dict(values))

    def _dict(self, values: list[Any]) -> dict[Any, Any]:
        if len(values) % 2:
            raise _broken("has a key without a value")
        keys = values[::2]
        self._keys.check(keys)
        return dict(zip(keys, values[1::2], strict=True))

    def _add(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not set:
            raise unsafe(f"adds to {kind_of(target)}")
        target.update(self._members(values))

    def _members(self, values: list[Any]) -> list[Any]:
        self._keys.check(values)
        return values

    # --- the memo ---------------------------------------------------------------------------------------------------

    def _remember(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _recall(self, place: int) -> None:
        self._stack.append(self._memo[place])

    # --- names and calls --------------------------------------------------------------------------------------------

    def _global(self) -> None:
        module, name = (self.stream.line(_LONGEST_NAME).decode("utf-8") for _ in range(2))
        self._stack.append(find(module, name))

    def _stack_global(self) -> None:
        module, name = self._pair()
        if type(module) is not str or type(name) is not str:
            raise unsafe(f"asks for {kind_of(name)} of {kind_of(module)}")
        self._stack.append(find(module, name))

    def _reduce(self) -> None:
        name, arguments = self._pair()
        self._stack.append(self._calls.make(name, arguments))

    def _build(self) -> None:
        state = self._stack.pop()
        self._calls.set_state(self._stack[-1], state)

    def _instance(self) -> None:
        """Protocol 0's object of a class."""
        module, name = (self.stream.line(_LONGEST_NAME).decode("utf-8") for _ in range(2))
        raise unsafe(f"asks for an object of {printable(module)}.{printable(name)}, which is no data")

    def _numbers(self, run: Run) -> None:
        """Push numbers of one kind that stand side by side: lists of features are little else."""
        stream = self.stream
        if run.is_alone(stream):
            self._stack.append(run.single(stream))
        else:
            self._stack.extend(run.take(stream))


def _broken(what: str) -> DamagedPickle:
    return NoPickle(f"is no pickle, or a broken one: it {what}.", COMPARE)


def _refuse(what: str) -> Callable[[Machine], None]:
    def step(machine: Machine) -> None:
        raise unsafe(what)

    return step


def _place(stream: Stream) -> int:
    """Read a place in the memo as protocol 0 writes it."""
    return int(stream.line(_LONGEST_PLACE))


def _unknown(machine: Machine) -> None:
    machine.stream.at -= 1
    raise _broken(f"holds {machine.stream.take(1)!r} where an opcode should be")


def _protocol(machine: Machine) -> None:
    found = machine.stream.byte()
    if found > pickle.HIGHEST_PROTOCOL:
        raise _broken(f"is of protocol {found}; the highest known is {pickle.HIGHEST_PROTOCOL}")


def _out_of_band(machine: Machine) -> None:
    raise damaged("keeps its arrays in buffers outside itself, which only whoever wrote it has", REWRITE)


_OUTSIDE = _refuse("refers to an object outside itself")
_EXTENSION = _refuse("asks for an extension of Python by its number")
_OBJECT = _refuse("asks for an object of a class, which is no data")

_BY_OPCODE: dict[bytes, Callable[[Machine], None]] = {
    pickle.PROTO: _protocol,
    pickle.FRAME: lambda m: m.stream.skip(uint64(m.stream)),
    pickle.MARK: Machine._mark,
    pickle.POP: Machine._discard,
    pickle.POP_MARK: lambda m: m._marked().clear(),
    pickle.DUP: Machine._double,
    pickle.TUPLE: lambda m: m._push(tuple(m._marked())),
    pickle.TUPLE1: lambda m: m._tuple(1),
    pickle.TUPLE2: lambda m: m._tuple(2),
    pickle.TUPLE3: lambda m: m._tuple(3),
    pickle.LIST: lambda m: m._push(m._marked()),
    pickle.APPEND: lambda m: m._append([m._stack.pop()]),
    pickle.APPENDS: lambda m: m._append(m._marked()),
    pickle.DICT: lambda m: m._push(m._dict(m._marked())),
    pickle.SETITEM: lambda m: m._set_items(m._pair()),
    pickle.SETITEMS: lambda m: m._set_items(m._marked()),
    pickle.ADDITEMS: lambda m: m._add(m._marked()),
    pickle.FROZENSET: lambda m: m._push(frozenset(m._members(m._marked()))),
    pickle.PUT: lambda m: m._remember(_place(m.stream)),
    pickle.BINPUT: lambda m: m._remember(m.stream.byte()),
    pickle.LONG_BINPUT: lambda m: m._remember(uint32(m.stream)),
    pickle.MEMOIZE: Machine._memoize,
    pickle.GET: lambda m: m._recall(_place(m.stream)),
    pickle.BINGET: lambda m: m._recall(m.stream.byte()),
    pickle.LONG_BINGET: lambda m: m._recall(uint32(m.stream)),
    pickle.GLOBAL: Machine._global,
    pickle.STACK_GLOBAL: Machine._stack_global,
    pickle.REDUCE: Machine._reduce,
    pickle.BUILD: Machine._build,
    pickle.INST: Machine._instance,
    pickle.OBJ: _OBJECT,
    pickle.NEWOBJ: _OBJECT,
    pickle.NEWOBJ_EX: _OBJECT,
    pickle.PERSID: _OUTSIDE,
    pickle.BINPERSID: _OUTSIDE,
    pickle.EXT1: _EXTENSION,
    pickle.EXT2: _EXTENSION,
    pickle.EXT4: _EXTENSION,
    pickle.NEXT_BUFFER: _out_of_band,
    pickle.READONLY_BUFFER: _out_of_band,
}


def _numbers(run: Run) -> Callable[[Machine], None]:
    return lambda machine: machine._numbers(run)


# By the opcode's number: a value that stands by itself, or else a step of the machine.
_STEPS: list[Callable[[Machine], None]] = [_unknown] * 256
_LITERALS: list[Callable[[Stream], Any] | None] = [None] * 256
for _code, _step in _BY_OPCODE.items():
    _STEPS[_code[0]] = _step
for _code, _literal in LITERALS.items():
    _LITERALS[_code[0]] = _literal
for _run in RUNS:
    _STEPS[_run.code[0]], _LITERALS[_run.code[0]] = _numbers(_run), None
