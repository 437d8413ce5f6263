"""Recipes in general: typed, told all errors at once, changed by `--set`, and the same after a trip through YAML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.recipe import Choice, choice, dump_yaml, parse, read_yaml, to_dict, with_settings
from tests.plain_values import BOMB, PLAIN


@dataclass(frozen=True)
class Small:
    """Options of one row of the table."""

    width: int = 8
    dropout: float = 0.5

    def __post_init__(self):
        if self.width < 1:
            raise ValueError(f"width: {self.width} is below 1")


@dataclass(frozen=True)
class Other:
    """Options of another row."""

    depth: int = 2


@dataclass(frozen=True)
class Part:
    """A part of the recipe."""

    rate: float
    width: int = 4
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Every kind of field that there is."""

    part: Part
    model: Choice = choice("models")
    name: str = "x"
    flag: bool = False
    mode: Literal["fast", "slow", 3] = "fast"
    counts: int | tuple[int, ...] = 3
    shares: tuple[float, ...] = (0.5, 1.0)
    start: float | None = None
    sizes: Mapping[str, int] | None = None
    extra: Part = field(default_factory=lambda: Part(rate=1.0))


TABLES = {"models": {"small": Small, "other": Other}}
LEAST = {"part": {"rate": 0.1}, "model": "small"}


def read(values, **changes):
    return parse(Whole, {**LEAST, **values, **changes}, TABLES, "Recipe r.yaml")


def refused(values):
    with pytest.raises(InvalidRecipe) as error:
        read(values)
    return str(error.value)


# --- errors ----------------------------------------------------------------------------------------------------------


def test_every_error_is_told_at_once_with_its_dotted_path():
    message = refused(
        {
            "part": {"width": "wide", "speed": 1},
            "model": {"name": "small", "width": True},
            "flag": "yes",
            "mode": "medium",
            "counts": [2, "three"],
            "extra": {"rate": "fast"},
        }
    )
    assert message.startswith("Recipe r.yaml has 8 errors:")
    for path in (
        "part.rate: missing",
        "part.width: 'wide' is not a whole number",
        "part.speed: unknown key",
        "model.width: True is not a whole number",
        "flag: 'yes' is not true or false",
        "mode: 'medium' is not one of fast, slow, 3",
        "counts: [2, 'three'] is not a whole number or a list, each a whole number",
        "extra.rate: 'fast' is not a number",
    ):
        assert path in message


def test_one_error_is_one_error():
    assert "has 1 error:" in refused({"flag": 3})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"nam": "y"}, "nam: unknown key; did you mean name?"),
        ({"part": {"rate": 1, "widht": 3}}, "part.widht: unknown key; did you mean width?"),
        ({"model": {"name": "small", "droput": 0.1}}, "model.droput: unknown key; did you mean dropout?"),
        ({"zzz": 1}, "zzz: unknown key; known here: part, model, name"),
        ({7: 1}, "7: unknown key"),
    ],
)
def test_an_unknown_key_is_an_error_with_a_guess(values, words):
    assert words in refused(values)


def test_an_unknown_row_of_a_table_lists_those_there_are():
    assert "model.name: 'big' is none of other, small" in refused({"model": "big"})
    assert "model.name: None is none of other, small" in refused({"model": {"width": 3}})
    assert "model.name: None is none of other, small" in refused({"model": 3})


def test_a_check_of_the_dataclass_is_told_with_its_path():
    assert "model: width: 0 is below 1" in refused({"model": {"name": "small", "width": 0}})


def test_the_options_of_one_row_are_not_those_of_another():
    assert "model.width: unknown key" in refused({"model": {"name": "other", "width": 3}})


@pytest.mark.parametrize("values", [{"part": 3}, {"part": [1]}, {"part": None}])
def test_a_value_where_keys_belong_is_an_error(values):
    assert "part: expected keys and values" in refused(values)


def test_a_missing_choice_is_an_error():
    with pytest.raises(InvalidRecipe, match="model: missing"):
        parse(Whole, {"part": {"rate": 1}}, TABLES, "r")


# --- types -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1e-4", "1.0e-4", "0.0001", "1E-4"])
def test_a_rate_is_a_number_however_it_is_written(text):
    """PyYAML reads 1e-4 as a string."""
    values = yaml.safe_load(f"rate: {text}")
    assert read({"part": values}).part.rate == 1e-4


def test_a_whole_number_stands_for_a_float_and_stays_exact():
    rate = read({"part": {"rate": 1}}).part.rate
    assert rate == 1.0
    assert isinstance(rate, float)


@pytest.mark.parametrize("value", [3.0, 3])
def test_a_float_without_a_fraction_stands_for_a_whole_number(value):
    width = read({"part": {"rate": 1, "width": value}}).part.width
    assert width == 3
    assert isinstance(width, int)


@pytest.mark.parametrize("value", [True, False, 3.5, "3", None, [3], {}])
def test_what_is_no_whole_number_is_refused(value):
    assert "part.width" in refused({"part": {"rate": 1, "width": value}})


@pytest.mark.parametrize("value", [True, "quick", None, [1.0], "", pytest.param(10**400, id="huge")])
def test_what_is_no_number_is_refused(value):
    assert "part.rate" in refused({"part": {"rate": value}})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan", "-inf"])
def test_a_number_is_finite(value):
    assert "part.rate" in refused({"part": {"rate": value}})


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_what_is_neither_true_nor_false_is_refused(value):
    assert "flag" in refused({"flag": value})


def test_a_bool_is_no_text_and_no_literal():
    assert "name: True is not text" in refused({"name": True})
    assert "mode: True" in refused({"mode": True})


@pytest.mark.parametrize(("value", "parsed"), [(5, 5), ([2, 5], (2, 5)), ([], ())])
def test_a_union_takes_each_of_its_types(value, parsed):
    assert read({"counts": value}).counts == parsed


def test_null_is_taken_only_where_it_is_declared():
    assert read({"start": None}).start is None
    assert read({"start": "2e1"}).start == 20.0
    assert read({"part": {"rate": 1, "limit": None}}).part.limit is None
    assert "name: None is not text" in refused({"name": None})
    assert "start: 'x' is not a number or null" in refused({"start": "x"})


def test_an_error_in_a_list_names_the_place():
    assert "shares[1]: 'x' is not a number" in refused({"shares": [1, "x"]})
    assert "shares: 'x' is not a list, each a number" in refused({"shares": "x"})


def test_literals_take_what_they_list():
    assert read({"mode": "slow"}).mode == "slow"
    assert read({"mode": 3}).mode == 3


def test_a_choice_is_a_name_or_a_name_with_options():
    assert read({"model": "small"}).model == Choice("small", Small())
    assert read({"model": {"name": "small", "width": 3}}).model == Choice("small", Small(width=3))
    assert read({"model": "other"}).model == Choice("other", Other())


# --- settings --------------------------------------------------------------------------------------------------------


def change(values, *settings):
    resolved = to_dict(parse(Whole, values, TABLES, "r"))
    return parse(Whole, with_settings(values, settings, resolved), TABLES, "r")


def test_a_setting_by_its_full_path():
    changed = change(LEAST, "part.rate=1e-3", "model.width=16", "flag=true")
    assert changed.part.rate == 1e-3
    assert changed.flag is True


@pytest.mark.parametrize("start", ["small", {"name": "small"}, {"name": "small", "dropout": 0.1}])
def test_a_setting_below_a_choice_keeps_the_name(start):
    changed = change({**LEAST, "model": start}, "model.width=16")
    assert changed.model.name == "small"
    assert changed.model.options.width == 16


def test_a_setting_by_its_tail_while_that_is_unique():
    assert change(LEAST, "dropout=0.25").model.options.dropout == 0.25
    assert change(LEAST, "part.limit=3").part.limit == 3


def test_a_tail_that_fits_several_keys_is_refused_with_all_of_them():
    with pytest.raises(InvalidRecipe, match=r"rate fits several keys: part\.rate, extra\.rate"):
        change(LEAST, "rate=3")


def test_a_key_in_full_is_no_tail_of_another():
    """`name` is a key of the recipe itself and the tail of `model.name`."""
    changed = change(LEAST, "name=other")
    assert changed.name == "other"
    assert changed.model.name == "small"


def test_an_unknown_path_is_an_unknown_key():
    with pytest.raises(InvalidRecipe, match=r"part\.speed: unknown key"):
        change(LEAST, "part.speed=3")
    with pytest.raises(InvalidRecipe, match="unknown key"):
        change(LEAST, "=3")


def test_a_whole_choice_can_be_set():
    assert change({**LEAST, "model": {"name": "small", "width": 3}}, "model=other").model == Choice("other", Other())


@pytest.mark.parametrize("setting", ["flag", "part.rate"])
def test_a_setting_without_a_value_is_refused(setting):
    with pytest.raises(InvalidRecipe, match="has no value"):
        change(LEAST, setting)


def test_a_setting_that_is_no_yaml_is_refused():
    with pytest.raises(InvalidRecipe, match="no YAML"):
        change(LEAST, "counts=[1, 2")


def test_a_setting_can_hold_a_list_null_or_an_equals_sign():
    changed = change(LEAST, "counts=[2, 5]", "start=null", "name=a=b")
    assert (changed.counts, changed.start, changed.name) == ((2, 5), None, "a=b")


def test_the_last_of_two_settings_holds_and_nothing_given_is_changed():
    values = {"part": {"rate": 1, "width": 2}, "model": {"name": "small"}}
    assert change(values, "part.width=3", "part.width=5").part.width == 5
    assert values == {"part": {"rate": 1, "width": 2}, "model": {"name": "small"}}


# --- round trips -----------------------------------------------------------------------------------------------------

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(-(10**9), 10**9)
PARTS = st.builds(Part, rate=FLOATS, width=COUNTS, limit=st.none() | COUNTS)
WHOLES = st.builds(
    Whole,
    part=PARTS,
    extra=PARTS,
    model=st.builds(Choice, name=st.just("small"), options=st.builds(Small, width=st.integers(1, 9), dropout=FLOATS))
    | st.builds(Choice, name=st.just("other"), options=st.builds(Other, depth=COUNTS)),
    name=st.text(),
    flag=st.booleans(),
    mode=st.sampled_from(["fast", "slow", 3]),
    counts=COUNTS | st.lists(COUNTS, max_size=4).map(tuple),
    shares=st.lists(FLOATS, max_size=4).map(tuple),
    sizes=st.none() | st.dictionaries(st.text(max_size=5), COUNTS, max_size=3),
    start=st.none() | FLOATS,
)


@given(recipe=WHOLES)
@example(recipe=Whole(part=Part(rate=1.0), model=Choice("other", Other()), name="a\x85b"))  # a line break to YAML
def test_a_recipe_is_the_same_after_a_trip_through_yaml(recipe):
    assert parse(Whole, to_dict(recipe), TABLES, "r") == recipe
    assert parse(Whole, yaml.safe_load(dump_yaml(recipe)), TABLES, "r") == recipe


def test_yaml_keeps_the_order_of_the_fields():
    assert list(yaml.safe_load(dump_yaml(read({})))) == list(Whole.__dataclass_fields__)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["x: !!python/object/apply:os.system ['echo ran']", "x: !!python/name:os.system", "x: !!python/tuple [1]"]
)
def test_yaml_builds_no_objects(tmp_path, text):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(InvalidRecipe, match="can't be read"):
        read_yaml(tmp_path / "r.yaml")


@pytest.mark.parametrize("content", [b"a: [1", b"\xff\xfe\xfa", b"a: 1\na:\t- 2"])
def test_a_file_that_is_no_yaml_is_refused_by_name(tmp_path, content):
    (tmp_path / "r.yaml").write_bytes(content)
    with pytest.raises(InvalidRecipe, match=r"r\.yaml can't be read"):
        read_yaml(tmp_path / "r.yaml")


@pytest.mark.parametrize("text", ["", "- 1\n- 2", "just words"])
def test_a_file_without_keys_is_refused(tmp_path, text):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(InvalidRecipe, match="holds no mapping"):
        read_yaml(tmp_path / "r.yaml")


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(InvalidRecipe, match=r"none\.yaml can't be read"):
        read_yaml(tmp_path / "none.yaml")


def test_aliases_of_aliases_are_refused_before_they_fill_the_memory(tmp_path):
    (tmp_path / "r.yaml").write_text(BOMB)
    with pytest.raises(InvalidRecipe, match=r"r\.yaml can't be read: found more than"):
        read_yaml(tmp_path / "r.yaml")


def test_a_message_shows_no_more_than_the_beginning_of_a_value():
    deep = [[["x" * 99] * 99] * 99] * 9
    for values in (
        {**LEAST, "name": deep},
        {**LEAST, "counts": deep},
        {"part": deep},
        {"part": LEAST["part"], "model": deep},
    ):
        assert len(refused(values)) < 2000
    assert len(refused({f"key {n}": n for n in range(9999)})) < 9000


@pytest.mark.parametrize("value", [2**63, -(2**64), 10**400, 1e300])
def test_a_whole_number_that_no_tensor_could_hold_is_too_large(value):
    assert "part.width: " in refused({"part": {"rate": 1, "width": value}})
    assert "counts: " in refused({"counts": value})
    assert read({"part": {"rate": 1, "width": 2**63 - 1}}).part.width == 2**63 - 1


@given(values=st.dictionaries(st.text(max_size=5) | st.integers() | st.none() | st.dates(), PLAIN, max_size=4))
@example(values={"part": {10**5000: 1}})
@example(values={"sizes": {10**5000: 1}})
def test_any_plain_values_are_a_recipe_or_refused_in_words(values):
    try:
        parse(Whole, {**LEAST, **values}, TABLES, "r")
    except InvalidRecipe as error:
        assert str(error)
