"""Names are a user's: whatever a command prints of them stands there as it is, brackets and colons too."""

import ast
import importlib
import re
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from rich.console import Console

import dmmsa_cli
from dmmsa_cli import cli, metrics
from dmmsa_cli.cli import missing_view, options
from dmmsa_cli.cli.console import open_console
from dmmsa_cli.cli.runs_view import RunsView
from dmmsa_cli.cli.scores_view import show
from dmmsa_cli.cli.spreading import tell_failures
from dmmsa_cli.cli.training_view import TrainingView, data_note
from dmmsa_cli.data.specs import DatasetSpec
from dmmsa_cli.errors import InvalidInput
from dmmsa_cli.experiments.robustness import Robustness
from dmmsa_cli.layers.text import ContextOptions
from dmmsa_cli.reporting.worth import Worth, Worths
from dmmsa_cli.stages.engines import Outcome, Step
from dmmsa_cli.stages.missing import MissingTable, RobustSystem
from dmmsa_cli.stages.predict import Cut
from dmmsa_cli.training.loop import EpochEnd
from dmmsa_cli.uncertainty import Coverage

# In the package `dmmsa_cli.cli` the commands stand under the names of their modules.
ablate, bench, evaluate, predict, prepare, report = (
    importlib.import_module(f"dmmsa_cli.cli.{name}")
    for name in ("ablate", "bench", "evaluate", "predict", "prepare", "report")
)

NAMES = ["v[a]", "v[/]", "[/x]", "[bold]loud", ":smile:", "a:warning:[red]b[/red]", r"back\[slash]", "[link=x]y"]


def measured():
    return metrics.score([0.5, -1.0, 2.0], [0.25, -0.5, 1.0], metrics="mosi", score_range=3.0)


# --- what each command prints, given a name in every place that takes one ---------------------------------------------


def print_evaluation(name):
    summary = SimpleNamespace(mean=measured(), sd=measured(), runs=2)
    rows = [
        SimpleNamespace(title=title, summary=summary, covers=title, together=together, seeds=[1, 2], alone=False)
        for title, together in ((name, 0), (f"{name} 2", 2))
    ]
    spec = DatasetSpec(name=name, score_range=3.0)
    table = SimpleNamespace(
        spec=spec, split=name, where=name, folds=None, rows=3, systems=rows, notes={}, remarks=(name,), data_hash="0"
    )
    covered = Coverage(0.9, 0.9, 1.0, 0.9, 0.8, (0.5,) * 7, (1,) * 7)
    worth = tuple(Worth(row, covered, {name: 0.1}, {"mae": (0.1, 0.2)}) for row in rows)
    show(open_console(), table, Worths(0.9, worth, problem=name, videos=3))


def print_gaps(name):
    found = Robustness(1, {0.0: [measured()], 0.5: [measured()]}, {"T": measured()})
    systems = [RobustSystem(title, [found, found], [1, 2], title) for title in (name, f"{name} 2")]
    spec = DatasetSpec(name=name, score_range=3.0)
    missing_view.show(open_console(), MissingTable(spec, name, 3, "0" * 64, 1, systems))


def print_scored_predictions(name, monkeypatch):
    spec = DatasetSpec(name=name, score_range=3.0)
    monkeypatch.setattr(
        "dmmsa_cli.stages.score.evaluate_predictions", lambda path, dataset, data_dir: (spec, 3, measured())
    )
    evaluate._evaluate_predictions(Path(name), None, name, None, Path("data"))


def print_prediction(name, monkeypatch):
    found = {
        "warnings": [name],
        "repairs": {name: 1},
        "cut": {"a": Cut(clips=2, longest=30, limit=20)},
        "rows": {name: 3},
        "runs": (name, name),
        "replaced": True,
    }
    table = pd.DataFrame({"y_pred": [0.5] * 11, "text": name, "polarity": "positive"})
    done = SimpleNamespace(out=Path(name), table=table, **found)
    monkeypatch.setattr("dmmsa_cli.stages.predict.predict", lambda *_, **__: done)
    predict.predict([Path("run")], Path("x.pkl"), out=Path("out.csv"), device=options.Device.cpu, data_dir=Path("data"))


def print_words(name, monkeypatch):
    table = pd.DataFrame({"y_pred": [0.5], "y_low": [0.0], "y_high": [1.0], name: [0.25], "text": [name]})
    table["polarity"] = "positive"
    found = {
        "warnings": [name],
        "repairs": {},
        "cut": {},
        "rows": {"all": 1},
        "runs": ("one",),
        "out": None,
        "replaced": False,
    }
    done = SimpleNamespace(table=table, probabilities=(name,), **found)
    monkeypatch.setattr("dmmsa_cli.stages.predict.predict_texts", lambda *_, **__: done)
    predict.predict([Path("run")], text=[name], level=0.9, device=options.Device.cpu, data_dir=Path("data"))


def print_prepared(name):
    spec = DatasetSpec(name=name, score_range=3.0, synthetic=True, split_sizes={"train": 1, "valid": 2, "test": 3})
    rows = {name: 1}
    manifest = SimpleNamespace(
        spec=spec,
        rows=rows,
        modalities=("t",),
        unimodal_labels=False,
        repairs={name: 1},
        notes={},
        data_hash="0" * 64,
        emotions=("joy",),
        pseudo_emotions={"dataset": name, "encoder": name},
    )
    store = SimpleNamespace(folder=Path(name))
    shown = SimpleNamespace(
        manifest=manifest,
        store=store,
        written=True,
        warnings=[name],
        histogram=[prepare_bar()],
        lengths={},
        emotions={name: SimpleNamespace(present={"joy": 1}, none=0, unknown=0)},
    )
    prepare._show(open_console(), shown)


def prepare_bar():
    return SimpleNamespace(centre=0.0, count=1)


def a_job(name):
    return type("Job", (), {"title": name, "seed": 1, "__str__": lambda self: name})()


def outcome(name, state):
    summary = {"validation": {"mae": 0.5}} if state == "trained" else {}
    return Outcome(a_job(name), state, Path(name), summary, name)


def print_study(name):
    view = RunsView(open_console(), name, [a_job(name)])
    view.tell(Step(a_job(name), name, 1.0, 2))
    with view:
        view.console.print(view._draw())
        view.tell(outcome(name, "failed"))
        view.tell(outcome(name, "trained"))
    tell_failures(view.console, [outcome(name, "failed")])


def print_ablation(name, monkeypatch):
    plan = SimpleNamespace(jobs=[a_job(name)], left_out={name: name})
    monkeypatch.setattr("dmmsa_cli.stages.ablate.plan", lambda *_, **__: plan)
    monkeypatch.setattr("dmmsa_cli.cli.spreading.carry_out", lambda *_, **__: [])
    monkeypatch.setattr("dmmsa_cli.experiments.studies.load_study", lambda _: SimpleNamespace(title=name))
    ablate.ablate(name, data_dir=Path(name), device=options.Device.cpu)


def print_training(name):
    view = TrainingView(open_console())
    view.say(name)
    view.report(Path(name), {"seconds": 1, "epochs": 2, "best_epoch": 1, "validation": {"mae": 0.5}}, skipped=False)
    line = {"epoch": 1, "losses": {name: 1.0}, "weights": {name: 0.5}, "validation": measured(), "seconds": 1.0}
    progress = SimpleNamespace(log=[line], best_mae=0.5, best_epoch=1)
    view.training(name, 4)(EpochEnd(**line, tally={}, learning_rate=0.1), progress)
    view.console.print(view._draw(name, 1.0, 4, progress))
    manifest = SimpleNamespace(source={"path": f"x/{name}"}, data_hash="0" * 64, rows={"train": 2})
    store = SimpleNamespace(manifest=manifest, spec=DatasetSpec(name=name, score_range=3.0))
    device = SimpleNamespace(type="cpu")
    facts = {"modalities": "tva", "name": name, "device": device, "precision": "float32", "context": ContextOptions()}
    recipe = SimpleNamespace(data=SimpleNamespace(fraction=1.0), base_seed=1)
    view.say(data_note(SimpleNamespace(store=store, recipe=recipe, encoder_seed=lambda seed: seed, **facts)))


def print_report(name, monkeypatch):
    built = SimpleNamespace(notes=(name,), collection=SimpleNamespace(damaged=(), stale=()))
    monkeypatch.setattr("dmmsa_cli.reporting.report.report", lambda *_: (built, [Path(name)]))
    report.report([report.Format.csv])


def print_benchmark(name):
    facts = {"seconds": 1.0, "peak_rss_bytes": 1, "transformers_imported": False, "torch_import_seconds": 1.0}
    measure = SimpleNamespace(name="start", recipe=name, median=facts, repeats=[1, 2])
    machine = {"threads": 1, "device": name, "precision": name}
    data = {"shape": name, "made_up": False, "file": name, "file_bytes": 1, "sha256": name}
    bench._show(open_console(), SimpleNamespace(machine=machine, data=data, settings=[name], measures=[measure]))


def print_error(name):
    cli._tell(InvalidInput(name, f"{name} is to blame."))


PRINTED = {
    function.__name__.removeprefix("print_"): function
    for function in (
        *(print_evaluation, print_gaps, print_scored_predictions, print_prediction, print_words, print_prepared),
        *(print_study, print_ablation, print_training, print_report, print_benchmark, print_error),
    )
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("function", PRINTED.values(), ids=PRINTED)
def test_a_name_is_printed_as_it_is_wherever_it_stands(name, function, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")

    def times(given):
        function(*([given, monkeypatch] if function.__code__.co_argcount == 2 else [given]))
        return "".join(capsys.readouterr()).count(given)

    harmless = re.sub(r"[^/]", "Q", name)  # as long, and of as many folders
    assert times(name) == times(harmless) > 0


def test_every_console_is_one_that_takes_text_as_it_is():
    """Neither markup nor emoji codes, whoever prints; `markup=False` alone leaves the emoji."""
    package = Path(dmmsa_cli.__file__).parent
    made = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Console"
    ]
    assert made == ["cli/console.py"]


def test_a_plain_console_would_not_do(capsys):
    Console().print("v[bold]a:smile:", markup=False)
    assert "v[bold]a:smile:" not in capsys.readouterr().out


def test_predict_says_all_that_it_has_to_say(monkeypatch, capsys):
    print_prediction("this", monkeypatch)
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["! this", "repaired: this (1)"]
    assert said[-1] == "this: predictions for 3 this clips (replaced what was there)"
    assert len(said) == 6  # what was cut (two lines), whose mean it is, and where it lies
