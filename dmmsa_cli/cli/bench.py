"""`dmmsa bench`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmmsa_cli.cli import options
from dmmsa_cli.errors import Interrupted

if TYPE_CHECKING:  # imported where it is used, to keep --help quick
    from rich.console import Console
    from rich.table import Table

    from dmmsa_cli.bench.benchmark import Benchmark, Measure
    from dmmsa_cli.bench.process import Facts

MEBIBYTE = 2**20


class Shape(StrEnum):
    """A dataset whose sizes are taken."""

    mosi = "mosi"
    mosei = "mosei"
    sims = "sims"


class What(StrEnum):
    """A measure."""

    prepare = "prepare"
    open = "open"
    text = "text"
    states = "states"
    start = "start"
    experts = "experts"
    epoch = "epoch"


def bench(
    shape: Annotated[Shape, typer.Option("--shape", help="Take the sizes, and the recipes, of this dataset.")] = (
        Shape.mosi
    ),
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="A pickle of that dataset. Default: made up.")
    ] = None,
    rows: Annotated[
        int | None, typer.Option("--rows", metavar="N", min=1, help="Training rows to make up at most.")
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            "--recipe", metavar="NAME", help="Repeatable. Default: dmmsa, confede-released, mult and self-mm."
        ),
    ] = None,
    settings: options.Settings = None,
    only: Annotated[
        list[What] | None,
        typer.Option(
            "--only",
            metavar="NAME",
            help="prepare, open, text, states, start, experts or epoch. Repeatable. Default: all.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", metavar="N", min=1, help="Measure N steps of an epoch, and extrapolate from them."),
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", metavar="N", min=1, help="Of every measure.")] = 3,
    device: options.DeviceOption = options.Device.auto,
    precision: options.PrecisionOption = None,
    json_out: Annotated[Path | None, typer.Option("--json", metavar="OUT", help="Write all that was found.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="DIR", help="Keep what is made, and use it again. Default: removed."),
    ] = None,
) -> None:
    """Measure what each part of the work costs on this machine: seconds, memory, and how much of it is padding.

    Each measure runs alone, in a process of its own. Data are made up, with a dataset's sizes and nothing else of it,
    unless --from names a file. The text encoder is of BERT-base's size, with random weights.
    """
    from rich.text import Text

    from dmmsa_cli.bench.benchmark import MEASURES, RECIPES, bench
    from dmmsa_cli.cli.console import open_console
    from dmmsa_cli.files import write_json

    console = open_console()
    with _stopped_without_numbers(), console.status("") as status:
        found = bench(
            shape.value,
            file=source,
            rows=rows,
            recipes=recipe or RECIPES,
            only=[what.value for what in only] if only else MEASURES,
            steps=steps,
            repeats=repeats,
            folder=folder,
            device=device.value,
            precision=precision.value if precision else None,
            settings=settings or (),
            tell=lambda line: status.update(Text(line)),
        )
    if json_out:
        write_json(json_out, found.to_json())
    _show(console, found)


@contextmanager
def _stopped_without_numbers() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        kept = "With --folder, what was made is found again."
        raise Interrupted("The benchmark measures anew when it is started again.", kept) from None


def _show(console: Console, found: Benchmark) -> None:
    for line in _head(found):
        console.print(line, soft_wrap=True)
    table = _table()
    for measure in found.measures:
        _add(table, measure)
    console.print(table)
    times = len(found.measures[0].repeats) if found.measures else 0
    count = f"Medians of {times}." if times > 1 else "Measured once."
    console.print(f"{count} Peak memory is all that was resident, pages of mapped files too.", style="dim")


def _head(found: Benchmark) -> list[str]:
    """Say which machine, which data, and what of the recipes is not theirs."""
    machine, data = found.machine, found.data
    many = "s" if machine["threads"] > 1 else ""
    what = f"SYNTHETIC data, made up in {data['shape']}'s shape" if data["made_up"] else f"data from {data['file']}"
    return [
        f"{machine['device']}, {machine['threads']} thread{many}, {machine['precision']}",
        f"{what}: a pickle of {_mebibytes(data['file_bytes'])} MiB, {str(data['sha256'])[:12]}",
        *([f"changed in every recipe: {', '.join(found.settings)}"] if found.settings else []),
    ]


def _table() -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("peak MiB", justify="right", no_wrap=True)
    table.add_column("")
    return table


def _add(table: Table, measure: Measure) -> None:
    """Add a row for a measure, and one for each part of it that takes time of its own."""
    facts = measure.median
    title = f"{_TITLES[measure.name]}{f', {measure.recipe}' if measure.recipe else ''}"
    table.add_row(
        title, _seconds(facts["seconds"]), _mebibytes(facts.get("peak_rss_bytes")), _NOTES[measure.name](facts)
    )
    for part, seconds, note in _PARTS.get(measure.name, _no_parts)(facts):
        table.add_row(f"  {part}", _seconds(seconds), "", note, style="dim")


# --- what is said of each measure -----------------------------------------------------------------------------------

_Part = tuple[str, Any, str]  # what, seconds, note


def _no_parts(facts: Facts) -> list[_Part]:
    return []


def _prepare_note(facts: Facts) -> str:
    above = facts["peak_above_unpickled_bytes"]
    return "" if above is None else f"{_mebibytes(above)} MiB above the unpickled arrays"


def _prepare_parts(facts: Facts) -> list[_Part]:
    arrays = f"{_mebibytes(facts['unpickled_bytes'])} MiB of arrays; measured alone"
    return [("unpickling", facts["unpickle_seconds"], arrays)]


def _text_note(facts: Facts) -> str:
    return f"{facts['tokens_per_second']:,.0f} tokens/s, padded/real {facts['padded_over_real']:.2f}"


def _text_parts(facts: Facts) -> list[_Part]:
    parameters = _number(facts["encoder_parameters"]) / 1e6
    return [
        ("loading, before it", facts["load_seconds"], f"{parameters:,.0f} M random weights; imports transformers"),
        ("tokenizing, before it", facts["tokenize_seconds"], f"{facts['tokens']:,} tokens"),
    ]


def _start_note(facts: Facts) -> str:
    return f"transformers {'was' if facts['transformers_imported'] else 'was not'} imported"


def _start_parts(facts: Facts) -> list[_Part]:
    return [("importing torch", facts["torch_import_seconds"], "")]


def _experts_note(facts: Facts) -> str:
    times = _number(facts["loop_seconds"]) / _number(facts["seconds"])
    return f"MMoLRE's {facts['experts']} as two products, {facts['precision']}: {times:.1f} times as fast as a loop"


def _experts_parts(facts: Facts) -> list[_Part]:
    return [("one expert after the other", facts["loop_seconds"], f"{facts['clips']} clips of {facts['positions']}")]


def _epoch_note(facts: Facts) -> str:
    work = [f"{facts['tflop']:.3g} TFLOP on real frames"] if "tflop" in facts else []
    told = [f"EXTRAPOLATED from {facts['measured_steps']} steps"] if facts["extrapolated"] else []
    return "; ".join([*work, *told])


def _epoch_parts(facts: Facts) -> list[_Part]:
    def share(part: str) -> str:
        return f"{100 * _number(facts[part]) / _number(facts['seconds']):.0f} %"

    in_these = " in these steps" if facts["extrapolated"] else ""
    sizes = f"{_mebibytes(facts['checkpoint_bytes'])} MiB, and weights of {_mebibytes(facts['weights_bytes'])} MiB"
    own = _mebibytes(facts["peak_anonymous_bytes"])
    return [
        ("retrieval refresh", facts["refresh_seconds"], share("refresh_seconds")),
        (f"{facts['steps']} steps", facts["steps_seconds"], f"{share('steps_seconds')}; {facts['clips']:,} clips"),
        ("validation", facts["validation_seconds"], share("validation_seconds")),
        ("one step, median", facts["step_seconds"], ""),
        ("checkpoint, after it", facts["checkpoint_seconds"], sizes),
        *_work_parts(facts),
        *([("memory of its own", None, f"{own} MiB{in_these}; the rest are pages of files")] if own else []),
    ]


def _work_parts(facts: Facts) -> list[_Part]:
    """How fast the work is done, of models whose FLOPs can be counted."""
    frames = f"{facts['padded_over_real']:.3f} of frames"
    if "tflop" not in facts:
        return [("padded/real", None, f"{frames}, {facts['precision']}")]
    rate, reached = 1000 * _number(facts["matrix_tflop_per_second"]), 100 * _number(facts["share_of_matrix_rate"])
    of_matrix = f"{reached:.0f} % of the matrix products' {rate:,.0f} GFLOP/s, {facts['precision']}"
    return [
        ("forward + backward", None, of_matrix),
        ("padded/real", None, f"{frames}, {facts['work_over_real']:.3f} of FLOPs"),
    ]


def _states_note(facts: Facts) -> str:
    above = facts["peak_above_encoder_bytes"]
    note = f"{facts['states']:,} states, {_mebibytes(facts['file_bytes'])} MiB"
    return note if above is None else f"{note}, {_mebibytes(above)} MiB above the encoder"


def _states_parts(facts: Facts) -> list[_Part]:
    return [("mapping them", facts["open_seconds"], "in every run")]


_TITLES = {
    "prepare": "prepare",
    "open": "opening the store",
    "text": "encoding text",
    "states": "writing token states",
    "start": "fuse to the first step",
    "experts": "a step through experts",
    "epoch": "epoch",
}
_NOTES: dict[str, Callable[[Facts], str]] = {
    "prepare": _prepare_note,
    "open": lambda facts: "and mapping its splits",
    "text": _text_note,
    "states": _states_note,
    "start": _start_note,
    "experts": _experts_note,
    "epoch": _epoch_note,
}
_PARTS: dict[str, Callable[[Facts], list[_Part]]] = {
    "prepare": _prepare_parts,
    "text": _text_parts,
    "states": _states_parts,
    "start": _start_parts,
    "experts": _experts_parts,
    "epoch": _epoch_parts,
}


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return value


def _seconds(value: object) -> str:
    return "" if value is None else f"{_number(value):,.3f}"


def _mebibytes(value: object) -> str:
    return "" if value is None else f"{_number(value) / MEBIBYTE:,.0f}"
