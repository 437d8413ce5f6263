"""Commands that the program prints, found in its output, and whether it would take them."""

import re
import shlex

import typer

COMMAND = re.compile(
    r"`((?:cd [^`]* && )?[^`\s]*dmmsa [^`]+)`|^Next: (\S*dmmsa .*)$|^  (\S*dmmsa [a-z].*)$", re.MULTILINE
)


def commands_in(output):
    """Every command named in some output, as it is to be pasted."""
    return list(dict.fromkeys(next(filter(None, found.groups())) for found in COMMAND.finditer(output)))


def check(line):
    """See that the program knows the command and its options, and that each value is one that the option takes."""
    from dmmsa_cli.cli import app
    from dmmsa_cli.commands import spread_lists

    words = shlex.split(line)
    _, verb, *arguments = words[words.index("&&") + 1 :] if words[0] == "cd" else words
    arguments = [argument for argument in spread_lists(arguments) if argument != "..."]
    assert "\n" not in line, f"{line!r} is broken over lines"
    commands = typer.main.get_command(app).commands
    assert verb in commands, line
    try:
        commands[verb].make_context(verb, arguments).close()
    except SystemExit as ended:
        raise AssertionError(f"{line}: not understood") from ended
