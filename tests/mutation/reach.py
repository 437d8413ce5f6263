"""Which tests run a line, and what they cost: each test file is run once under coverage."""

import ast
import json
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import coverage
import pytest

from tests.mutation.lines import imported, statements_of

ROUNDS = (10.0, 60.0)  # the cap: seconds of tests; a mutant that outlives both is tried with all that are left


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
        """Write down the tests that pass, their fixtures, the lines of each, and the names of all tests."""
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
            "known": sorted({*self.tests, *self._failed}),
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
        files = {path.relative_to(root).as_posix(): path for path in sorted((root / package).rglob("*.py"))}
        trees = {file: ast.parse(path.read_text(encoding="utf-8")) for file, path in files.items()}
        tests = {file: ast.parse((root / file).read_text(encoding="utf-8")) for file in measured}
        self._measured = measured
        self._statements = {file: statements_of(tree) for file, tree in {**trees, **tests}.items()}
        self._imports = {file: imported(tree, trees) for file, tree in {**trees, **tests}.items()}
        self._contexts = defaultdict(set)  # (file, line) -> {(test file, test or fixture)}
        for test_file, found in measured.items():
            for context, lines in found["lines"].items():
                for file, numbers in lines.items():
                    for number in numbers:
                        self._contexts[file, number].add((test_file, context))

    def tests(self, file, line):
        """Return the tests that a mutant at a line may fail: (test file, test).

        What runs on import runs once for all tests: those are tried that run what uses the names it binds. Where that
        is nobody, or what is run in other processes only, all that use the file.
        """
        statement = next((found for found in self._statements[file] if line in found.lines), None)
        if statement is None:
            return self._using_file(file)
        found = self._running(file, statement.needed) if statement.needed else self._using(file, statement.binds)
        return found or self._using_file(file)

    def _running(self, file, lines):
        contexts = set().union(*(self._contexts.get((file, line), ()) for line in lines))
        return {
            (test_file, test)
            for test_file in {test_file for test_file, _ in contexts}
            for test, (_, fixtures) in self._measured[test_file]["tests"].items()
            if (test_file, test) in contexts or any((test_file, fixture) in contexts for fixture in fixtures)
        }

    def _using(self, file, names):
        """Tests that run a statement which uses one of the names that a file binds, or another name made of it."""
        found, left, seen = set(), [(file, name) for name in names], set()
        while left:
            origin, name = left.pop()
            for user, statement in self._mentioning(origin, name):
                if user in self._measured:
                    found |= {(user, test) for test in self._measured[user]["tests"]}
                    continue
                tests = self._running(user, statement.needed)
                found |= tests
                if not tests and (user, statement) not in seen:  # it runs on import, within a function or not
                    seen.add((user, statement))
                    left += [(user, other) for other in statement.binds]
        return found

    def _mentioning(self, origin, name):
        """Statements with the name, in its file and in those that import it, or with an attribute called so."""
        for user, statements in self._statements.items():
            may_know = user == origin or origin in self._imports[user]
            for statement in statements:
                dotted = name if name.startswith(".") else f".{name}"
                if (may_know and name in statement.mentions) or dotted in statement.mentions:
                    yield user, statement

    def _using_file(self, file):
        """Tests that run anything in a file or in one that imports it, or whose own file imports it."""
        found = set()
        for user, imports in self._imports.items():
            if user != file and file not in imports:
                continue
            if user in self._measured:
                found |= {(user, test) for test in self._measured[user]["tests"]}
            else:
                found |= self._running(user, set().union(*(statement.needed for statement in self._statements[user])))
        return found

    def rounds(self, tests):
        """Put tests in order, the cheap ones first, and cut them where the seconds of a round are spent.

        The last round takes what is left. Returns for each its tests, and the seconds that they take.
        """
        order = sorted(tests, key=lambda test: (self._seconds(test, set()), test))
        rounds, chosen, seconds, spent = [], [], 0.0, set()
        for test in order:
            more = self._seconds(test, spent)
            if chosen and len(rounds) < len(ROUNDS) and seconds + more > ROUNDS[len(rounds)]:
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
