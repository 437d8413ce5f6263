"""Systems: runs whose identities differ in their seed alone, and what to call two of them that bear one name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from dmmsa_cli.experiments.identity import Identity, encoder_name, short
from dmmsa_cli.recipe import flat

SETTINGS = 2  # settings of the recipe that a label names at most

T = TypeVar("T")


def by_system(items: Iterable[T], identity: Callable[[T], Identity], name: Callable[[T], str]) -> list[list[T]]:
    """Put together what may be averaged: runs of one name and place whose identities differ in their seed alone.

    Args:
        items: runs, in whatever shape.
        identity: gives the identity of one.
        name: of its recipe and variant: runs that were named differently stand apart though they compute the same.

    Returns:
        Groups in the order of their first runs, each by seed.
    """
    found: dict[tuple[str, str], list[T]] = {}
    for item in items:
        found.setdefault((name(item), identity(item).system), []).append(item)
    return [sorted(group, key=lambda item: identity(item).seed) for group in found.values()]


class Named(Protocol):
    """A run that has been measured."""

    @property
    def name(self) -> str:
        """Of recipe and variant."""

    @property
    def identity(self) -> Identity:
        """What it is."""


def system_titles(systems: Sequence[Sequence[Named]]) -> list[str]:
    """Name systems by recipe, variant, modalities, context and gaps; two of one name by what they differ in."""
    firsts = [runs[0] for runs in systems]
    return tell_apart([_title(one.name, one.identity) for one in firsts], [one.identity for one in firsts])


def _title(name: str, identity: Identity) -> str:
    context = f"with {identity.context}" if identity.context else ""
    parts = name, "+".join(identity.modalities), context, identity.trained_with_gaps
    return ", ".join(filter(None, parts))


def tell_apart(names: Sequence[str], identities: Sequence[Identity], places: Sequence[str] = ()) -> list[str]:
    """Add to equal names in what the systems behind them differ, so that no two rows have the same one.

    Args:
        names: of rows.
        identities: of any run of the system behind each.
        places: recipe and variant of each, named where what lies outside the recipe does not tell them apart.

    Example: twice `ours` becomes `ours, data c0ffee12` and `ours, data deadbeef`.
    """
    labels = list(names)
    named = list(zip(identities, places or [""] * len(names), strict=True))
    for describe in (*_OUTSIDE, lambda alike: [place for _, place in alike], _settings, _pretrained):
        for name in [label for label, count in Counter(labels).items() if count > 1]:
            alike = [at for at, label in enumerate(labels) if label == name]
            words = describe([named[at] for at in alike])
            if len(set(words)) > 1:
                for at, word in zip(alike, words, strict=True):
                    labels[at] = f"{name}, {word}" if word else name
    return labels


_Named = Sequence[tuple[Identity, str]]  # and the place of each


def _base_text(alike: _Named) -> list[str]:
    if len({one.base_text for one, _ in alike}) == 1:
        return []
    return [f"text encoder {one.text_encoder or 'unnamed'} ({short(one.base_text)[:8]})" for one, _ in alike]


def _pretrained(alike: _Named) -> list[str]:
    return [", ".join(f"{encoder_name(m)} {value[:8]}" for m, value in one.encoders.items()) for one, _ in alike]


_OUTSIDE: tuple[Callable[[_Named], list[str]], ...] = (
    lambda alike: [f"data {one.data_hash[:8]}" for one, _ in alike],
    lambda alike: [one.precision for one, _ in alike],
    _base_text,
    lambda alike: ["from scratch" if one.from_scratch else "pretrained" for one, _ in alike],
)


def _settings(alike: _Named) -> list[str]:
    recipes = [flat(one.recipe) for one, _ in alike]
    keys = sorted({key for recipe in recipes for key in recipe})
    differing = [key for key in keys if len({repr(recipe.get(key)) for recipe in recipes}) > 1][:SETTINGS]
    return [", ".join(f"{key} {recipe.get(key)}" for key in differing) for recipe in recipes]
