"""What a store holds, but for the rows themselves: the manifest beside them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dmmsa_cli.commands import command
from dmmsa_cli.data.specs import ALIGNED, MODALITIES, SPECS, SPLITS, DatasetSpec, to_dict
from dmmsa_cli.data.videos import FORM_NAMES
from dmmsa_cli.errors import DatasetMissing, InvalidRecipe, StoreMismatch
from dmmsa_cli.plain import read_json, shown
from dmmsa_cli.recipe import parse

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
VIDEO_FORM = "video_form"  # among the notes: in which form ids name videos, or none


@dataclass(frozen=True)
class Manifest:
    """What a store holds; everything but the rows themselves.

    Attributes:
        schema_version: version of the layout of the files.
        spec: what was known of the dataset before its file was read; its name is that of the store's folder.
        source: where the file came from, its `sha256`, and `published`: whether it is the field's own.
        data_hash: SHA-256 over the content of the splits: same content, same hash.
        modalities: which of `t`, `v`, `a` there are.
        transcripts: whether there are words (without them, `t` means the pickled BERT features).
        widths: feature width by modality; `t` only where there are pickled BERT features.
        longest: longest sequence over all splits by modality, in frames.
        rows: rows by split.
        unimodal_labels: whether there are labels of each modality alone.
        emotions: names of the emotions that clips are labelled with; none where they are not.
        emotions_hash: SHA-256 over these labels, which `data_hash` leaves out: whatever does not look at them stays
            what it was when they come or change.
        pseudo_emotions: where they were taken from, where nobody gave them; only the training split has such.
        repairs: how often what was repaired.
        files: file name by split.
        sizes: bytes of that file by split.
        notes: other facts, each under its own key (toy: its noise and the best MAE that can be reached).
    """

    schema_version: int
    spec: DatasetSpec
    source: dict[str, Any]
    data_hash: str
    modalities: tuple[str, ...]
    transcripts: bool
    widths: dict[str, int]
    longest: dict[str, int]
    rows: dict[str, int]
    unimodal_labels: bool
    repairs: dict[str, int]
    files: dict[str, str]
    sizes: dict[str, int]
    notes: dict[str, Any] = field(default_factory=dict)
    emotions: tuple[str, ...] = ()
    emotions_hash: str | None = None
    pseudo_emotions: dict[str, Any] | None = None

    def emotions_in(self, split: str) -> int:
        """How many emotions the clips of a split are labelled with."""
        return len(self.emotions) if split == "train" or self.pseudo_emotions is None else 0

    def to_json(self) -> dict[str, Any]:
        """Turn into what JSON can hold."""
        tuples = {"modalities": list(self.modalities), "emotions": list(self.emotions)}
        return asdict(self) | {"spec": to_dict(self.spec), **tuples}

    def __post_init__(self) -> None:
        faults = [what for what, holds in self._rules() if not holds]
        if faults:
            raise ValueError("; ".join(faults))

    def _is_origin(self, record: dict[str, Any] | None) -> bool:
        if record is None:
            return True
        named = all(isinstance(record.get(key), str) for key in ("dataset", "encoder"))
        return named and bool(self.emotions) and all(isinstance(fact, str | int | None) for fact in record.values())

    def _rules(self) -> Iterator[tuple[str, bool]]:
        """What would be wrong, and whether it is right."""
        sequences, words = set(self.widths), {"t"} if self.transcripts else set()
        yield "data_hash: no SHA-256", bool(re.fullmatch(r"[0-9a-f]{64}", self.data_hash))
        yield (
            f"modalities: not those of {', '.join(MODALITIES)} that have a width or are words",
            bool(self.modalities)
            and self.modalities == tuple(m for m in MODALITIES if m in self.modalities)
            and sequences <= set(self.modalities) <= sequences | words,
        )
        yield "widths: one is no width of an Arrow list", all(1 <= width < 2**31 for width in self.widths.values())
        yield "longest: not a length for each width", _counts(self.longest, sequences, 0)
        yield f"rows: not a number for each of {', '.join(SPLITS)}", _counts(self.rows, SPLITS, 1)
        yield f"sizes: not a number for each of {', '.join(SPLITS)}", _counts(self.sizes, SPLITS, 1)
        yield (
            f"files: not the name of an Arrow file for each of {', '.join(SPLITS)}",
            set(self.files) == set(SPLITS)
            and all(re.fullmatch(r"[\w-]+\.arrow", name) for name in self.files.values()),
        )
        yield "emotions: not with a hash, or without names", bool(self.emotions) == (self.emotions_hash is not None)
        yield "pseudo_emotions: no record of a dataset and an encoder", self._is_origin(self.pseudo_emotions)
        yield "source: no plain record", all(isinstance(fact, str | int | None) for fact in self.source.values())
        form = self.notes.get(VIDEO_FORM)
        yield f"notes.{VIDEO_FORM}: no form of ids", form is None or form in FORM_NAMES
        warnings = self.notes.get("warnings", [])
        yield "notes.warnings: no sentences", isinstance(warnings, list) and all(isinstance(w, str) for w in warnings)
        for key in ("best_reachable_mae", "mean_predictor_mae"):
            yield f"notes.{key}: no numbers by split", _errors_by_split(self.notes.get(key, {}))


def _counts(numbers: Mapping[str, int], keys: Iterable[str], least: int) -> bool:
    return set(numbers) == set(keys) and all(number >= least for number in numbers.values())


def _errors_by_split(values: object) -> bool:
    return isinstance(values, dict) and all(
        split in SPLITS and isinstance(value, float) and math.isfinite(value) for split, value in values.items()
    )


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of the store in a folder.

    A copy or a renamed folder is a dataset of its own: runs on it lie below that name.

    Raises:
        DatasetMissing: nothing has been prepared there.
        StoreMismatch: written under another schema version, or damaged.
    """
    path = folder / MANIFEST
    try:
        values = read_json(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise not_prepared(folder) from error
    except ValueError as error:
        raise damaged(path, str(error)) from error
    found = values.get("schema_version") if isinstance(values, dict) else None
    if found != SCHEMA_VERSION:
        raise StoreMismatch(
            f"The store {folder} has schema version {shown(found)}; this dmmsa reads version {SCHEMA_VERSION}.",
            f"Write it anew: `{prepare_command(folder.name, force=True)}`.",
        )
    try:
        manifest = parse(Manifest, values, {}, MANIFEST)
    except InvalidRecipe as error:
        raise damaged(path, error.what) from error
    return replace(manifest, spec=replace(manifest.spec, name=folder.name))


def not_prepared(folder: Path) -> DatasetMissing:
    """Return the error for a store that is not there."""
    return DatasetMissing(
        f"Dataset {folder.name} is not prepared: there is no {folder / MANIFEST}.",
        f"Prepare it: `{prepare_command(folder.name)}`; or point --data-dir at the folder that holds it.",
    )


def damaged(path: Path, why: str) -> StoreMismatch:
    """Return the error for a damaged file of a store."""
    folder = path.parent
    anew = prepare_command(folder.name, force=True) if path.name == MANIFEST else _anew(folder)
    return StoreMismatch(f"{path} is damaged: {why}.", f"Write it anew: `{anew}`.")


def prepare_command(name: str, **options: object) -> str:
    """Return the command that prepares a dataset; one of the user's own needs its file and its description."""
    if name in SPECS:
        return command("prepare", name.removesuffix(ALIGNED), aligned=name.endswith(ALIGNED), **options)
    return command("prepare", name, **{"from": "FILE", "spec": "FILE.yaml"} | options)


def _anew(folder: Path) -> str:
    """Return the command that writes a store anew from its source, which its manifest tells."""
    try:
        source = _options(read_manifest(folder).source)
    except (DatasetMissing, StoreMismatch):
        source = {}
    return prepare_command(folder.name, **source, force=True)


def _options(source: Mapping[str, Any]) -> dict[str, object]:
    """Return the options that lead to a store's source again; its description is in the store."""
    path, url = source.get("path"), source.get("url")
    if path and Path(path).is_file():
        place = path
    elif url and "inside" not in source:
        place = url
    else:
        return {}
    return {"from": place, "spec": None} | {key: source.get(key) for key in ("split", "by", "split_seed")}
