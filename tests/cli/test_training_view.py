"""What stays on the screen of a training that is over."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from dmmsa_cli.cli.training_view import KEPT_EPOCHS, TrainingView, _course
from dmmsa_cli.training.fit import Progress
from dmmsa_cli.training.loop import EpochEnd


def epoch(number):
    losses, validation = {"regression": 1 / number}, {"mae": 0.5 + abs(number - 7) / 10, "corr": 0.1}
    return EpochEnd(number, losses, {}, validation=validation, seconds=1.0, tally={}, learning_rate=0.1)


@pytest.mark.parametrize("epochs", [1, 2, 9, 10, 11, 100])
@pytest.mark.parametrize("best", [1, 7, 100])
def test_few_epochs_tell_the_course_of_a_training(epochs, best):
    log = [{"epoch": number} for number in range(1, epochs + 1)]
    shown = [line["epoch"] for line in _course(log, min(best, epochs))]
    assert shown == sorted(set(shown))
    assert {1, epochs, min(best, epochs)} <= set(shown)
    assert min(epochs, KEPT_EPOCHS) <= len(shown) <= KEPT_EPOCHS + 1


@pytest.mark.parametrize("terminal", [True, False])
def test_on_a_terminal_it_stays_and_elsewhere_its_lines_are_there_already(terminal):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=100, color_system=None)
    progress = Progress()
    with TrainingView(console) as view:
        watch = view.training("mine", 30)
        for number in range(1, 31):
            event = epoch(number)
            progress.note(event, 1)
            watch(event, progress)
        before = len(screen.getvalue())
        view.report(Path("mine"), progress.summary(), skipped=False)
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()[before:]).partition("best of 30 epochs is 7")
    assert said[1]
    rows = [int(found[1]) for found in re.finditer(r"^ *(\d+) +[\d.]+ +[\d.]+ ", said[0], re.MULTILINE)]
    assert rows == ([1, 4, 7, 11, 14, 17, 20, 24, 27, 30] if terminal else [])
