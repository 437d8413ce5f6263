"""`dmmsa prepare`: from a pickle, wherever it lies, to a store that every other step opens at once."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dmmsa_cli import files
from dmmsa_cli.commands import DATA, RUNS
from dmmsa_cli.data import inspection, sources, summary
from dmmsa_cli.data.layouts import checked
from dmmsa_cli.data.manifest import VIDEO_FORM, Manifest, prepare_command, read_manifest
from dmmsa_cli.data.progress import OnProgress, silent
from dmmsa_cli.data.specs import (
    ALIGNED,
    SPECS,
    SPLITS,
    DatasetSpec,
    load_spec,
)
from dmmsa_cli.data.splitting import Shares
from dmmsa_cli.data.store import DOWNLOADS, Store, check_name, dataset_folder, open_store
from dmmsa_cli.data.videos import form_of
from dmmsa_cli.data.writing import add_pseudo_emotions, tidy, write_store
from dmmsa_cli.errors import DatasetMissing, FolderBusy, InvalidDataset, InvalidInput, StoreMismatch
from dmmsa_cli.stages.ways import ANY_HASH, Way, shares_in_words, way_to


@dataclass(frozen=True)
class PrepareReport:
    """What a person wants to see of a prepared dataset.

    Attributes:
        store: the dataset, open.
        written: False where it had been prepared before and nothing was done.
        warnings: what should be known about the file.
        histogram: of the scores of all splits.
        lengths: by modality.
        emotions: by split, of those whose clips are labelled with some.
    """

    store: Store
    written: bool
    warnings: tuple[str, ...]
    histogram: tuple[summary.Bar, ...]
    lengths: dict[str, summary.LengthSummary]
    emotions: dict[str, summary.EmotionSummary]

    @property
    def manifest(self) -> Manifest:
        """What the store holds."""
        return self.store.manifest


def prepare(
    name: str,
    *,
    data_dir: Path = DATA,
    source: str | None = None,
    spec_file: Path | None = None,
    aligned: bool = False,
    force: bool = False,
    sha256: str | None = None,
    emotions_from: str | None = None,
    recipe: str | None = None,
    shares: Shares | None = None,
    runs_dir: Path = RUNS,
    progress: OnProgress = silent,
) -> PrepareReport:
    """Fetch, check, repair and store a dataset; where that has been done before, do nothing.

    Args:
        name: a key of `SPECS`, or a name of one's own with `source` and `spec_file`.
        data_dir: where stores and downloads lie.
        source: a local pickle or an HTTP address; None for the published file.
        spec_file: YAML description of a dataset of one's own; kept in the store.
        aligned: the variant aligned to the words.
        force: replace what is there.
        sha256: what the file of `source` must hash to; `any` takes what comes.
        emotions_from: a prepared dataset whose emotions its training clips take, each those of the nearest transcript
            of the same polarity; what there was before stays as it is.
        recipe: whose text encoder says what is near; none takes the dataset's `dmmsa`.
        shares: how a file without splits is dealt out.
        runs_dir: where runs lie, and the encoders that are made for them.
        progress: called with what is being done, how far, and out of how much.

    Raises:
        DmmsaError: whatever is wrong with the arguments, the way to the file, the file, the store or the disk.
    """
    _check_arguments(name, source, sha256, emotions_from, recipe, shares)
    folder = dataset_folder(data_dir, name + ALIGNED if aligned else name)
    spec = _spec(name, folder, spec_file, aligned)
    way = way_to(spec, source, sha256, shares)
    if emotions_from is not None:
        _look_at_origin(dataset_folder(data_dir, emotions_from), recipe, spec)
    written = force or _present(folder, way, spec, progress) is None
    if written:
        way.look()
        with files.exclusive(folder):
            _write(folder, spec, way, data_dir / DOWNLOADS, progress)
    else:
        _tidy(folder)
    if emotions_from is not None:
        written |= _take_emotions(folder, data_dir, emotions_from, recipe, runs_dir, progress)
    return _report(open_store(folder), written=written)


def _check_arguments(
    name: str,
    source: str | None,
    sha256: str | None,
    emotions_from: str | None,
    recipe: str | None,
    shares: Shares | None,
) -> None:
    check_name(name)
    if sha256 is not None and sha256 != ANY_HASH and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise InvalidInput(f"{sha256!r} is no SHA-256.", f"Give 64 hexadecimal digits, or `{ANY_HASH}`.")
    if recipe is not None and emotions_from is None:
        raise InvalidInput("--recipe says which text encoder --emotions-from uses.", "Add --emotions-from DATASET.")
    if sha256 is not None and source is None:
        raise InvalidInput("--sha256 belongs to a file given with --from.", "Add --from FILE or URL.")
    if shares is not None and source is None:
        raise InvalidInput("--split deals out a file given with --from.", "Add --from FILE or URL.")


def _spec(name: str, folder: Path, spec_file: Path | None, aligned: bool) -> DatasetSpec:
    """Find what is known about a dataset: in the program, in a file, or in the store of an earlier run."""
    if aligned and name + ALIGNED not in SPECS:
        known = [key.removesuffix(ALIGNED) for key in SPECS if key.endswith(ALIGNED)]
        raise InvalidInput(f"{name} has no aligned variant.", f"There is one of {' and '.join(known)}.")
    if spec_file is None:
        spec = SPECS.get(name + ALIGNED if aligned else name)
        return spec if spec is not None else _spec_of_store(name, folder)
    if name in SPECS:
        raise InvalidInput(
            f"{name} is a dataset that dmmsa knows, so --spec can't describe it.", "Give yours a name of its own."
        )
    return load_spec(spec_file, name)


def _spec_of_store(name: str, folder: Path) -> DatasetSpec:
    try:
        return read_manifest(folder).spec
    except DatasetMissing as error:
        raise InvalidInput(
            f"There is no dataset {name}. Known ones: {', '.join(SPECS)}.",
            f"For one of your own: `{prepare_command(name)}`.",
        ) from error
    except StoreMismatch as error:
        raise InvalidInput(
            f"The description of {name} can't be read from its store. {error.what}", "Give it again with --spec."
        ) from error


# --- the store --------------------------------------------------------------------------------------------------


def _present(folder: Path, way: Way, spec: DatasetSpec, progress: OnProgress) -> Store | None:
    """Open the store of an earlier run; None if there is none.

    Raises:
        StoreMismatch: there is one of another source, or of another description.
    """
    try:
        store = open_store(folder)
    except DatasetMissing:
        return None
    anew = "Replace it with --force, or prepare this one under another name."
    if not way.same(store.manifest.source, progress):
        held = store.manifest.source
        origin = held.get("url") or held.get("path") or f"version {held.get('version')} of the generator"
        origin += f" ({shares_in_words(held)})" if "split" in held else ""
        raise StoreMismatch(f"{folder} holds what was prepared from {origin}, not from {way.name}.", anew)
    if store.spec != spec:
        raise StoreMismatch(f"{folder} was prepared under another description of {spec.name}.", anew)
    return store


def _write(folder: Path, spec: DatasetSpec, way: Way, downloads: Path, progress: OnProgress) -> None:
    obtained = way.obtain(downloads, progress)
    if obtained.found.without_splits:
        rows = sum(len(split["id"]) for split in obtained.found.splits.values())
        if rows < len(SPLITS):
            what = "one clip" if rows == 1 else f"{rows} clips"
            raise InvalidDataset(
                f"The file holds {what}, of which no splits can be made.", "predict takes it as it is."
            )
        raise InvalidDataset("The file has no splits.", "Deal it out: --split 0.7,0.1,0.2 (of videos; --by clip).")
    layout = checked(obtained.found, spec)
    warnings = list(layout.warnings)
    if spec.source is not None and not obtained.source["published"]:
        size = f"{obtained.source['bytes']:,} bytes"
        warnings.append(
            f"Not the field's published file: SHA-256 {obtained.source['sha256'][:12]}..., {size}."
            f"{sources.published_size(spec)}"
        )
    ids = [str(name) for split in obtained.found.splits.values() for name in split["id"]]
    notes = obtained.notes | {"warnings": warnings, VIDEO_FORM: form_of(ids)}
    write_store(folder, obtained.found.splits, layout, obtained.source, notes=notes, progress=progress)


def _tidy(folder: Path) -> None:
    """Remove what a kill has left beside a whole store; where another process holds it, that one is at it."""
    with suppress(FolderBusy), files.exclusive(folder, reading=True):
        tidy(folder)


def _look_at_origin(folder: Path, recipe: str | None, spec: DatasetSpec) -> None:
    """See that emotions can be taken from a dataset, by a recipe that there is, before anything is fetched."""
    from dmmsa_cli.experiments.pseudo_emotions import check_gives
    from dmmsa_cli.experiments.recipes import find_recipe, load_recipe

    check_gives(open_store(folder))
    load_recipe(find_recipe(recipe, spec.recipes))


def _take_emotions(
    folder: Path, data_dir: Path, origin: str, recipe: str | None, runs_dir: Path, progress: OnProgress
) -> bool:
    """Give the training clips of a store emotions of another's, and say whether they did not have just these."""
    # Here, since they import torch, and seconds are long where nothing but a pickle is read.
    from dmmsa_cli.experiments import pseudo_emotions
    from dmmsa_cli.experiments.experiment import open_experiment

    others = open_store(dataset_folder(data_dir, origin))
    with files.exclusive(folder):  # from here on, or these could be the emotions of clips that were replaced meanwhile
        pseudo_emotions.check_takes(open_store(folder))
        experiment = open_experiment(folder.name, data_dir=data_dir, runs_dir=runs_dir, recipe=recipe)
        record = pseudo_emotions.origin_record(experiment, others)
        if experiment.store.manifest.pseudo_emotions == record:
            return False
        progress("emotions", 0, None)
        found = pseudo_emotions.nearest_emotions(
            experiment.store.split("train"), others.split("train"), pseudo_emotions.embedding(experiment)
        )
        add_pseudo_emotions(folder, others.manifest.emotions, found, record)
    progress("emotions", 1, 1)
    return True


def _noted(manifest: Manifest) -> list[str]:
    """Return the warnings that a store keeps; of split sizes those of an earlier version, which are looked at anew."""
    warnings: list[str] = manifest.notes.get("warnings", [])
    return [line for line in warnings if not line.startswith("The split sizes are not the published ones")]


def _report(store: Store, *, written: bool) -> PrepareReport:
    manifest = store.manifest
    splits = {name: store.split(name) for name in SPLITS}
    remarks = inspection.inspect_dataset(splits, store.spec, manifest.widths, transcripts=manifest.transcripts)
    return PrepareReport(
        store=store,
        written=written,
        warnings=(*_noted(manifest), *(remark.text for remark in remarks)),
        histogram=summary.histogram_of(store),
        lengths=summary.lengths_of(store),
        emotions=summary.emotions_of(store),
    )
