"""Which systems belong together, and what each is called among the others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

from dmmsa_cli.experiments.identity import Identity
from dmmsa_cli.experiments.studies import load_study, study_names
from dmmsa_cli.models import MODELS
from dmmsa_cli.objectives.auxiliary import AUXILIARY
from dmmsa_cli.reporting.labels import tell_apart
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.standing import from_name, is_shipped_system

Task = Literal["msc", "cl", "gdwg", "uni"]

DECOMPOSITION = "feature_decomposition"  # the network of DMMSA and of ConFEDE

TASK_NAMES = {"msr": "MSR", "msc": "MSC", "uni": "Uni", "cl": "CL", "polarity": "Pol", "intensity": "Int"}
TASK_NAMES |= {f"uni_{m}_{kind}": f"{m}_{kind}" for kind in "sd" for m in "TVA"}  # each feature's unimodal task
PART_NAMES = TASK_NAMES | {"gdwg": "GDWG"}


def label(system: System) -> str:
    """Return what a system is called beside others of its group.

    `DMMSA`, `ConFEDE`, `MulT`, `w/o MSC`, `w/o MSC, CL`; what a shipped study calls its variant (`τ = 2`,
    `Regression alone`); or `recipe/variant` where its name says more than its objective.
    """
    if from_name(system):  # it is not what its name promises
        return f"{system.recipe_name}/{system.variant}"
    if system.model != DECOMPOSITION:
        return _network(system)
    if system.variant == "full" and system.objective["name"] == "confede":
        return "ConFEDE"
    if system.objective["name"] == "dmmsa":
        off = [task for task in ("gdwg", "msc", "cl", "uni") if lacks(system, task)]
        if system.variant == "full" and _is_whole(system):
            return "DMMSA"
        if off and sorted(system.variant.split("-")) == sorted(["no"] * len(off) + off):
            return "w/o " + ", ".join(PART_NAMES[task] for task in off)
        if system.variant in _study_titles():
            return _study_titles()[system.variant]
    return f"{system.recipe_name}/{system.variant}"


def lacks(system: System, task: str) -> bool:
    """Say whether a system with DMMSA's objective goes without one of its parts; without GDWG, weights are equal."""
    if task == "gdwg":
        return bool(system.objective["weighting"]["name"] == "equal")
    return not system.objective[task]["enabled"]


def _is_whole(system: System) -> bool:
    """Whether an objective has every part of DMMSA's, under GDWG, and no further task."""
    objective = system.objective
    further = [objective["uni"]["each"], *(objective[task]["enabled"] for task in AUXILIARY if task in objective)]
    parts = any(lacks(system, task) for task in ("msc", "cl", "uni"))
    rule = objective["weighting"]["name"] == "gdwg" and objective["weighted"] == "auxiliary"
    return rule and not parts and not any(further)


def _network(system: System) -> str:
    """What the papers call a network as they train it; its recipe and variant where it is trained otherwise."""
    found = MODELS[system.model].title if system.model in MODELS and system.variant == "full" else ""
    return found if found and is_shipped_system(system) else f"{system.recipe_name}/{system.variant}"


@cache
def _study_titles() -> dict[str, str]:
    """What the shipped studies call the variants that only change the recipe, by the variant's name."""
    variants = [variant for name in study_names() for variant in load_study(name).variants]
    return {variant.name: variant.title for variant in variants if variant.set}


def title(system: System, among: Sequence[System]) -> str:
    """Name a system so that no other of `among` has the same name.

    Example: `w/o MSC · minilm/no-msc (MiniLM, text+audio)`.
    """
    place = next(i for i, other in enumerate(among) if other is system)  # equality would compare whole runs
    return tell_apart([_plain_title(other) for other in among], among)[place]


def _plain_title(system: System) -> str:
    folder = f"{system.recipe_name}/{system.variant}"
    name = folder if label(system) == folder else f"{label(system)} · {folder}"
    return f"{name} ({system.conditions})" if system.conditions else name


def is_reference(system: System) -> bool:
    """Say whether it is the whole of DMMSA, as its recipe has it: what others are held against."""
    return label(system) == "DMMSA"


def groups(systems: Sequence[System]) -> list[tuple[System, ...]]:
    """Put together the systems that differ in their objective (and in how many seeds they have) alone.

    Names of recipes may differ (`minilm`, `minilm-confede`); data, modalities, network, schedule, encoders' training
    and precision do not. Order is that of `systems`, with DMMSA first in each group.
    """
    by_setting: dict[str, list[System]] = {}
    for system in systems:
        by_setting.setdefault(system.first.identity.setting, []).append(system)
    return [tuple(sorted(group, key=lambda system: not is_reference(system))) for group in by_setting.values()]


def rivals(full: System, systems: Sequence[System]) -> list[System]:
    """Return the other networks, as their recipes have them, that were trained under the protocol of a DMMSA.

    That is on the same clips and rows of them, with the same text encoder, standardisation and precision. A system on
    data aligned to the words is no rival of one that is not, where DMMSA has been trained on aligned data too.
    """
    alike = [one for one in systems if one.first.identity.protocol == full.first.identity.protocol]
    elsewhere = {one.dataset for one in alike if is_reference(one)} - {full.dataset}
    return [
        one
        for one in alike
        if one.model != full.model and one.variant == "full" and one.dataset not in elsewhere
        if one.dataset != full.dataset or one.data_hash == full.data_hash
    ]


def gapped(full: System, systems: Sequence[System]) -> list[System]:
    """Return the systems that differ from one in the gaps of their training clips alone."""
    own = full.first.identity
    return [one for one in systems if one is not full and _differs_in_gaps_alone(own, one.first.identity)]


def _differs_in_gaps_alone(own: Identity, other: Identity) -> bool:
    differing = set(own.difference(other)) - own.by_seed()
    return bool(differing) and all(name.startswith("data.missing") for name in differing)


def common_seeds(first: System, second: System) -> tuple[int, ...]:
    """Return the seeds that both have, ascending."""
    return tuple(seed for seed in first.seeds if seed in second.seeds)


def obstacle(first: System, second: System) -> str:
    """Say what stands against comparing two systems seed by seed; empty where nothing does.

    Example: `they have no seed in common`.
    """
    seeds = common_seeds(first, second)
    if first.model != second.model:  # each has encoders as it needs them
        alike = first.first.identity.protocol == second.first.identity.protocol
        return ("" if seeds else "they have no seed in common") if alike else "their protocols differ"
    if first.first.identity.setting != second.first.identity.setting:
        return "they differ in more than their objective"
    if not seeds:
        return "they have no seed in common"
    encoders = [{run.seed: run.identity.encoders for run in system.runs} for system in (first, second)]
    if any(encoders[0][seed] != encoders[1][seed] for seed in seeds):
        return "they stand on different pretrained encoders"
    return ""


def pairs(systems: Sequence[System], task: Task) -> list[tuple[System, System]]:
    """Return DMMSA (variant `full`) and the system that lacks `task` and nothing else, for each group that has both.

    What counts is the resolved objective, not the name of the second variant; options of a task that is off are none.

    Returns:
        Pairs (with, without), at most one for each reference.
    """
    found = []
    for group in groups(systems):
        for full in filter(is_reference, group):
            lacking = [one for one in group if _lacks_only(task, full, one) and not obstacle(full, one)]
            found += [(full, lacking[0])] if lacking else []
    return found


def _lacks_only(task: str, full: System, other: System) -> bool:
    def rest(system: System) -> dict[str, object]:
        kept = {key: value for key, value in system.objective.items() if key != task}
        # Weights of another sum are another weight of the auxiliary tasks, not another rule.
        return kept | ({"weighting": system.objective["weighting"]["sum"]} if task == "gdwg" else {})

    if other.objective["name"] != "dmmsa" or lacks(full, task):
        return False
    return lacks(other, task) and rest(full) == rest(other)
