"""What is known about each dataset before its file is read, as data.

A dataset of one's own is the same record, read from a small YAML file:

    score_range: 3                  # scores lie in [-3, 3]; the one key that has no default
    metrics: mosi                   # metric set, mosi or sims
    modalities: [t, v, a]           # which of text, vision, audio may be used
    unimodal_labels: false          # whether there are labels of each modality alone
    text_encoder: bert-base-uncased # a Hugging Face name or a local folder
    recipes: default                # folder of recipes
    split_sizes: {train: 1284, valid: 229, test: 686}
    emotions: [joy, sadness, anger, surprise, disgust, fear] # what the columns of `emotions` are
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dmmsa_cli.data.classes import NATIVE_RANGE
from dmmsa_cli.errors import InvalidSpec
from dmmsa_cli.plain import from_yaml, shown, shown_key
from dmmsa_cli.recipe import LARGEST

MODALITIES = ("t", "v", "a")
MODALITY_NAMES = {"t": "text", "v": "vision", "a": "audio"}
SPLITS = ("train", "valid", "test")
EMOTIONS = ("joy", "sadness", "anger", "surprise", "disgust", "fear")  # the six of CMU-MOSEI and MELD

DRIVE_FOLDER = "1A2S4pqCHryGmiqnNSPLv7rEg63WvjCSk"


@dataclass(frozen=True)
class Source:
    """Where the field publishes a file.

    Attributes:
        path: path inside the public Google Drive folder `DRIVE_FOLDER`.
        sha256: hash of the file, hexadecimal.
    """

    path: str
    sha256: str


@dataclass(frozen=True)
class DatasetSpec:
    """What is known about a dataset before its file is read.

    Attributes:
        name: what the dataset is called on the command line.
        score_range: R; scores lie in [-R, R].
        metrics: metric set, a key of `classes.CLASS_COUNTS`.
        modalities: which of `MODALITIES` may be used; the store says which of them there are.
        unimodal_labels: whether labels of each modality alone may be used; the store says if there are any.
        text_encoder: Hugging Face name or local folder of the pretrained text encoder.
        recipes: folder of the recipes for this dataset.
        split_sizes: rows by split as published, None where nothing is published.
        source: where the file is published, None where it is not.
        synthetic: whether the content is made up.
        aligned: whether frame and token number n of a clip belong to the same word.
        emotions: names of the columns of a file's `emotions`, where it has them; the store says if it does.
    """

    name: str
    score_range: float
    metrics: str = "mosi"
    modalities: tuple[str, ...] = MODALITIES
    unimodal_labels: bool = False
    text_encoder: str = "bert-base-uncased"
    recipes: str = "default"
    split_sizes: Mapping[str, int] | None = None
    source: Source | None = None
    synthetic: bool = False
    aligned: bool = False
    emotions: tuple[str, ...] = EMOTIONS

    def __post_init__(self) -> None:
        if not 0 < self.score_range < math.inf:
            raise ValueError(f"score_range: {self.score_range} is no number above 0")
        if self.metrics not in NATIVE_RANGE:
            raise ValueError(f"metrics: {shown(self.metrics)} is none of {', '.join(NATIVE_RANGE)}")
        if not self.modalities or not set(self.modalities) <= set(MODALITIES):
            raise ValueError(f"modalities: {shown(self.modalities)} are not some of {', '.join(MODALITIES)}")
        if self.split_sizes is not None and set(self.split_sizes) != set(SPLITS):
            raise ValueError(f"split_sizes: not a number for each of {', '.join(SPLITS)}")
        if not _are_names(self.emotions):
            raise ValueError(f"emotions: {shown(self.emotions)} are not words, each another")


def _are_names(values: Any) -> bool:  # noqa: ANN401
    """Whether these are words, each another: they become names of columns and of metrics."""
    words = all(isinstance(value, str) and re.fullmatch(r"[^\W\d_][\w-]*", value) for value in values)
    return words and bool(values) and len(set(values)) == len(values) and "emotions" not in values  # the mean's name


_MOSI = DatasetSpec(
    name="mosi",
    score_range=3.0,
    recipes="mosi",
    split_sizes={"train": 1284, "valid": 229, "test": 686},
    source=Source(
        "MOSI/Processed/unaligned_50.pkl", "78e0f8b5ef8ff71558e7307848fc1fa929ecb078203f565ab22b9daab2e02524"
    ),
)
_MOSEI = DatasetSpec(
    name="mosei",
    score_range=3.0,
    recipes="mosei",
    split_sizes={"train": 16326, "valid": 1871, "test": 4659},
    source=Source(
        "MOSEI/Processed/unaligned_50.pkl", "ad8b23d50557045e7d47959ce6c5b955d8d983f2979c7d9b7b9226f6dd6fec1f"
    ),
)
_SIMS = DatasetSpec(
    name="sims",
    score_range=1.0,
    metrics="sims",
    unimodal_labels=True,
    text_encoder="bert-base-chinese",
    recipes="sims",
    split_sizes={"train": 1368, "valid": 456, "test": 457},
    source=Source(
        "SIMS/Processed/unaligned_39.pkl", "c9e20c13ec0454d98bb9c1e520e490c75146bfa2dfeeea78d84de047dbdd442f"
    ),
)
_MELD = DatasetSpec(
    name="meld",
    score_range=1.0,
    metrics="sims",  # whose classes are the nearest to its three: negative, neutral, positive
    recipes="default",
    split_sizes={"train": 9989, "valid": 1109, "test": 2610},
)
_TOY = DatasetSpec(
    name="toy",
    score_range=3.0,
    unimodal_labels=True,
    text_encoder="tiny",
    recipes="toy",
    split_sizes={"train": 600, "valid": 150, "test": 300},
    synthetic=True,
)

ALIGNED = "-aligned"  # what is added to a dataset's name for the variant aligned to the words


def _aligned(spec: DatasetSpec, path: str, sha256: str) -> DatasetSpec:
    return replace(spec, name=spec.name + ALIGNED, source=Source(path, sha256), aligned=True)


_MOSI_ALIGNED = _aligned(
    _MOSI,
    "MOSI/Processed/aligned_50.pkl",
    "d3994fd25681f9c7ad6e9c6596a6fe9b4beb85ff7d478ba978b124139002e5f9",
)
_MOSEI_ALIGNED = _aligned(
    _MOSEI,
    "MOSEI/Processed/aligned_50.pkl",
    "45eccfb748a87c80ecab9bfac29582e7b1466bf6605ff29d3b338a75120bf791",
)

SPECS: dict[str, DatasetSpec] = {
    spec.name: spec for spec in (_MOSI, _MOSI_ALIGNED, _MOSEI, _MOSEI_ALIGNED, _SIMS, _MELD, _TOY)
}


def to_dict(spec: DatasetSpec) -> dict[str, Any]:
    """Turn a spec into what JSON can hold."""
    return asdict(spec) | {
        "modalities": list(spec.modalities),
        "emotions": list(spec.emotions),
        "split_sizes": None if spec.split_sizes is None else dict(spec.split_sizes),
    }


def _score_range(value: Any) -> float:  # noqa: ANN401  (from here down: whatever YAML holds)
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # PyYAML reads 1e1 as a string
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError("must be a number above 0")
    return number


def _metrics(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str) or value not in NATIVE_RANGE:
        raise ValueError(f"must be one of {', '.join(NATIVE_RANGE)}")
    return value


def _modalities(value: Any) -> tuple[str, ...]:  # noqa: ANN401
    letters = list(value) if isinstance(value, list | str) else []
    if not letters or any(letter not in MODALITIES for letter in letters):
        raise ValueError(f"must be a list of some of {', '.join(MODALITIES)}")
    return tuple(letter for letter in MODALITIES if letter in letters)


def _flag(value: Any) -> bool:  # noqa: ANN401
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _text(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a name")
    return value.strip()


def _split_sizes(value: Any) -> dict[str, int] | None:  # noqa: ANN401
    if value is None:
        return None
    fits = isinstance(value, dict) and set(value) == set(SPLITS)
    if not fits or any(type(size) is not int or not 1 <= size <= LARGEST for size in value.values()):
        raise ValueError(f"must give a number of rows for each of {', '.join(SPLITS)}")
    return {split: value[split] for split in SPLITS}


def _emotions(value: Any) -> tuple[str, ...]:  # noqa: ANN401
    if not isinstance(value, list) or not _are_names(value):
        raise ValueError("must be a list of words, each another")
    return tuple(value)


_READERS: dict[str, Callable[[Any], Any]] = {
    "score_range": _score_range,
    "metrics": _metrics,
    "modalities": _modalities,
    "unimodal_labels": _flag,
    "text_encoder": _text,
    "recipes": _text,
    "split_sizes": _split_sizes,
    "emotions": _emotions,
}


def load_spec(path: Path, name: str) -> DatasetSpec:
    """Read the description of a dataset of one's own; the module's docstring shows one.

    Args:
        path: a YAML file.
        name: what the dataset is called on the command line.

    Raises:
        InvalidSpec: the file can't be read, or breaks the form; every fault is in the message.
    """
    values = _read_mapping(path)
    unknown = [shown_key(key) for key in values if key not in _READERS]
    faults = [f"{key}: unknown key; the keys are {', '.join(_READERS)}" for key in unknown]
    if "score_range" not in values:
        faults.append("score_range: missing; it is R where scores lie in [-R, R]")
    read: dict[str, Any] = {}
    for key in _READERS.keys() & values.keys():
        try:
            read[key] = _READERS[key](values[key])
        except ValueError as error:
            faults.append(f"{key}: {error}, and is {shown(values[key])}")
    if faults:
        listed = "\n".join(f"  {fault}" for fault in sorted(faults))
        raise InvalidSpec(f"{path} does not describe a dataset:\n{listed}", "Correct these keys and run again.")
    return DatasetSpec(name=name, **read)


def _read_mapping(path: Path) -> dict[Any, Any]:
    try:
        values = from_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidSpec(f"{path} can't be read as YAML: {error}", "Give --spec a small YAML file.") from error
    if not isinstance(values, dict):
        raise InvalidSpec(f"{path} holds no keys.", "It needs at least `score_range: R`.")
    return values
