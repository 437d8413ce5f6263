"""Which tests run a line, and what they cost: each test file is run once under coverage."""

import ast
import json
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import coverage
import pytest

ON_IMPORT = frozenset({0})  # stands for the lines that run when their file is imported, whichever test does that first


class Watch:
    """A plugin of pytest: lines by test and by fixture, for a fixture of a whole file runs in one test only."""

    def __init__(self, tree, package):
        self.tree = tree
        self.coverage = coverage.Coverage(
            data_file=None, config_file=False, source=[str(tree / package)], messages=False, check_preimported=False
        )
        self.tests, self.fixtures = {}, {}
        self._failed, self._passed = set(), set()
        self._test, self._context = None, ""

    def pytest_sessionstart(self):
        self.coverage.start()

    @contextmanager
    def _during(self, context):
        """Book lines to a test or fixture, and seconds."""
        former, self._context = self._context, context
        self.coverage.switch_context(context)
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            if context in self.tests:
                self.tests[context][0] += seconds
            else:
                self.fixtures[context] = max(seconds, self.fixtures.get(context, 0.0))
            self._context = former
            self.coverage.switch_context(former)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self._test = item.nodeid
        self.tests[item.nodeid] = [0.0, {_fixture(name) for name in item.fixturenames}]
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        name = _fixture(fixturedef.argname)
        self.tests[self._test][1].add(name)  # those that a test asks for while it runs are named nowhere else
        with self._during(self._test if fixturedef.scope == "function" else name):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        with self._during(item.nodeid):
            return (yield)

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self._failed.add(report.nodeid)
        elif report.when == "call" and report.passed:
            self._passed.add(report.nodeid)

    def save(self, path):
        """Write down the tests that pass, their fixtures, and the lines of each."""
        self.coverage.stop()
        data = self.coverage.get_data()
        lines = defaultdict(lambda: defaultdict(list))
        for file in data.measured_files():
            for line, contexts in data.contexts_by_lineno(file).items():
                for context in filter(None, contexts):
                    lines[context][Path(file).relative_to(self.tree).as_posix()].append(line)
        sound = self._passed - self._failed
        found = {
            "tests": {
                test: [seconds, sorted(set(names))] for test, (seconds, names) in self.tests.items() if test in sound
            },
            "failed": sorted(self._failed),
            "fixtures": self.fixtures,
            "lines": lines,
        }
        path.write_text(json.dumps(found))


def _fixture(name):
    return f"fixture {name}"


class Reach:
    """What all test files together reach."""

    def __init__(self, root, package, measured):
        """Take the measurements: test file -> what `Watch.save` has written."""
        self._files = {path.relative_to(root).as_posix(): path for path in sorted((root / package).rglob("*.py"))}
        self._trees = {file: ast.parse(path.read_text(encoding="utf-8")) for file, path in self._files.items()}
        self._measured = measured
        self._importers = _importers(self._trees)
        self._test_imports = {
            file: _imported(ast.parse((root / file).read_text(encoding="utf-8")), self._files) for file in measured
        }
        self._contexts = defaultdict(set)  # (file, line) -> {(test file, test or fixture)}
        for test_file, found in measured.items():
            for context, lines in found["lines"].items():
                for file, numbers in lines.items():
                    for number in numbers:
                        self._contexts[file, number].add((test_file, context))
        self._needed = {file: lines_needed(tree) for file, tree in self._trees.items()}

    def tests(self, file, line):
        """Return the tests that a mutant at a line may fail: (test file, test)."""
        needed = self._needed[file].get(line, ON_IMPORT)
        found = set() if needed is ON_IMPORT else self._running(file, needed)
        return found or self._using(file)

    def _running(self, file, lines):
        contexts = set().union(*(self._contexts.get((file, line), ()) for line in lines))
        return {
            (test_file, test)
            for test_file in {test_file for test_file, _ in contexts}
            for test, (_, fixtures) in self._measured[test_file]["tests"].items()
            if (test_file, test) in contexts or any((test_file, fixture) in contexts for fixture in fixtures)
        }

    def _using(self, file):
        """Tests that run a function of a file or of one that imports it, or whose own file imports it.

        So a constant or a dataclass's default is tried, which runs once for all tests; and what runs in other
        processes only, where coverage does not look.
        """
        found = {
            (test_file, test)
            for test_file, imports in self._test_imports.items()
            if file in imports
            for test in self._measured[test_file]["tests"]
        }
        for user in {file, *self._importers[file]}:
            inside = set().union(*(lines for lines in self._needed[user].values() if lines is not ON_IMPORT))
            found |= self._running(user, inside)
        return found

    def rounds(self, tests, budgets):
        """Put tests in order, the cheap ones first, and cut them where the seconds of a round are spent.

        The last round takes what is left. Returns for each its tests, and the seconds that they take.
        """
        order = sorted(tests, key=lambda test: (self._seconds(test, set()), test))
        rounds, chosen, seconds, spent = [], [], 0.0, set()
        for test in order:
            more = self._seconds(test, spent)
            if chosen and len(rounds) < len(budgets) and seconds + more > budgets[len(rounds)]:
                rounds.append((chosen, seconds))
                chosen, seconds, spent = [], 0.0, set()
                more = self._seconds(test, spent)
            chosen.append(test)
            seconds += more
            spent |= self._fixtures(test)
        return [*rounds, (chosen, seconds)] if chosen else rounds

    def _fixtures(self, test):
        file, name = test
        return {(file, fixture) for fixture in self._measured[file]["tests"][name][1]}

    def _seconds(self, test, spent):
        """What a test takes with its fixtures, but for those that stand already."""
        file, name = test
        measured = self._measured[file]
        setups = (measured["fixtures"].get(fixture, 0.0) for _, fixture in self._fixtures(test) - spent)
        return measured["tests"][name][0] + sum(setups)


def lines_needed(tree):
    """Say for each line of a file which lines a test must run (one of them) to run its statement.

    The head of a function stands for its body: a default is used there.
    """
    needed = {}

    def visit(statements, inside):
        for statement in statements:
            blocks = _blocks(statement)
            first = min([statement.lineno, *(node.lineno for node in getattr(statement, "decorator_list", ()))])
            inner = [node for block in blocks for node in block]
            last = min(node.lineno for node in inner) - 1 if inner else statement.end_lineno
            head = frozenset(range(first, max(first, last) + 1))
            function = isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef)
            body = frozenset(range(max(first, last) + 1, statement.end_lineno + 1)) or head
            needed.update(dict.fromkeys(head, body if function else head if inside else ON_IMPORT))
            for block in blocks:
                visit(block, inside or function)

    visit(tree.body, inside=False)
    return needed


def _blocks(statement):
    """The statements below a statement, by block; handlers and cases count as statements of their own."""
    blocks = [getattr(statement, name, None) for name in ("body", "handlers", "orelse", "finalbody", "cases")]
    return [block for block in blocks if block and isinstance(block, list) and hasattr(block[0], "lineno")]


def _imported(tree, files):
    """Files of the package that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    paths = {name.replace(".", "/") for name in names}
    return {file for file in files if file.removesuffix(".py").removesuffix("/__init__") in paths}


def _importers(trees):
    """Return for each file those that import it, itself or through the `__init__` that passes it on."""
    direct = {file: _imported(tree, trees) for file, tree in trees.items()}
    importers = {file: {user for user, imports in direct.items() if file in imports} for file in trees}
    for file, users in importers.items():
        passed_on = {user for user in users if user.endswith("__init__.py")}
        importers[file] = users.union(*(importers[user] for user in passed_on))
    return importers
