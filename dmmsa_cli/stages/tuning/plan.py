"""What is tuned: a recipe in a space, and the runs that a trial is scored by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from itertools import count, islice
from pathlib import Path
from typing import Any

from dmmsa_cli import __version__
from dmmsa_cli.data.folds import folds_of
from dmmsa_cli.errors import InvalidInput, RunMismatch
from dmmsa_cli.experiments.experiment import Experiment
from dmmsa_cli.experiments.identity import short
from dmmsa_cli.experiments.spaces import Space, declared_space, place_of, read_space
from dmmsa_cli.experiments.studies import is_folder_name
from dmmsa_cli.files import write_json
from dmmsa_cli.plain import read_json, shown
from dmmsa_cli.ranges import Choices, Range
from dmmsa_cli.recipe import flat, to_dict
from dmmsa_cli.runtime import DeviceName, environment
from dmmsa_cli.stages.fuse import check
from dmmsa_cli.stages.runs import Opening
from dmmsa_cli.stages.tuning.names import FACTS, TUNING

EPOCHS = "fusion.epochs"
NAMED = 3  # differences between two tunings that a message names


@dataclass(frozen=True)
class Part:
    """One of the runs that a recipe is scored by."""

    dataset: str
    """Or a fold of it."""
    seed: int

    def __str__(self) -> str:
        return f"{self.dataset}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """A recipe, what may change in it, and how what comes of that is scored."""

    dataset: str
    data_dir: Path
    runs_dir: Path
    device: DeviceName
    precision: str | None
    """Another than the recipe's."""
    recipe: str | None
    """Name or file of the recipe that it starts from."""
    name: str
    """Of its folder."""
    space: Space = field(hash=False)
    seeds: tuple[int, ...]
    """Of a trial's runs."""
    folds: int | None
    """Of the training and validation videos, which are scored then in the place of the validation split."""
    seed: int
    """Of what is tried."""

    @property
    def folder(self) -> Path:
        """Where journal and runs lie: no place where a result is looked for."""
        return self.runs_dir / self.dataset / TUNING / self.name

    @property
    def datasets(self) -> list[str]:
        """The dataset, or its folds."""
        return [self.dataset] if self.folds is None else [str(fold) for fold in folds_of(self.dataset, self.folds)]

    def parts(self, seeds: Sequence[int]) -> list[Part]:
        """Return the runs of some seeds, all of a seed before those of the next."""
        return [Part(dataset, seed) for seed in seeds for dataset in self.datasets]

    def opening(self, dataset: str, changes: Mapping[str, Any]) -> Opening:
        """Return with what a dataset, or a fold, is opened for the starting recipe under changes."""
        precision = {"precision": self.precision} if self.precision else {}
        return Opening(
            dataset, self.data_dir, self.runs_dir, self.recipe, changes={**changes, **precision}, device=self.device
        )

    def open(self, dataset: str, changes: Mapping[str, Any]) -> Experiment:
        """Open a dataset, or a fold, with the starting recipe under changes.

        Raises:
            InvalidRecipe: the changes go together neither with each other nor with the dataset.
        """
        return self.opening(dataset, changes).open()

    def start(self) -> dict[str, Any] | None:
        """Return where the starting recipe lies in the space; none where it lies outside."""
        return place_of(self.space, to_dict(self.open(self.datasets[0], {}).recipe))

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """Three seeds that nothing was chosen by: neither a trial's nor the recipe's own."""
        return _others([*self.seeds, *self.open(self.datasets[0], {}).recipe.seeds], 3)

    def longest(self) -> int:
        """Return the most epochs that a run of a trial may have."""
        of = self.space.get(EPOCHS)
        if isinstance(of, Range):
            return int(of.high)
        return max(of.choices) if isinstance(of, Choices) else self.open(self.datasets[0], {}).recipe.fusion.epochs


def plan_tuning(
    dataset: str,
    *,
    data_dir: Path,
    runs_dir: Path,
    recipe: str | None = None,
    space_file: Path | None = None,
    seeds: int | None = None,
    folds: int | None = None,
    name: str | None = None,
    seed: int = 1,
    device: DeviceName = "auto",
    precision: str | None = None,
) -> Tuning:
    """Say what is tuned; what can be known to be wrong is told before anything is trained.

    Args:
        dataset: name of the store.
        data_dir: where stores lie.
        runs_dir: where runs lie.
        recipe: name or file of the recipe to start from; none takes the dataset's `dmmsa`.
        space_file: what may change in it; none takes what its model, objective and schedule declare.
        seeds: how many a trial has; none takes three, or one with folds.
        folds: score over as many folds by video.
        name: of the folder; none takes the recipe's.
        seed: of what is tried.
        device: where to run.
        precision: another than the recipe's.

    Raises:
        DatasetMissing, InvalidRecipe, InvalidInput: in words for the user.
    """
    known: dict[str, Any] = {"data_dir": data_dir, "runs_dir": runs_dir, "recipe": recipe, "device": device}
    changes = {"precision": precision} if precision else {}
    experiment = Opening(dataset, changes=changes, **known).open()
    space = declared_space(experiment.recipe) if space_file is None else read_space(space_file, experiment.recipe)
    chosen = name or experiment.name
    if not is_folder_name(chosen):
        raise InvalidInput(f"--name {shown(chosen)} is no name for a folder.", "Use letters, digits, '-', '_' and '.'.")
    wanted = seeds or (3 if folds is None else 1)
    own = experiment.recipe.seeds[:wanted]
    tuning = Tuning(
        dataset=dataset,
        name=chosen,
        space=space,
        seeds=(*own, *_others(experiment.recipe.seeds, wanted - len(own))),
        folds=folds,
        seed=seed,
        precision=precision,
        **known,
    )
    for part in tuning.parts(tuning.seeds):
        check(tuning.open(part.dataset, {}), "tuned", part.seed)
    return tuning


def _others(taken: Iterable[int], wanted: int) -> tuple[int, ...]:
    """Return the smallest seeds from 1 on that are not taken."""
    known = set(taken)
    return tuple(islice((seed for seed in count(1) if seed not in known), wanted))


# --- what makes two tunings the same ---------------------------------------------------------------------------------


def settle(tuning: Tuning) -> dict[str, Any]:
    """Write down what a tuning is, or see that the folder's is this very one; return what is known of it.

    Raises:
        RunMismatch: the folder's is another; the message says in what.
    """
    experiment, path = tuning.open(tuning.dataset, {}), tuning.folder / FACTS
    identity = _identity(tuning, experiment)
    if not path.exists():
        write_json(path, {"tuning": identity, "made": _made(experiment)})
    known = facts_in(tuning.folder)
    there, here = flat(known["tuning"]), flat(identity)
    differing = [key for key in dict.fromkeys((*here, *there)) if here.get(key) != there.get(key)]
    if differing:
        words = [f"{key} is {short(there.get(key))} there, {short(here.get(key))} here" for key in differing[:NAMED]]
        more = f"; and {len(differing) - NAMED} more keys" if len(differing) > NAMED else ""
        raise RunMismatch(
            f"{tuning.folder} holds another tuning: {'; '.join(words)}{more}.",
            "Give this one a --name of its own, or delete the folder of the old one.",
        )
    return known


def facts_in(folder: Path) -> dict[str, Any]:
    """Read what is known of the tuning in a folder.

    Raises:
        RunMismatch: it is damaged.
    """
    try:
        values = read_json(folder / FACTS)
        if isinstance(values["tuning"]["dataset"], str) and isinstance(values["made"], dict):
            return dict(values)
    except (OSError, ValueError, LookupError, TypeError):
        pass
    raise RunMismatch(f"{folder / FACTS} is damaged.", "Tune anew: delete the folder, or give another --name.")


def _identity(tuning: Tuning, experiment: Experiment) -> dict[str, Any]:
    recipe = to_dict(experiment.recipe)
    return {
        "dataset": tuning.dataset,
        "data": experiment.store.manifest.data_hash,
        "recipe": {key: value for key, value in recipe.items() if key != "seeds"},
        "settled precision": experiment.precision,
        "text encoder": experiment.text_encoder,
        "space": {key: to_dict(of) for key, of in tuning.space.items()},
        "seeds": list(tuning.seeds),
        "folds": tuning.folds,
        "--sampling-seed": tuning.seed,
    }


def _made(experiment: Experiment) -> dict[str, Any]:
    """What a reader of the result has to know beside that."""
    return {
        "recipe": experiment.name,
        "data_dir": str(experiment.store.folder.parent.resolve()),
        "synthetic": experiment.store.spec.synthetic,
        "source": experiment.store.manifest.source,
        "dmmsa_with": f"dmmsa {__version__}, optuna {metadata.version('optuna')}",
        **environment(experiment.device, experiment.precision),
    }
