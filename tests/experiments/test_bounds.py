"""The bounds of every option: what lies on them is taken or refused as they say, and what lies beyond is refused."""

import dataclasses
import re
import typing

import pytest

from dmmsa_cli.data.missing import MissingOptions
from dmmsa_cli.data.options import DataOptions
from dmmsa_cli.experiments.recipes import Recipe
from dmmsa_cli.layers.sequence import SequenceOptions
from dmmsa_cli.layers.sizes import Sizes
from dmmsa_cli.layers.text import ContextOptions, TextOptions, TinyOptions
from dmmsa_cli.models import MODELS
from dmmsa_cli.objectives import OBJECTIVES
from dmmsa_cli.objectives.weighting import WEIGHTINGS
from dmmsa_cli.objectives.weighting.base import TrainedOptions
from dmmsa_cli.recipe import Choice
from dmmsa_cli.training.schedule import Group, TextPretraining

ABOVE_0 = ((1e-9, 3.0), (0.0, -1.0))
AT_LEAST_0 = ((0, 1e-9, 3.0), (-1e-9, -1.0))
AT_LEAST_1 = ((1, 2), (0, -1))
SHARE = ((0.0, 0.5, 0.999), (1.0, -0.001, 1.5))
OR_NONE_ABOVE_0 = ((None, *ABOVE_0[0]), ABOVE_0[1])
STAGE = {"learning_rate": 1e-3, "batch_size": 8, "epochs": 4}

FeatureDecomposition = MODELS["feature_decomposition"].Options
Dmmsa, Confede, Regression, Misa, Mmiln, Multitask = (
    OBJECTIVES[name].Options for name in ("dmmsa", "confede", "regression", "misa", "mmiln", "multitask")
)


def part(kind, name):
    """The dataclass of a field that is one."""
    return dataclasses.fields(kind)[[field.name for field in dataclasses.fields(kind)].index(name)].default_factory


# Dataclass, what it needs, and for each field the values that it takes and those that it refuses.
BOUNDS = [
    (
        DataOptions,
        {},
        {"fraction": ((1e-9, 0.5, 1.0), (0.0, -0.1, 1.001)), "modalities": ((("a",), None), ((), ("x",)))},
    ),
    (MissingOptions, {}, {"rate": (("uniform", 1e-9, 0.999), (0.0, 1.0, -0.1)), "whole": SHARE}),
    (
        SequenceOptions,
        {},
        {"layers": AT_LEAST_1, "heads": AT_LEAST_1, "position_dropout": SHARE, "layer_dropout": SHARE},
    ),
    (
        TinyOptions,
        {"heads": 1},
        {"width": ((8, 9), (7, 0)), "layers": AT_LEAST_1, "heads": ((1, 2, 64), (0, 3)), "vocabulary": AT_LEAST_1},
    ),
    (ContextOptions, {}, {"before": ((0, 1, 32), (-1, 33)), "after": ((0, 1, 32), (-1, 33))}),
    (
        TextOptions,
        {},
        {
            "max_tokens": ((3, 4), (2, 0)),
            "dropout": ((None, *SHARE[0]), SHARE[1]),
            "frozen_layers": ((None, 0, 1), (-1,)),
        },
    ),
    (
        TextPretraining,
        STAGE,
        {
            "learning_rate": ABOVE_0,
            "batch_size": AT_LEAST_1,
            "epochs": AT_LEAST_1,
            "warmup_epochs": AT_LEAST_0,
            "weight_decay": AT_LEAST_0,
            "patience": ((None, 1, 2), (0, -1)),
            "weight_averaging": ((None, 1e-9, 0.999), (0.0, 1.0, -0.1)),
            "length_window": AT_LEAST_1,
            "plateau_patience": AT_LEAST_1,
            "accumulate": AT_LEAST_1,
            "clip_value": OR_NONE_ABOVE_0,
            "clip_norm": OR_NONE_ABOVE_0,
            "frozen_share": SHARE,
        },
    ),
    (
        Group,
        {},
        {"learning_rate": ((None, 0.0, 1.0), (-1e-9,)), "weight_decay": ((None, 0.0, 1.0), (-1e-9,))},
    ),
    (FeatureDecomposition, {}, {"width": ((16, 32, 768), (0, 8, 15, 24, -16)), "projector_dropout": SHARE}),
    (Regression, {}, {"beta": ABOVE_0}),
    (Multitask, {}, {"beta": ABOVE_0}),
    (Dmmsa, {}, {"beta": ABOVE_0}),
    (part(Dmmsa, "msc"), {}, {"classes": ((2, 3, 5, 7, (2, 7)), (1, 4, 6, 8, (), (3, 3), (3, 4)))}),
    (part(Dmmsa, "cl"), {}, {"temperature": ABOVE_0}),
    (Misa, {}, {"similarity": AT_LEAST_0, "difference": AT_LEAST_0, "reconstruction": AT_LEAST_0}),
    (Mmiln, {}, {"similarity": AT_LEAST_0, "difference": AT_LEAST_0}),
    (Confede, {}, {"contrast_weight": AT_LEAST_0, "unimodal_weight": AT_LEAST_0, "temperature": ABOVE_0}),
    (
        part(Confede, "retrieval"),
        {},
        {"searched": ((1e-9, 1.0), (0.0, 1.001)), "pool": ((2, 3), (1, 0)), "refresh_every": AT_LEAST_1},
    ),
]
# What rules of weights have of their own; all have a sum, and those that are trained a rate.
RULES = {
    "gdwg": {"temperature": ABOVE_0},
    "dwa": {"temperature": ABOVE_0},
    "fixed": {"weights": (({}, {"cl": 0.0, "uni": 2.0}), ({"cl": -1e-9},))},
    "gradnorm": {"alpha": AT_LEAST_0},
    "cagrad": {"c": AT_LEAST_0},
}
BOUNDS += [
    (
        rule.Options,
        {},
        {"sum": OR_NONE_ABOVE_0}
        | ({"learning_rate": ABOVE_0} if issubclass(rule.Options, TrainedOptions) else {})
        | RULES.get(name, {}),
    )
    for name, rule in WEIGHTINGS.items()
]
# What networks have of widths, counts and dropouts; their options have further bounds, which stand here by name.
FURTHER = {
    "MagBertOptions": {"beta": ABOVE_0},
    "MisaOptions": {"width": ((2, 4), (0, 1, 3))},
    "MmilnOptions": {"width": ((5, 40), (0, 4, 42)), "attention_heads": ((1, 40), (0, 3))},
    "MmolreOptions": {
        "width": ((12, 768), (0, 13)),
        "attention_heads": ((1, 16), (0, 5)),
        "experts": ((11, 12), (0, 10)),
        "active": ((1, 15), (0, 16)),
        "ranks": ((1, 64, (1,) * 15), (0, (1,) * 14, (1,) * 14 + (0,))),
        "router_noise": ((0.0, 1.0), (-1e-9,)),
    },
    "MultOptions": {"width": ((10, 50), (0, 9, 55)), "attention_heads": ((1, 50), (0, 3))},
    "SequentialMtlOptions": {
        "width": ((4, 8), (0, 2, 6, 9)),
        "attention_heads": ((1, 64), (0, 3)),
    },
}
BOUNDS += [
    (
        model.Options,
        {},
        {
            field.name: SHARE if field.name.endswith("dropout") else AT_LEAST_1
            for field in dataclasses.fields(model.Options)
            if field.type in ("int", "float")
        }
        | FURTHER.get(model.Options.__name__, {}),
    )
    for model in MODELS.values()
    if issubclass(model.Options, Sizes)
]
CASES = [
    pytest.param(kind, needed | {name: value}, fine, id=f"{kind.__name__}-{name}={value}")
    for kind, needed, bounds in BOUNDS
    for name, sides in bounds.items()
    for fine, values in zip((True, False), sides, strict=True)
    for value in values
]


@pytest.mark.parametrize(("kind", "values", "fine"), CASES)
def test_a_value_is_taken_within_its_bounds_and_refused_beyond(kind, values, fine):
    if fine:
        kind(**values)
    else:
        with pytest.raises(ValueError, match=r"\w+: |heads do not divide|must be at least 1"):
            kind(**values)


def parts_of(kind):
    """A dataclass of options, and every one below it."""
    yield kind
    for hint in typing.get_type_hints(kind).values():
        for part in (hint, *typing.get_args(hint)):
            if dataclasses.is_dataclass(part) and part is not Choice:
                yield from parts_of(part)


def test_every_number_of_a_recipe_has_bounds():
    """But seeds, which have a check of their own. An option that is new fails here until it stands in the table."""
    chosen = [row.Options for table in (MODELS, OBJECTIVES, WEIGHTINGS) for row in table.values()]
    numbers = {
        (kind, field.name)
        for whole in (Recipe, *chosen)
        for kind in parts_of(whole)
        for field in dataclasses.fields(kind)
        if re.search(r"\b(int|float)\b", field.type) and not field.name.startswith("seed")
    }
    bounded = {(kind, name) for kind, _, bounds in BOUNDS for name in bounds}
    bounded |= {(base, name) for kind, name in bounded for base in kind.__mro__}  # a schedule's bounds are text's too
    assert numbers <= bounded
