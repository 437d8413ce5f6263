"""`python -m tests.mutation`: draw a sample of mutants, try each with the tests that reach it, tell what survived."""

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tests.mutation.mutants import draw, mutants_of, read_equivalent
from tests.mutation.reach import Reach
from tests.mutation.report import report
from tests.mutation.trying import Job, measure, preload, settle, try_mutant

HERE = Path(__file__).resolve().parent
PARTS = ("metrics", "data", "objectives", "models", "training", "stages", "experiments")
BESIDE = ("recipes", "pyproject.toml", "constraints.txt", "Makefile", "README.md")  # what tests read besides the code

# These start processes or a browser: coverage sees none of their lines, and they take minutes.
LEFT_OUT = ("tests/bench/", "tests/kills/", "tests/test_makefile.py", "tests/reporting/test_page_browser.py")

LIBRARIES = (
    "_hypothesis_pytestplugin hypothesis.strategies hypothesis.extra.numpy "
    "torch torch.nn.functional torch.utils.data torch.utils.flop_counter "
    "transformers transformers.models.bert.modeling_bert transformers.models.auto.modeling_auto tokenizers "
    "safetensors.torch pandas scipy.stats pyarrow.ipc pyarrow.parquet pyarrow.pandas_compat "
    "matplotlib.pyplot plotly.graph_objects jinja2 "
    "typer typer.testing rich.console rich.progress rich.table yaml requests pooch gdown filelock"
)


def main(arguments=None):
    options = _options(arguments)
    started = time.monotonic()
    mutants = [mutant for file in _files(options) for mutant in mutants_of(options.root, file)]
    equivalent = read_equivalent(options.equivalent) if options.equivalent.exists() else {}
    sample = draw(mutants, options.sample, options.seed)
    print(f"{len(sample)} of {len(mutants)} mutants, drawn by seed {options.seed}", flush=True)
    _warn_of_stale(equivalent, mutants)
    preload(options.libraries.split())
    wanted = [mutant for mutant in sample if mutant.name not in equivalent]
    verdicts = _known(options, wanted)
    with tempfile.TemporaryDirectory(prefix="mutants-") as place, _workers(options, place) as workers:
        try:
            _try_all(options, [mutant for mutant in wanted if mutant.key not in verdicts], workers, verdicts)
        except KeyboardInterrupt:
            workers.shutdown(wait=True, cancel_futures=True)
            print("Stopped. The same command goes on from here.", file=sys.stderr)
            return 130
    print(f"\n{report(sample, verdicts, equivalent)}\n\n{time.monotonic() - started:.0f} s")
    return 0


def _options(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--sample", type=int, default=400, help="how many mutants (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which ones (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="mutants at a time (%(default)s)")
    parser.add_argument("--only", default="", metavar="PATH", help="files whose path below the root begins so")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds that any tests may take (%(default)s)")
    parser.add_argument("--root", type=Path, default=HERE.parents[1], help=argparse.SUPPRESS)
    parser.add_argument("--package", default="dmmsa_cli", help=argparse.SUPPRESS)
    parser.add_argument("--parts", nargs="+", default=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--libraries", default=LIBRARIES, help=argparse.SUPPRESS)
    parser.add_argument("--equivalent", type=Path, default=HERE / "equivalent.txt", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.kept = options.root / "build" / "mutants"
    return options


def _files(options):
    """Files to change, below the root."""
    paths = [path.relative_to(options.root) for path in sorted((options.root / options.package).rglob("*.py"))]
    return [
        path.as_posix()
        for path in paths
        if path.parts[1].removesuffix(".py") in options.parts and path.as_posix().startswith(options.only)
    ]


def _workers(options, place):
    return ProcessPoolExecutor(
        options.jobs,
        multiprocessing.get_context("fork"),
        initializer=settle,
        initargs=(options.root, options.package, place, BESIDE),
    )


def _warn_of_stale(equivalent, mutants):
    """Name entries of the list that fit no mutant of their function any more."""
    functions = {f"{mutant.file} {mutant.function}".strip() for mutant in mutants}
    for name in equivalent:
        if name[0] not in functions:
            print(f"No mutant is called so any more, in the list of equivalent ones: {name[0]}")


# --- what is kept ----------------------------------------------------------------------------------------------------


def _code(folder):
    """The Python files below a folder, but for these here: they decide no verdict."""
    return [path for path in sorted(folder.rglob("*.py")) if not path.is_relative_to(HERE)]


def _content(paths):
    """Hash the content of files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _evidence(options, mutant, verdict):
    """Hash what a verdict stands on: for a kill the file that was changed and that of the test, else everything."""
    test = options.root / verdict["by"].partition("::")[0]
    if verdict["verdict"] in {"killed", "timeout"} and test.is_file():
        return _content([options.root / mutant.file, test])
    return _content([*_code(options.root / options.package), *_code(options.root / "tests")])


def _known(options, mutants):
    """Verdicts of earlier calls that still hold."""
    path = options.kept / "verdicts.jsonl"
    kept = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        verdict = json.loads(line)
        kept[verdict["key"]] = verdict
    found = {mutant.key: (mutant, kept[mutant.key]) for mutant in mutants if mutant.key in kept}
    return {
        key: verdict
        for key, (mutant, verdict) in found.items()
        if verdict["evidence"] == _evidence(options, mutant, verdict)
    }


def _reach(options, workers):
    """Measure the test files that have changed, or all where the program or what they share has."""
    files = _code(options.root / "tests")
    tests = {path.relative_to(options.root).as_posix(): path for path in files if path.name.startswith("test_")}
    helpers = [path for path in files if path not in tests.values()]
    beside = [path for name in BESIDE for path in (options.root / name, *sorted((options.root / name).rglob("*")))]
    shared = _content([*_code(options.root / options.package), *helpers, *filter(Path.is_file, beside)])
    (options.kept / "reach").mkdir(parents=True, exist_ok=True)
    targets = {
        test: options.kept / "reach" / f"{Path(test).stem}-{_content([path])[:16]}-{shared[:16]}.json"
        for test, path in tests.items()
        if not test.startswith(LEFT_OUT)
    }
    tasks = [
        workers.submit(measure, (test, options.package, path)) for test, path in targets.items() if not path.exists()
    ]
    for done in as_completed(tasks):
        print("measured {} in {:.0f} s".format(*done.result()), flush=True)
    measured = {test: json.loads(path.read_text()) for test, path in targets.items()}
    for test in sorted(test for found in measured.values() for test in found["failed"]):
        print(f"fails without any mutant, and is left out: {test}")
    return Reach(options.root, options.package, measured), measured


def _try_all(options, mutants, workers, verdicts):
    """Try mutants, tell of each and keep it; `verdicts` is filled."""
    if not mutants:
        return
    reach, measured = _reach(options, workers)
    by_key, tasks = {mutant.key: mutant for mutant in mutants}, []
    for mutant in mutants:
        rounds = reach.rounds(reach.tests(mutant.file, mutant.line))
        files = {file for tests, _ in rounds for file, _ in tests}
        known = frozenset(test for file in files for test in measured[file]["known"])
        job = Job(mutant.key, mutant.file, mutant.source, rounds, known, options.patience)
        tasks.append(workers.submit(try_mutant, job))
    with (options.kept / "verdicts.jsonl").open("a") as kept:
        for number, done in enumerate(as_completed(tasks), 1):
            verdict = done.result()
            mutant = by_key[verdict["key"]]
            verdicts[mutant.key] = verdict
            kept.write(json.dumps({**verdict, "evidence": _evidence(options, mutant, verdict)}) + "\n")
            kept.flush()
            by = f" by {verdict['by']}" if verdict["by"] else ""
            seconds = f"{verdict['seconds']:.1f} s"
            print(f"{number}/{len(tasks)} {verdict['verdict']} {seconds} {mutant.file}:{mutant.line}{by}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
