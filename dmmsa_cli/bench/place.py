"""Where the data, the store and the caches of a benchmark lie."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dmmsa_cli.data.shaped import SYNTHETIC
from dmmsa_cli.data.specs import SPECS
from dmmsa_cli.errors import InvalidInput
from dmmsa_cli.files import write_text

if TYPE_CHECKING:  # torch is imported by the measures that need it, since it counts in the memory of all that do
    from dmmsa_cli.experiments.build import Fused
    from dmmsa_cli.experiments.experiment import Experiment
    from dmmsa_cli.runtime import DeviceName
    from dmmsa_cli.training.run import RunFolder


@dataclass(frozen=True)
class Place:
    """What all measures of a benchmark stand on."""

    folder: Path
    """Everything that is made lies here."""
    shape: str
    """Key of `SHAPES`; its recipes are used."""
    file: Path
    """The pickle."""
    made_up: bool
    """The pickle is this program's own."""
    rows: int | None = None
    """Training rows of a made-up pickle at most."""
    settings: tuple[str, ...] = ()
    """Changes to the recipes, `a.b=c` each."""
    device: DeviceName = "auto"
    precision: str | None = None
    """Another than the recipe's."""

    @property
    def dataset(self) -> str:
        """Name of the store: what is made up never bears a dataset's bare name."""
        return self.file.stem if self.made_up else self.shape

    @property
    def data_dir(self) -> Path:
        """Where the store lies."""
        return self.folder / "data"

    @property
    def runs_dir(self) -> Path:
        """Where cached embeddings lie."""
        return self.folder / "runs"

    @property
    def encoder(self) -> Path:
        """The text encoder, of random weights."""
        return self.folder / "encoder" / self.dataset

    @property
    def changes(self) -> dict[str, Any]:
        """What a benchmark changes in every recipe: no hub is asked for an encoder."""
        text = {"text.source": "encoder", "text.encoder": str(self.encoder)}
        return text | ({"precision": self.precision} if self.precision else {})

    def spec(self) -> Path | None:
        """Write the description of a made-up dataset: its shape's own, under another name; None for a given file."""
        if not self.made_up:
            return None
        known, path = SPECS[self.shape], self.file.with_suffix(".yaml")
        values = {
            "score_range": known.score_range,
            "metrics": known.metrics,
            "unimodal_labels": known.unimodal_labels,
            "text_encoder": known.text_encoder,
            "recipes": known.recipes,
        }
        write_text(path, f"# Every clip of {self.file.name} is made up.\n{yaml.safe_dump(values)}")
        return path

    def open(self, recipe: str) -> Experiment:
        """Open the store with one of the shape's recipes."""
        from dmmsa_cli.experiments.experiment import open_experiment

        return open_experiment(
            self.dataset,
            data_dir=self.data_dir,
            runs_dir=self.runs_dir,
            recipe=recipe,
            settings=self.settings,
            changes=self.changes,
            device=self.device,
        )

    def fused(self, recipe: str, run: RunFolder, seed: int) -> Fused:
        """Return the fused model of a run from scratch, with one of the shape's recipes."""
        from dmmsa_cli.experiments.build import Fused
        from dmmsa_cli.experiments.encoders import Encoders

        return Fused(Encoders(self.open(recipe), run, seed, pretrained={}))

    def options(self, recipe: str) -> list[str]:
        """Return the options of `dmmsa fuse` that train on the store as `open` would have it."""
        changes = [*self.settings, *(f"{key}={json.dumps(value)}" for key, value in self.changes.items())]
        folders = ["--data-dir", str(self.data_dir), "--runs-dir", str(self.runs_dir)]
        chosen = ["--dataset", self.dataset, "--recipe", recipe, "--device", self.device]
        return [*chosen, *folders, *(part for change in changes for part in ("--set", change))]


def find_place(
    folder: Path,
    shape: str,
    *,
    file: Path | None = None,
    rows: int | None = None,
    settings: Sequence[str] = (),
    device: DeviceName = "auto",
    precision: str | None = None,
) -> Place:
    """Say where everything lies.

    Args:
        folder: for all that is made.
        shape: key of `SHAPES`.
        file: a pickle to take; None for one that is made up.
        rows: of a made-up pickle.
        settings: changes to the recipes.
        device: `auto` takes the best there is.
        precision: another than the recipes'.

    Raises:
        InvalidInput: the pickle is not there, or `rows` is given with it.
    """
    if file is not None and not file.is_file():
        raise InvalidInput(f"There is no file {file}.", "Check the path given to --from.")
    if file is not None and rows is not None:
        raise InvalidInput("--rows caps what is made up; --from takes a file as it is.", "Give one of them.")
    made = folder / f"{SYNTHETIC}-{shape}{f'-{rows}' if rows else ''}.pkl"
    pickle = made if file is None else file.resolve()
    return Place(folder.resolve(), shape, pickle.resolve(), file is None, rows, tuple(settings), device, precision)
