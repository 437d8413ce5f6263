"""What stands on a line: the statement, what it needs to be run, the names that it gives and takes."""

import ast
from dataclasses import dataclass


@dataclass(frozen=True)
class Statement:
    """A statement, or the head of one that has others below it."""

    lines: frozenset[int]
    needed: frozenset[int]
    """A test runs it where it runs one of these; none where it runs on import, whichever test does that first."""
    binds: frozenset[str]
    mentions: frozenset[str]


def statements_of(tree):
    """List the statements of a file. What is in the head of a function, a default, is used in its body."""
    found = []

    def visit(block, inside):
        for statement in block:
            inner = _inner(statement)
            lines = _head(statement, [node for block in inner for node in block])
            function = isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef)
            body = frozenset(range(max(lines) + 1, statement.end_lineno + 1)) or lines
            needed = body if function else lines if inside else frozenset()
            found.append(Statement(lines, needed, _binds(statement), _mentions(statement, lines)))
            for block in inner:
                visit(block, inside or function)

    visit(tree.body, inside=False)
    return found


def _inner(statement):
    """The statements below a statement, by block; handlers count as statements of their own."""
    blocks = [getattr(statement, name, None) for name in ("body", "handlers", "orelse", "finalbody")]
    return [block for block in blocks if isinstance(block, list) and block]


def _head(statement, inner):
    first = min([statement.lineno, *(node.lineno for node in getattr(statement, "decorator_list", ()))])
    last = min(node.lineno for node in inner) - 1 if inner else statement.end_lineno
    return frozenset(range(first, max(first, last) + 1))


def _binds(statement):
    match statement:
        case ast.Assign():
            targets = statement.targets
        case ast.AnnAssign() | ast.AugAssign() | ast.For():
            targets = [statement.target]
        case ast.ClassDef() | ast.FunctionDef():
            return frozenset({statement.name})
        case ast.Import() | ast.ImportFrom():
            return _passed_on(statement)
        case _:
            targets = []
    return frozenset().union(*map(_bound, targets))


def _bound(target):
    """Names that an assignment gives a value, or changes; an attribute with a dot before it."""
    match target:
        case ast.Name():
            return {target.id}
        case ast.Attribute():
            return {f".{target.attr}"}
        case ast.Subscript() | ast.Starred():
            return _bound(target.value)
        case ast.Tuple() | ast.List():
            return set().union(*map(_bound, target.elts))
    return set()


def _mentions(statement, lines):
    """Names that the statement takes, and attributes with a dot before them."""
    names = set(_passed_on(statement)) if isinstance(statement, ast.Import | ast.ImportFrom) else set()
    for node in ast.walk(statement):
        if getattr(node, "lineno", 0) in lines and isinstance(getattr(node, "ctx", None), ast.Load):
            names |= {node.id} if isinstance(node, ast.Name) else set()
            names |= {f".{node.attr}"} if isinstance(node, ast.Attribute) else set()
    return frozenset(names)


def _passed_on(statement):
    return frozenset(alias.asname or alias.name for alias in statement.names)


def imported(tree, files):
    """Files of the package that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    paths = {name.replace(".", "/") for name in names}
    return {file for file in files if file.removesuffix(".py").removesuffix("/__init__") in paths}
