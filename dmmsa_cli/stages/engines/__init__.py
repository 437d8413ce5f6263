"""Engines run tasks: one after the other, side by side on a machine, or on many. They know no study and no tuning.

tasks.py          what a task is, what it tells, and what became of it
queue.py          which task may begin next
in_turn.py        in this process
side_by_side.py   each in a process of its own, on a GPU of its own where there are some (gpus.py)
cluster.py        on the machines of a Ray cluster (connection.py; machines.py: what each has, and what a run gets)
opening.py        which of these, and with what for each task
"""

from dmmsa_cli.stages.engines.in_turn import InTurn
from dmmsa_cli.stages.engines.opening import Opened, Wish, open_engine
from dmmsa_cli.stages.engines.side_by_side import SideBySide, Slot
from dmmsa_cli.stages.engines.tasks import Engine, Event, Outcome, Postponed, Remark, Step, Task, Tell, attempt

__all__ = [
    "Engine",
    "Event",
    "InTurn",
    "Opened",
    "Outcome",
    "Postponed",
    "Remark",
    "SideBySide",
    "Slot",
    "Step",
    "Task",
    "Tell",
    "Wish",
    "attempt",
    "open_engine",
]
