"""`dmmsa ablate`: the runs of a study, every variant with every seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dmmsa_cli.data.folds import open_dataset
from dmmsa_cli.errors import (
    EncoderUnavailable,
    Inapplicable,
    InvalidInput,
    InvalidRecipe,
    RecipeMissing,
    RunMismatch,
)
from dmmsa_cli.experiments.experiment import Experiment
from dmmsa_cli.experiments.studies import Study, Variant
from dmmsa_cli.runtime import DeviceName
from dmmsa_cli.stages.engines import Outcome, Tell
from dmmsa_cli.stages.fuse import check
from dmmsa_cli.stages.runs import FusionRun, Opening

ANOTHER_RUN = "Give the variant another `name` in the study, or replace the run: delete its folder."


@dataclass(frozen=True)
class Place:
    """Where a study's runs find their data, where they go, and what they run on."""

    dataset: str
    data_dir: Path
    runs_dir: Path
    device: DeviceName = "auto"
    precision: str | None = None
    """Another than the recipe's."""


@dataclass(frozen=True)
class Job(FusionRun):
    """One run of a study."""

    @classmethod
    def of(cls, place: Place, variant: Variant, recipe: str | None, seed: int) -> Job:
        """Return the run of a variant with a seed, on a recipe that the variant changes."""
        precision = {"precision": place.precision} if place.precision else {}
        opening = Opening(
            place.dataset, place.data_dir, place.runs_dir, recipe, changes=variant.set | precision, device=place.device
        )
        return cls(opening, variant.title, seed, variant.name)

    def run(self, tell: Tell) -> Outcome[FusionRun]:
        """Train it; see `FusionRun`.

        Raises:
            RunMismatch: its folder holds another run.
        """
        try:
            return super().run(tell)
        except RunMismatch as error:
            raise RunMismatch(error.what, ANOTHER_RUN) from error


@dataclass(frozen=True)
class Plan:
    """The runs of a study on a dataset."""

    jobs: list[Job]
    """The first seed of every variant, then the second: at any moment what is there can be compared."""
    left_out: dict[str, str]
    """Variants that make no sense on this dataset, and why."""


def plan(study: Study, place: Place, *, recipe: str | None = None, seeds: Sequence[int] = ()) -> Plan:
    """Say which runs a study needs; what can be known to be wrong is told before any of them begins.

    Args:
        study: its variants.
        place: dataset and folders.
        recipe: name or file of the recipe that the variants change; none takes the dataset's `dmmsa`.
        seeds: none takes the recipe's.

    Raises:
        DatasetMissing, InvalidRecipe, InvalidInput: in words for the user.
    """
    store = open_dataset(place.data_dir, place.dataset)
    left_out = {v.title: reason for v in study.variants if (reason := v.missing_on(store))}
    turns: dict[tuple[str, str, int], tuple[int, Job]] = {}  # by folder
    for variant in study.variants:
        if variant.title in left_out:
            continue
        try:
            chosen = recipe if variant.recipe is None else variant.recipe_beside(recipe or "dmmsa")
            experiment = _checked(variant, Job.of(place, variant, chosen, seeds[0] if seeds else 0))
        except Inapplicable as error:
            left_out[variant.title] = error.what.removesuffix(".")
            continue
        for turn, seed in enumerate(seeds or experiment.recipe.seeds):
            folder = experiment.name, variant.name, seed
            if folder in turns:
                name = f"{experiment.name}/{variant.name}/seed-{seed}"
                raise InvalidInput(f"{name} would be run twice.", "Name each seed once, and each variant differently.")
            turns[folder] = turn, Job.of(place, variant, chosen, seed)
    if not turns:
        raise InvalidInput(f"No variant of the study makes sense on {place.dataset}.", "Choose another --study.")
    return Plan([job for _, job in sorted(turns.values(), key=lambda entry: entry[0])], left_out)


def _checked(variant: Variant, job: Job) -> Experiment:
    try:
        experiment = job.opening.open()
        check(experiment, variant.name, job.seed)
    except Inapplicable:
        raise
    except RecipeMissing as error:
        if isinstance(variant.recipe, dict):  # a partner that is not shipped for the dataset, of a variant of many
            raise Inapplicable(error.what, error.remedy) from error
        raise RecipeMissing(f"Variant {variant.title}: {error.what}", error.remedy) from error
    except InvalidRecipe as error:
        raise InvalidRecipe(f"Variant {variant.title}: {error.what}", error.remedy) from error
    except EncoderUnavailable as error:
        raise EncoderUnavailable(f"Variant {variant.title}: {error.what}", error.remedy) from error
    except InvalidInput as error:
        raise InvalidInput(f"Variant {variant.title}: {error.what}", "Give the variant another `name`.") from error
    return experiment
