"""Wrong names: the nearest, what others call it, plain words, and exit status 2."""

import re

import pytest
from typer.testing import CliRunner

from dmmsa_cli.cli import app
from dmmsa_cli.cli.hints import COMMANDS, OPTIONS, VALUES
from dmmsa_cli.data.options import DataOptions


def refused(*arguments):
    """What a usage error says, without the frame around it."""
    done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "300", "NO_COLOR": "1", "TERMINAL_WIDTH": "300"})
    assert done.exit_code == 2, done.output
    return " ".join(re.sub("[│╭╮╰╯─]", " ", done.output).split())


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("train", "No such command 'train'. Here it is: dmmsa fuse."),
        ("Train", "Here it is: dmmsa fuse."),
        ("finetune", "Here it is: dmmsa fuse."),
        ("test", "Here it is: dmmsa evaluate."),
        ("eval", "Here it is: dmmsa evaluate."),
        ("infer", "Here it is: dmmsa predict."),
        ("help", "Here it is: dmmsa --help."),
        ("version", "Here it is: dmmsa --version."),
        ("evalute", "No such command 'evalute'. Did you mean evaluate?"),
        ("xyzzy", "No such command 'xyzzy'. There are prepare, pretrain-unimodal, fuse,"),
    ],
)
def test_a_command(given, hint):
    assert hint in refused(given)


def test_a_hidden_command_is_no_hint():
    assert "bench" not in refused("benhc")


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (("fuse", "--lr", "1e-3"), "No such option: --lr. Here it is --learning-rate."),
        (("fuse", "--epoch", "3"), "Here it is --epochs."),
        (("fuse", "--bs", "3"), "Here it is --batch-size."),
        (("fuse", "--model", "x"), "Here it is --recipe."),
        (("predict", "r", "--output", "x"), "Here it is --out."),
        (("evaluate", "--gpu"), "Here it is --device cuda."),
        (("fuse", "--modality", "t"), "Here it is --set data.modalities=[t,a]."),
        (("fuse", "--learnig-rate", "3"), "Did you mean --learning-rate?"),
        (("fuse", "--width", "3"), "A key of the recipe: --set KEY=VALUE."),
        (("evaluate", "--study", "x"), "It belongs to dmmsa ablate, dmmsa report."),
        (("fuse", "--gpus", "4"), "Here it is --jobs."),
        (("evaluate", "--gpus", "4"), "Here it is --device cuda."),
        (("tune", "--n-trials", "4"), "Here it is --trials."),
        (("--epochs", "3", "fuse"), "It belongs to dmmsa pretrain-unimodal, dmmsa fuse."),
    ],
)
def test_an_option(given, hint):
    said = refused(*given)
    assert hint in said
    assert "Possible options" not in said


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            ("fuse", "-d", "x", "--device", "gpu"),
            "'gpu' is not one of 'auto', 'cpu', 'cuda', 'mps'. Did you mean cuda?",
        ),
        (("evaluate", "--split", "tst"), "Did you mean test?"),
        (("evaluate", "--split", "dev"), "Did you mean valid?"),
        (("pretrain-unimodal", "-d", "x", "--modality", "sound"), "'sound' is not one of 't', 'v', 'a', 'text',"),
        (("fuse", "-d", "x", "--epochs", "0"), "Invalid value for '--epochs': it has to be at least 1."),
        (("fuse", "-d", "x", "--seed", "one"), "Invalid value for '--seed': it is no whole number."),
        (("fuse", "-d", "x", "--learning-rate", "fast"), "it is no number."),
    ],
)
def test_a_value(given, words):
    said = refused(*given)
    assert words in said
    assert not re.search("Value error|Input should", said)


def test_what_is_hinted_at_is_there():
    """A command or an option that is renamed takes its line here along."""
    names = {command.name or command.callback.__name__.replace("_", "-") for command in app.registered_commands}
    assert {way.split()[1] for way in COMMANDS} - {"--help", "--version"} <= names
    for option in OPTIONS:
        name = option.split()[0]
        said = [
            CliRunner().invoke(app, [one, "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}).output
            for one in names
        ]
        assert any(re.search(rf"{name}\b", text) for text in said), name
    assert set(VALUES.values()) <= {"cuda", "float32", "bf16", "train", "valid", "markdown", "latex"}


def test_modalities_have_names_and_letters():
    assert DataOptions(modalities=("text", "a")).modalities == ("t", "a")
    assert DataOptions(modalities=("text", "a")) == DataOptions(modalities=("t", "audio"))
    with pytest.raises(ValueError, match="not a choice of t, v, a"):
        DataOptions(modalities=("sound",))
