"""`dmmsa predict`: scores for one's own clips from finished runs, and how far off they may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from dmmsa_cli.commands import DATA
from dmmsa_cli.data.features import Features, read_features
from dmmsa_cli.data.inspection import inspect
from dmmsa_cli.data.prediction_table import write_predictions
from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.data.split import Split
from dmmsa_cli.data.validation import FEATURES
from dmmsa_cli.data.validation.faults import some
from dmmsa_cli.errors import InvalidInput, RunMismatch
from dmmsa_cli.experiments.build import Fused
from dmmsa_cli.experiments.columns import HeadValues, head_values, mean_scores, mean_values
from dmmsa_cli.experiments.context import context_remarks
from dmmsa_cli.experiments.experiment import Experiment
from dmmsa_cli.experiments.measure import predictions_of
from dmmsa_cli.experiments.validation import kept_validation
from dmmsa_cli.experiments.wording import in_words, probability_columns
from dmmsa_cli.metrics import Scores
from dmmsa_cli.plain import plural
from dmmsa_cli.runtime import DeviceName
from dmmsa_cli.stages.together import Several, open_together
from dmmsa_cli.training.run import RunFolder
from dmmsa_cli.uncertainty import check_level, errors, interval, reach


@dataclass(frozen=True)
class Wanted:
    """What the table of predictions holds beside the score."""

    level: float | None = None
    """Of intervals, `y_low` and `y_high`; none without."""
    probabilities: bool = False
    """Whether each class of a classification has a column."""


@dataclass(frozen=True)
class Cut:
    """Sequences of a modality that are longer than the run's positions, of which the rest is not looked at."""

    clips: int
    longest: int
    """Frames that the longest of them has."""
    limit: int
    """Frames that are looked at."""


@dataclass(frozen=True)
class PredictReport:
    """What was predicted."""

    rows: dict[str, int]
    """Rows by split of the file; `all` for a file without splits."""
    table: pd.DataFrame
    """The predictions themselves, as they are written."""
    out: Path | None
    """Where; none where nothing was written."""
    probabilities: tuple[str, ...]
    """Columns of it that hold probabilities of classes."""
    replaced: bool
    """Whether another file lay there."""
    runs: tuple[str, ...]
    """Which runs' mean they are: dataset, recipe, variant and seed of each."""
    repairs: dict[str, int] = field(default_factory=dict)
    """What was repaired in the features, and how often."""
    cut: dict[str, Cut] = field(default_factory=dict)
    """Sequences that were longer than a run has positions, by modality."""
    warnings: tuple[str, ...] = ()
    """What the reader should know of the file: labels that can't be used, characters that were replaced, ids that do
    not tell which clips stand around one."""


def predict(
    runs: Sequence[RunFolder],
    source: Path,
    out: Path | None = None,
    *,
    data_dir: Path = DATA,
    device: DeviceName = "auto",
    split: str | None = None,
    wanted: Wanted | None = None,
) -> PredictReport:
    """Predict every clip of a pickle in the field's layout; labels are not needed.

    Features are scaled by a run's own statistics, which lie among its weights.

    Args:
        runs: finished ones of one dataset; of several, the mean of their predictions.
        source: the pickle, with any splits or none.
        out: the CSV to write, if any: split, id, text, y_pred, and what the models' heads say.
        data_dir: where stores lie; a run that kept what was known of its dataset needs none.
        device: where to run.
        split: only this one.
        wanted: more columns.

    Raises:
        InvalidInput: a modality is missing, has another width, the split is not there, or the level can't be had.
        InvalidDataset, UnsafePickle, DamagedPickle: the file can't be used.
        RunMissing, RunMismatch: runs can't be used, are not of one dataset, or do not hold what intervals need.
    """
    several = open_together(runs, data_dir, device)
    features = read_features(source, several.first.experiment.store.spec, split)
    for fused in several.fused:
        _check_modalities(fused.experiment, features, source, fused.encoders.run)
    splits = features.splits
    table, classes = _predicted(several, splits, wanted or Wanted())
    return PredictReport(
        rows={name: len(rows) for name, rows in splits.items()},
        table=table,
        probabilities=classes,
        replaced=_write(table, out),
        out=out,
        runs=several.names,
        repairs=_repairs(several, features),
        cut=_cut(several, splits),
        warnings=(
            *features.layout.warnings,
            *_not_used(several, features),
            *_remarks(several, splits),
            *_no_context(several, splits),
        ),
    )


def predict_texts(
    runs: Sequence[RunFolder],
    texts: Split,
    out: Path | None = None,
    *,
    data_dir: Path = DATA,
    device: DeviceName = "auto",
    wanted: Wanted | None = None,
) -> PredictReport:
    """Predict transcripts (`data/texts.py`) with runs that need nothing else.

    Args:
        runs: finished ones of one dataset; of several, the mean of their predictions.
        texts: the transcripts.
        out: the CSV to write, if any, as that of `predict`.
        data_dir: where stores lie; a run that kept what was known of its dataset needs none.
        device: where to run.
        wanted: more columns.

    Raises:
        InvalidInput: a run needs more than words, or the level can't be had.
        RunMissing, RunMismatch: as `predict`.
    """
    several = open_together(runs, data_dir, device)
    for fused in several.fused:
        _check_words_alone(fused)
    table, classes = _predicted(several, {texts.name: texts}, wanted or Wanted())
    return PredictReport(
        rows={texts.name: len(texts)},
        table=table,
        probabilities=classes,
        replaced=_write(table, out),
        out=out,
        runs=several.names,
        warnings=(*_remarks(several, {texts.name: texts}), *_no_context(several, {texts.name: texts})),
    )


def _write(table: pd.DataFrame, out: Path | None) -> bool:
    """Write the table, where there is somewhere to, and say whether it replaced a file."""
    if out is None:
        return False
    replaced = out.exists()
    write_predictions(out, table, mark=True)
    return replaced


# --- one run, or several together -----------------------------------------------------------------------------------


def _predicted(several: Several, splits: Mapping[str, Split], wanted: Wanted) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the table, and which of its columns are probabilities of classes.

    One run's model goes over all splits after the other, so that no two are in memory.
    """
    distance = None if wanted.level is None else _distance(several, wanted.level)
    spec = several.first.experiment.store.spec
    by_run = [_one_run(fused, splits) for fused in several.fused]
    tables, classes = [], tuple[str, ...]()
    for name, rows in splits.items():
        scores = mean_scores([said[name][0] for said in by_run])
        values = mean_values([said[name][1] for said in by_run])
        classes = probability_columns(values, spec) if wanted.probabilities else ()
        table = pd.DataFrame({"split": [name] * len(rows), "id": rows.ids, "text": rows.texts})
        if "y" in rows.labels:
            table["y_true"] = rows.labels["y"]
        table["y_pred"] = scores
        if distance is not None:
            table["y_low"], table["y_high"] = interval(scores, distance, _range(several))
        table = table.assign(**in_words(scores, values, spec, probabilities=wanted.probabilities))
        if len(several.fused) > 1:
            table["runs"], table["mean_of"] = len(several.fused), " ".join(several.names)
        tables.append(table)
    if wanted.probabilities and not classes:
        several_have = "the runs have no classes in common" if len(several.fused) > 1 else "the run tells no classes"
        raise InvalidInput(f"--probabilities: {several_have}.", "Leave it out, or name runs that learned MSC.")
    return pd.concat(tables, ignore_index=True), classes


def _one_run(fused: Fused, splits: Mapping[str, Split]) -> dict[str, tuple[Scores, dict[str, HeadValues]]]:
    """Return what a run says of each split: scores, and what its heads say."""
    model, found = fused.finished(), {}
    for name, rows in splits.items():
        predictions = predictions_of(fused.experiment, model, fused.inputs.features(rows))
        _check_finite(predictions.scores, rows)
        found[name] = predictions.scores, head_values(fused.objective.heads, predictions)
    return found


def _check_finite(scores: Scores, rows: Split) -> None:
    """See that what a run says of clips are numbers: features beyond all measure make others of them.

    Raises:
        InvalidInput: with the clips.
    """
    lost = [clip for clip, score in zip(rows.ids, scores, strict=True) if not np.isfinite(score)]
    if lost:
        raise InvalidInput(
            f"The prediction of {plural(len(lost), 'clip')} is no finite number: {some(lost)}.",
            "Look at the features: prepare says where values are beyond all measure. Leave such clips out.",
        )


def _range(several: Several) -> float:
    return several.first.experiment.store.spec.score_range


def _distance(several: Several, level: float) -> float:
    """Return how far intervals reach, from the errors of the mean of the runs' predictions of the validation split."""
    check_level(level)
    runs = [fused.encoders.run for fused in several.fused]
    tables = [kept_validation(run, weights=run.weights_hash()).sort_values("id", kind="stable") for run in runs]
    for run, table in zip(runs, tables, strict=True):
        if list(table["id"]) != list(tables[0]["id"]):
            raise RunMismatch(
                f"{run.path} and {runs[0].path} were validated on different clips.", "Name runs of one dataset."
            )
    labels = tables[0]["y_true"].to_numpy()
    scores = mean_scores([table["y_pred"].to_numpy() for table in tables])
    return reach(errors(labels, scores, _range(several)), level)


# --- what a run reads -----------------------------------------------------------------------------------------------


def _check_words_alone(fused: Fused) -> None:
    """See that a run needs transcripts, and nothing beside them."""
    experiment, run = fused.experiment, fused.encoders.run
    more = [f"{MODALITY_NAMES[m]} features" for m in experiment.modalities if m != "t"]
    more = more if experiment.has_text_encoder or "t" not in experiment.modalities else ["text features", *more]
    if more:
        raise InvalidInput(
            f"{run.path} needs {' and '.join(more)}, which --text and --csv do not give.",
            "Give a pickle that has them, --from FILE, or name a run of text alone "
            "(trained with --set data.modalities=[t]).",
        )


def _check_modalities(experiment: Experiment, features: Features, source: Path, run: RunFolder) -> None:
    """Hold the file's modalities and widths against the run's, and name every difference."""
    layout, manifest = features.layout, experiment.store.manifest
    wrong = []
    for modality in experiment.modalities:
        name = MODALITY_NAMES[modality]
        words = modality == "t" and experiment.has_text_encoder
        available = layout.transcripts if words else modality in layout.widths
        if not available:
            what = "transcripts (raw_text)" if words else f"{name} features"
            wrong.append(f"{run.path} was trained with {what}; {source} has none")
        elif not words and layout.widths[modality] != manifest.widths[modality]:
            wrong.append(
                f"{name} is {layout.widths[modality]} wide in {source}, {manifest.widths[modality]} in {run.path}"
            )
    if wrong:
        raise InvalidInput("; ".join(wrong) + ".", "Extract the features as the run's were, or train on these.")


def _remarks(several: Several, splits: Mapping[str, Split]) -> list[str]:
    """Say what is odd about the clips, in what a run reads of them."""
    ordered = [m for m in MODALITY_NAMES if m in several.sequences]
    return [remark.text for remark in inspect(splits, ordered, transcripts=several.words)]


def _not_used(several: Several, features: Features) -> list[str]:
    """Say which modalities of the file no run reads."""
    used = {m for fused in several.fused for m in fused.experiment.modalities}
    given = {*features.layout.widths, *("t" if features.layout.transcripts else "")}
    names = [name for m, name in MODALITY_NAMES.items() if m in given - used]
    trained = "the run was" if len(several.fused) == 1 else "the runs were"
    verb = "is" if len(names) == 1 else "are"
    return [f"Of the file, {' and '.join(names)} {verb} not used: {trained} trained without."] if names else []


def _repairs(several: Several, features: Features) -> dict[str, int]:
    """Leave out the repairs of what no run reads."""
    ignored = [key for m, key in FEATURES.items() if m not in several.sequences]
    ignored += [] if several.words else ["raw_text"]
    begins = tuple(f"{key}{end}" for key in ignored for end in (":", "_lengths:"))
    return {what: count for what, count in features.repairs.items() if not what.startswith(begins)}


def _no_context(several: Several, splits: Mapping[str, Split]) -> tuple[str, ...]:
    """Say, once for all runs, which clips of a file have no others around them."""
    ids = [name for rows in splits.values() for name in rows.ids]
    found = dict.fromkeys(line for fused in several.fused for line in context_remarks(fused.experiment, ids))
    return tuple(found)


def _cut(several: Several, splits: Mapping[str, Split]) -> dict[str, Cut]:
    experiment = several.first.experiment
    modalities = {m for fused in several.fused for m in fused.experiment.modalities if m != "t"}
    found: dict[str, Cut] = {}
    for m in (name for name in MODALITY_NAMES if name in modalities):
        limit = max(1, experiment.store.manifest.longest[m])
        lengths = np.concatenate([rows.lengths(m) for rows in splits.values()])
        clips = int(np.sum(lengths > limit))
        if clips:
            found[m] = Cut(clips, int(lengths.max()), limit)
    return found
