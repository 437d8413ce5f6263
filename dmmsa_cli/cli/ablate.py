"""`dmmsa ablate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from dmmsa_cli.cli import completion, options
from dmmsa_cli.commands import command

if TYPE_CHECKING:  # imported where it is used, to keep --help quick
    from rich.console import Console

    from dmmsa_cli.cli.study_view import StudyView
    from dmmsa_cli.stages.ablate import Job
    from dmmsa_cli.stages.engines import Outcome


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
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Runs at a time; threads are divided.")] = 1,
    device: options.DeviceOption = options.Device.auto,
    precision: options.PrecisionOption = None,
    threads: options.Threads = None,
    data_dir: options.DataDir = options.DATA,
    runs_dir: options.RunsDir = options.RUNS,
) -> None:
    """Train every variant of a study with every seed; what is there is skipped, what is unfinished goes on.

    Encoders and cached text features are shared. A run that fails stops no other; it is named at the end.
    """
    import torch

    from dmmsa_cli.cli.console import open_console, say
    from dmmsa_cli.cli.study_view import StudyView
    from dmmsa_cli.experiments.studies import load_study
    from dmmsa_cli.stages.ablate import Place, plan

    chosen = load_study(study)
    places = [
        Place(name, data_dir, runs_dir, device.value, precision.value if precision else None)
        for name in options.datasets(dataset, folds)
    ]
    plans = [plan(chosen, place, recipe=recipe, seeds=seed or ()) for place in places]
    jobs = min(jobs, len(plans[0].jobs))
    console = open_console()
    for title, reason in plans[0].left_out.items():
        console.print(f"{title} is left out: {reason}.")
    if jobs > 1:
        threads = max(1, torch.get_num_threads() // jobs)
        console.print(
            f"{jobs} runs at a time, {threads} thread{'s' * (threads > 1)} each; results are bit-equal only between "
            "runs of equal thread counts."
        )
    outcomes = []
    for place, runs in zip(places, plans, strict=True):
        outcomes += _run(console, StudyView(console, f"{chosen.title}: {place.dataset}", runs.jobs), runs.jobs, jobs)
    say(console, f"Next: {command('evaluate', dataset=dataset, folds=folds)}")
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _run(console: Console, view: StudyView, runs: Sequence[Job], at_once: int) -> list[Outcome[Job]]:
    import torch

    from dmmsa_cli.stages.ablate import ablate
    from dmmsa_cli.stages.engines import InTurn, SideBySide, Slot

    threads = max(1, torch.get_num_threads() // at_once)
    engine = SideBySide([Slot(threads)] * at_once) if at_once > 1 else InTurn()
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
