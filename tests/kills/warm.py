"""`python -m tests.kills.warm`: a process that has imported what the commands need, and forks one for each it is given.

A line of its input is a command in JSON: its `arguments`, the `directory` it is given in, what is added to its
`environment`, and the file that takes its `output`. For each it prints two lines: the process's id, and the status that
ended with (-9 where it was killed). So a life of a command is its work: what imports, for seconds, and writes nothing,
is not lived through a thousand times.
"""

import atexit
import gc
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSIDE = Path(__file__).with_name("inside")
# What commands import where they need it, and what these import when they are first used.
LIBRARIES = (
    "optuna optuna.storages.journal pandas pyarrow.ipc safetensors.torch scipy.stats tokenizers torch._dynamo "
    "torch.optim transformers transformers.models.bert.modeling_bert rich.progress rich.table pooch requests pydantic "
    "dmmsa_cli.cli.runs_view dmmsa_cli.cli.spreading dmmsa_cli.cli.training_view dmmsa_cli.cli.tune_view "
    "dmmsa_cli.data.splitting "
    "dmmsa_cli.experiments.pseudo_emotions dmmsa_cli.stages.evaluate dmmsa_cli.stages.prepare dmmsa_cli.stages.tune "
    "dmmsa_cli.stages.engines.cluster"
)


class Warm:
    """The process, as its user sees it: one command at a time.

    Args:
        preamble: Python that it runs first, to break something.
    """

    def __init__(self, preamble=""):
        command = [sys.executable, "-c", f"from tests.kills import warm; {preamble}\nwarm.work()"]
        paths = os.pathsep.join([str(INSIDE), str(ROOT)])
        alone = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=os.environ | alone
        )

    def start(self, **asked):
        """Fork a process for a command, and return its id."""
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        return self._number()

    def status(self, seconds=None):
        """Return how the command ended; None where it has not within so many seconds."""
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        return self._number() if ready else None

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _number(self):
        line = self._process.stdout.readline()
        assert line, "the warm process is gone"
        return int(line)


# --- in that process ------------------------------------------------------------------------------------------------


def work():
    """Do what the module says, until the input ends."""
    import importlib

    import sitecustomize

    for name in LIBRARIES.split():
        importlib.import_module(name)
    from dmmsa_cli.cli import main

    gc.freeze()
    _fork_each()
    sitecustomize.arm()
    status = 0
    try:
        main()
    except SystemExit as ended:
        status = ended.code
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)  # all those modules are not taken down one by one


def _fork_each():
    """Fork a process for each command; return in such a process alone, which is the command's from then on."""
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            return _become(**asked)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return sys.exit()


def _become(arguments, directory, environment, output):
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(directory)
    os.environ.update(environment)
    reading, writing = os.open(os.devnull, os.O_RDONLY), os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number, opened in ((0, reading), (1, writing), (2, writing)):
        os.dup2(opened, number)
    os.closerange(3, 64)
    sys.argv = ["dmmsa", *arguments]
