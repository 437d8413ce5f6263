"""`dmmsa tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmmsa_cli.cli import options
from dmmsa_cli.commands import command, nearby

if TYPE_CHECKING:  # imported where it is used, to keep --help quick
    from dmmsa_cli.stages.engines import Wish
    from dmmsa_cli.stages.tune import Tuned
    from dmmsa_cli.stages.tuning.plan import Tuning


def tune(
    dataset: options.Dataset,
    recipe: options.RecipeName = None,
    space: Annotated[
        Path | None,
        typer.Option(
            "--space",
            metavar="FILE",
            help="YAML: recipe keys and their ranges. Default: what model, objective and schedule declare.",
        ),
    ] = None,
    show_space: Annotated[
        bool, typer.Option("--show-space", help="Print the ranges as a file to begin with, and train nothing.")
    ] = False,
    trials: Annotated[int, typer.Option("--trials", metavar="N", min=1, help="In all, those that are there too.")] = 40,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", metavar="N", min=1, help="Runs of a trial (a fold). Default: 3; 1 with --folds."),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option("--folds", metavar="N", help="Score over N folds by video of the training and validation clips."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.yaml", help="The recipe found. Default: in the tuning's folder."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Of the tuning's folder. Default: the recipe's.")
    ] = None,
    sampling_seed: Annotated[int, typer.Option("--sampling-seed", metavar="N", min=0, help="Of what is tried.")] = 1,
    jobs: options.Jobs = None,
    runs_per_gpu: options.RunsPerGpu = None,
    engine: options.EngineOption = options.EngineName.local,
    address: options.Address = None,
    device: options.DeviceOption = options.Device.auto,
    precision: options.PrecisionOption = None,
    threads: options.Threads = None,
    data_dir: options.DataDir = options.DATA,
    runs_dir: options.RunsDir = options.RUNS,
) -> None:
    """Look for a better recipe by validation MAE, and say how much of the gain is luck; test clips stay untouched.

    The same command goes on with what was stopped; in several terminals it shares the work.
    """
    from dmmsa_cli.stages.tuning.plan import plan_tuning

    wish = options.wish(
        jobs=jobs, runs_per_gpu=runs_per_gpu, engine=engine, address=address, device=device, threads=threads,
        folders=(data_dir, runs_dir),
    )  # fmt: skip
    tuning = plan_tuning(
        dataset,
        data_dir=data_dir,
        runs_dir=runs_dir,
        recipe=recipe,
        space_file=space,
        seeds=seeds,
        folds=folds,
        name=name,
        seed=sampling_seed,
        device=wish.device_of_runs,
        precision=precision.value if precision else None,
    )
    if show_space:
        from dmmsa_cli.experiments.spaces import in_yaml

        typer.echo(in_yaml(tuning.space), nl=False)
        return
    tuned = _run(tuning, trials, out, wish)
    if tuned.problems:
        raise typer.Exit(1)


def _run(tuning: Tuning, trials: int, out: Path | None, wish: Wish) -> Tuned:
    from dmmsa_cli.cli.console import open_console, say
    from dmmsa_cli.cli.training_view import data_note
    from dmmsa_cli.cli.tune_view import TuneView
    from dmmsa_cli.stages.engines import open_engine
    from dmmsa_cli.stages.tune import so_far, tune
    from dmmsa_cli.stages.tuning.journal import check_installed
    from dmmsa_cli.stages.tuning.words import score_in_words

    check_installed()
    console = open_console()
    say(console, data_note(tuning.open(tuning.dataset, {})))
    say(console, f"A trial's score: {score_in_words(tuning.seeds, tuning.folds)}; {len(tuning.space)} keys may change.")
    there, title = so_far(tuning), f"Tuning {tuning.name} on {tuning.dataset}"
    with open_engine(wish, trials) as opened:
        if opened.at_once > 1:
            say(console, f"{opened.remark} What is tried depends on which trial ends first.".strip())
        with TuneView(console, title, trials, there) as view:
            tuned = tune(tuning, trials, out=out, engine=opened.engine, tell=view.tell)
    for problem in tuned.problems:
        say(console, f"Failed: {problem}", "bold red")
    for line in tuned.found.luck.in_words():
        say(console, line)
    say(console, f"The recipe of trial {tuned.found.number} is in {nearby(tuned.recipe_file.resolve())}.")
    say(console, f"Next: {command('fuse', dataset=tuning.dataset, recipe=nearby(tuned.recipe_file.resolve()))}")
    return tuned
