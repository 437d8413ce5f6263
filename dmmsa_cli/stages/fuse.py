"""`dmmsa fuse`: train the fused model on pretrained encoders (SPEC section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from dmmsa_cli.data.manifest import MANIFEST
from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.data.views import EpochBatches, View
from dmmsa_cli.errors import InvalidInput, RunMismatch
from dmmsa_cli.experiments.base_text import base_text
from dmmsa_cli.experiments.build import Fused, check_groups, fusion_objective
from dmmsa_cli.experiments.context import check_context, context_remarks
from dmmsa_cli.experiments.encoders import Encoders, check_modalities, encoder_folder
from dmmsa_cli.experiments.experiment import Experiment
from dmmsa_cli.experiments.identity import Identity, encoder_name, identity_in, identity_of, short
from dmmsa_cli.experiments.measure import metrics_of
from dmmsa_cli.experiments.missing import Incomplete, check_text, gaps_of_epoch
from dmmsa_cli.experiments.recipes import own_file
from dmmsa_cli.experiments.studies import is_folder_name
from dmmsa_cli.experiments.variants import check_names
from dmmsa_cli.files import exclusive, write_json
from dmmsa_cli.models import MODELS
from dmmsa_cli.plain import shown
from dmmsa_cli.recipe import dump_yaml
from dmmsa_cli.runtime import environment, seed_everything
from dmmsa_cli.stages.pretrain import NO_TEXT_ENCODER, pretrain_unimodal
from dmmsa_cli.training.fit import Watch, fit, unwatched
from dmmsa_cli.training.loop import Training
from dmmsa_cli.training.run import RunFolder

NAMED = 3  # differences between two runs that a message names


@dataclass(frozen=True)
class FuseReport:
    """What became of one run."""

    folder: Path
    seed: int
    skipped: bool
    """It had finished before."""
    summary: dict[str, Any]


def fuse(
    experiment: Experiment,
    variant: str,
    seed: int,
    *,
    watch: Callable[[], Watch] = lambda: unwatched,
    watch_pretraining: Callable[[str], Watch] = lambda modality: unwatched,
    remark: Callable[[str], None] = lambda line: None,
    from_scratch: bool = False,
    resume: bool = False,
    force: bool = False,
    folder: Path | None = None,
) -> FuseReport:
    """Train one run, its missing encoders first.

    Args:
        experiment: dataset, recipe and place.
        variant: name of the folder between recipe and seed.
        seed: of the weights, of dropout and of the order of the rows.
        watch: gives a listener for the run's steps and epochs.
        watch_pretraining: gives such a listener for the encoder of a modality that has to be trained first.
        remark: hears what a reader should know.
        from_scratch: start from untrained encoders.
        resume: go on with an unfinished run.
        force: replace what is there.
        folder: where it goes, where that is not beside the runs that results are made of.

    Raises:
        RunMismatch: the folder holds another run, or an unfinished one and neither `resume` nor `force`.
        InvalidInput: the variant's name is no folder's, or that of something else.
        FolderBusy: another process is writing the run.
    """
    check(experiment, variant, seed, from_scratch=from_scratch)
    run = run_folder(experiment, variant, seed) if folder is None else RunFolder(folder)
    experiment = _as_begun(experiment, run, force=force)
    encoders = {} if from_scratch else _encoders(experiment, seed)
    if _is_done(run, experiment, seed, from_scratch, encoders, resume=resume, force=force):
        return FuseReport(run.path, seed, True, run.summary)
    for line in context_remarks(experiment):
        remark(line)
    if not from_scratch:
        _pretrain_missing(experiment, seed, encoders, watch_pretraining, remark)
    with exclusive(run.path):
        if force:
            run.clear()
        identity = identity_of(experiment, seed, from_scratch=from_scratch, encoders=encoders)
        if run.started:
            _refuse_another(run, identity)  # once more: by now all encoders are known
        if run.finished:  # by another process, while this one waited for its encoders
            return FuseReport(run.path, seed, True, run.summary)
        write_json(run.path / MANIFEST, experiment.store.manifest.to_json())  # for `predict`, which needs no rows
        run.begin(dump_yaml(experiment.recipe), _facts(experiment, variant, identity, encoders, run))
        summary = _train(Fused(Encoders(experiment, run, seed, encoders)), seed, identity, watch(), remark)
    return FuseReport(run.path, seed, False, summary)


def refuse(
    experiment: Experiment,
    variant: str,
    seed: int,
    *,
    from_scratch: bool = False,
    resume: bool = False,
    force: bool = False,
) -> None:
    """Refuse, before anything is begun, what `fuse` would refuse; see there.

    Raises:
        RunMismatch, InvalidInput, InvalidRecipe, EncoderUnavailable, FolderBusy: as `fuse` does.
    """
    check(experiment, variant, seed, from_scratch=from_scratch)
    run = run_folder(experiment, variant, seed)
    begun = _as_begun(experiment, run, force=force)
    encoders = {} if from_scratch else _encoders(begun, seed)
    _is_done(run, begun, seed, from_scratch, encoders, resume=resume, force=force)


def check(experiment: Experiment, variant: str, seed: int, *, from_scratch: bool = False) -> None:
    """Look for everything that can be known to be wrong before hours of training, or a file, have come of it.

    Raises:
        InvalidInput: the variant's name is no name of a folder, or is the name of something else.
        InvalidRecipe: the recipe asks for what the dataset, or its metrics, do not have, or for a package that is
            not installed.
        EncoderUnavailable: the text encoder can't be had.
    """
    if not is_folder_name(variant):
        raise InvalidInput(
            f"--name {shown(variant)} is no name for a folder.", "Use letters, digits, '-', '_' and '.', not too many."
        )
    check_names(experiment, variant, from_scratch=from_scratch)
    fusion_objective(experiment).check()
    MODELS[experiment.recipe.model.name].check(experiment.modalities)
    if from_scratch and experiment.recipe.pretraining is None:
        raise InvalidInput(
            f"--from-scratch: {experiment.name} pretrains no encoders that it could go without.", "Leave it out."
        )
    check_modalities(experiment, seed)
    check_groups(experiment, seed)
    check_context(experiment, seed)
    if experiment.recipe.data.missing is not None:
        check_text(experiment, base_text(experiment, seed) if experiment.has_text_encoder else None)


# --- what is there already ------------------------------------------------------------------------------------------


def _as_begun(experiment: Experiment, run: RunFolder, *, force: bool) -> Experiment:
    """A precision of `auto` is settled when a run begins, and stays so wherever it goes on."""
    if experiment.recipe.precision != "auto" or force or not run.started:
        return experiment
    return replace(experiment, precision=identity_in(run).precision)


def run_folder(experiment: Experiment, variant: str, seed: int) -> RunFolder:
    """Return where a run lies."""
    return RunFolder(experiment.folder / experiment.name / variant / f"seed-{seed}")


def missing_encoders(experiment: Experiment, seed: int) -> dict[str, RunFolder]:
    """Return where the encoders will lie, by modality, that have to be trained before a run of this seed."""
    return {modality: folder for modality, folder in _encoders(experiment, seed).items() if not folder.finished}


def _encoders(experiment: Experiment, seed: int) -> dict[str, RunFolder]:
    """The encoders that a run stands on, by modality, whether they have been trained or not."""
    return {modality: encoder_folder(experiment, modality, seed) for modality in experiment.pretrained}


def _is_done(
    run: RunFolder,
    experiment: Experiment,
    seed: int,
    from_scratch: bool,
    encoders: Mapping[str, RunFolder],
    *,
    resume: bool,
    force: bool,
) -> bool:
    """Say whether this very run has finished; refuse to touch what is another one."""
    if not run.started:
        return False
    with exclusive(run.path):  # where another process is at it, that is what has to be known
        if force:
            return False
        trained = {m: folder for m, folder in encoders.items() if folder.finished}
        identity = identity_of(experiment, seed, from_scratch=from_scratch, encoders=trained)
        _refuse_another(run, identity, unknown=encoders.keys() - trained.keys())
        if run.finished:
            run.let_go()
    if run.diverged and not resume:
        raise RunMismatch(
            f"{run.path} holds a run whose training diverged. {run.diverged}",
            "Lower the learning rate: under another --name, or replace it with --force.",
        )
    if not run.finished and not resume:
        raise RunMismatch(f"{run.path} holds an unfinished run.", "Go on with it: --resume. Or replace it: --force.")
    return run.finished


def _refuse_another(run: RunFolder, identity: Identity, unknown: Iterable[str] = ()) -> None:
    """See that the run in a folder is the one that is requested.

    Raises:
        RunMismatch: it differs; the message says in what.
    """
    ignored = [encoder_name(modality) for modality in unknown]
    found = identity_in(run).difference(identity, ignoring=ignored)
    if found:
        words = [f"{key} is {short(there)} there, {short(here)} here" for key, (there, here) in found.items()]
        more = f"; and {len(words) - NAMED} more keys" if len(words) > NAMED else ""
        raise RunMismatch(
            f"{run.path} holds a run of another kind: {'; '.join(words[:NAMED])}{more}.",
            "Give this one a --name of its own, or replace the old one with --force.",
        )


# --- what has to be done --------------------------------------------------------------------------------------------


def _pretrain_missing(
    experiment: Experiment,
    seed: int,
    encoders: Mapping[str, RunFolder],
    watch: Callable[[str], Watch],
    remark: Callable[[str], None],
) -> None:
    if "t" in experiment.modalities and not experiment.has_text_encoder:
        remark(NO_TEXT_ENCODER)
    for modality, folder in encoders.items():
        if folder.finished:
            folder.let_go()
        else:
            remark(f"The {MODALITY_NAMES[modality]} encoder is not pretrained yet; that comes first.")
            pretrain_unimodal(experiment, modality, seed, watch=watch(modality))


def _facts(
    experiment: Experiment, variant: str, identity: Identity, encoders: Mapping[str, RunFolder], run: RunFolder
) -> dict[str, Any]:
    """What environment.json holds; a run that goes on keeps what it began with, and adds where it went on."""
    now = environment(experiment.device, experiment.precision)
    if run.started:
        begun = run.environment
        return begun | {"resumed": [*begun.get("resumed", []), now]}
    spec = experiment.store.spec
    return {
        **identity.facts(),
        "recipe": experiment.name,
        "recipes": spec.recipes,
        "variant": variant,
        "recipe_file": own_file(experiment.recipe_file),
        "data_dir": str(experiment.store.folder.parent.resolve()),
        "encoders": {modality: folder.path.name for modality, folder in encoders.items()},
        "score_range": spec.score_range,
        "source": experiment.store.manifest.source,
        "pseudo_emotions": _pseudo_emotions(experiment),
        "remarks": [*fusion_objective(experiment).remarks(), *context_remarks(experiment)],
        **now,
    }


def _pseudo_emotions(experiment: Experiment) -> str | None:
    """Name the dataset that the emotions were taken from which a run learns, where nobody gave its clips any."""
    origin = experiment.store.manifest.pseudo_emotions
    return None if origin is None or experiment.emotions_hash is None else str(origin["dataset"])


def _train(fused: Fused, seed: int, identity: Identity, watch: Watch, remark: Callable[[str], None]) -> dict[str, Any]:
    experiment, schedule, run = fused.experiment, fused.experiment.recipe.fusion, fused.encoders.run
    for line in fused.objective.remarks():
        remark(line)
    train, valid = _training_clips(fused, seed, remark), fused.inputs.split("valid")
    seed_everything(seed)  # here, since loading an encoder draws random numbers where its output is not cached yet
    model = fused.at_start()

    def batches(epoch: int) -> EpochBatches:
        return train(epoch).shuffled(schedule.batch_size, seed=seed, epoch=epoch, window=schedule.length_window)

    def evaluate(trained: nn.Module) -> dict[str, float]:
        return metrics_of(experiment, trained, valid, fused.objective.heads, of=f"{run.path} on the validation split")

    state = Training(model, fused.objective, schedule, device=experiment.device, precision=experiment.precision)
    return fit(state, run, identity=identity.key, batches=batches, evaluate=evaluate, watch=watch)


def _training_clips(fused: Fused, seed: int, remark: Callable[[str], None]) -> Callable[[int], View]:
    """Return the training clips by the number of an epoch: the same in all, but where `data.missing` makes gaps."""
    if fused.experiment.recipe.data.missing is None:
        train = fused.inputs.split("train")
        return lambda epoch: train
    clips, gaps = Incomplete(fused.inputs, "train"), gaps_of_epoch(fused.experiment, seed)
    if clips.encodes_anew:
        remark(
            f"data.missing: the text encoder reads {len(clips.whole):,} corrupted transcripts anew before each epoch; "
            "complete ones, those of validation, come from the cache."
        )
    return lambda epoch: clips.view(gaps(epoch))
