"""Every command that the program prints runs when it is pasted."""

import ast
import inspect
import json
import pickle
import re
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

import dmmsa_cli
from dmmsa_cli import commands
from dmmsa_cli.cli import main
from tests.cli.printed import check, commands_in
from tests.conftest import MICRO_RECIPE, SPEC

PACKAGE = Path(dmmsa_cli.__file__).parent
NAMING = {  # what returns a command, or words that hold one
    *("command", "evaluate_run", "going_on", "again", "instead", "to_go_on", "in_place"),
    *("prepare_command", "evaluate_again", "goes_on", "trains_again"),
}
ELSEWHERE = {
    "data/sources.py by_hand": "told where a download fails: tests/data/test_sources.py",
    "stages/ways.py _published.look": "of a dataset that is known and published nowhere: there is none but in tests",
    "experiments/encoders.py _check_alignment": "its command downloads: tests/experiments/test_keys.py",
    "training/fit.py fit": "where a signal stops a run: tests/cli/test_cli.py",
    "stages/engines/queue.py Queue.ended": "where a signal stops a study: tests/cli/test_ablate.py",
    "stages/engines/cluster.py Cluster.run": "the same on Ray: tests/stages/test_engines_ray.py",
    "stages/engines/side_by_side.py SideBySide.run": "the same of several at a time: tests/cli/test_ablate.py",
    "stages/tune.py _all": "where a signal or a full disk stops a tuning: tests/stages/test_tune.py",
    "stages/tune.py _checked": "where a run that checks what was found fails: tests/stages/test_tune.py",
    "reporting/series/classes.py _of": "of a predictions.csv without classes: tests/reporting/test_worth_figures.py",
    "reporting/series/predictions.py predictions": "seeds of other clips: tests/reporting/test_series.py",
    "reporting/bootstrap.py Side.of": "the same of text alone: tests/reporting/test_comparison.py",
    "reporting/runs.py Run.similarity": "features.json is damaged: tests/reporting/test_collection.py",
}


@dataclass
class Shell:
    """Runs the program in this process, as in a folder of the user's, and remembers who named a command."""

    folder: Path
    capture: pytest.CaptureFixture
    monkeypatch: pytest.MonkeyPatch
    fill: dict[str, str]
    """What the reader puts in the place of a capital word."""
    named_by: set[str] = field(default_factory=set)

    def run(self, line):
        """Run a command line; return its exit status and all that it printed."""
        words = shlex.split(line)
        if words[0] == "cd":
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(words[1])
                return self.run(shlex.join(words[3:]))
        self.monkeypatch.setattr(sys, "argv", words)
        self.capture.readouterr()
        try:
            main()
            status = 0
        except SystemExit as ended:
            status = ended.code or 0
        printed = self.capture.readouterr()
        output = printed.out + printed.err
        for found in commands_in(output):
            check(found)
        return status, output

    def paste(self, output, *wanted):
        """Run each command that was printed and begins so; there has to be one."""
        for start in wanted:
            found = [line for line in commands_in(output) if f"dmmsa {start}" in line]
            assert found, f"no `dmmsa {start}` in:\n{output}"
            for line in found:
                filled = [self.fill.get(word, word) for word in shlex.split(line)]
                assert not [word for word in filled if word.isupper()], f"nothing to put into {line}"
                status, then = self.run(" ".join("&&" if word == "&&" else shlex.quote(word) for word in filled))
                assert status == 0, f"{line}\n{then}"

    def fails(self, line):
        """Run a command that has to fail, and return what it printed."""
        status, output = self.run(line)
        assert status == 1, output
        return output

    def works(self, line):
        """Run a command that has to work, and return what it printed."""
        status, output = self.run(line)
        assert status == 0, output
        return output


D, R = "--data-dir 'my data'", "--runs-dir 'my runs'"
BOTH = f"{D} {R}"
SEED = "my runs/mini/my recipe/full/seed-1"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, corpus):
    """A folder in which a dataset of one's own is prepared and a run of one's own recipe has been trained."""
    folder = tmp_path_factory.mktemp("two words")
    (folder / "mini.pkl").write_bytes(pickle.dumps(corpus))
    (folder / "its spec.yaml").write_text(yaml.safe_dump(SPEC))
    fusion = MICRO_RECIPE["fusion"] | {"epochs": 1}
    (folder / "my recipe.yaml").write_text(yaml.safe_dump(MICRO_RECIPE | {"pretraining": None, "fusion": fusion}))
    return folder


@pytest.fixture
def shell(trained, tmp_path, capsys, monkeypatch):
    """A shell in a copy of that folder."""
    folder = tmp_path / "here"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("DMMSA_DATA", "DMMSA_RUNS", "DMMSA_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    shell = Shell(
        folder, capsys, monkeypatch, {"FILE": "mini.pkl", "FILE.pkl": "mini.pkl", "FILE.yaml": "its spec.yaml"}
    )
    program = commands.program

    def noted():
        frames = inspect.stack()[1:]
        sites = [_site(frame) for frame in frames if PACKAGE in Path(frame.filename).parents]
        shell.named_by.update(site for site in sites if not site.startswith("commands.py"))
        return program()

    monkeypatch.setattr(commands, "program", noted)
    yield shell
    NAMED.update(shell.named_by)


NAMED: set[str] = set()


def _site(frame):
    code = frame.frame.f_code
    name = code.co_qualname.replace(".<locals>", "")
    return f"{Path(frame.filename).relative_to(PACKAGE).as_posix()} {name.split('.<')[0]}"


PREPARE = f"dmmsa prepare mini --from mini.pkl --spec 'its spec.yaml' {D}"
FUSE = f"dmmsa fuse --dataset mini --recipe 'my recipe.yaml' --seed 1 {BOTH} --device cpu"
PREPARED = "dmmsa prepare mini --from mini.pkl --spec 'its spec.yaml'"


def test_from_preparing_to_handing_on(shell):
    shell.paste(shell.works(PREPARE), "list")
    shell.paste(shell.works(FUSE), "evaluate")
    shell.fill["predictions.csv"] = "predicted.csv"
    shell.paste(shell.works(f"dmmsa export '{SEED}' --out 'a model' {D}"), "predict")


def test_a_model_that_was_never_evaluated(shell):
    shell.works(PREPARE)
    shell.works(FUSE)
    shell.paste(shell.fails(f"dmmsa predict '{SEED}' --from mini.pkl --out p.csv --level 0.9 {D}"), "evaluate")
    Path(SEED, "predictions-valid.csv").write_text("id,y_true\n")
    shell.paste(shell.fails(f"dmmsa predict '{SEED}' --from mini.pkl --out p.csv --level 0.9 {D}"), "evaluate")
    Path(SEED, "predictions-valid.csv").unlink()
    shell.paste(shell.works(f"dmmsa export '{SEED}' --out 'a model' {D}"), "evaluate")


def test_what_is_not_there(shell):
    shell.fill |= {"NAME": "toy"}
    for line, wanted in {
        f"dmmsa list {BOTH}": ["prepare", "list"],
        f"dmmsa fuse --dataset mini {BOTH}": ["prepare"],
        f"dmmsa fuse --dataset sims {BOTH}": [],
        f"dmmsa evaluate --predictions p.csv --dataset nosuch {D}": [],
    }.items():
        status, output = shell.run(line)
        (shell.folder / "p.csv").write_text("id,y_true,y_pred\na$_$1,1,1\n")
        shell.paste(output, *wanted)
        assert status == (0 if "list" in line else 1), output
    output = shell.fails(f"dmmsa prepare another {D}")
    shell.paste(output, "prepare")
    shell.paste(shell.fails(f"dmmsa evaluate --predictions p.csv --dataset third {D}"), "prepare")
    for line in (f"dmmsa evaluate --dataset mini {BOTH}", f"dmmsa evaluate --dataset mini --folds 2 {BOTH}"):
        assert "dmmsa fuse --dataset mini" in shell.fails(line)
    assert "dmmsa fuse --dataset" in shell.fails(f"dmmsa predict nosuch --from mini.pkl --out p.csv {D}")
    assert "dmmsa fuse --dataset" in shell.fails(f"dmmsa report --dataset fourth {R}")
    assert "dmmsa fuse --dataset mini" in shell.works(f"dmmsa report --dataset toy {R}").replace("toy", "mini")


@pytest.mark.parametrize("what", ["a split", "the manifest", "its version"])
def test_a_damaged_store(shell, what):
    shell.works(PREPARE)
    manifest = Path("my data/mini/manifest.json")
    if what == "a split":
        for path in manifest.parent.glob("*.arrow"):
            path.write_bytes(b"")
    elif what == "the manifest":
        manifest.write_text("{")
    else:
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema_version": 0}))
    shell.paste(shell.fails(FUSE), "prepare")
    shell.works(FUSE)


def damage(name, change):
    path = Path(SEED, name)
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    "what", ["recipe", "environment", "summary", "weights", "no weights", "log", "no recipe", "a value of its recipe"]
)
def test_a_damaged_run(shell, what):
    shell.works(PREPARE)
    shell.works(FUSE)
    shell.works(f"dmmsa evaluate --dataset mini {BOTH}")
    run = Path(SEED)
    if what == "recipe":
        (run / "recipe.yaml").write_text("[")
    elif what == "environment":
        damage("environment.json", lambda values: values.update(modalities=5))
    elif what == "summary":
        damage("summary.json", lambda values: values.pop("validation"))
    elif what == "weights":
        (run / "weights.safetensors").write_bytes(b"x")
    elif what == "no weights":
        (run / "weights.safetensors").unlink()
    elif what == "log":
        (run / "metrics.jsonl").write_text("x")
    elif what == "no recipe":
        (run / "recipe.yaml").unlink()
    else:
        (run / "recipe.yaml").write_text((run / "recipe.yaml").read_text().replace("epochs: 1", "epochs: many"))
    _, output = shell.run(f"dmmsa evaluate --dataset mini {BOTH}")
    _, more = shell.run(f"dmmsa report --dataset mini {R}")
    shell.paste(output if "dmmsa fuse" in output else more, "fuse")
    shell.works(f"dmmsa evaluate --dataset mini {BOTH}")


def test_a_run_that_was_stopped(shell):
    shell.works(PREPARE)
    shell.works(FUSE)
    Path(SEED, "summary.json").unlink()
    shell.paste(shell.works(f"dmmsa report --dataset mini {R}"), "fuse")
    shell.works(f"dmmsa evaluate --dataset mini {BOTH}")
    Path(SEED, "summary.json").unlink()
    shell.paste(shell.fails(f"dmmsa predict '{SEED}' --from mini.pkl --out p.csv {D}"), "fuse")
    shell.works(f"dmmsa predict '{SEED}' --from mini.pkl --out p.csv {D}")


def test_one_of_two_runs_was_stopped(shell):
    shell.works(PREPARE)
    shell.works(FUSE.replace("--seed 1", "--seed 1 2"))
    Path(SEED, "summary.json").unlink()
    shell.paste(shell.works(f"dmmsa evaluate --dataset mini {BOTH}"), "list runs")


def test_what_was_measured_is_damaged(shell):
    shell.works(PREPARE)
    shell.works(FUSE)
    shell.paste(shell.works(f"dmmsa report --dataset mini {R}"), "evaluate")
    shell.works(f"dmmsa evaluate --dataset mini --missing 0,0.5 --draws 1 {BOTH}")
    for name, content in {"metrics.json": "{", "predictions.csv": "id\n", "missing.json": "{"}.items():
        Path(SEED, name).write_text(content)
        _, output = shell.run(f"dmmsa report --dataset mini {R}")
        shell.paste(output, "evaluate")
    assert "amaged" not in shell.works(f"dmmsa report --dataset mini {R}")


def test_a_study_of_ones_own_on_a_recipe_of_ones_own(shell):
    shell.works(PREPARE)
    study = {
        "title": "Widths",
        "variants": [{"name": n, "set": {"model.width": w}} for n, w in (("narrow", 32), ("wide", 48))],
    }
    Path("my study.yaml").write_text(yaml.safe_dump(study))
    ablate = f"dmmsa ablate --dataset mini --study 'my study.yaml' --recipe 'my recipe.yaml' --seed 1 {BOTH}"
    report = f"dmmsa report --dataset mini --study 'my study.yaml' {R}"
    shell.works(FUSE)
    shell.works(f"dmmsa evaluate --dataset mini {BOTH}")
    assert "Of study my study.yaml fewer than two variants are there" in shell.works(report)
    shell.paste(shell.works(report), "ablate --dataset mini --study 'my study.yaml' --recipe 'my recipe.yaml'")
    shell.paste(shell.works(ablate), "evaluate")
    study["variants"].append({"name": "wider", "set": {"model.width": 64}})
    Path("my study.yaml").write_text(yaml.safe_dump(study))
    shell.paste(shell.works(report), "ablate")
    shell.works(f"dmmsa evaluate --dataset mini {BOTH}")
    assert "Not run yet" not in shell.works(report)


def test_a_tuning(shell):
    shell.works(PREPARE)
    Path("my space.yaml").write_text("fusion.learning_rate: {low: 1e-4, high: 1e-2, log: true}\n")
    tune = f"dmmsa tune --dataset mini --recipe 'my recipe.yaml' --space 'my space.yaml' --trials 2 --seeds 1 {BOTH}"
    shell.paste(shell.works(f"{tune} --device cpu --out 'what was found.yaml'"), "fuse")
    head = Path("what was found.yaml").read_text().splitlines()[0]
    assert shell.works(head.removeprefix("# ") + " --seed 1 --resume --device cpu")
    shell.works(f"dmmsa evaluate --dataset mini {BOTH}")
    shell.works(f"dmmsa report --dataset mini --format markdown {R}")
    assert f"fuse --dataset mini --recipe 'what was found.yaml' {BOTH}" in Path("report/tables.md").read_text()


def test_folds_that_lack_one(shell):
    shell.works(PREPARE)
    shell.works(f"{FUSE} --folds 2")
    shell.works(f"dmmsa evaluate --dataset mini --folds 2 {BOTH}")
    for path in Path("my runs").glob("mini-fold-2-of-2/*/*/*/summary.json"):
        path.unlink()
    report = shell.works(f"dmmsa report --dataset mini {R}")
    assert "dmmsa evaluate --dataset mini --folds 2" in report
    shell.paste(shell.fails(f"dmmsa evaluate --dataset mini --folds 2 {BOTH}"), "fuse")
    shell.works(f"dmmsa evaluate --dataset mini --folds 2 {BOTH}")


def test_encoders_that_are_gone_and_encoders_that_are_others(shell):
    Path("with encoders.yaml").write_text(yaml.safe_dump(MICRO_RECIPE))
    shell.works(PREPARE)
    fuse = FUSE.replace("my recipe.yaml", "with encoders.yaml") + " --epochs 1 --name short"
    shell.works(fuse)
    evaluate = f"dmmsa evaluate --dataset mini {BOTH}"
    encoders = Path("my runs/mini/encoders")
    shutil.rmtree(next(encoders.glob("audio-*")))
    shell.paste(shell.fails(evaluate), "fuse")
    shell.works(evaluate)
    weights = [next(encoders.glob(f"{name}-*")) / "weights.safetensors" for name in ("audio", "vision")]
    changed = bytearray(weights[0].read_bytes())
    changed[-1] ^= 1
    weights[0].write_bytes(changed)
    shell.paste(shell.fails(evaluate), "fuse")
    shell.works(evaluate)
    (weights[1].parent / "recipe.yaml").write_text("a: b\n")
    (weights[1].parent / "summary.json").unlink()
    output = shell.fails(fuse.replace("--seed 1", "--seed 2"))
    assert "delete its folder" in output
    shutil.rmtree(weights[1].parent)
    shell.paste(output, "fuse")


def test_an_encoder_that_can_not_be_had(shell):
    shell.works(PREPARE)
    output = shell.fails(f"dmmsa fuse --dataset mini --seed 1 {BOTH} --device cpu --recipe dmmsa")
    shell.paste(output, f"fuse --dataset mini --seed 1 {BOTH} --device cpu --recipe default/tiny")


def test_a_recipe_that_pretrains_nothing(shell):
    shell.works(PREPARE)
    line = f"dmmsa pretrain-unimodal --dataset mini --recipe 'my recipe.yaml' {BOTH}"
    assert "dmmsa fuse --dataset mini --recipe 'my recipe.yaml'" in shell.fails(line)
    shell.paste(shell.fails(line), "fuse")


def test_the_published_tables_say_how_they_are_filled(shell):
    output = shell.works(f"dmmsa report --dataset sims {R}")
    assert f"`dmmsa ablate --dataset sims --study objectives {R}`" in output


def _functions(tree, above=""):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = f"{above}.{node.name}" if above else node.name
            yield from _functions(node, name)
            if isinstance(node, ast.FunctionDef):
                yield name, node
        else:
            yield from _functions(node, above)


def _called(function):
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id
        if not isinstance(node, ast.FunctionDef):
            yield from _called(node)


def _texts(tree):
    """Every string of a module but its docstrings and comments."""
    blocks = [node.body for node in ast.walk(tree) if isinstance(getattr(node, "body", None), list)]
    docstrings = {id(line.value) for block in blocks for line in block if isinstance(line, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


NAMES = {"dmmsa report"}  # the heading of a document


def test_no_text_spells_out_a_command():
    """What a message names comes from `commands`, or it would lack folders and quotes."""
    spelled = [
        f"{path.name}: {text}"
        for path in PACKAGE.rglob("*.py")
        for text in _texts(ast.parse(path.read_text()))
        for verb in commands.FOLDERS
        if re.search(rf"\bdmmsa {verb}\b", text) and not any(name in text for name in NAMES) and path.stem != "hints"
    ]
    assert not spelled


def test_no_place_that_names_a_command_was_overlooked():
    """Runs after all the others of this file, in the same process."""
    places = set()
    for path in PACKAGE.rglob("*.py"):
        for name, function in _functions(ast.parse(path.read_text())):
            if set(_called(function)) & NAMING and path.name != "commands.py":
                places.add(f"{path.relative_to(PACKAGE).as_posix()} {name}")
    assert not places - NAMED - ELSEWHERE.keys(), sorted(places - NAMED - ELSEWHERE.keys())
    assert not ELSEWHERE.keys() - places
