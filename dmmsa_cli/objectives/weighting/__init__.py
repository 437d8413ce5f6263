"""Rules that weigh the tasks of a multi-task objective: one line each in this table."""

from dmmsa_cli.objectives.weighting.base import Weighting
from dmmsa_cli.objectives.weighting.by_epoch import DynamicWeightAverage, EqualWeights, FixedWeights
from dmmsa_cli.objectives.weighting.by_gradient import CaGrad, GradNorm, Mgda, PcGrad, UpGrad
from dmmsa_cli.objectives.weighting.by_step import GeometricMean, ImtlL, RandomWeights, UncertaintyWeights
from dmmsa_cli.objectives.weighting.gdwg import GlobalDynamicWeights

WEIGHTINGS: dict[str, type[Weighting]] = {
    "gdwg": GlobalDynamicWeights,
    "equal": EqualWeights,
    "fixed": FixedWeights,
    "dwa": DynamicWeightAverage,
    "uw": UncertaintyWeights,
    "rlw": RandomWeights,
    "imtl_l": ImtlL,
    "gls": GeometricMean,
    "gradnorm": GradNorm,
    "upgrad": UpGrad,
    "pcgrad": PcGrad,
    "mgda": Mgda,
    "cagrad": CaGrad,
}
