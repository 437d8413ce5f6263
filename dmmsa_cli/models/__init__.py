"""The models: one file each, one line each in this table."""

from dmmsa_cli.models.base import Model
from dmmsa_cli.models.feature_decomposition import FeatureDecomposition
from dmmsa_cli.models.lf_dnn import LfDnn
from dmmsa_cli.models.lmf import Lmf
from dmmsa_cli.models.mag_bert import MagBert
from dmmsa_cli.models.mean_pooling import MeanPooling
from dmmsa_cli.models.mfn import Mfn
from dmmsa_cli.models.misa import Misa
from dmmsa_cli.models.mmiln import Mmiln
from dmmsa_cli.models.mmolre import Mmolre
from dmmsa_cli.models.mult import Mult
from dmmsa_cli.models.self_mm import SelfMm
from dmmsa_cli.models.sequential_mtl import SequentialMtl
from dmmsa_cli.models.tfn import Tfn

MODELS: dict[str, type[Model]] = {
    "feature_decomposition": FeatureDecomposition,
    "lf_dnn": LfDnn,
    "tfn": Tfn,
    "lmf": Lmf,
    "mfn": Mfn,
    "mult": Mult,
    "misa": Misa,
    "mag_bert": MagBert,
    "self_mm": SelfMm,
    "mmiln": Mmiln,
    "sequential_mtl": SequentialMtl,
    "mmolre": Mmolre,
    "mean_pooling": MeanPooling,
}
