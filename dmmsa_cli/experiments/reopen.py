"""A finished run's folder -> its model again, once it is known to be what it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dmmsa_cli.commands import command
from dmmsa_cli.data.folds import open_dataset
from dmmsa_cli.data.store import Store, dataset_folder, keeps_manifest, known_from
from dmmsa_cli.errors import DatasetMissing, RunMismatch, RunMissing, StoreMismatch
from dmmsa_cli.experiments.base_text import base_text
from dmmsa_cli.experiments.build import Fused
from dmmsa_cli.experiments.encoders import Encoders
from dmmsa_cli.experiments.experiment import Experiment
from dmmsa_cli.experiments.identity import Identity, check_place, identity_in
from dmmsa_cli.experiments.recipes import from_values
from dmmsa_cli.layers.pretrained import fingerprint
from dmmsa_cli.runtime import DeviceName, choose_device
from dmmsa_cli.training.run import RunFolder, finished_runs, goes_on, trains_again

EXPORT = "export.json"  # marks a folder that holds a run and all that it stands on


def reopen(run: RunFolder, *, data_dir: Path, device: DeviceName = "auto", rows: bool = True) -> Fused:
    """Open a finished run with all that its model is made of, in the precision that was settled when it began.

    Args:
        run: its folder.
        data_dir: where stores lie.
        device: where to run.
        rows: whether the rows of its dataset are needed; without them, what the run kept of a dataset that is not at
            hand will do.

    Raises:
        DatasetMissing: the dataset is not there, and is needed.
        RunMissing: the run has not finished, or an encoder that it stands on is gone.
        RunMismatch: the dataset has been prepared anew from other data since, or an encoder has other weights.
    """
    if not run.finished:
        raise not_finished(run)
    identity = identity_in(run)
    store = _store(run, data_dir, identity, rows=rows)
    experiment = _experiment(run, identity, store, device)
    names: Mapping[str, str] = run.environment["encoders"]
    encoders = {m: RunFolder(experiment.folder / "encoders" / name) for m, name in names.items()}
    gone = [str(encoder.path) for encoder in encoders.values() if not encoder.finished]
    if gone:
        raise RunMissing(
            f"{run.path} stands on pretrained encoders that are gone: {', '.join(gone)}.",
            trains_again(run.path) if _lies_where_it_was_made(run) else _EXPORT_IT,
        )
    stands_on = Encoders(experiment, run, identity.seed, encoders)
    _check_encoders(stands_on, identity)
    return Fused(stands_on)


_EXPORT_IT = "The folder was copied or moved without them: export the run where it was trained, and take that folder."


def _lies_where_it_was_made(run: RunFolder) -> bool:
    try:
        check_place(run)
    except RunMismatch:
        return False
    return True


def not_finished(run: RunFolder) -> RunMissing:
    """Say what a folder is, since it is no finished run."""
    if not run.path.exists():
        return RunMissing(
            f"There is no run {run.path}.",
            f"Train one (`{command('fuse', dataset='NAME')}`), and name its folder: .../seed-1. None is shipped.",
        )
    if run.started:
        return RunMissing(f"The run in {run.path} has not finished.", goes_on(run.path))
    below = finished_runs([run.path])
    if below:
        more = f"one of the {len(below)} below it, such as" if len(below) > 1 else "the one below it:"
        return RunMissing(f"{run.path} is no run, but a folder of runs.", f"Name {more} {below[0].path}.")
    return RunMissing(f"{run.path} holds no run.", "A run's folder is called seed-N; fuse makes it.")


def _store(run: RunFolder, data_dir: Path, identity: Identity, *, rows: bool) -> Store:
    """Open the run's dataset; where no rows are needed, what the run kept of it will do for one that is not there."""
    try:
        store = open_dataset(data_dir, identity.dataset)
        if rows or store.manifest.data_hash == identity.data_hash or not keeps_manifest(run.path):
            return store
    except (DatasetMissing, StoreMismatch):
        if rows or not keeps_manifest(run.path):
            raise
    try:
        return known_from(run.path, of=dataset_folder(data_dir, identity.dataset))
    except StoreMismatch as error:
        raise RunMismatch(error.what, trains_again(run.path)) from error


def _experiment(run: RunFolder, identity: Identity, store: Store, device: DeviceName) -> Experiment:
    if store.manifest.data_hash != identity.data_hash:
        raise RunMismatch(
            f"{run.path} was trained on data {identity.data_hash[:12]}; {store.folder} now holds "
            f"{store.manifest.data_hash[:12]}.",
            "Point --data-dir at the data of the run, or train again.",
        )
    experiment = Experiment(
        store,
        from_values(run.recipe, f"{run.path / 'recipe.yaml'}"),
        name=run.environment["recipe"],
        folder=_folder(run),
        device=choose_device(device),
        precision=identity.precision,
    )
    if experiment.emotions_hash != identity.emotions:
        raise RunMismatch(
            f"{run.path} has learned other emotions than those that {store.folder} now holds.",
            "Point --data-dir at the data of the run, or train again.",
        )
    return experiment


def _folder(run: RunFolder) -> Path:
    """Return where a run's encoders lie: with it where it has been exported, else beside all runs of its dataset."""
    path = run.path.resolve()
    return path if (path / EXPORT).exists() else path.parents[2]


def _check_encoders(encoders: Encoders, identity: Identity) -> None:
    """See that the encoders outside the model are still those that it was trained on."""
    changed = [
        str(folder.path)
        for m, folder in encoders.pretrained.items()
        if folder.weights_hash() != identity.encoders.get(m)
    ]
    experiment = encoders.experiment
    if experiment.has_text_encoder and "t" not in encoders.pretrained and not experiment.trains_text:
        folder = base_text(experiment, identity.seed)
        changed += [str(folder)] if fingerprint(folder) != identity.base_text else []
    if changed:
        raise RunMismatch(
            f"{encoders.run.path} was trained on other weights than now lie in {', '.join(changed)}.",
            trains_again(encoders.run.path),
        )
