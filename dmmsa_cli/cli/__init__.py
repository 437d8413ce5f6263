"""The command line: one file a command; each parses, makes one call, and prints."""

from __future__ import annotations

import io
import os
import signal
import sys
import warnings
from types import FrameType

import typer

from dmmsa_cli import __version__
from dmmsa_cli.cli.ablate import ablate
from dmmsa_cli.cli.bench import bench
from dmmsa_cli.cli.evaluate import evaluate
from dmmsa_cli.cli.export import export
from dmmsa_cli.cli.fuse import fuse
from dmmsa_cli.cli.hints import HintingGroup
from dmmsa_cli.cli.list import list_
from dmmsa_cli.cli.predict import predict
from dmmsa_cli.cli.prepare import prepare
from dmmsa_cli.cli.pretrain import pretrain_unimodal
from dmmsa_cli.cli.report import report
from dmmsa_cli.cli.tune import tune
from dmmsa_cli.commands import going_on, spread_lists, under_way, wrapped
from dmmsa_cli.errors import DmmsaError, Interrupted, as_dmmsa_error

STOPPED = 130  # exit status of what a signal stopped

app = typer.Typer(
    name="dmmsa",
    cls=HintingGroup,
    help="Multimodal sentiment analysis: prepare data, train DMMSA, evaluate and use it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"dmmsa {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error. Works after a command too."),
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Multimodal sentiment analysis: prepare data, train DMMSA, evaluate and use it."""


for command in (prepare, pretrain_unimodal, fuse, ablate, tune, evaluate, predict, report, export):
    app.command()(command)
app.command("list")(list_)
app.command(hidden=True)(bench)  # for who works on dmmsa


def main() -> None:
    """Run the command line; an error that has words for its user ends in those, and status 1."""
    warnings.showwarning = _warn
    signal.signal(signal.SIGTERM, _interrupt)
    arguments = sys.argv[1:]
    debug = "--debug" in arguments or bool(os.environ.get("DMMSA_DEBUG"))
    arguments = spread_lists([argument for argument in arguments if argument != "--debug"])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal can't show is no reason to fail
    try:
        app(args=arguments)
    except SystemExit as ended:  # typer has made that of Ctrl-C and of SIGTERM
        if ended.code != STOPPED:
            raise
        kept = any(name in arguments for name in ("pretrain-unimodal", "fuse", "ablate", "tune"))
        more = f" What was finished is kept. To go on: `{going_on(under_way())}`." if kept else ""
        print(f"Stopped.{more}", file=sys.stderr)
        sys.exit(STOPPED)
    except Exception as error:  # what has no words for its user goes on as it is
        known = as_dmmsa_error(error)
        if debug or known is None:
            raise
        _tell(known)
        sys.exit(STOPPED if isinstance(known, Interrupted) else 1)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Take SIGTERM as Ctrl-C is taken."""
    raise KeyboardInterrupt


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning's words alone; where in the code it arose is of no use to a user."""
    print(f"Warning: {message}", file=sys.stderr)


def _tell(error: DmmsaError) -> None:
    from rich.text import Text

    from dmmsa_cli.cli.console import open_console, say

    console = open_console(stderr=True)
    head = "Stopped: " if isinstance(error, Interrupted) else "Error: "
    style = "bold yellow" if isinstance(error, Interrupted) else "bold red"
    what = wrapped(f"{head}{error.what}", console.width) if console.is_terminal else f"{head}{error.what}"
    console.print(Text.assemble((head, style), what.removeprefix(head)), soft_wrap=True)
    if error.remedy:
        say(console, error.remedy)
