"""`dmmsa fuse`: train the fused model on pretrained encoders (SPEC section 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.data.views import EpochBatches
from dmmsa_cli.errors import InvalidInput, RunMismatch
from dmmsa_cli.files import exclusive
from dmmsa_cli.recipe import dump_yaml
from dmmsa_cli.runtime import environment, seed_everything
from dmmsa_cli.stages.experiment import Experiment
from dmmsa_cli.stages.fused import Fused, objective_of
from dmmsa_cli.stages.pretrain import NO_TEXT_ENCODER, encoder_folder, pretrain_unimodal
from dmmsa_cli.training.fit import Watch, fit
from dmmsa_cli.training.loop import Training
from dmmsa_cli.training.run import RunFolder


@dataclass(frozen=True)
class FuseReport:
    """What became of one run."""

    folder: Path
    seed: int
    skipped: bool
    """It had finished before."""
    summary: dict[str, Any]


def variant_name(dropped: list[str], fraction: float | None, from_scratch: bool, *, changed: bool) -> str:
    """Name a variant for its flags: `full`, `no-gdwg`, `no-msc-no-cl`, `fraction-0.6`, `from-scratch`.

    Args:
        dropped: parts of the objective that are left out.
        fraction: share of the training rows.
        from_scratch: whether the encoders start untrained.
        changed: whether `--set` changes the recipe, which no flag can name.

    Raises:
        InvalidInput: `changed`.
    """
    if changed:
        raise InvalidInput("--set changes the recipe, so the run needs a name of its own.", "Add --name NAME.")
    parts = [f"no-{task}" for task in dropped]
    parts += [f"fraction-{fraction:g}"] if fraction is not None and fraction != 1 else []
    parts += ["from-scratch"] if from_scratch else []
    return "-".join(parts) or "full"


def fuse(
    experiment: Experiment,
    variant: str,
    seed: int,
    *,
    watch: Callable[[], Watch],
    watch_pretraining: Callable[[str], Watch],
    remark: Callable[[str], None],
    from_scratch: bool = False,
    resume: bool = False,
    force: bool = False,
) -> FuseReport:
    """Train one run, its missing encoders first.

    Args:
        experiment: dataset, recipe and place.
        variant: name of the folder between recipe and seed.
        seed: of the weights, of dropout and of the order of the rows.
        watch: gives a listener for the run's steps and epochs.
        watch_pretraining: gives such a listener for the encoder of a modality that has to be trained first.
        remark: told what a reader should know.
        from_scratch: start from untrained encoders.
        resume: go on with an unfinished run.
        force: replace what is there.

    Raises:
        RunMismatch: the folder holds a run of another recipe, or an unfinished one and neither `resume` nor `force`.
        FolderBusy: another process is writing the run.
    """
    check(experiment, variant)
    run = RunFolder(experiment.folder / experiment.name / variant / f"seed-{seed}")
    recipe = dump_yaml(experiment.recipe)
    if resume and run.started:  # `auto` was settled when the run began
        experiment = replace(experiment, precision=run.environment["precision"])
    if _is_done(run, recipe, experiment, from_scratch, resume=resume, force=force):
        return FuseReport(run.path, seed, True, run.summary)
    encoders = {} if from_scratch else _pretrain_missing(experiment, seed, watch_pretraining, remark)
    with exclusive(run.path):
        if run.finished and not force:  # by another process, while this one waited for its encoders
            return FuseReport(run.path, seed, True, run.summary)
        if force:
            run.clear()
        facts = _facts(experiment, variant, seed, from_scratch, encoders)
        if run.started:  # the run stands on what it began with; where it went on is told beside it
            now = environment(experiment.device, experiment.precision)
            facts = run.environment | {"resumed": [*run.environment.get("resumed", []), now]}
        run.begin(recipe, facts)
        summary = _train(Fused(experiment, run, encoders), seed, recipe, watch(), remark)
    return FuseReport(run.path, seed, False, summary)


def check(experiment: Experiment, variant: str) -> None:
    """Look for everything that can be known to be wrong before hours of training, or a file, have come of it.

    Raises:
        InvalidInput: the variant's name is no name of a folder.
        InvalidRecipe: the recipe asks for what the dataset, or its metrics, do not have.
        EncoderUnavailable: the text encoder can't be had.
    """
    if not variant.strip() or variant.startswith(".") or "/" in variant or "\\" in variant:
        raise InvalidInput(f"--name {variant!r} is no name for a folder.", "Use letters, digits, '-', '_' and '.'.")
    objective_of(experiment)
    experiment.check_modalities()


def _facts(
    experiment: Experiment, variant: str, seed: int, from_scratch: bool, encoders: dict[str, RunFolder]
) -> dict[str, Any]:
    """What environment.json holds."""
    manifest = experiment.store.manifest
    return {
        "dataset": experiment.store.spec.name,
        "synthetic": experiment.store.spec.synthetic,
        "score_range": experiment.store.spec.score_range,
        "data_hash": manifest.data_hash,
        "source": manifest.source,
        "modalities": list(experiment.modalities),
        "recipe": experiment.name,
        "variant": variant,
        "seed": seed,
        "from_scratch": from_scratch,
        "encoders": {modality: folder.path.name for modality, folder in encoders.items()},
        "encoder_hashes": {modality: folder.weights_hash() for modality, folder in encoders.items()},
        "base_text": experiment.base_text_fingerprint if experiment.text_pretrains else None,
        "remarks": objective_of(experiment).remarks(),
        **environment(experiment.device, experiment.precision),
    }


def _is_done(
    run: RunFolder, recipe: str, experiment: Experiment, from_scratch: bool, *, resume: bool, force: bool
) -> bool:
    """Say whether the run has finished under this very recipe; refuse to touch what is something else."""
    if not run.started:
        return False
    with exclusive(run.path):  # where another process is at it, that is what has to be told
        if force:
            return False
        wrong = _difference(run, recipe, experiment, from_scratch)
    if wrong:
        raise RunMismatch(
            f"{run.path} holds a run of another kind: {wrong}.",
            "Give this one a --name of its own, or replace the old one with --force.",
        )
    if not run.finished and not resume:
        raise RunMismatch(f"{run.path} holds an unfinished run.", "Go on with it: --resume. Or replace it: --force.")
    return run.finished


def _difference(run: RunFolder, recipe: str, experiment: Experiment, from_scratch: bool) -> str:
    """Say in what the run in a folder differs from the one that is asked for; nothing where it does not."""
    facts, data_hash = run.environment, experiment.store.manifest.data_hash
    there, asked = _flat(run.recipe), _flat(yaml.safe_load(recipe))
    there |= {"data": facts["data_hash"][:12], "--from-scratch": facts["from_scratch"]}
    asked |= {"data": data_hash[:12], "--from-scratch": from_scratch}
    keys = [k for k in sorted(there.keys() | asked.keys()) if there.get(k, "nothing") != asked.get(k, "nothing")]
    told = [f"{k} is {there.get(k, 'nothing')} there, {asked.get(k, 'nothing')} here" for k in keys[:3]]
    return "; ".join(told) + (f"; and {len(keys) - 3} more keys" if len(keys) > 3 else "")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _pretrain_missing(
    experiment: Experiment, seed: int, watch: Callable[[str], Watch], remark: Callable[[str], None]
) -> dict[str, RunFolder]:
    folders = {}
    for modality in experiment.modalities:
        if modality == "t" and not experiment.text_pretrains:
            remark(NO_TEXT_ENCODER)
            continue
        folders[modality] = encoder_folder(experiment, modality, seed)
        if not folders[modality].finished:
            remark(f"The {MODALITY_NAMES[modality]} encoder is not pretrained yet; that comes first.")
            pretrain_unimodal(experiment, modality, seed, watch=watch(modality))
    return folders


def _train(fused: Fused, seed: int, recipe: str, watch: Watch, remark: Callable[[str], None]) -> dict[str, Any]:
    experiment, schedule = fused.experiment, fused.experiment.recipe.fusion
    for line in fused.objective.remarks():
        remark(line)
    train, valid = fused.view("train", seed), fused.view("valid", seed)
    seed_everything(seed)  # here, since loading an encoder draws random numbers where its output is not cached yet
    model = fused.start(seed)

    def batches(epoch: int) -> EpochBatches:
        return train.shuffled(schedule.batch_size, seed=seed, epoch=epoch, window=schedule.length_window)

    def evaluate(trained: nn.Module) -> dict[str, float]:
        return experiment.metrics_of(trained, valid)

    state = Training(model, fused.objective, schedule, device=experiment.device, precision=experiment.precision)
    return fit(state, fused.run, recipe=recipe, batches=batches, evaluate=evaluate, watch=watch)
