"""`dmmsa evaluate`: metrics and predictions of runs, or of anybody's predictions."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dmmsa_cli.data.specs import MODALITY_NAMES, SPECS, DatasetSpec
from dmmsa_cli.data.store import dataset_folder, open_store
from dmmsa_cli.errors import DatasetMissing, InvalidInput, RunMissing
from dmmsa_cli.files import atomic_path, write_json
from dmmsa_cli.metrics import Metrics, Summary, score, summarise, without_nan
from dmmsa_cli.runtime import DeviceName
from dmmsa_cli.stages.experiment import Experiment
from dmmsa_cli.stages.fused import Fused, reopen
from dmmsa_cli.stages.pretrain import load_unimodal
from dmmsa_cli.training.inference import Predictions, predict
from dmmsa_cli.training.run import RunFolder

FUSION_ONLY = "the fusion only: encoders are shared by the seeds"
ALL_TRAINING = "all training"


@dataclass(frozen=True)
class System:
    """One row of a table: a system, and its metrics in each of its runs."""

    title: str
    runs: list[Metrics] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    covers: str = ALL_TRAINING
    """What the standard deviation over the runs covers."""

    @property
    def summary(self) -> Summary:
        """Mean and spread over the runs."""
        return summarise(self.runs)


@dataclass(frozen=True)
class Evaluation:
    """Every system over the same rows of the same data."""

    spec: DatasetSpec
    split: str
    rows: int
    data_hash: str
    source: dict[str, Any]
    notes: dict[str, Any]
    systems: list[System]

    def to_json(self) -> dict[str, Any]:
        """Return fractions, unrounded, under the column names of the published tables."""
        return {
            "dataset": self.spec.name,
            "synthetic": self.spec.synthetic,
            "split": self.split,
            "rows": self.rows,
            "data_hash": self.data_hash,
            "systems": [
                {
                    "system": system.title,
                    "seeds": system.seeds,
                    "sd_covers": system.covers,
                    "mean": without_nan(system.summary.mean),
                    "sd": without_nan(system.summary.sd),
                    "runs": [without_nan(run) for run in system.runs],
                }
                for system in self.systems
            ],
        }


def find_runs(places: Sequence[Path], dataset: str | None, runs_dir: Path) -> list[RunFolder]:
    """Return the finished runs of fused models at or below `places`, or all of a dataset.

    Raises:
        InvalidInput: neither is given.
        RunMissing: there is none.
    """
    roots = [place.resolve() for place in places] or ([runs_dir / dataset] if dataset else [])
    if not roots:
        raise InvalidInput("Neither a run nor a dataset is named.", "Give run folders, or --dataset NAME.")
    folders = {
        path.parent
        for root in roots
        for path in root.glob("**/summary.json")
        if path.parent.name.startswith("seed-")  # the encoders' folders, which have summaries too, do not
    }
    if not folders:
        raise RunMissing(
            f"There is no finished run in {', '.join(map(str, roots))}.",
            f"Train one: dmmsa fuse --dataset {dataset or 'NAME'}. An unfinished one goes on with --resume.",
        )
    return [RunFolder(folder) for folder in sorted(folders, key=_by_seed)]


def _by_seed(folder: Path) -> tuple[str, int]:
    number = folder.name.removeprefix("seed-")
    return str(folder.parent), int(number) if number.isdigit() else 0


def evaluate(runs: Sequence[RunFolder], *, split: str, data_dir: Path, device: DeviceName = "auto") -> list[Evaluation]:
    """Evaluate finished runs, and write metrics.json and predictions into each.

    Args:
        runs: finished runs, of any datasets, recipes and variants.
        split: `train`, `valid` or `test`.
        data_dir: where stores lie.
        device: where to run.

    Returns:
        One evaluation for each dataset: what stands in one table has the same rows and the same data.

    Raises:
        RunMismatch: a run was trained on other data than the store now holds.
    """
    datasets: dict[str, list[Fused]] = {}
    for run in runs:
        fused = reopen(run, data_dir=data_dir, device=device)
        datasets.setdefault(fused.experiment.store.spec.name, []).append(fused)
    return [_evaluate_dataset(models, split) for models in datasets.values()]


def _evaluate_dataset(models: list[Fused], split: str) -> Evaluation:
    experiment = models[0].experiment
    manifest = experiment.store.manifest
    alone: dict[tuple[str, Path], Metrics] = {}
    for fused in models:
        for m, folder in fused.pretrained.items():
            if (m, folder.path) not in alone:  # shared encoders are run once
                alone[m, folder.path] = _score(experiment, split, _run_alone(fused, m, folder, split))
    variants: dict[str, System] = {}
    for fused in models:
        facts = fused.run.environment
        title = f"{facts['recipe']} {facts['variant']}, {'+'.join(facts['modalities'])}"
        shared = fused.pretrained and not fused.experiment.recipe.pretraining.per_seed
        system = variants.setdefault(title, System(title, covers=FUSION_ONLY if shared else ALL_TRAINING))
        said = predict_split(fused, split)
        system.runs.append(_score(experiment, split, said))
        system.seeds.append(facts["seed"])
        beside = {MODALITY_NAMES[m]: alone[m, folder.path] for m, folder in fused.pretrained.items()}
        _write_run(fused, split, {"fused": system.runs[-1]} | beside, said)
    return Evaluation(
        spec=experiment.store.spec,
        split=split,
        rows=manifest.rows[split],
        data_hash=manifest.data_hash,
        source=manifest.source,
        notes=manifest.notes,
        systems=[_training_mean(experiment, split), *_alone_systems(models, alone), *variants.values()],
    )


def _training_mean(experiment: Experiment, split: str) -> System:
    """The plainest predictor there is: always the training labels' mean."""
    mean = experiment.store.split("train").labels["y"].mean(dtype=np.float64)
    constant = np.full(len(experiment.store.split(split)), mean, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a constant has no Corr is no news here; the table prints a dash
        return System("training mean", [_score(experiment, split, Predictions(constant, [], {}))])


def _alone_systems(models: list[Fused], alone: dict[tuple[str, Path], Metrics]) -> list[System]:
    """Return a row for each modality's encoders; where recipes or variants have encoders of their own, for each."""
    systems = []
    for modality, name in MODALITY_NAMES.items():
        sets: dict[tuple[str, ...], System] = {}
        groups: dict[str, dict[Path, int]] = {}
        for fused in models:
            if modality in fused.pretrained:
                facts = fused.run.environment
                group = groups.setdefault(f"{facts['recipe']} {facts['variant']}", {})
                group.setdefault(fused.pretrained[modality].path, facts["seed"])
        for title, encoders in groups.items():
            key = tuple(sorted(path.name for path in encoders))
            runs = [alone[modality, path] for path in encoders]
            sets.setdefault(key, System(f"{name} alone ({title})", runs, list(encoders.values())))
        if len(sets) == 1:
            only = next(iter(sets.values()))
            systems.append(System(f"{name} alone", only.runs, only.seeds))
        else:
            systems += sets.values()
    return systems


def predict_split(fused: Fused, split: str) -> Predictions:
    """Run a finished model over every row of a split of its store."""
    experiment = fused.experiment
    return predict(
        fused.finished(),
        fused.view(split, fused.run.environment["seed"]).whole(),
        batch_size=experiment.evaluation_batch,
        device=experiment.device,
        precision=experiment.precision,
    )


def _run_alone(fused: Fused, modality: str, folder: RunFolder, split: str) -> Predictions:
    experiment = fused.experiment
    return predict(
        load_unimodal(experiment, modality, folder),
        fused.view(split, fused.run.environment["seed"]).whole().only(modality),
        batch_size=experiment.evaluation_batch,
        device=experiment.device,
        precision=experiment.precision,
    )


def _score(experiment: Experiment, split: str, said: Predictions) -> Metrics:
    spec = experiment.store.spec
    truth = experiment.store.split(split).labels["y"]
    return score(truth, said.scores, metrics=spec.metrics, score_range=spec.score_range)


# --- what a run's folder gets ---------------------------------------------------------------------------------------


def predictions_table(fused: Fused, split: str, said: Predictions) -> pd.DataFrame:
    """Return id, text, y_true, y_pred, the unimodal head's predictions and the MSC classes of a split's rows."""
    rows = fused.experiment.store.split(split)
    return pd.DataFrame(
        {"id": rows.ids, "text": rows.texts, "y_true": rows.labels["y"], "y_pred": said.scores}
        | head_columns(fused, said)
    )


def head_columns(fused: Fused, said: Predictions) -> dict[str, NDArray[Any]]:
    """Return the columns that a model's heads give.

    `uni_T_s` ... are the unimodal head's scores; `msc_3` is the likeliest of three classes, 0 the most negative.
    """
    columns: dict[str, NDArray[Any]] = {}
    for name, head in fused.objective.heads.items():
        values = said.heads[name]
        if head.over == "feature":
            columns |= {f"{name[:3]}_{feature}": values[:, i, 0] for i, feature in enumerate(said.features)}
        else:
            columns[name] = values.argmax(axis=1)
    return columns


def _write_run(fused: Fused, split: str, metrics: dict[str, Metrics], said: Predictions) -> None:
    folder = fused.run.path
    _add_to(folder / "metrics.json", split, {name: without_nan(values) for name, values in metrics.items()})
    if said.cosine is not None:
        _add_to(folder / "features.json", split, {"names": said.features, "cosine": said.cosine.round(6).tolist()})
    name = "predictions.csv" if split == "test" else f"predictions-{split}.csv"
    write_csv(folder / name, predictions_table(fused, split, said))


def _add_to(path: Path, split: str, found: dict[str, Any]) -> None:
    """Write what was found on a split beside what the file knows of the others."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        known = {}  # none yet, or damaged: it only holds what evaluation can find again
    write_json(path, (known if isinstance(known, dict) else {}) | {split: found})


def write_csv(target: Path, table: pd.DataFrame) -> None:
    """Write a table by rename; floats keep every digit that float32 has."""
    with atomic_path(target) as partial:
        table.to_csv(partial, index=False, float_format="%.9g")


# --- anybody's predictions ------------------------------------------------------------------------------------------


def evaluate_predictions(path: Path, dataset: str, *, data_dir: Path) -> tuple[DatasetSpec, int, Metrics]:
    """Score a CSV with the columns id, y_true, y_pred under a dataset's metrics.

    Returns:
        What is known of the dataset, the number of rows, and the metrics.

    Raises:
        InvalidInput: the file can't be read, a column is missing, or a value is no number.
    """
    spec = _spec_of(dataset, data_dir)
    try:
        table = pd.read_csv(path, dtype={"id": str})
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{path} can't be read as CSV: {error}", "Give a CSV with columns id, y_true, y_pred."
        ) from error
    missing = [name for name in ("id", "y_true", "y_pred") if name not in table]
    if missing:
        there = ", ".join(map(str, table.columns))
        raise InvalidInput(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has {there}.",
            "Needed are id, y_true and y_pred.",
        )
    _check_rows(path, table, spec)
    return (
        spec,
        len(table),
        score(
            table["y_true"].to_numpy(), table["y_pred"].to_numpy(), metrics=spec.metrics, score_range=spec.score_range
        ),
    )


def _check_rows(path: Path, table: pd.DataFrame, spec: DatasetSpec) -> None:
    if table.empty:
        raise InvalidInput(f"{path} has no rows.", "Give one row for each clip.")
    twice = table["id"][table["id"].duplicated()]
    if len(twice):
        raise InvalidInput(f"{path}: id {twice.iloc[0]} stands there twice.", "Give one row for each clip.")
    for name in ("y_true", "y_pred"):
        with np.errstate(over="ignore"):  # beyond float32 is not finite either
            numbers = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64).astype(np.float32)
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if len(wrong):
            raise InvalidInput(
                f"{path}, line {wrong[0] + 2}: {name} is {table[name].iloc[wrong[0]]!r}, not a finite number"
                f" ({len(wrong)} such rows).",
                "Every clip needs a label and a prediction.",
            )
    beyond = np.abs(table["y_true"].to_numpy(np.float32)) > np.float32(spec.score_range)
    if beyond.any():
        raise InvalidInput(
            f"{path}: y_true reaches {table['y_true'].abs().max():g}, beyond the range of {spec.name}, "
            f"{spec.score_range:g}.",
            "Is it the right --dataset?",
        )


def _spec_of(dataset: str, data_dir: Path) -> DatasetSpec:
    """What is known of a dataset; a user's own is known by its store."""
    if dataset in SPECS:
        return SPECS[dataset]
    try:
        return open_store(dataset_folder(data_dir, dataset)).spec
    except DatasetMissing as error:
        raise DatasetMissing(
            f"{dataset} is neither prepared nor one of {', '.join(SPECS)}.",
            f"Prepare it: dmmsa prepare {dataset} --from FILE --spec FILE",
        ) from error
