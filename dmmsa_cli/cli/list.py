"""`dmmsa list`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dmmsa_cli.cli import completion, options
from dmmsa_cli.commands import command

if TYPE_CHECKING:  # imported where it is used, to keep --help quick
    from pathlib import Path

    from rich.console import Console

    from dmmsa_cli.stages.listing import Dataset


class What(StrEnum):
    """What to list."""

    datasets = "datasets"
    recipes = "recipes"
    runs = "runs"


def list_(
    what: Annotated[What | None, typer.Argument(help="Only these. Default: all, of recipes the names.")] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", "-d", metavar="NAME", help="Of this dataset alone.", autocompletion=completion.datasets
        ),
    ] = None,
    data_dir: options.DataDir = options.DATA,
    runs_dir: options.RunsDir = options.RUNS,
) -> None:
    """Show which datasets are prepared, which recipes are shipped for them, and which runs there are."""
    from dmmsa_cli.cli.console import open_console
    from dmmsa_cli.stages import listing

    console = open_console()
    prepared = [one for one in listing.datasets(data_dir) if dataset in (None, one.name)]
    if what in (None, What.datasets):
        _datasets(console, prepared, dataset, data_dir)
    if what in (None, What.recipes):
        console.print(end="\n" if what is None else "")
        _recipes(console, prepared, dataset, briefly=what is None)
    if what in (None, What.runs):
        console.print(end="\n" if what is None else "")
        _runs(console, runs_dir, dataset)


def _datasets(console: Console, prepared: list[Dataset], dataset: str | None, data_dir: Path) -> None:
    from rich.text import Text

    from dmmsa_cli.cli.console import plain_table, say
    from dmmsa_cli.data.specs import MODALITY_NAMES, SPLITS

    if not prepared:
        which = f"{dataset} is not" if dataset else "No dataset is"
        say(console, f"{which} prepared in {data_dir}; `{command('prepare', 'toy')}` makes a dataset.")
        return
    table = plain_table("Datasets", "", *SPLITS, "modalities", "", numbers=SPLITS)
    for one in prepared:
        if one.manifest is None:
            table.add_row(one.name, "", "", "", "", Text(one.fault, "red"))
            continue
        rows = [f"{count:,}" for count in one.manifest.rows.values()]
        names = ", ".join(MODALITY_NAMES[m] for m in one.manifest.modalities)
        table.add_row(one.name, *rows, names, "SYNTHETIC" if one.manifest.spec.synthetic else "")
    console.print(table)


def _recipes(console: Console, prepared: list[Dataset], dataset: str | None, *, briefly: bool) -> None:
    from dmmsa_cli.cli.console import plain_table, say
    from dmmsa_cli.data.specs import SPECS
    from dmmsa_cli.experiments.recipes import DATA_OF_ONES_OWN
    from dmmsa_cli.stages import listing

    families = [one.recipes for one in prepared]
    if dataset is not None and not prepared:
        families = [SPECS[dataset].recipes if dataset in SPECS else listing.DEFAULT]
    elif dataset is None and not (briefly and prepared):
        families = listing.families()
    if briefly:
        table = plain_table("Recipes (--recipe NAME)", "for", "names")
        for family in dict.fromkeys(families):
            names = ", ".join(one.name for one in listing.recipes([family]))
            table.add_row(DATA_OF_ONES_OWN if family == listing.DEFAULT else family, names)
    else:
        table = plain_table("Recipes (--recipe NAME)", "", "what it is for")
        for one in listing.recipes(families):
            table.add_row(f"{one.family}/{one.name}", one.about)
    console.print(table)
    if briefly:
        say(console, f"What each is for: `{command('list', 'recipes', dataset=dataset)}`.")


def _runs(console: Console, runs_dir: Path, dataset: str | None) -> None:
    from dmmsa_cli.cli.console import plain_table
    from dmmsa_cli.stages import listing

    found = [one for one in listing.runs(runs_dir) if dataset in (None, one.dataset)]
    if not found:
        console.print(f"There are no runs{f' on {dataset}' if dataset else ''} in {runs_dir}.")
        return
    titles = {
        "finished": "finished",
        "begun": "begun (--resume goes on)",
        "diverged": "diverged (--resume does not help)",
    }
    states = [state for state in titles if state != "diverged" or any(state in one.seeds.values() for one in found)]
    table = plain_table(f"Runs in {runs_dir}", "", *(titles[state] for state in states))
    for one in found:
        seeds = [" ".join(str(seed) for seed, state in one.seeds.items() if state == wanted) for wanted in states]
        table.add_row(f"{one.dataset}/{one.recipe}/{one.variant}", *(f"seed {part}" if part else "" for part in seeds))
    console.print(table)
