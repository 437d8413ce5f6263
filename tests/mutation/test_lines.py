"""What a statement binds: which tests a mutant of it is tried with follows from that."""

import ast

import pytest

from tests.mutation.lines import statements_of

BOUND = {
    "x = 1": {"x"},
    "x, (y, *z) = f()": {"x", "y", "z"},
    "x: int = 1": {"x"},
    "x += 1": {"x"},
    "table[key] = value": {"table"},
    "self.single = table[code]": {".single"},
    "a.b[i].c = 1": {".c"},
    "for key, value in table.items(): pass": {"key", "value"},
    "def f(): pass": {"f"},
    "class C: pass": {"C"},
    "import a.b as c": {"c"},
    "print(x)": set(),
}


@pytest.mark.parametrize(("code", "names"), BOUND.items())
def test_what_a_statement_binds(code, names):
    assert statements_of(ast.parse(code))[0].binds == names
