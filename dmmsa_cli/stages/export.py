"""`dmmsa export`: a run with all that its predictions stand on, in one folder that can be handed on.

    README.md            the card, as the Hugging Face hub has them: what it is, how well it does, whose terms hold
    export.json          marks the folder as one of these
    recipe.yaml, environment.json, manifest.json, summary.json, metrics.json, predictions-valid.csv    of the run
    weights.safetensors  of the fused model
    text/                configuration and tokenizer of a text encoder that was trained along
    encoders/            of each pretrained encoder the weights, and what they are of
    encoders/base-text/  a text encoder that nothing was trained of

Nothing in it executes code when it is read. It holds neither a path of the machine that it comes from nor a transcript.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from dmmsa_cli import __version__
from dmmsa_cli.commands import DATA
from dmmsa_cli.data.manifest import MANIFEST
from dmmsa_cli.data.prediction_table import read_predictions, write_predictions
from dmmsa_cli.errors import InvalidInput
from dmmsa_cli.experiments.base_text import KEPT_BASE, base_text
from dmmsa_cli.experiments.build import Fused
from dmmsa_cli.experiments.reopen import EXPORT, not_finished, reopen
from dmmsa_cli.experiments.validation import KEPT_VALIDATION
from dmmsa_cli.files import PARTIAL, exclusive, remove_stale, writable, write_json, write_text
from dmmsa_cli.layers.pretrained import copy_encoder
from dmmsa_cli.plain import read_json, to_yaml
from dmmsa_cli.training.run import RunFolder

FORMAT = 1
_ENCODER = ("encoder", "text_encoder")  # keys of what a folder of one's own may stand behind

_OF_RUN = ("summary.json", "weights.safetensors")
_IF_THERE = ("metrics.json", KEPT_VALIDATION)
_OF_ENCODER = ("recipe.yaml", "summary.json", "weights.safetensors")


@dataclass(frozen=True)
class ExportReport:
    """What was exported."""

    folder: Path
    bytes: int
    """Of all files in it."""
    lacking: tuple[str, ...]
    """Files that the run does not have, and that `predict` or the card could use."""


def export(
    run: RunFolder, out: Path, *, data_dir: Path = DATA, card: Callable[[Fused], str], force: bool = False
) -> ExportReport:
    """Write a finished run and all that it stands on into a folder, by rename.

    Args:
        run: the finished run.
        out: the folder, which must not be there.
        data_dir: where stores lie; a run that kept what was known of its dataset needs none.
        card: writes its card (`reporting/card.py`).
        force: replace an earlier export.

    Raises:
        RunMissing, RunMismatch: the run can't be used.
        InvalidInput: the folder is there, or can't be written.
        DiskFull: there is no room.
    """
    if not run.finished:
        raise not_finished(run)
    with exclusive(run.path, reading=True):  # no `fuse --force` replaces the weights meanwhile
        fused = reopen(run, data_dir=data_dir, device="cpu", rows=False)
        fused.finished()  # weights that do not fit are no model to hand on
        with _new_folder(out, force=force) as folder:
            _copy_run(fused, folder)
            _copy_encoders(fused, folder)
            write_json(folder / EXPORT, {"format": FORMAT, "dmmsa": __version__})
            write_text(folder / "README.md", card(fused))
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    lacking = tuple(name for name in _IF_THERE if not (run.path / name).exists())
    return ExportReport(out, size, lacking)


@contextmanager
def _new_folder(out: Path, *, force: bool) -> Iterator[Path]:
    """Yield a folder to fill, which takes its place once it is whole."""
    if out.exists() and not (force and (out / EXPORT).exists()):
        what = "holds no export that --force could replace" if force else "is there already"
        raise InvalidInput(f"{out} {what}.", "Give another --out, or --force to replace an earlier export.")
    if not writable(out.parent):
        raise InvalidInput(f"{out.parent} can't be written.", "Give another --out.")
    partial = out.with_name(f"{out.name}.{secrets.token_hex(4)}{PARTIAL}")
    remove_stale(out.parent, out.name)
    partial.mkdir(parents=True)
    try:
        yield partial
        if out.exists():
            shutil.rmtree(out)
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy_run(fused: Fused, folder: Path) -> None:
    run = fused.encoders.run
    for name in _OF_RUN:
        shutil.copyfile(run.path / name, folder / name)
    write_text(folder / "recipe.yaml", to_yaml(_without_places(run.recipe)))
    if (run.path / "metrics.json").exists():
        shutil.copyfile(run.path / "metrics.json", folder / "metrics.json")
    if (run.path / KEPT_VALIDATION).exists():  # whose errors are needed, and not what people said
        write_predictions(folder / KEPT_VALIDATION, read_predictions(run.path / KEPT_VALIDATION).assign(text=""))
    write_json(folder / "environment.json", _without_places(run.environment))
    write_json(folder / MANIFEST, _without_places(fused.experiment.store.manifest.to_json()))
    if (run.path / "text").exists():
        shutil.copytree(run.path / "text", folder / "text", copy_function=shutil.copyfile)


def _copy_encoders(fused: Fused, folder: Path) -> None:
    encoders = fused.encoders
    for encoder in encoders.pretrained.values():
        into = folder / "encoders" / encoder.path.name
        into.mkdir(parents=True)
        for name in _OF_ENCODER:
            shutil.copyfile(encoder.path / name, into / name)
        write_json(into / "environment.json", _without_places(read_json(encoder.path / "environment.json")))
        if (encoder.path / "text").exists():
            shutil.copytree(encoder.path / "text", into / "text", copy_function=shutil.copyfile)
    experiment = encoders.experiment
    if experiment.has_text_encoder and "t" not in encoders.pretrained and not experiment.trains_text:
        copy_encoder(base_text(experiment, encoders.seed), folder / "encoders" / KEPT_BASE)


_OF_THE_MACHINE = ("command", "directory", "data_dir", "recipe_file", "mtime_ns")


def _without_places(facts: dict[str, Any]) -> dict[str, Any]:
    """Leave out where things lay on the machine that made them, and what was typed there."""
    kept = {key: value for key, value in facts.items() if key not in _OF_THE_MACHINE}
    for key, value in kept.items():
        if isinstance(value, dict):
            kept[key] = _without_places(value)
        elif isinstance(value, list):
            kept[key] = [_without_places(one) if isinstance(one, dict) else one for one in value]
        elif isinstance(value, str) and (key == "path" or (key in _ENCODER and PurePath(value).is_absolute())):
            kept[key] = PurePath(value).name
    return kept
