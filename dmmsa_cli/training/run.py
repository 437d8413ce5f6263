"""A run's folder: readable by a person, resumable after a kill.

recipe.yaml            the resolved recipe
environment.json       versions, threads, precision, device, data hash, encoders
manifest.json          what was known of the data
metrics.jsonl          a line an epoch: losses, weights, validation metrics, seconds
weights.safetensors    the best epoch's weights
summary.json           best epoch and its validation metrics; it is there when the run has finished
checkpoint.safetensors the whole state of the loop, while the run has not finished
diverged.json          where training came to an end because a loss was no number any more: the epoch, and what it was
"""

from __future__ import annotations

import json
import math
import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dmmsa_cli.commands import FOLDERS, again, command, going_on
from dmmsa_cli.errors import RunMismatch, RunMissing, is_out_of_memory
from dmmsa_cli.files import atomic_path, content_hash, remove_partial, write_json, write_text
from dmmsa_cli.plain import from_json, from_yaml, read_json

# What environment.json of every run of a fused model holds, beside versions and machine.
FACTS = (
    *("dataset", "data_hash", "modalities", "recipe", "variant", "seed", "from_scratch", "precision"),
    *("encoders", "encoder_hashes", "base_text"),
)
MADE_FROM = "made_from"  # key of metrics.json: by split, the hashes of the weights and data that were measured
STATE_FILES = (
    "summary.json",
    "manifest.json",
    "checkpoint.safetensors",
    "diverged.json",
    "weights.safetensors",
    "metrics.jsonl",
    "metrics.json",
    "features.json",
    "missing.json",
)


@dataclass(frozen=True)
class Checkpoint:
    """The state of an unfinished run."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


@dataclass(frozen=True)
class RunFolder:
    """One run's folder."""

    path: Path

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return (self.path / "summary.json").exists()

    @property
    def started(self) -> bool:
        """Whether there is a run at all, finished or not."""
        return (self.path / "recipe.yaml").exists()

    @property
    def diverged(self) -> str:
        """What became infinite where training diverged; nothing where it did not."""
        path = self.path / "diverged.json"
        if self.finished or not path.exists():
            return ""
        try:
            return str(read_json(path)["what"])
        except (OSError, ValueError, LookupError, TypeError):
            return f"{path} is damaged."

    @property
    def recipe(self) -> dict[str, Any]:
        """The resolved recipe, as plain values.

        Raises:
            RunMissing: there is no run here.
            RunMismatch: recipe.yaml is damaged.
        """
        try:
            values = from_yaml((self.path / "recipe.yaml").read_text(encoding="utf-8"), aliases=False)
        except OSError as error:
            what = f"There is no run in {self.path}: recipe.yaml is missing."
            if self.finished:
                raise self._lacking(what) from error
            raise RunMissing(what, f"Train one: `{command('fuse', dataset='NAME')}`.") from error
        except ValueError as error:
            raise self._wrong(f"{self.path / 'recipe.yaml'} is damaged: {error}") from error
        if not isinstance(values, dict):
            raise self._wrong(f"{self.path / 'recipe.yaml'} is damaged: it holds no mapping.")
        return values

    @property
    def environment(self) -> dict[str, Any]:
        """What the run stood on.

        Raises:
            RunMismatch: environment.json lacks what every run of a fused model has.
        """
        facts = self._read("environment.json")
        missing = [key for key in FACTS if key not in facts]
        if missing:
            raise self._wrong(f"{self.path / 'environment.json'} is damaged: it lacks {', '.join(missing)}.")
        return facts

    @property
    def summary(self) -> dict[str, Any]:
        """Best epoch, its validation metrics, and how long the run took.

        Raises:
            RunMismatch: it is damaged.
        """
        value = self._read("summary.json")
        if not isinstance(value.get("validation"), dict) or not _is_number(value["validation"].get("mae")):
            raise self._wrong(f"{self.path / 'summary.json'} is damaged: it lacks the validation MAE.")
        return value

    def _read(self, name: str) -> dict[str, Any]:
        try:
            value = read_json(self.path / name)
        except OSError as error:
            raise self._lacking(f"{self.path} holds no finished run: {name} is missing.") from error
        except ValueError as error:
            raise self._wrong(f"{self.path / name} is damaged: {error}") from error
        if not isinstance(value, dict):
            raise self._wrong(f"{self.path / name} is damaged: it holds no object.")
        return value

    def _lacking(self, what: str) -> RunMissing:
        return RunMissing(what, trains_again(self.path) if self.finished else goes_on(self.path))

    def _wrong(self, what: str) -> RunMismatch:
        return RunMismatch(what, trains_again(self.path))

    def begin(self, recipe: str, environment: dict[str, Any]) -> None:
        """Write what is known before the first epoch; recipe.yaml comes last, since it marks a started run."""
        (self.path / "diverged.json").unlink(missing_ok=True)
        write_json(self.path / "environment.json", environment)
        write_text(self.path / "recipe.yaml", recipe)

    def clear(self) -> None:
        """Remove the state of a former run, the mark of a finished one first."""
        for name in STATE_FILES:
            (self.path / name).unlink(missing_ok=True)
        for predictions in self.path.glob("predictions*.csv"):
            predictions.unlink()
        shutil.rmtree(self.path / "text", ignore_errors=True)
        (self.path / "recipe.yaml").unlink(missing_ok=True)

    def save_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Keep these weights, a `state_dict`, as the run's best."""
        save_tensors(self.path / "weights.safetensors", dict(weights), {})

    def weights_hash(self) -> str:
        """Return the SHA-256 of the run's weights.

        Raises:
            RunMissing: there are none.
        """
        path = self.path / "weights.safetensors"
        if not path.exists():
            raise self._lacking(f"{self.path} holds no weights.")
        return content_hash(path)

    def load_weights(self, model: nn.Module) -> None:
        """Load the run's best weights.

        Raises:
            RunMissing: there are none.
            RunMismatch: they are another network's, or damaged.
        """
        path = self.path / "weights.safetensors"
        if not path.exists():
            raise self._lacking(f"{self.path} holds no weights.")
        try:
            model.load_state_dict(load_file(path))
        except (SafetensorError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            raise self._wrong(f"{path} does not fit the run's recipe: {_first_lines(error)}") from error

    def save_checkpoint(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Write the whole state of the loop, by rename."""
        save_tensors(self.path / "checkpoint.safetensors", tensors, facts)

    def load_checkpoint(self) -> Checkpoint | None:
        """Return the state of the unfinished run, or none where it was killed before the first.

        Raises:
            RunMismatch: the file is damaged.
        """
        path = self.path / "checkpoint.safetensors"
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                facts = from_json((file.metadata() or {})["facts"])
            return Checkpoint(load_file(path), facts)
        except (SafetensorError, KeyError, ValueError) as error:
            raise self._wrong(f"{path} is damaged: {_first_lines(error)}") from error

    def write_log(self, lines: list[dict[str, Any]]) -> None:
        """Write metrics.jsonl, a line an epoch."""
        write_text(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))

    def note_divergence(self, epoch: int, what: str) -> None:
        """Keep why training came to its end, so that nobody takes the run for one that was interrupted."""
        write_json(self.path / "diverged.json", {"epoch": epoch, "what": what})

    def finish(self, summary: dict[str, Any]) -> None:
        """Mark the run as finished, with the hash of its weights, and let go of its checkpoint.

        What kills have left goes first: nobody may ever write, or hold, the folder of a finished run again.
        """
        for folder in (self.path, self.path / "text"):
            remove_partial(folder)
        write_json(self.path / "summary.json", summary | {"weights": self.weights_hash()})
        self.let_go()

    def let_go(self) -> None:
        """Remove what a finished run does not need; whoever finds one does so, since a kill may have come between."""
        with suppress(OSError):  # it may be an archive
            (self.path / "checkpoint.safetensors").unlink(missing_ok=True)


def by_seed(folder: Path) -> tuple[str, int]:
    """Return a key that sorts folders of runs by where they lie, and then by their seeds as numbers."""
    number = folder.name.removeprefix("seed-")
    return str(folder.parent), int(number) if number.isdigit() else 0


def finished_runs(roots: Sequence[Path]) -> list[RunFolder]:
    """Return the finished runs of fused models at or below some folders, each once."""
    return _runs_with("summary.json", roots)


def unfinished_runs(roots: Sequence[Path]) -> list[RunFolder]:
    """Return the runs of fused models at or below some folders that have begun and not finished, each once."""
    return [run for run in _runs_with("recipe.yaml", roots) if not run.finished]


def _runs_with(name: str, roots: Sequence[Path]) -> list[RunFolder]:
    folders = {
        path.parent.resolve(): path.parent  # a folder that two places lead to is one
        for root in roots
        for depth in range(5)  # from a run's own folder to one of runs of many datasets; links on the way are followed
        for path in root.glob("*/" * depth + name)
        if path.parent.name.startswith("seed-")  # the encoders' folders, which have summaries too, do not
    }
    return [RunFolder(folder) for folder in sorted(folders.values(), key=by_seed)]


# --- how it was made -------------------------------------------------------------------------------------------------


def goes_on(folder: Path) -> str:
    """Say how the unfinished run in a folder goes on: by the command that began it."""
    words, directory = _began(folder)
    return f"To go on: `{going_on(words, directory)}`." if words else "The command that began it goes on with --resume."


def trains_again(folder: Path) -> str:
    """Say how the run in a folder is replaced: by the command that began it."""
    words, directory = _began(folder)
    seed = folder.name.removeprefix("seed-")
    if "fuse" in words and seed.isdigit():
        return f"Train it again: `{again(words, int(seed), directory)}`."
    made_it = f"`{going_on(words, directory)}`" if words else "the command that made it"
    return f"Train it again: delete its folder, then {made_it}."


def _began(folder: Path) -> tuple[list[str], str | None]:
    """Return the words of the command that began a run, and where it was given; no words where nothing was kept."""
    try:
        facts = read_json(folder / "environment.json")
        words, directory = shlex.split(facts["command"])[1:], facts.get("directory")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return [], None
    return (words, str(directory) if directory else None) if any(word in FOLDERS for word in words) else ([], None)


# --- files -----------------------------------------------------------------------------------------------------------


def save_tensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors and JSON-able facts into one safetensors file, by rename."""
    with atomic_path(path) as partial:
        save_file(
            {name: tensor.detach().contiguous() for name, tensor in tensors.items()},
            partial,
            metadata={"facts": json.dumps(facts)},
        )


def _is_number(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _first_lines(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return " ".join(line.strip() for line in lines[:3]) + (" ..." if len(lines) > 3 else "")
