"""The objectives: one file each, one line each in this table."""

from dmmsa_cli.objectives.dmmsa import Dmmsa
from dmmsa_cli.objectives.regression import Regression

OBJECTIVES: dict[str, type[Dmmsa] | type[Regression]] = {
    "dmmsa": Dmmsa,
    "regression": Regression,
}
