"""`dmmsa ablate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from dmmsa_cli.cli import completion, options
from dmmsa_cli.commands import command

if TYPE_CHECKING:  # imported where it is used, to keep --help quick
    from rich.console import Console

    from dmmsa_cli.cli.study_view import StudyView
    from dmmsa_cli.stages.ablate import Job
    from dmmsa_cli.stages.engines import Engine, Outcome, Wish


def ablate(
    dataset: options.Dataset,
    study: Annotated[
        str,
        typer.Option(
            "--study",
            metavar="NAME|FILE",
            help="objectives, systems, weighting, ..., or a YAML file.",
            autocompletion=completion.studies,
        ),
    ] = "objectives",
    recipe: options.RecipeName = None,
    seed: options.Seeds = None,
    folds: options.Folds = None,
    jobs: options.Jobs = None,
    runs_per_gpu: options.RunsPerGpu = None,
    engine: options.EngineOption = options.EngineName.local,
    address: options.Address = None,
    shard: options.Shard = None,
    device: options.DeviceOption = options.Device.auto,
    precision: options.PrecisionOption = None,
    threads: options.Threads = None,
    data_dir: options.DataDir = options.DATA,
    runs_dir: options.RunsDir = options.RUNS,
) -> None:
    """Train every variant of a study with every seed; what is there is skipped, what is unfinished goes on.

    Encoders and cached text features are shared. A run that fails stops no other; it is named at the end.
    """
    from dmmsa_cli.cli.console import open_console, say
    from dmmsa_cli.experiments.studies import load_study
    from dmmsa_cli.stages.ablate import Place, plan

    wish = options.wish(
        jobs=jobs, runs_per_gpu=runs_per_gpu, engine=engine, address=address, device=device, threads=threads,
        folders=(data_dir, runs_dir),
    )  # fmt: skip
    chosen = load_study(study)
    places = [
        Place(name, data_dir, runs_dir, wish.device_of_runs, precision.value if precision else None)
        for name in options.datasets(dataset, folds)
    ]
    plans = [plan(chosen, place, recipe=recipe, seeds=seed or ()) for place in places]
    console = open_console()
    for title, reason in plans[0].left_out.items():
        console.print(f"{title} is left out: {reason}.")
    runs = {place.dataset: options.in_shard(found.jobs, shard) for place, found in zip(places, plans, strict=True)}
    outcomes = run_all(console, chosen.title, runs, wish)
    say(console, f"Next: {command('evaluate', dataset=dataset, folds=folds)}")
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def run_all(console: Console, title: str, runs: Mapping[str, Sequence[Job]], wish: Wish) -> list[Outcome[Job]]:
    """Train the runs of every dataset, with a table of each; what failed is named at its end."""
    from dmmsa_cli.cli.console import say
    from dmmsa_cli.cli.study_view import StudyView
    from dmmsa_cli.stages.engines import open_engine

    outcomes = []
    with open_engine(wish, max(map(len, runs.values()))) as opened:
        if opened.remark:
            say(console, opened.remark)
        for dataset, jobs in runs.items():
            outcomes += _run(console, StudyView(console, f"{title}: {dataset}", jobs), jobs, opened.engine)
    return outcomes


def _run(console: Console, view: StudyView, runs: Sequence[Job], engine: Engine) -> list[Outcome[Job]]:
    from dmmsa_cli.stages.ablate import ablate

    try:
        with view:
            return ablate(runs, tell=view.tell, engine=engine)
    finally:  # stopped or not
        _tell_failures(console, list(view.outcomes.values()))


def _tell_failures(console: Console, outcomes: list[Outcome[Job]]) -> None:
    from rich.text import Text

    for outcome in outcomes:
        if outcome.state == "failed":
            console.print(Text(f"Failed: {outcome.job}. {outcome.problem}", style="bold red"), soft_wrap=True)
