"""`dmmsa ablate`."""

from __future__ import annotations

from typing import Annotated

import typer

from dmmsa_cli.cli import completion, options
from dmmsa_cli.commands import command


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
    from dmmsa_cli.cli.spreading import run_all
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
    tables = {
        f"{chosen.title}: {place.dataset}": options.in_shard(found.jobs, shard)
        for place, found in zip(places, plans, strict=True)
    }
    outcomes = run_all(console, tables, wish)
    say(console, f"Next: {command('evaluate', dataset=dataset, folds=folds)}")
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(1)
