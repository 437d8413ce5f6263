"""Whether GDWG weighs better than chance: random weights (RLW) are its control."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from dmmsa_cli.errors import RunMismatch, RunMissing
from dmmsa_cli.experiments.variants import FULL
from dmmsa_cli.reporting.comparison import hold_against, interval_in_words, place_of
from dmmsa_cli.reporting.contents import Comparison, Verdict
from dmmsa_cli.reporting.runs import System
from dmmsa_cli.reporting.standing import shipped_version

RULE, CONTROL = "gdwg", "rlw"


def about_control(systems: Sequence[System]) -> list[str]:
    """Say of each GDWG and the random weights beside it whether the one beats the other in MAE.

    A pair differs in its rule alone: other tasks, or weights of another sum, are no control. The same seeds are held
    against each other, clip by clip.

    Args:
        systems: those of a table, of one dataset; some may stand in several rows.
    """
    systems = list({id(system): system for system in systems}.values())
    return [_sentence(gdwg, control) for control in systems for gdwg in _as_the_recipe_has_it(control, systems)]


def _as_the_recipe_has_it(control: System, systems: Sequence[System]) -> Iterator[System]:
    if _rule(control) != CONTROL:
        return
    for one in systems:
        if _rule(one) == RULE and _rest(one) == _rest(control) and one.recipe_name == control.recipe_name:
            alike = one.first.identity.setting == control.first.identity.setting
            if alike and one.objective["weighting"] == _usual_weighting(one, systems):
                yield one


def _usual_weighting(system: System, systems: Sequence[System]) -> object:
    """The weighting of the recipe: as shipped, or of its own `full`; where neither is known, the system's own."""
    whole = [one.first.recipe for one in systems if (one.recipe_name, one.variant) == (system.recipe_name, FULL)]
    recipe = shipped_version(system) or next(iter(whole), system.first.recipe)
    return recipe["objective"]["weighting"]


def _rule(system: System) -> str | None:
    weighting = system.objective.get("weighting")
    return weighting["name"] if weighting else None


def _rest(system: System) -> dict[str, object]:
    """All of an objective but the rule itself; what its weights add up to is no part of the rule."""
    return {**system.objective, "weighting": system.objective["weighting"]["sum"]}


def _sentence(gdwg: System, control: System) -> str:
    names = f"{gdwg.recipe_name}/{gdwg.variant}", f"{control.recipe_name}/{control.variant}"
    try:
        found = hold_against(gdwg, control, ("GDWG", "random weights"))
    except (RunMismatch, RunMissing) as error:
        unknown = f"Whether GDWG ({names[0]}) beats random weights ({names[1]}) can't be said."
        return f"{unknown} {error.what} {error.remedy}".rstrip()
    return (
        f"The control of GDWG ({names[0]}) are random weights (RLW, {names[1]}). On {place_of(gdwg)}, "
        f"{interval_in_words(found)}: {found.verdict('mae')}. {_conclusion(found)}"
    )


def _conclusion(found: Comparison) -> str:
    """Name a winner only where neither clips nor seeds may have made it."""
    main = found.differences["mae"]
    if found.verdict("mae") is Verdict.FEW:
        return "Whether GDWG beats random weights is not known."
    if found.verdict("mae") is Verdict.NOISE:
        return "GDWG does not beat random weights."
    if math.isnan(main.seeds_sd):
        return "Whether it is more than the noise of training, one seed can't tell."
    if abs(main.value) < main.seeds_sd:
        return "Over the seeds it varies by more than that: GDWG does not beat random weights, nor they GDWG."
    return "GDWG beats random weights." if main.value < 0 else "Random weights beat GDWG."
