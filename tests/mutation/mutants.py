"""The mutants of a tree, and a sample of them."""

import difflib
import hashlib
import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.file_mutation import Mutation, MutationVisitor, deep_replace
from mutmut.mutation.pragma_handling import IgnoredCode

from tests.mutation.operators import OPERATORS, is_wording, negated


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    file: str
    """Below the root, with slashes."""
    function: str
    """Qualified; empty outside of all."""
    line: int
    change: tuple[str, str, int]
    """The code before and after it, and the how manieth such change of the function it is."""
    place: int
    """Which node of the file: a place may have several mutants."""
    module: cst.Module = field(repr=False, compare=False)
    mutation: Mutation = field(repr=False, compare=False)

    @property
    def package(self):
        """The part of the program that it lies in."""
        return Path(self.file).parts[1].removesuffix(".py")

    @property
    def key(self):
        """Stands for it wherever its lines move."""
        return hashlib.sha256(repr((self.file, self.function, self.change)).encode()).hexdigest()

    def lot(self, seed):
        """The lower, the earlier it is drawn. Code that changes elsewhere leaves it as it is."""
        return hashlib.sha256(f"{seed} {self.key}".encode()).hexdigest()

    @cached_property
    def source(self):
        """The whole file with the change."""
        return deep_replace(self.module, self.mutation.original_node, self.mutation.mutated_node).code

    @property
    def diff(self):
        """The lines that differ, each behind `-` or `+`."""
        lines = difflib.unified_diff(self.module.code.splitlines(), self.source.splitlines(), n=0, lineterm="")
        return [line for line in list(lines)[2:] if not line.startswith("@@")]

    @property
    def name(self):
        """File, function and change without indentation: how `equivalent.txt` calls it."""
        return f"{self.file} {self.function}".strip(), *map(_without_indentation, self.diff)

    def compiles(self):
        """Whether Python takes it."""
        try:
            compile(self.source, self.file, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return False
        return True


class _Visitor(MutationVisitor):
    """mutmut's walk over a file. Decorated functions are seen too, for no wrapper stands in a mutant's way here."""

    METADATA_DEPENDENCIES = MutationVisitor.METADATA_DEPENDENCIES

    def __init__(self):
        super().__init__(OPERATORS, IgnoredCode(set(), set(), set()))
        self.places = []  # (mutation, function, line, place)
        self._names, self._line, self._place = [], 1, 0
        self._conditions = set()

    def on_visit(self, node):
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._names.append(node.name.value)
        if isinstance(node, cst.If | cst.While | cst.CompIf):
            self._conditions.add(id(node.test))
        inside = super().on_visit(node)
        return inside and not isinstance(
            node, cst.Raise | cst.Decorator
        )  # a message's words; what a decorator is given

    def on_leave(self, original_node):
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef):
            self._names.pop()

    def _skip_node_and_children(self, node):
        match node:
            case cst.FunctionDef():
                return node.name.value == "__repr__"
            case cst.Decorator():
                return False
            case cst.ClassDef():
                return any(isinstance(b.value, cst.Name) and b.value.value == "Protocol" for b in node.bases)
            case cst.Assign():
                return _declares_a_type(node)
            case cst.If():
                return cst.Module([]).code_for_node(node.test) == "TYPE_CHECKING"
        return is_wording(node) or super()._skip_node_and_children(node)

    def _create_mutations(self, node):
        position = self.get_metadata(PositionProvider, node, None)
        self._line = position.start.line if position else self._line
        self._place += 1
        first = len(self.mutations)
        super()._create_mutations(node)
        if id(node) in self._conditions:
            self.mutations += [Mutation(node, other, None) for other in negated(node)]
        function = ".".join(self._names)
        self.places += [(mutation, function, self._line, self._place) for mutation in self.mutations[first:]]


def _declares_a_type(node):
    """`Scores = NDArray[np.float32]`, `T = TypeVar("T")`, `Input = Ragged | Tensor`, `__all__ = ...`."""
    name = node.targets[0].target
    if not isinstance(name, cst.Name):
        return False
    if isinstance(node.value, cst.Call):
        return isinstance(node.value.func, cst.Name) and node.value.func.value in {"TypeVar", "NewType", "ParamSpec"}
    types = isinstance(node.value, cst.Subscript | cst.BinaryOperation) and re.fullmatch(
        r"_?[A-Z]\w*[a-z]\w*", name.value
    )
    return bool(types) or name.value == "__all__"


def mutants_of(root, file):
    """List every mutant of a file, from its first line to its last."""
    wrapper = MetadataWrapper(cst.parse_module((root / file).read_text(encoding="utf-8")))
    visitor = _Visitor()
    wrapper.visit(visitor)
    seen: Counter[tuple[str, str, str]] = Counter()
    for mutation, function, line, place in visitor.places:
        before, after = (_code(wrapper.module, node) for node in (mutation.original_node, mutation.mutated_node))
        if before != after:
            seen[function, before, after] += 1
            change = before, after, seen[function, before, after]
            yield Mutant(file, function, line, change, place, wrapper.module, mutation)


def _code(module, node):
    """The text of a node, on one line; nothing for one that is taken out."""
    return "" if isinstance(node, cst.RemovalSentinel) else " ".join(module.code_for_node(node).split())


def _without_indentation(line):
    return re.sub(r"^([-+])\s*", r"\1 ", line).rstrip()


def draw(mutants, sample, seed):
    """Draw `sample` mutants: one a place at most, the packages by the square root of how many places they have.

    Equal shares would try every line of the smallest package and hardly see the largest; shares by size the reverse.
    """
    by_package = defaultdict(dict)
    for mutant in sorted(mutants, key=lambda mutant: mutant.lot(seed)):
        by_package[mutant.package].setdefault((mutant.file, mutant.place), mutant)
    weights = {package: math.sqrt(len(places)) for package, places in sorted(by_package.items())}
    bound, drawn = 0.0, []
    for package, weight in weights.items():
        start, bound = bound, bound + sample * weight / sum(weights.values())
        valid = (mutant for mutant in by_package[package].values() if mutant.compiles())
        drawn += [mutant for mutant, _ in zip(valid, range(round(bound) - round(start)), strict=False)]
    return drawn


def read_equivalent(path):
    """Read the mutants that no test can notice: their names, and why.

    A name and a reason make a block; blank lines lie between blocks, `#` begins a comment:

        dmmsa_cli/metrics.py Class.function
        - the line before
        + the line after
        = why nobody can notice
    """
    reasons = {}
    text = "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    for block in filter(None, (block.strip() for block in re.split(r"\n\s*\n", text))):
        *name, reason = block.splitlines()
        if not reason.startswith("= "):
            raise ValueError(
                f"{path}: the block of {name[0] if name else reason!r} gives no reason (a last line after `= `)"
            )
        reasons[tuple(map(_without_indentation, name))] = reason.removeprefix("= ")
    return reasons
