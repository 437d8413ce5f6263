"""The objectives: one file each, one line each in this table."""

from dmmsa_cli.objectives.base import Objective
from dmmsa_cli.objectives.confede import Confede
from dmmsa_cli.objectives.dmmsa import Dmmsa
from dmmsa_cli.objectives.misa import MisaObjective
from dmmsa_cli.objectives.mmiln import MmilnObjective
from dmmsa_cli.objectives.multitask import Multitask
from dmmsa_cli.objectives.regression import Regression
from dmmsa_cli.objectives.self_mm import SelfMmObjective

OBJECTIVES: dict[str, type[Objective]] = {
    "dmmsa": Dmmsa,
    "confede": Confede,
    "misa": MisaObjective,
    "multitask": Multitask,
    "self_mm": SelfMmObjective,
    "mmiln": MmilnObjective,
    "regression": Regression,
}
