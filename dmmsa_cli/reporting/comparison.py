"""Whether a difference between two of our own systems is more than noise.

Two sources of noise are told apart. Which clips happen to be in the test split: a paired bootstrap over videos, since
the clips of one video share a speaker and a topic and are not independent (over clips, where their ids name no
videos). Which seed the training had: the sample standard deviation of the difference over the seeds, and no test, for
which five seeds are too few.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from dmmsa_cli.data.videos import names_videos
from dmmsa_cli.errors import RunMismatch, RunMissing
from dmmsa_cli.reporting.bootstrap import Side, differences
from dmmsa_cli.reporting.contents import FEW_DRAWN, PRINTED, Comparison, Difference
from dmmsa_cli.reporting.groups import common_seeds, groups, is_reference, label, obstacle, rivals
from dmmsa_cli.reporting.labels import tell_apart
from dmmsa_cli.reporting.results import COLUMNS
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.series.predictions import knows_alone, same_clips

TEXT = "text"
TEXT_ALONE = "text alone"


def compare(systems: Sequence[System], problems: list[str] | None = None) -> tuple[Comparison, ...]:
    """Hold DMMSA against every system that differs from it in its objective alone, and every other network.

    Other networks are held against it where they were trained under the same protocol (`groups.rivals`), and so is its
    own pretrained text encoder alone: whether fusion is worth anything. Only the seeds that both have are used, and
    clips are matched by their id.

    Args:
        systems: all there are, of any datasets and recipes.
        problems: a list that gets a sentence for each pair that had to be left out (a damaged or missing
            predictions.csv, other clips, other encoders, no common seed); nothing of that kind is raised.

    Returns:
        One comparison for each pair, DMMSA first; none across data, modalities, text encoders or precisions.
    """
    left_out: dict[str, None] = {}
    found = []
    for first, second, labels in _candidates(systems):
        try:
            found.append(hold_against(first, second, labels) if second else hold_against_text(first, labels))
        except (RunMismatch, RunMissing) as error:
            pair = f"{first.dataset}: {labels[0]} against {labels[1]}"
            left_out[f"{pair} is left out. {error.what} {error.remedy}"] = None
    if problems is not None:
        problems.extend(text.rstrip() for text in left_out)
    return tuple(found)


def _candidates(systems: Sequence[System]) -> Iterator[tuple[System, System | None, tuple[str, str]]]:
    """Yield pairs and what they are called; no second for the first's own text encoder alone."""
    called = _names(systems)
    for group in groups(systems):
        names = [called[id(system)] for system in group]
        for i, first in enumerate(group):  # references stand first, so that no pair comes in both directions
            if is_reference(first):
                if _knows_text(first):
                    yield first, None, (names[i], TEXT_ALONE)
                for second, name in zip(group[i + 1 :], names[i + 1 :], strict=True):
                    yield first, second, (names[i], name)
                for second in rivals(first, systems):
                    yield first, second, (names[i], _elsewhere(first, second))


def _knows_text(system: System) -> bool:
    try:
        return knows_alone(system, TEXT)
    except (RunMismatch, RunMissing):
        return False  # which is told of every pair


def _names(systems: Sequence[System]) -> dict[int, str]:
    """What each system is called, by its `id`: two recipes on the same data may both have all of DMMSA."""
    alike: dict[object, list[System]] = {}
    for system in systems:
        identity = system.first.identity
        conditions = identity.text_encoder, identity.modalities, identity.precision
        alike.setdefault((system.dataset, system.data_hash, *conditions), []).append(system)
    return {
        id(system): name
        for same in alike.values()
        for system, name in zip(same, tell_apart([label(one) for one in same], same), strict=True)
    }


def _elsewhere(first: System, second: System) -> str:
    return label(second) + (f" on {second.dataset}" if second.dataset != first.dataset else "")


def hold_against(first: System, second: System, labels: tuple[str, str]) -> Comparison:
    """Compare two systems seed by seed and clip by clip.

    Raises:
        RunMissing, RunMismatch: they can't be compared, or their predictions can't be read.
    """
    if reason := obstacle(first, second):
        raise RunMismatch(f"They can't be compared: {reason}.")
    seeds = common_seeds(first, second)
    return _compared((first, second), labels, (Side.of(first, seeds), Side.of(second, seeds)))


def hold_against_text(system: System, labels: tuple[str, str]) -> Comparison:
    """Compare a system with its own pretrained text encoder alone.

    Raises:
        RunMissing, RunMismatch: as `hold_against`.
    """
    sides = Side.of(system, system.seeds), Side.of(system, system.seeds, alone=TEXT)
    return _compared((system, system), labels, sides)


def _compared(systems: tuple[System, System], labels: tuple[str, str], sides: tuple[Side, Side]) -> Comparison:
    if not same_clips(sides[0].clips, sides[1].clips):
        raise RunMismatch("Their predictions are of other clips or labels.", "Measure both again: evaluate.")
    clips = sides[0].clips
    drawn = clips["video"].nunique()
    if drawn < 2:
        what = "All clips are of one video" if len(clips) > 1 else "There is a single clip"
        raise RunMismatch(f"{what}: there is nothing to draw from.")
    comparison = Comparison(
        first=systems[0],
        second=systems[1],
        first_label=labels[0],
        second_label=labels[1],
        differences=differences(sides, drawn),
        videos=drawn if names_videos(clips["id"]) else None,
        clips=len(clips),
    )
    return replace(comparison, finding=_finding(comparison), place=place_of(comparison.first))


# --- in words ---------------------------------------------------------------------------------------------------------


def interval_in_words(comparison: Comparison) -> str:
    """Say by how much the MAE of two systems differs, and how sure that is.

    Example: `DMMSA's MAE is 0.0080 lower than ConFEDE's (95 % interval over 31 videos: ...; sd over 5 seeds 0.0021)`.
    """
    main = comparison.differences["mae"]
    second = comparison.second_label
    than = second + "'s" if second.isalnum() else f"that of {second}"
    count, drawn = comparison.drawn
    few = "" if count >= FEW_DRAWN else ", too few to trust it"
    seeds = common_seeds(comparison.first, comparison.second)
    alike = set(comparison.first.seeds) == set(comparison.second.seeds)  # else a table's rows are over other runs
    which = "" if alike else f" that both have ({', '.join(map(str, seeds))})"
    spread = f"sd over {len(seeds)} seeds{which} {main.seeds_sd:.4f}" if len(seeds) > 1 else f"one seed{which}"
    return (
        f"{comparison.first_label}'s MAE is {_relation(main.value)} {than} "
        f"(95 % interval over {count} {drawn}{few}: {_signed(main.low)} to {_signed(main.high)}; {spread})"
    )


def _finding(comparison: Comparison) -> str:
    more = [
        f"{title} is {_amount(comparison.differences[name], percent)}, {comparison.verdict(name)}"
        for name, title, percent in _also(comparison.differences)
    ]
    verdicts = "; ".join([comparison.verdict("mae"), *more])
    return f"{interval_in_words(comparison)}: {verdicts}."


def by_place(comparisons: Iterable[Comparison]) -> dict[str, list[Comparison]]:
    """Put together what is found on the same data under the same conditions, so that the place is said once."""
    found: dict[str, list[Comparison]] = {}
    for one in comparisons:
        found.setdefault(one.place, []).append(one)
    return found


def place_of(system: System) -> str:
    """Name a system's dataset, and what has to be known of its data and conditions."""
    conditions = [part for part in ("SYNTHETIC data" if system.synthetic else "", system.conditions) if part]
    return f"{system.dataset} ({', '.join(conditions)})" if conditions else system.dataset


def _also(differences: Mapping[str, Difference]) -> list[tuple[str, str, bool]]:
    """Corr and the first accuracy, as far as they are defined: metric, printed name, whether in percent."""
    columns = COLUMNS["sims" if "acc2" in differences else "mosi"]
    shown = [("corr", "Corr", False), (columns[0].metrics[0], columns[0].title, True)]
    return [one for one in shown if one[0] in differences]


def _relation(value: float) -> str:
    if abs(value) < PRINTED / 2:
        return "equal to"
    return f"{_signed(value)} ({'better' if value < 0 else 'worse'}) than"


def _signed(value: float) -> str:
    return f"{abs(value):.4f} {'lower' if value < 0 else 'higher'}" if abs(value) >= PRINTED / 2 else "0.0000"


def _amount(difference: Difference, percent: bool) -> str:
    if abs(difference.value) < PRINTED / 2:
        return "equal"
    way = "lower (worse)" if difference.value < 0 else "higher (better)"
    return f"{abs(100 * difference.value):.2f} points {way}" if percent else f"{abs(difference.value):.4f} {way}"
