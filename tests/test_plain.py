"""YAML and JSON from anybody: plain values, or one error in words, within bounds of time and memory."""

import json
import math
import sys

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from dmmsa_cli.plain import DEEPEST, LONGEST, MOST, WIDEST, from_json, from_yaml, read_json, shown, shown_key, to_yaml
from tests.plain_values import BOMB, PLAIN


@given(values=PLAIN)
@example(values={"a": "b\x85c"})
def test_what_is_written_is_read_back(values):
    assert from_yaml(to_yaml(values), aliases=False) == values
    assert from_json(json.dumps(values)) == values


def test_what_is_written_has_no_aliases():
    twice = [1, 2]
    assert from_yaml(to_yaml({"a": twice, "b": twice}), aliases=False) == {"a": twice, "b": twice}


@given(values=PLAIN)
def test_yaml_is_read_as_pyyaml_reads_it(values):
    text = yaml.safe_dump(values)
    assert from_yaml(text) == yaml.safe_load(text)


def test_anchors_of_ones_own_are_followed():
    text = "fast: &fast {epochs: 3}\nvision: *fast\naudio: {<<: *fast, seed: 1}\n"
    assert from_yaml(text) == {"fast": {"epochs": 3}, "vision": {"epochs": 3}, "audio": {"epochs": 3, "seed": 1}}


@pytest.mark.parametrize("text", [BOMB, "a: &a 1\nb: *a", "&a [*a]", "- &a {k: 1}\n- {<<: *a}"])
def test_what_a_program_has_written_has_no_aliases(text):
    with pytest.raises(ValueError, match="an alias|holds itself"):
        from_yaml(text, aliases=False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, f"more than {MOST:,} values"),
        ("&a [*a]", "holds itself"),
        ("a: &a {b: [*a]}", "holds itself"),
        ("a: *nothing", "undefined alias"),
        ("[" * 5000, f"more than {DEEPEST} levels"),
        ("".join(f"{' ' * n}a{n}:\n" for n in range(400)), f"more than {DEEPEST} levels"),
        ("- x\n" * (LONGEST // 4 + 1), f"no more than {LONGEST:,} are read"),
        ("- 1\n" * (MOST + 1), f"more than {MOST:,} values"),
        ("when: 2024-99-99", "month must be in 1..12"),
        ("when: !!timestamp now", "not what it is written as"),
        ("flag: !!bool maybe", "not what it is written as"),
        ("count: !!int ''", "not what it is written as"),
        (f"count: {'9' * 5000}", "not what it is written as"),
        ("x: !!python/object/apply:os.system ['echo ran']", "could not determine a constructor"),
        ("? [a]\n: 1\n? {b: 1}\n: 2", "unhashable"),
        ("x: \x07", "unacceptable character"),
    ],
)
def test_what_goes_beyond_is_refused_in_words(text, words):
    with pytest.raises(ValueError, match=words):
        from_yaml(text)


@pytest.mark.parametrize("extra", [0, 1])
def test_an_alias_counts_for_all_that_it_stands_for(extra):
    """A mapping, three keys and three lists, the first of them twice."""
    listed = (MOST - 7) // 2
    rest = MOST - 7 - 2 * listed + extra
    text = f"a: &a [{', '.join('x' * listed)}]\nb: *a\nc: [{', '.join('x' * rest)}]\n"
    if extra:
        with pytest.raises(ValueError, match="more than"):
            from_yaml(text)
    else:
        assert from_yaml(text) == {"a": ["x"] * listed, "b": ["x"] * listed, "c": ["x"] * rest}


FRAGMENTS = st.sampled_from(
    [
        *"[]{},:?-&*!|>'\"%@ \n\t#~0",
        *(": ", "- ", "\n  ", "&a ", "*a", "<<: ", "!!int ", "!!binary ", "!!set ", "!!omap "),
    ]
    + ["!!pairs ", "!!timestamp ", "!!float ", "2024-02-30", "1:99", "0x", ".inf", "---", "...", "%YAML 9", "word"]
)


@given(text=st.lists(FRAGMENTS | st.characters(), max_size=25).map("".join))
def test_any_text_is_plain_values_or_one_error_in_words(text):
    for read in (from_yaml, from_json):
        try:
            value = read(text)
        except ValueError as error:
            assert str(error)
        else:
            assert len(shown(value)) <= WIDEST


@pytest.mark.parametrize("text", ["[" * 10**6, '{"a":' * 10**5, "9" * 5000, '{"a": 1', "", "\ufeff{}"])
def test_json_that_is_none(text, tmp_path):
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"."):
        read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="decode"):
        read_json(tmp_path / "x.json")


# --- values in messages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [3, 1.5, "two words", None, [1, 2], {"a": 1}, True, 10**30, math.inf])
def test_a_short_value_is_shown_as_python_writes_it(value):
    assert shown(value) == repr(value)


def nested(levels):
    value = ["x" * 50] * 10
    for _ in range(levels):
        value = [value] * 10
    return value


LARGE = {
    "long": "x" * 10**6,
    "deep": nested(40),
    "huge": 10 ** (sys.get_int_max_str_digits() + 1),
    "wide": {n: nested(3) for n in range(99)},
}


@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
def test_a_long_deep_or_huge_value_is_cut_short(value):
    assert len(shown(value)) <= WIDEST
    assert len(shown_key(value)) <= WIDEST


def test_keys_are_shown_without_quotes_where_they_can_be():
    assert [shown_key(key) for key in ("epochs", 7, None, "a\x1b[2J", "ünï")] == [
        "epochs",
        "7",
        "None",
        r"'a\x1b[2J'",
        "ünï",
    ]
