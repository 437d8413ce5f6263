"""Which measures there are, in which order, and what comes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from dmmsa_cli.bench import epoch, experts, start, storing, text
from dmmsa_cli.bench.place import Place, find_place
from dmmsa_cli.bench.process import Facts, alone
from dmmsa_cli.bench.text import EncoderSize
from dmmsa_cli.data.specs import SPECS
from dmmsa_cli.experiments.recipes import find_recipe, load_recipe
from dmmsa_cli.runtime import DeviceName, choose_device, choose_precision, environment

MEASURES = ("prepare", "open", "text", "states", "start", "experts", "epoch")
RECIPES = ("dmmsa", "confede-released", "mult", "self-mm")  # embeddings, retrieval, token states, text trained along
OPENINGS = 20  # one takes milliseconds

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Measure:
    """What was found each time that something was measured."""

    name: str
    """One of `MEASURES`."""
    repeats: list[Facts]
    recipe: str | None = None
    """Where the measure is of one."""

    @property
    def median(self) -> Facts:
        """The median of each number; what is no number is the same in all repeats."""
        return {key: _middle([facts[key] for facts in self.repeats]) for key in self.repeats[0]}


def _middle(values: list[Any]) -> Any:  # noqa: ANN401  (a value of `Facts`)
    alike = all(value == values[0] for value in values)  # a count stays one
    return values[0] if alike or isinstance(values[0], bool | str | None) else median(values)


@dataclass(frozen=True)
class Benchmark:
    """All that was measured, and what it stands on."""

    data: Facts
    machine: dict[str, Any]
    measures: list[Measure] = field(default_factory=list)
    settings: tuple[str, ...] = ()
    """Changes to the recipes."""
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def to_json(self) -> dict[str, Any]:
        """Return what the JSON file holds."""
        listed = [
            {"name": measure.name, "recipe": measure.recipe, "median": measure.median, "repeats": measure.repeats}
            for measure in self.measures
        ]
        about = {"date": self.date, "data": self.data, "machine": self.machine, "settings": list(self.settings)}
        return about | {"measures": listed}


def bench(
    shape: str = "mosi",
    *,
    file: Path | None = None,
    rows: int | None = None,
    recipes: Sequence[str] = RECIPES,
    only: Sequence[str] = MEASURES,
    steps: int | None = None,
    repeats: int = 3,
    folder: Path | None = None,
    device: DeviceName = "auto",
    precision: str | None = None,
    settings: Sequence[str] = (),
    encoder: EncoderSize = EncoderSize(),
    tell: Tell = lambda what: None,
) -> Benchmark:
    """Measure each part of the work alone, in a process of its own.

    Args:
        shape: of which dataset, a key of `data.shaped.SHAPES`.
        file: a pickle of that dataset; None makes one up.
        rows: training rows of a made-up pickle at most.
        recipes: names of the shape's recipes whose epochs are measured; text and start take the first.
        only: which of `MEASURES`.
        steps: of an epoch that are measured; None for all of them.
        repeats: of every measure.
        folder: where everything that is made lies, and is found by a later benchmark; None for one that is removed.
        device: `auto` takes the best there is.
        precision: another than the recipes'.
        settings: changes to the recipes, `a.b=c` each.
        encoder: size of the text encoder, whose weights are random.
        tell: hears what is measured next.

    Raises:
        InvalidRecipe, InvalidInput, DeviceUnavailable: what is asked for can't be; known before anything is measured.
        DmmsaError: a measure failed.
    """
    with _kept_or_removed(folder) as where:
        place = find_place(where, shape, file=file, rows=rows, settings=settings, device=device, precision=precision)
        machine = _machine(place, recipes)
        tell("the pickle")
        data = alone("the pickle", storing.found, place).facts
        plan = _Plan(place, tuple(recipes), steps, repeats, encoder, tell)
        return Benchmark(data, machine, list(plan.measures(set(only))), tuple(settings))


@contextmanager
def _kept_or_removed(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with TemporaryDirectory(prefix="dmmsa-bench-") as made:
        yield Path(made)


def _machine(place: Place, recipes: Sequence[str]) -> dict[str, Any]:
    """Say what the machine is, once every recipe has been found and read.

    Raises:
        InvalidRecipe: there is no such recipe.
    """
    family = SPECS[place.shape].recipes
    read = [load_recipe(find_recipe(recipe, family), place.settings, place.changes) for recipe in recipes]
    device = choose_device(place.device)
    return environment(device, choose_precision(read[0].precision, device))


@dataclass(frozen=True)
class _Plan:
    """How each measure is made; what it stands on is made before it, unmeasured."""

    place: Place
    recipes: tuple[str, ...]
    steps: int | None
    repeats: int
    size: EncoderSize
    tell: Tell

    def measures(self, only: set[str]) -> Iterator[Measure]:
        """Make those of `MEASURES` that are asked for, each when the caller wants the next."""
        if "prepare" in only:
            yield self._measure("prepare", self._prepare)
        if only - {"prepare", "experts"}:
            self._once("the store", storing.prepared, self.place, self.place.data_dir)
        if "open" in only:
            yield self._measure("open", lambda: alone("open", storing.opened, self.place, OPENINGS).facts)
        if only & {"text", "states", "start", "epoch"}:
            self._once("a text encoder", text.made, self.place, self.size)
        if "text" in only:
            yield self._measure("text", lambda: alone("text", text.encoded, self.place, self.recipes[0]).facts)
        reading = text.reads_states(self.place, self.recipes) if "states" in only else None
        if reading is not None:
            yield self._measure("states", lambda: alone("states", text.states, self.place, reading).facts)
        yield from self._of_models(only)

    def _of_models(self, only: set[str]) -> Iterator[Measure]:
        if only & {"start", "epoch"}:
            self._once("cached text", text.cached, self.place, self.recipes)
        if "start" in only:
            yield self._measure("start", self._start)
        if "experts" in only:
            yield self._measure("experts", lambda: alone("experts", experts.compared, self.place).facts)
        for recipe in self.recipes if "epoch" in only else ():
            yield self._measure("epoch", partial(self._epoch, recipe), recipe)

    def _once(self, what: str, make: Callable[..., Facts], *arguments: object) -> None:
        self.tell(what)
        alone(what, make, *arguments)

    def _measure(self, name: str, once: Callable[[], Facts], recipe: str | None = None) -> Measure:
        repeats = []
        for number in range(1, self.repeats + 1):
            self.tell(f"{_titled(name, recipe)}, {number} of {self.repeats}")
            repeats.append(once())
        return Measure(name, repeats, recipe)

    def _prepare(self) -> Facts:
        """Prepare into a fresh folder, and unpickle alone, to know what no way round can spare."""
        with TemporaryDirectory(dir=self.place.folder) as fresh:
            facts = alone("prepare", storing.prepared, self.place, Path(fresh)).facts
        facts |= alone("unpickling", storing.unpickled, self.place).facts
        peak, arrays = facts["peak_rss_bytes"], facts["unpickled_bytes"]
        above = peak - arrays if isinstance(peak, int) and isinstance(arrays, int) else None
        return facts | {"peak_above_unpickled_bytes": above}

    def _start(self) -> Facts:
        pretrains = self.place.open(self.recipes[0]).recipe.pretraining is not None
        answer = alone("start", partial(start.started, pretrains=pretrains), self.place, self.recipes[0])
        return {"seconds": answer.seconds} | answer.facts

    def _epoch(self, recipe: str) -> Facts:
        return alone(_titled("epoch", recipe), epoch.epoch, self.place, recipe, self.steps).facts


def _titled(name: str, recipe: str | None) -> str:
    return name if recipe is None else f"{name} of {recipe}"
