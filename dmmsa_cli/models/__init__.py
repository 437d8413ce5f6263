"""The models: one file each, one line each in this table."""

from dmmsa_cli.models.base import Model
from dmmsa_cli.models.feature_decomposition import FeatureDecomposition

MODELS: dict[str, type[Model]] = {
    "feature_decomposition": FeatureDecomposition,
}
