"""The runner on a package of a few lines: what must be killed, what must survive, and what is told of each."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

SHAPES = """
from dataclasses import dataclass
from functools import cached_property

LIMIT = 3


@dataclass(frozen=True)
class Box:
    width: int
    height: int = 2

    @cached_property
    def area(self):
        return self.width * self.height


def doubled(values):
    if not values:
        raise ValueError("no values to double")
    return [value * 2 for value in values]


def climb(height):
    while height < LIMIT:
        height += 1
    return height


def rows(split, options=None):
    return {"train": 1, "valid": 1}[split]


def forgotten(value):
    return value + 1
"""

TESTS = """
import pytest
from toy.shapes import Box, climb, doubled, rows


@pytest.fixture(scope="module")
def box():
    return Box(1, 1).area


def test_what_sets_up(box):
    assert True


def test_a_box(box):
    assert box == 1


def test_the_standard_height():
    assert Box(1).height == 2


def test_doubled():
    assert doubled([3]) == [6]
    with pytest.raises(ValueError):
        doubled([])


def test_climb():
    assert climb(0) == 3


def test_rows():
    assert rows("train") == 1


RAN = []


def test_before():
    RAN.append("before")


def test_that_stands_on_the_one_before():
    assert RAN
    assert rows("train") == 1
"""

EQUIVALENT = """
toy/shapes.py forgotten
-     return value + 1
+     return value - 1
= what is forgotten is never called
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy")
    for name, text in {
        "toy/__init__.py": "",
        "toy/shapes.py": SHAPES,
        "toy/other.py": "ONE = 1\n",
        "tests/test_shapes.py": TESTS,
        "equivalent.txt": EQUIVALENT,
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return root


def mutants(root, *options):
    line = [sys.executable, "-m", "tests.mutation", "--root", root, "--package", "toy", "--parts", "shapes"]
    line += ["--libraries", "", "--jobs", "2", "--patience", "5", "--equivalent", root / "equivalent.txt", *options]
    done = subprocess.run([*map(str, line)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def told(root):
    return mutants(root, "--sample", "100", "--seed", "4")


def block(text, line):
    """What is told of the mutant of a line: the title above it, the change."""
    parts = text.split("\n\n")
    place = f"toy/shapes.py:{SHAPES.splitlines().index(line) + 1},"
    found = [number for number, part in enumerate(parts) if place in part]
    titles = [[part for part in parts[:number] if part.endswith(":")][-1] for number in found]
    return [(title, *parts[number].splitlines()[1:3]) for title, number in zip(titles, found, strict=True)]


def judged(text):
    """(line, verdict, test) of every mutant that was tried."""
    tried = re.findall(r"^\d+/\d+ (\w+) [\d.]+ s toy/shapes.py:(\d+)(?: by \S+::(\S+))?$", text, re.MULTILINE)
    return {(int(line), verdict, test) for verdict, line, test in tried}


def test_a_mutant_that_a_test_notices_is_killed_by_that_test(told):
    line = SHAPES.splitlines().index('        raise ValueError("no values to double")') + 1
    assert {(verdict, test) for at, verdict, test in judged(told) if at == line} == {("killed", "test_doubled")}


def test_a_default_and_a_constant_are_tried_with_the_tests_that_use_their_file(told):
    constants = {
        (verdict, test) for at, verdict, test in judged(told) if SHAPES.splitlines()[at - 1].startswith("LIMIT")
    }
    assert constants == {("killed", "test_climb")}
    defaults = {
        (verdict, test) for at, verdict, test in judged(told) if "height: int = 2" in SHAPES.splitlines()[at - 1]
    }
    assert defaults == {("killed", "test_the_standard_height")}


def test_what_no_test_notices_is_shown_with_its_place_and_change(told):
    """It runs in a fixture of the module, which one test sets up and another looks at."""
    assert block(told, "        return self.width * self.height") == [
        ("Survivors:", "- return self.width * self.height", "+ return self.width / self.height")
    ]
    assert (
        f"toy/shapes.py:{SHAPES.splitlines().index('        return self.width * self.height') + 1}, 2 tests in" in told
    )


def test_a_test_that_fails_without_the_mutant_too_kills_nothing(told):
    assert "test_that_stands_on_the_one_before" not in {test for _, _, test in judged(told)}
    assert "Left out" in told
    assert told.count("tests/test_shapes.py::test_that_stands_on_the_one_before") == 1
    assert len(block(told, '    return {"train": 1, "valid": 1}[split]')) == 2


def test_what_hangs_is_killed_and_named(told):
    assert block(told, "        height += 1") == [("Killed for running out of time:", "- height += 1", "+ height -= 1")]


def test_an_equivalent_mutant_is_not_counted(root, told):
    forgotten = "    return value + 1"
    assert block(told, forgotten) == [("Survivors:", "- return value + 1", "+ return value + 2")]
    drawn, equivalent, counted, killed, *_ = map(int, told.split("all  ")[1].split()[:5])
    assert (drawn - equivalent, equivalent) == (counted, 1)
    assert killed < counted


def test_the_same_command_goes_on_and_another_seed_draws_others(root, told):
    again = mutants(root, "--sample", "100", "--seed", "4")
    assert judged(again) == set()
    assert (
        again.partition("Survivors:")[2].rpartition("\n\n")[0] == told.partition("Survivors:")[2].rpartition("\n\n")[0]
    )
    others = mutants(root, "--sample", "5", "--seed", "5"), mutants(root, "--sample", "5", "--seed", "6")
    assert judged(others[0]) != judged(others[1])


def test_a_new_test_kills_what_survived_and_nothing_else_is_tried_again(root, told):
    file = root / "tests" / "test_more.py"
    file.write_text("from toy.shapes import Box\n\n\ndef test_a_large_box():\n    assert Box(3, 5).area == 15\n")
    again = mutants(root, "--sample", "100", "--seed", "4")
    file.unlink()
    assert block(again, "        return self.width * self.height") == []
    assert {test for _, verdict, test in judged(again) if verdict == "killed"} == {"test_a_large_box"}
