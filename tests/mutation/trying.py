"""Trying mutants: each in a copy of the tree, in a process forked from one that has the libraries imported."""

import compileall
import contextlib
import importlib
import io
import os
import py_compile
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import types
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests.mutation.reach import Watch

HYPOTHESIS = "_hypothesis_pytestplugin"
MEMORY = 8 << 30  # bytes that a child may take: a mutant's array may be as large as a number can be


@dataclass(frozen=True)
class Job:
    """A mutant and the tests to try it with."""

    key: str
    file: str
    source: str
    """The whole file with the change."""
    rounds: list
    """[(tests, seconds)]; a test is (file, id)."""
    known: frozenset
    """Ids of all tests of those files."""
    patience: float
    """Seconds that a round may take beside five times what its tests took unchanged."""


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant."""

    key: str
    verdict: str
    """`killed`, `timeout`, `survived`, or `unreached`: there is no test to try it with."""
    by: str = ""
    """The first test that fails; the last that was run, where time ran out."""
    failure: str = ""
    """Name of the exception."""
    tests: int = 0
    rounds: int = 0
    seconds: float = 0.0
    unsound: tuple[str, ...] = ()
    """Tests that fail without the mutant too, run as they were here: they were left out."""


class Chosen:
    """A plugin of pytest: only these tests, the file of the cheapest first, and a word about the first that fails."""

    def __init__(self, tests, known, note, until=None):
        self.order = {test: place for place, (_, test) in enumerate(tests)}
        self.functions = {test.partition("[")[0] for test in self.order}
        self.known, self.note, self.until = known, note, until

    def pytest_collection_modifyitems(self, items):
        # A mutant may change what a test is called with, and so its name: such a test is run as well.
        chosen = [item for item in items if item.nodeid in self.order or self._is_new(item.nodeid)]
        files = {}
        for item in chosen:  # within a file as it stands there: tests may share what one of them changes
            files.setdefault(item.nodeid.partition("::")[0], []).append(item)
        first = {file: min(self.order.get(item.nodeid, 0) for item in group) for file, group in files.items()}
        items[:] = [item for file in sorted(files, key=first.__getitem__) for item in files[file]]
        names = [item.nodeid for item in items]
        if self.until in names:
            del items[names.index(self.until) + 1 :]

    def _is_new(self, test):
        return test not in self.known and test.partition("[")[0] in self.functions

    def pytest_runtest_logstart(self, nodeid):
        self.note.write_text(f"{nodeid}\n")

    def pytest_collectreport(self, report):
        if report.failed:
            self.note.write_text(f"{report.nodeid}\nwhile collecting")

    def pytest_exception_interact(self, node, call):
        self.note.write_text(f"{node.nodeid}\n{call.excinfo.typename}")


# --- in a worker: it keeps a copy of the tree, and forks a child for each run of pytest -----------------------------

_tree = Path()


def settle(root, package, place, others):
    """Begin a worker: copy what a child needs to `place`/<process>, and compile it.

    Compiled files are held against the content of their sources, for a mutant may be as old and long as the original.
    """
    global _tree
    _tree = Path(place) / str(os.getpid())
    for name in (package, "tests", *others):
        if (root / name).is_dir():
            shutil.copytree(root / name, _tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (root / name).is_file():
            shutil.copy(root / name, _tree / name)
    compileall.compile_dir(_tree / package, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)


def measure(task):
    """Run a test file under coverage and keep what it reaches: (test file, package, where to)."""
    file, package, target = task

    def run():
        watch = Watch(_tree, package)
        pytest.main(_arguments([file]), plugins=[watch])
        watch.save(target.with_suffix(".partial"))
        target.with_suffix(".partial").replace(target)

    start = time.perf_counter()
    _in_child(run, timeout=3600.0)
    if not target.exists():
        raise RuntimeError(f"{file} can't be measured:\n{(_tree / 'log').read_text()[-2000:]}")
    return file, time.perf_counter() - start


def try_mutant(job):
    """Change the tree, run the tests until one fails, and change it back.

    A kill counts where the same tests pass on the tree as it was: one that stands on a test that was not chosen, or on
    a machine with nothing else to do, kills nothing and is left out.
    """
    start = time.perf_counter()
    unsound: list[str] = []
    while True:
        with _changed(_tree / job.file, job.source):
            verdict = _judge(job, unsound)
        if verdict.by not in job.known or _passes_unchanged(verdict, job, unsound):
            return {**asdict(verdict), "unsound": unsound, "seconds": round(time.perf_counter() - start, 2)}
        unsound.append(verdict.by)


@contextlib.contextmanager
def _changed(path, source):
    original = path.read_bytes()
    path.write_text(source, encoding="utf-8")
    try:
        yield
    finally:
        path.write_bytes(original)


def _judge(job, unsound):
    tried = 0
    for number in range(1, len(job.rounds) + 1):
        status, test, failure = _run(job, number, unsound)
        tried += len(job.rounds[number - 1][0])
        if status is None:
            return Verdict(job.key, "timeout", test, tests=tried, rounds=number)
        if status != pytest.ExitCode.OK:
            return Verdict(job.key, "killed", test, failure or f"status {status}", tests=tried, rounds=number)
    return Verdict(job.key, "survived" if tried else "unreached", tests=tried, rounds=len(job.rounds))


def _passes_unchanged(verdict, job, unsound):
    """Whether the test that fails would have passed, after the tests that were run before it."""
    status, *_ = _run(job, verdict.rounds, unsound, until=verdict.by)
    return status == pytest.ExitCode.OK


def _run(job, number, unsound, until=None):
    """Run the tests of a round until one fails: pytest's status, or None for no end; the test; the exception's name."""
    tests, seconds = job.rounds[number - 1]
    tests = [(file, test) for file, test in tests if test not in unsound]
    note = _tree / "note"
    note.write_text("")

    def run():
        files = list(dict.fromkeys(file for file, _ in tests))
        return pytest.main([*_arguments(files), "-x"], plugins=[Chosen(tests, job.known, note, until)])

    status = _in_child(run, timeout=job.patience + 5 * seconds) if tests else pytest.ExitCode.OK
    test, failure = (*note.read_text().splitlines(), "", "")[:2]
    return status, test, failure


def _arguments(files):
    quiet = ["-q", "-p", "no:cacheprovider", "--no-header", "--tb=no", "-W", "ignore"]
    seeded = ["-p", HYPOTHESIS, "--hypothesis-seed=0"] if HYPOTHESIS in sys.modules else []
    return [*files, *quiet, *seeded, f"--rootdir={_tree}", f"--basetemp={_tree / 'tmp' / 'pytest'}"]


def _in_child(run, timeout):
    """Run a function in a child. Returns its status, or None where it was still running after `timeout` seconds."""
    shutil.rmtree(_tree / "tmp", ignore_errors=True)
    (_tree / "tmp").mkdir()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            _enter()
            status = int(run() or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    try:
        return _wait(child, timeout)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)  # and what it has started


def _wait(child, timeout):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _enter():
    """Make the child a process that was started in the tree, but for the libraries that it has already."""
    os.setsid()
    os.chdir(_tree)
    log = os.open(_tree / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, mode, closefd=False) for n, mode in enumerate("rww"))
    temporary = str(_tree / "tmp")
    os.environ |= {
        "PYTHONPATH": str(_tree),
        "TMPDIR": temporary,
        "HYPOTHESIS_STORAGE_DIRECTORY": f"{temporary}/hypothesis",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # looking for plugins takes as long as many a test
    }
    tempfile.tempdir = None
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False  # the tests are compiled for the first child, not for each
    sys.path.insert(0, str(_tree))
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    sys.modules["__main__"] = types.ModuleType("__main__")  # or every process that a test starts would import ours
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def preload(names):
    """Import libraries, and what pytest begins with, once for all children."""
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["--version"])
