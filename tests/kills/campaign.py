"""Kill a command until it ends by itself, again and again, and look at what lies there after each kill."""

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.kills.moments import MARK, NEVER, Usual, draw, kill, processes, victim
from tests.kills.remains import Witness, assert_same, contents

PLAN = "DMMSA_TEST_KILL"  # as inside/sitecustomize.py has it
LONG = 300  # seconds that no life takes
GOING = 90  # seconds that what a command has started may take to notice that it is gone
BUSY = "Another dmmsa process is writing"
IN_A_LIFE = 3  # kills of what a command has started
IN_A_ROUND = 8  # kills at most, so that there are many rounds


def nothing(place):
    """What is done where there is nothing to do."""


@dataclass(frozen=True)
class Case:
    """Commands that are killed, given one after the other in a folder of their own."""

    commands: Sequence[Sequence[str]]
    begin: Callable[[Path], None]
    """Lays into the folder what they need."""
    check: Callable[[Path], None] = nothing
    """What has to be true of the folder after each kill, beside that all can be read."""
    environment: Mapping[str, str] = field(default_factory=dict)
    survives: Sequence[str] = ()
    """Kinds of processes whose loss the command makes up for itself, so that it ends well all the same."""
    alone: bool = False
    """Whether the command is given again only when all that it had started is gone."""
    slow: tuple[str, ...] = ()
    """Beginnings of the command lines of what may stay for a while, but not for ever."""


@dataclass
class Told:
    """What came of a campaign."""

    kills: Counter = field(default_factory=Counter)
    """By moment and victim."""
    rounds: int = 0
    lives: int = 0
    most: int = 0
    """Lives that a command needed at most until it had ended by itself."""

    def __str__(self):
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kills.items()))
        return (
            f"{self.kills.total()} kills ({kinds}) in {self.lives} lives of {self.rounds} rounds, at most {self.most}"
        )


class Campaign:
    """Kills the commands of a case.

    Args:
        case: which.
        warm: what forks them.
        folder: a folder of its own; each round takes place in the same one below it, since runs write down where.
    """

    def __init__(self, case, warm, folder):
        self.case, self.warm, self.place, self.output = case, warm, folder / "place", folder / "output"
        self.tally, self.mark, self.commands = folder / "tally", folder / "mark", []
        for _ in range(2):  # the first time what lies on the disk has to be read
            self.usual = [self._undisturbed(arguments) for arguments in self._begun()]
        self.whole = contents(self.place)

    def run(self, kills, seed):
        """Kill so many times, at moments drawn by a seed; return what came of it."""
        chance, told = random.Random(seed), Told()
        while told.kills.total() < kills:
            witness, wanted = (
                Witness(self.place, self.whole),
                min(kills, told.kills.total() + chance.randint(1, IN_A_ROUND)),
            )
            for arguments, usual in zip(self._begun(), self.usual, strict=True):
                self._until_it_ends(arguments, usual, witness, chance, told, wanted)
            assert_same(self.place, self.whole)
            told.rounds += 1
        self._wait_until_alone(slow=())
        return told

    # --- one command ------------------------------------------------------------------------------------------------

    def _begun(self):
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        self.case.begin(self.place)
        return self.case.commands

    def _undisturbed(self, arguments):
        self.tally.mkdir(exist_ok=True)
        begun = time.monotonic()
        self._start(arguments, tally=str(self.tally))
        assert self.warm.status(LONG) == 0, self.output.read_text()
        seconds = time.monotonic() - begun
        self._wait_until_alone()
        changes = max(path.stat().st_size for path in self.tally.iterdir())
        shutil.rmtree(self.tally)
        return Usual(seconds, changes)

    def _until_it_ends(self, arguments, usual, witness, chance, told, wanted):
        lives, status = 0, None
        while status != 0:
            left = wanted - told.kills.total()
            moment = draw(chance, usual, fresh=lives == 0) if left > 0 else NEVER
            alone = not self._others()
            command = self._start(arguments, **moment.of_itself)
            died = []
            status = self._disturb(command, moment, usual, chance, died, min(left, IN_A_LIFE))
            self._judge(status, died, alone)
            told.kills.update(died)
            lives += 1
            self._look(witness, chance, again=status != 0)
        told.lives += lives
        told.most = max(told.most, lives)

    def _disturb(self, command, moment, usual, chance, died, most):
        """Kill at a moment, if the command lives so long, and return its status; `died` gets what was killed."""
        status = self.warm.status(moment.seconds if moment.seconds is not None else LONG)
        while status is None:
            assert moment.seconds is not None, f"it has not ended in {LONG} s: {self.output.read_text()}"
            kind, process = victim(chance, command, self._others())
            if kill(process):
                died.append(f"{moment.kind}: {kind}")
            more = kind != "the command" and len(died) < most
            status = self.warm.status(chance.uniform(0, usual.seconds) if more else LONG)
            assert more or status is not None, f"it has not ended in {LONG} s: {self.output.read_text()}"
        if moment.change is not None and (status == -9 or self.mark.exists() and self.mark.stat().st_size):
            died.append(f"{moment.kind}: {'the command' if status == -9 else 'one that it had started'}")
        return status

    def _judge(self, status, died, alone):
        """See that a life ended as it should."""
        told = self.output.read_text()
        assert "Traceback" not in told, told
        own = any(victim.endswith("the command") for victim in died)
        if status == -9:
            assert own
            return
        survived = died and all(victim.partition(": ")[2] in self.case.survives for victim in died)
        excused = died and not survived or (BUSY in told and not alone)
        assert status == 0 or (status == 1 and excused), f"status {status} after {died}:\n{told}"

    def _look(self, witness, chance, *, again):
        """Look at what is there; half the times while others go on, if the kill has left nothing for them to sweep."""
        if not again or self.case.alone or witness.leftovers() or chance.random() < 0.5:
            self._wait_until_alone()
            witness.age()
        witness.look()
        self.case.check(self.place)

    def _start(self, arguments, **plan):
        self.mark.unlink(missing_ok=True)
        told = {PLAN: json.dumps({"folder": str(self.place), "mark": str(self.mark)} | plan), MARK: str(self.place)}
        command = self.warm.start(
            arguments=list(arguments),
            directory=str(self.place),
            environment=dict(self.case.environment) | told,
            output=str(self.output),
        )
        self.commands.append(command)
        return command

    def _others(self):
        return processes(self.place, self.commands)

    def _wait_until_alone(self, slow=None):
        """Wait until all that commands had started is gone, but for the slow; what stays is ended, and is a fault."""
        slow, until = self.case.slow if slow is None else slow, time.monotonic() + GOING
        while (left := [p for p in self._others() if not p.line.startswith(slow)]) and time.monotonic() < until:
            time.sleep(0.01)
        for process in left:
            kill(process.number)
        assert not left, f"still there after {GOING} s: {[process.line for process in left]}"
