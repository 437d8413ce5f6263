"""The models: one file each, one line each in this table."""

from dmmsa_cli.models.base import Model
from dmmsa_cli.models.feature_decomposition import FeatureDecomposition
from dmmsa_cli.models.lf_dnn import LfDnn
from dmmsa_cli.models.lmf import Lmf
from dmmsa_cli.models.self_mm import SelfMm
from dmmsa_cli.models.tfn import Tfn

MODELS: dict[str, type[Model]] = {
    "feature_decomposition": FeatureDecomposition,
    "lf_dnn": LfDnn,
    "tfn": Tfn,
    "lmf": Lmf,
    "self_mm": SelfMm,
}
