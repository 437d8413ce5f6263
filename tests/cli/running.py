"""The command line in a process of its own; whatever command it prints has to be one that it would take."""

import os
import subprocess
import sys
from pathlib import Path

from tests.cli.printed import check, commands_in

BIN = Path(sys.executable).parent  # where `dmmsa` lies too, as in a shell whose environment is active


def dmmsa(*arguments, cwd=None, **environment):
    """Run the program, and return what came of it."""
    done = subprocess.run(
        [sys.executable, "-m", "dmmsa_cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ
        | {"COLUMNS": "100", "NO_COLOR": "1", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        | environment,
    )
    for line in commands_in(done.stdout + done.stderr):
        check(line)
    return done
