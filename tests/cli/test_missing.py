"""`evaluate --missing` at the keyboard: what is refused at once, and what stands in a terminal."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from dmmsa_cli.cli import missing_view
from dmmsa_cli.cli.evaluate import Split, evaluate
from dmmsa_cli.data.specs import SPECS
from dmmsa_cli.errors import InvalidInput
from dmmsa_cli.experiments.robustness import Robustness, presences
from dmmsa_cli.metrics import score
from dmmsa_cli.stages.evaluation import ALL_TRAINING, FUSION_ONLY
from dmmsa_cli.stages.missing import MissingTable, RobustSystem

METRICS = score([-2.0, -1.0, 0.0, 1.0, 2.0, 3.0], [-1.0, 1.0, 0.5, 1.5, -0.5, 2.0], metrics="mosi", score_range=3.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"draws": 3}, "--draws means nothing without --missing"),
        ({"draws": 3, "folds": 5}, "--draws means nothing beside --folds"),
        ({"ensemble": True, "folds": 5}, "--ensemble means nothing beside --folds"),
        ({"ensemble": True, "missing": "0"}, "--ensemble means nothing beside --missing"),
        ({"level": 0.9, "missing": "0"}, "--level means nothing beside --missing"),
        ({"missing": "0,0.5", "predictions": Path("x.csv")}, "--predictions and --missing are different questions"),
        ({"folds": 5, "predictions": Path("x.csv")}, "--predictions and --folds are different questions"),
        ({"folds": 5, "missing": "0"}, "--folds and --missing are different questions"),
        ({"folds": 5}, "Add --dataset NAME"),
        ({"folds": 5, "dataset": "mosi", "split": Split.valid}, "and no --split"),
        ({"level": 1.0, "dataset": "mosi"}, "--level 1 is not between 0 and 1"),
        ({"level": 0.5, "dataset": "mosi", "split": Split.valid}, "held against the test split"),
        ({"draws": 0, "dataset": "mosi"}, "--draws means nothing without --missing"),
        ({"level": 0.0, "folds": 5, "dataset": "mosi"}, "--level means nothing beside --folds"),
    ],
)
def test_options_that_mean_nothing_together_are_told(arguments, words):
    with pytest.raises(InvalidInput, match=words):
        evaluate(**arguments)


def system(title, covers, seeds, worse, modalities="tva"):
    """Runs whose MAE grows with the rate."""
    runs = [
        Robustness(
            3,
            {rate: [METRICS | {"mae": METRICS["mae"] + worse * rate + seed / 100}] for rate in (0.0, 0.1, 0.9)},
            {name: METRICS for name in presences(modalities)},
        )
        for seed in seeds
    ]
    return RobustSystem(title, runs, list(seeds), covers)


def shown(*systems, width=100):
    table = MissingTable(SPECS["mosi"], "test", 686, "c0ffee" * 10, 3, list(systems))
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    missing_view.show(console, table)
    return console.file.getvalue()


def test_tables_fit_a_terminal_and_hold_every_number():
    long = "minilm missing-uniform, t+v+a, trained with missing data (uniform)"
    text = shown(system("minilm full, t+v+a", FUSION_ONLY, (1, 12), 0.5), system(long, ALL_TRAINING, (1, 12), 0.2))
    lines = [line.rstrip() for line in text.splitlines()]
    assert all(len(line) <= 100 for line in lines)
    assert text.count("mosi: missing data, test split, 686 clips") == 3
    first = [line.split() for line in lines]
    assert [words[0] for words in first if words and words[0] in ("0", "0.1", "0.9", "mean")][:4] == [
        *("0", "0.1", "0.9", "mean"),
    ]
    own = METRICS["mae"] + 0.5 * 0.9 + 0.065
    (row,) = [words for words in first if words[:1] == ["0.9"] and f"{own:.4f}" in words]
    assert row[1].count("/") == 1
    for name in ("T", "A", "V", "TA", "TV", "AV", "TAV"):
        assert sum(words[:1] == [name] for words in first) == 2
    assert "mean over the rates" in text
    assert "3 draws" in " ".join(text.split())
    assert "± of minilm full, t+v+a is" in " ".join(text.split())


def test_one_system_of_one_seed_has_no_spread_and_no_further_table():
    text = shown(system("dmmsa full, a", ALL_TRAINING, (1,), 0.5, "a"))
    assert "±" not in text
    assert "mean over the rates" not in text


def test_the_bar_tells_of_one_run_at_a_time():
    with missing_view.progress() as on_pass:
        for run in ("one", "other"):
            for done in range(3):
                on_pass(run, done, 2)
