"""The commands that messages name: quoted, with every folder that they need, so that one that is pasted runs.

Everything that prints a command of this program takes it from here.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

DATA = Path("data")
RUNS = Path("runs")

# Folders that a command can be given; it stands in for those of the command that runs now.
FOLDERS = {
    "prepare": ("data_dir",),
    "pretrain-unimodal": ("data_dir", "runs_dir"),
    "fuse": ("data_dir", "runs_dir"),
    "ablate": ("data_dir", "runs_dir"),
    "tune": ("data_dir", "runs_dir"),
    "evaluate": ("data_dir", "runs_dir"),
    "predict": ("data_dir",),
    "export": ("data_dir",),
    "report": ("runs_dir",),
    "list": ("data_dir", "runs_dir"),
}
VARIABLES = {"data_dir": "DMMSA_DATA", "runs_dir": "DMMSA_RUNS"}
_USUAL = {"data_dir": DATA, "runs_dir": RUNS}
_given = dict(_USUAL)


def work_in(*, data_dir: Path | None = None, runs_dir: Path | None = None) -> None:
    """Say which folders this process works in: every command named from now on is given them.

    The command line says it when it reads its options. It is of the process, since a message deep below, of a store
    or a checkpoint, knows no more than the file that is wrong.
    """
    _given.update({name: folder for name, folder in (("data_dir", data_dir), ("runs_dir", runs_dir)) if folder})


def command(verb: str, *operands: object, **options: object) -> str:
    """Return a command line of this program.

    Args:
        verb: `fuse`, `evaluate`, ...
        operands: what follows it: a dataset, a folder; a capital word stands for what the reader puts there.
        options: by name, `runs_dir` for `--runs-dir`. True gives a bare flag; None and False give nothing; a list all
            of its values. Folders, where they are not given, are those that the process works in (`work_in`).

    Example:
        >>> command("evaluate", dataset="two words", missing="0:0.9:0.1")
        "dmmsa evaluate --dataset 'two words' --missing 0:0.9:0.1"
    """
    elsewhere = {name: _given[name] for name in FOLDERS[verb] if _is_needed(name)}
    words = [word for name, value in (options | elsewhere | options).items() for word in _option(name, value)]
    return f"{program()} {shlex.join([verb, *map(str, operands), *words])}"


def in_place(line: str) -> str:
    """Return a command that is written down somewhere, `dmmsa fuse --dataset mosi`, as `command` gives it."""
    _, verb, *words = shlex.split(line)
    return command(verb, *words)


def folder_of(name: str) -> Path:
    """Return the folder that a command works in that is given none: the environment's, or else the usual one."""
    return Path(os.environ.get(VARIABLES[name]) or _USUAL[name])


def _is_needed(name: str) -> bool:
    """Whether another shell, whose environment may name no folder or another, has to be told of it."""
    return not _given[name] == _USUAL[name] == folder_of(name)


def _option(name: str, value: object) -> list[str]:
    if value is None or value is False:
        return []
    values = value if isinstance(value, list | tuple) else [] if value is True else [value]
    return [f"--{name.replace('_', '-')}", *map(str, values)]


def evaluate_run(folder: Path, **options: object) -> str:
    """Return the command that evaluates the runs at or below a folder."""
    return command("evaluate", folder, **options, runs_dir=None)


def going_on(began: Sequence[str], directory: str | None = None) -> str:
    """Return a command that was given before, so that it goes on with what it began; `again` does it anew.

    Args:
        began: its words, after the program's name.
        directory: the folder that it was given in, which its paths are relative to; None for the one that is open.
    """
    return _repeated(began, directory, "--resume", "--force")


def again(began: Sequence[str], seed: int, directory: str | None = None) -> str:
    """Return a `fuse` that was given before, so that it replaces what it made of one seed; see `going_on`."""
    words = spread_lists(list(began))
    seeds = {n for at, word in enumerate(words) if word == "--seed" for n in (at, at + 1)}
    others = [word for at, word in enumerate(words) if at not in seeds]
    return _repeated([*others, "--seed", str(seed)], directory, "--force", "--resume")


def _repeated(began: Sequence[str], directory: str | None, more: str, less: str) -> str:
    words = [word for word in began if word not in (more, less)]
    line = f"{program()} {shlex.join([*words, *([more] if 'fuse' in words else [])])}"  # the others do so by themselves
    return line if directory in (None, str(Path.cwd())) else f"cd {shlex.quote(str(directory))} && {line}"


def under_way() -> list[str]:
    """Return the words of the command that runs now, after the program's name; none where Python called.

    Folders that a variable of the environment named are among them, since another shell may lack it.
    """
    words = sys.argv[1:]
    verb = next((word for word in words if word in FOLDERS), None)
    if verb is None:
        return []
    said = {word.partition("=")[0] for word in words}
    unsaid = {name: _given[name] for name in FOLDERS[verb] if _given[name] != _USUAL[name]}
    options = [_option(name, folder) for name, folder in unsaid.items()]
    return [*words, *(word for option in options if option[0] not in said for word in option)]


def instead(**options: str) -> str:
    """Return the command that runs now with other values of some options; only these where Python called."""
    words = spread_lists(under_way())
    for name in options:
        option = f"--{name}"
        given = {n for at, word in enumerate(words) if word == option for n in (at, at + 1)}
        words = [word for at, word in enumerate(words) if at not in given and not word.startswith(f"{option}=")]
    more = [word for name, value in options.items() for word in _option(name, value)]
    return f"{program()} {shlex.join([*words, *more])}" if words else shlex.join(more)


def to_go_on() -> str:
    """Say how what runs now goes on after a stop."""
    words = under_way()
    return f"To go on: `{going_on(words)}`." if words else "The same call goes on from here, with resume=True."


def wrapped(text: str, width: int) -> str:
    r"""Return a text whose lines are broken between words, but never within a command, which has to stay in one piece.

    Example:
        >>> wrapped("To train: `dmmsa fuse --dataset mosi`. That is all.", 20)
        'To train:\n`dmmsa fuse --dataset mosi`.\nThat is all.'
    """
    return "\n".join(line for paragraph in text.split("\n") for line in _lines(paragraph, width))


def _lines(paragraph: str, width: int) -> Iterator[str]:
    indent = paragraph[: len(paragraph) - len(paragraph.lstrip())]
    line = ""
    for word in re.findall(r"\S*`[^`]*`\S*|\S+", paragraph):
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = ""
        line = f"{line} {word}" if line else indent + word
    yield line


def nearby(path: Path) -> Path:
    """Return a path as it is written from the working folder, where it lies below that."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


# --- how commands are written ----------------------------------------------------------------------------------------


# Options that take several values in a row: `--seed 1 12 123`.
LISTS = ("--seed", "--modality", "--format")


def spread_lists(arguments: list[str]) -> list[str]:
    """Turn `--seed 1 12 123`, `--seed "1 12"` and `--seed 1,12` into the repeated options that click understands.

    Example:
        >>> spread_lists(["fuse", "--seed", "1", "12", "--no-cl"])
        ['fuse', '--seed', '1', '--seed', '12', '--no-cl']
    """
    spread: list[str] = []
    option, values = "", 0  # the list that is open, and how many values it has had
    for argument in [*arguments, "--"]:
        name, equals, value = argument.partition("=")
        if option and (not argument.startswith("-") or argument[1:].isdigit()):  # a negative number is a value
            spread += _repeat(option, argument)
            values += 1
            continue
        if option and not values:
            spread.append(option)  # it was given nothing: click will say so
        option, values = (argument, 0) if argument in LISTS else ("", 0)
        if name in LISTS and equals:
            spread += _repeat(name, value)
        elif not option:
            spread.append(argument)
    return spread[:-1]


def _repeat(option: str, values: str) -> list[str]:
    return [part for value in values.replace(",", " ").split() for part in (option, value)]


def program() -> str:
    """Return the words that start this program in the reader's shell: as it was called, where `dmmsa` is not found."""
    called, beside = Path(sys.argv[0]), Path(sys.executable).with_name("dmmsa")
    as_module = (called.parent.name, called.name) == ("dmmsa_cli", "__main__.py")
    if called.name != "dmmsa" and not as_module:  # a program of the user's own
        return "dmmsa"
    script = beside if as_module else called
    if not script.exists():
        return f"{shlex.quote(sys.executable)} -m dmmsa_cli" if as_module else "dmmsa"
    found = shutil.which("dmmsa")
    return "dmmsa" if found and Path(found).samefile(script) else shlex.quote(str(nearby(script)))
