"""`dmmsa ablate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dmmsa_cli.cli import options

if TYPE_CHECKING:  # imported where it is used, to keep --help quick
    from rich.console import Console

    from dmmsa_cli.stages.ablate import Outcome


def ablate(
    dataset: options.Dataset,
    study: Annotated[
        str,
        typer.Option("--study", metavar="NAME|FILE", help="objectives, systems, weighting, ..., or a YAML file."),
    ] = "objectives",
    recipe: options.RecipeName = None,
    seed: options.Seeds = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Runs at a time; threads are divided.")] = 1,
    device: options.DeviceOption = options.Device.auto,
    precision: options.PrecisionOption = None,
    data_dir: options.DataDir = options.DATA,
    runs_dir: options.RunsDir = options.RUNS,
) -> None:
    """Train every variant of a study with every seed; what is there is skipped, what is unfinished goes on.

    Encoders and cached text features are shared. A run that fails stops no other; it is named at the end.
    """
    import torch

    from dmmsa_cli.cli.console import open_console
    from dmmsa_cli.cli.study_view import StudyView
    from dmmsa_cli.experiments.studies import load_study
    from dmmsa_cli.stages.ablate import Place, ablate, plan

    chosen = load_study(study)
    place = Place(dataset, data_dir, runs_dir, device.value, precision.value if precision else None)
    runs = plan(chosen, place, recipe=recipe, seeds=seed or ())
    jobs = min(jobs, len(runs.jobs))
    console = open_console()
    for title, reason in runs.left_out.items():
        console.print(f"{title} is left out: {reason}.")
    if jobs > 1:
        threads = max(1, torch.get_num_threads() // jobs)
        console.print(
            f"{jobs} runs at a time, {threads} thread{'s' * (threads > 1)} each; results are bit-equal only between "
            "runs of equal thread counts."
        )
    view = StudyView(console, f"{chosen.title}: {dataset}", runs.jobs)
    try:
        with view:
            outcomes = ablate(runs.jobs, tell=view.tell, at_once=jobs)
    finally:  # stopped or not
        _tell_failures(console, list(view.outcomes.values()))
    folders = options.elsewhere(data_dir, runs_dir)
    console.print(f"Next: dmmsa evaluate --dataset {dataset}{folders}", soft_wrap=True)
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _tell_failures(console: Console, outcomes: list[Outcome]) -> None:
    from rich.text import Text

    for outcome in outcomes:
        if outcome.state == "failed":
            console.print(Text(f"Failed: {outcome.job}. {outcome.problem}", style="bold red"), soft_wrap=True)
