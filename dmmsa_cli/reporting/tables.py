"""Tables: those of the papers, each published row followed by our own, and those of our own runs alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dmmsa_cli.commands import command
from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.experiments.recipes import USUAL_RECIPE
from dmmsa_cli.experiments.studies import Study, Variant, load_study, study_names
from dmmsa_cli.experiments.variants import in_words
from dmmsa_cli.metrics import Summary
from dmmsa_cli.models import MODELS
from dmmsa_cli.reporting import notes
from dmmsa_cli.reporting.contents import Row, Table
from dmmsa_cli.reporting.control import about_control
from dmmsa_cli.reporting.folds import ABOUT as ABOUT_FOLDS
from dmmsa_cli.reporting.folds import OnFolds, on_folds
from dmmsa_cli.reporting.labels import seeds_of, tell_apart
from dmmsa_cli.reporting.marks import in_groups, with_marks
from dmmsa_cli.reporting.missing import LEGEND as LEGEND_OF_MISSING
from dmmsa_cli.reporting.missing import Robust, about_protocol, by_grid, rate_name, rates_name
from dmmsa_cli.reporting.naming import slug, unique
from dmmsa_cli.reporting.paper_tables import published_table
from dmmsa_cli.reporting.published import load_published
from dmmsa_cli.reporting.results import (
    CHOSEN_EPOCH,
    COLUMNS,
    EMOTIONS_LEGEND,
    LEGEND,
    Column,
    emotion_columns,
    emotions_of,
)
from dmmsa_cli.reporting.rows import alone_rows, in_order, our_row
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.standing import about_departures, from_name, from_variant


def build_tables(
    systems: Sequence[System],
    dataset: str | None = None,
    studies: Sequence[str] = (),
    folds: Sequence[System] = (),
) -> tuple[Table, ...]:
    """Build every table: the papers' first, then our own, dataset by dataset.

    Args:
        systems: our own runs; synthetic ones stand in tables of their own alone.
        dataset: restrict to this one.
        studies: files of studies beside the shipped ones.
        folds: our own runs on folds of datasets, which stand in tables of their own.

    Raises:
        InvalidRecipe: there is no such study, or it has errors.
    """
    published = load_published()
    known = {name: load_study(name) for name in (*study_names(), *studies)}
    systems = in_order(systems)
    datasets = dict.fromkeys((s.dataset, s.synthetic) for s in systems)  # made-up data never share a table with real
    tables = (
        *(published_table(published, table, systems) for table in published.tables if dataset in (None, table.dataset)),
        *(
            table
            for name, synthetic in datasets
            if dataset in (None, name)
            for table in own_tables([s for s in systems if (s.dataset, s.synthetic) == (name, synthetic)], known)
        ),
        *folds_tables(folds),
    )
    ids = unique(table.id for table in tables)  # a study and a dataset may be called as they please
    return tuple(replace(table, id=name) for table, name in zip(tables, ids, strict=True))


# --- tables of our own ----------------------------------------------------------------------------------------------


def own_tables(systems: Sequence[System], studies: Mapping[str, Study]) -> list[Table]:
    """Build the tables of one dataset: all runs, and each study of which two variants have been run."""
    recipes = dict.fromkeys(system.recipe_name for system in systems)
    found = [
        study_table(name, study, recipe, systems)
        for name, study in studies.items()
        for recipe in dict.fromkeys([*study.bases, *recipes])
        if recipe not in study.partners or recipe in study.bases  # else in the table of the recipe that it is beside
    ]
    own = [all_runs_table(systems), *emotion_tables(systems), *missing_tables(systems)]
    return [*own, *(table for table in found if table is not None)]


def all_runs_table(systems: Sequence[System]) -> Table:
    """Build the table of everything that was run on a dataset, its pretrained encoders alone above it."""
    several = len({system.conditions for system in systems}) > 1
    names = [_plain_name(system, conditions=several) for system in systems]
    alone = alone_rows(systems, _columns(systems[0]))
    dataset = systems[0].dataset
    return _own_table(
        f"{dataset}-runs",
        f"All runs on {dataset}",
        [*alone, *_named(names, systems)],
        group_of=lambda row: row.system and (row.system.conditions, row.system.data_hash),
        among="among rows of the same data and conditions",
        remarks=[notes.ALONE] if alone else [],
    )


def emotion_tables(systems: Sequence[System]) -> list[Table]:
    """Build the table of all runs on a dataset that say which emotions are present; none where no run does."""
    named = {emotions_of(system.first.metrics): None for system in systems}
    some = [system for system in systems if emotions_of(system.first.metrics)]
    if not some:
        return []
    names = next(names for names in named if names)
    several = len({system.conditions for system in some}) > 1
    return [
        _own_table(
            f"{some[0].dataset}-emotions",
            f"Emotions on {some[0].dataset}",
            _named([_plain_name(system, conditions=several) for system in some], some, emotion_columns(names)),
            group_of=lambda row: row.system and (row.system.conditions, row.system.data_hash),
            among="among rows of the same data and conditions",
            columns=emotion_columns(names),
            legend=EMOTIONS_LEGEND,
        )
    ]


def missing_tables(systems: Sequence[System]) -> list[Table]:
    """Build the tables of clips that lack something: means over the rates, each rate, and whole modalities left out."""
    return [
        table
        for (rates, draws), some in by_grid(systems).items()
        for what, rows in _missing_rows(some, rates)
        if rows
        for table in [_missing_table(some, what, rows, [*about_protocol(rates, draws), LEGEND_OF_MISSING])]
    ]


def folds_tables(systems: Sequence[System]) -> list[Table]:
    """Build a table for each dataset and number of folds, of the systems that have all of them."""
    kinds: dict[tuple[str, int], list[OnFolds]] = {}
    for one in filter(lambda one: one.seeds, on_folds(systems)):
        kinds.setdefault((one.fold.dataset, one.fold.folds), []).append(one)
    return [_folds_table(*kind, some) for kind, some in kinds.items()]


def _folds_table(dataset: str, folds: int, whole: Sequence[OnFolds]) -> Table:
    systems = [one.system for one in whole]
    several = len({system.conditions for system in systems}) > 1
    names = tell_apart([_plain_name(system, conditions=several) for system in systems], systems)
    return _own_table(
        f"{dataset}-folds-{folds}",
        f"{dataset}, {folds} folds by video of train and valid",
        [
            our_row(f"{name} ({seeds_of(one.seeds)})", system, _columns(system), summary=one.summary)
            for name, system, one in zip(names, systems, whole, strict=True)
        ],
        group_of=lambda row: row.system and row.system.data_hash,
        among="among rows of the same data",
        legend=LEGEND[_metric_set(systems[0])],
        remarks=[ABOUT_FOLDS],
    )


Lacking = tuple[str, Robust, Summary]
"""What is missing, or what is there; of which system; and what it then says."""


def _missing_rows(some: Sequence[Robust], rates: Sequence[float]) -> list[tuple[str, list[Lacking]]]:
    names = dict.fromkeys(name for one in some for name in one.found[0].present)
    present = [(name, one, found) for name in names for one in some if (found := one.present(name)) is not None]
    return [
        (f"mean over the rates {rates_name(rates)}", [("", one, one.over_rates) for one in some]),
        ("by rate", [(f"r = {rate_name(rate)}", one, one.at(rate)) for rate in rates for one in some]),
        ("by the modalities that are there", [row for row in present if len(names) > 1]),
    ]


def _missing_table(some: Sequence[Robust], what: str, rows: Sequence[Lacking], remarks: Sequence[str]) -> Table:
    systems = [one.system for one in some]
    several = len({system.conditions for system in systems}) > 1
    named = tell_apart([_plain_name(system, conditions=several) for system in systems], systems)
    labels = {id(one): f"{name} ({one.seeds})" for name, one in zip(named, some, strict=True)}
    columns, dataset = _columns(systems[0]), systems[0].dataset
    titles = [f"{part}: {labels[id(one)]}" if part else labels[id(one)] for part, one, _ in rows]
    parts = dict(zip(titles, (part for part, _, _ in rows), strict=True))
    return _own_table(
        f"{dataset}-missing-{slug(what)}",
        f"Missing data on {dataset}, {what}",
        [
            our_row(label, one.system, columns, summary=found)
            for label, (_, one, found) in zip(titles, rows, strict=True)
        ],
        group_of=lambda row: row.system and (parts[row.label], *_terms(row.system)),
        among="among rows that lack the same, of the same data, modalities and text encoder",
        legend=LEGEND[_metric_set(systems[0])],
        remarks=remarks,
    )


def _terms(system: System) -> tuple[Hashable, ...]:
    """What systems share that may be compared though they were trained on other clips: with gaps, or complete ones."""
    return system.data_hash, system.modalities, system.text_encoder


def _plain_name(system: System, *, conditions: bool) -> str:
    """Name a system by recipe and variant, by what it departs in from what these stand for, and by its conditions."""
    found = from_name(system)
    parts = [f"{system.recipe_name} {system.variant}", f"with {in_words(found)}" if found else ""]
    parts += [MODELS[system.model].remark] if system.model in MODELS else []
    return ", ".join(part for part in (*parts, system.conditions if conditions else "") if part)


def study_table(name: str, study: Study, recipe: str, systems: Sequence[System]) -> Table | None:
    """Build the table of a study of one recipe; None where less than two of its variants have been run."""
    named = [
        (variant, system, from_variant(system, variant.set, systems))
        for variant in study.variants
        for system in systems
        if _is_named(system, variant, recipe)
    ]
    found = [(variant, system) for variant, system, departs in named if not departs]
    if len({variant.title for variant, _ in found}) < 2:
        return None
    mine = [system for _, system in found]
    dataset = mine[0].dataset
    return _own_table(
        f"{dataset}-{Path(name).stem}" + (f"-{recipe}" if recipe != USUAL_RECIPE else ""),
        f"{study.title}: {_shown(recipe, mine) if study.bases else recipe} on {dataset}",
        _named([variant.title for variant, _ in found], mine),
        group_of=lambda row: row.system and row.system.data_hash,
        among="among rows of the same data",
        remarks=[
            *about_departures((system, departs) for _, system, departs in named),
            *_not_run(name, study, recipe, found),
        ],
    )


def _shown(base: str, systems: Sequence[System]) -> str:
    """Name the recipe of a study's rows, where none is that which it is run with and all are of one."""
    names = {system.recipe_name for system in systems}
    return names.pop() if len(names) == 1 else base


def _not_run(name: str, study: Study, recipe: str, found: Sequence[tuple[Variant, System]]) -> list[str]:
    """Say which variants are missing, and how to run them."""
    run, system = {variant.title for variant, _ in found}, found[0][1]
    missing = [v.title for v in study.variants if v.title not in run and v.metrics in (None, _metric_set(system))]
    files = [system.first.recipe_file for _, system in found if system.recipe_name == recipe]
    base = next(filter(None, files), None if recipe == USUAL_RECIPE else recipe)
    line = command("ablate", dataset=system.dataset, study=name, recipe=base)
    return [f"Not run yet: {', '.join(missing)} (`{line}`)."] if missing else []


def _named(names: Sequence[str], systems: Sequence[System], columns: Sequence[Column] | None = None) -> list[Row]:
    labels = tell_apart(names, systems)
    columns = columns or _columns(systems[0])
    return [our_row(f"{name} ({seeds_of(s.seeds)})", s, columns) for name, s in zip(labels, systems, strict=True)]


def _is_named(system: System, variant: Variant, recipe: str) -> bool:
    try:
        return (system.variant, system.recipe_name) == (variant.name, Path(variant.recipe_beside(recipe)).stem)
    except InvalidRecipe:  # the study knows no such variant of this recipe
        return False


def _own_table(
    identity: str,
    title: str,
    rows: Sequence[Row],
    *,
    group_of: Callable[[Row], Hashable | None],
    among: str,
    remarks: Sequence[str] = (),
    columns: tuple[Column, ...] | None = None,
    legend: str | None = None,
) -> Table:
    systems = [row.system for row in rows if row.system is not None]
    synthetic = systems[0].synthetic
    columns = columns or _columns(systems[0])
    marked = with_marks(in_groups(rows, group_of), columns, group_of)
    conditions = {system.conditions for system in systems}
    shared = [f"All rows: {words}." for words in conditions if words] if len(conditions) == 1 else []
    return Table(
        id=identity,
        title=title + (" (SYNTHETIC data)" if synthetic else ""),
        columns=columns,
        rows=marked,
        notes=(
            *([notes.SYNTHETIC] if synthetic else []),
            legend or LEGEND[_metric_set(systems[0])],
            *shared,
            *remarks,
            *(about_control(systems) if legend is None else []),  # which is about the score
            *notes.about_marks(marked, among),
            *notes.about_spread(marked),
            CHOSEN_EPOCH,
            *notes.about_data(systems),
            *notes.about_machines(marked),
            *notes.about_collapse(marked),
        ),
        synthetic=synthetic,
        dataset=systems[0].whole,
    )


def _columns(system: System) -> tuple[Column, ...]:
    return COLUMNS[_metric_set(system)]


def _metric_set(system: System) -> str:
    """A dataset of one's own has one of the two sets; which, its metrics tell."""
    return "mosi" if "acc7" in system.first.metrics else "sims"
