"""Predictions as CSV: whatever the words hold, what is read is what was written."""

import csv
import io
import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.data.prediction_table import escape_formula, read_predictions, unescape_formula, write_predictions
from dmmsa_cli.errors import InvalidInput

AWKWARD = (
    *("", " ", "NA", "nan", "null", "None", "007", "1e5", "-1", "true"),
    *("ends in\r", "\rbegins", "two\r\nlines", "two\nlines", "\x00", "a\x00b", "\ufeffmark", "\x85\u2028\x1f"),
    *('"', '""', 'say "yes", then', ",", ";", "\t", "'", "''", "'Cause", "'=1+1", "''=1"),
    *("\x1b[31mred", "\\x1b", "\\\\x1b", "\\\x1b", "\x1bx1b", "a\\", "C:\\x00\\xe9", "\x7f\x9f"),
    *("=HYPERLINK(1)", "+1", "-I mean", "@me", "＝1", "\t=1", "\r=1", "情感 😀 é"),
)
WORDS = st.one_of(
    st.sampled_from(AWKWARD),
    st.text("'=+-@\t\r\n\",\x00 a", max_size=6),
    st.lists(st.sampled_from(["\\", "\x1b", "x1b", "x41", "'", "="]), max_size=8).map("".join),
    st.text("\\x1b0\x1b\x80", max_size=10),  # control characters, and what looks like one that is spelled out
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-3, 3).map(float)


def table(ids, texts, labels, predictions, **heads):
    scores = {"y_true": np.float32(labels), "y_pred": np.float32(predictions)}
    return pd.DataFrame({"id": ids, "text": texts} | scores | heads)


@st.composite
def tables(draw):
    rows = draw(st.integers(1, 6))
    numbers = draw(st.sampled_from([FLOATS, WHOLE]))
    columns = [draw(st.lists(numbers, min_size=rows, max_size=rows)) for _ in range(3)]
    ids = draw(st.lists(WORDS, min_size=rows, max_size=rows, unique=True))
    texts = draw(st.lists(WORDS, min_size=rows, max_size=rows))
    classes = draw(st.lists(st.integers(0, 6), min_size=rows, max_size=rows))
    return table(ids, texts, *columns[:2], uni_T_s=np.float32(columns[2]), msc_3=np.int64(classes))


@given(tables())
def test_what_is_read_is_what_was_written(tmp_path_factory, written):
    path = tmp_path_factory.getbasetemp() / "round.csv"
    write_predictions(path, written)
    read = read_predictions(path)
    assert list(read) == list(written)
    assert read["id"].tolist() == written["id"].tolist()
    assert read["text"].tolist() == written["text"].tolist()
    for name in ("y_true", "y_pred", "uni_T_s"):
        assert read[name].dtype == np.float32
        assert read[name].to_numpy().tobytes() == written[name].to_numpy().tobytes()
    assert read["msc_3"].tolist() == written["msc_3"].tolist()
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]", path.read_bytes())


def test_control_characters_are_spelled_out_and_backslashes_stay(tmp_path):
    texts = ["\x1b[31m red", r"\x1b[31m spelled", r"C:\x\new", "\\\x00"]
    write_predictions(tmp_path / "p.csv", table(list("abcd"), texts, [0] * 4, [0] * 4))
    shown = (tmp_path / "p.csv").read_text()
    for written in (r"\x1b[31m red", r"\\x1b[31m spelled", r"C:\x\new", r"\\\x00"):
        assert f'"{written}"' in shown
    assert read_predictions(tmp_path / "p.csv")["text"].tolist() == texts


@pytest.mark.parametrize("text", AWKWARD)
def test_one_awkward_clip_among_others(tmp_path, text):
    texts = ["first", text, "last"]
    write_predictions(tmp_path / "p.csv", table(["a", "b" + text, "c"], texts, [1, 2, 3], [0, 0, 0]))
    read = read_predictions(tmp_path / "p.csv")
    assert read["text"].tolist() == texts
    assert read["id"].tolist() == ["a", "b" + text, "c"]


@pytest.mark.parametrize("character", [chr(n) for n in (*range(32), *range(127, 160))], ids=lambda c: f"{ord(c):02x}")
def test_no_control_character_is_written_as_it_is(tmp_path, character):
    """But tabs and ends of lines, which texts have."""
    text = f"a{character}b"
    write_predictions(tmp_path / "p.csv", table([text], [text], [1], [0]))
    written = (tmp_path / "p.csv").read_bytes().decode("utf-8")
    if character in "\t\n\r":
        assert text in written
    else:
        assert character not in written
        assert f"a\\x{ord(character):02x}b" in written
    assert read_predictions(tmp_path / "p.csv")["text"].tolist() == [text]


def test_a_table_for_people_begins_with_the_mark_by_which_a_spreadsheet_knows_utf_8(tmp_path):
    content = table(["a"], ["电影"], [0.5], [1e-30])
    for mark in (False, True):
        write_predictions(tmp_path / "p.csv", content, mark=mark)
        assert (tmp_path / "p.csv").read_bytes().startswith(b"\xef\xbb\xbfid,text,") == mark
        assert pd.read_csv(tmp_path / "p.csv", dtype=dict.fromkeys(["y_true", "y_pred"], np.float32)).equals(content)


def test_the_sign_of_a_zero_is_kept(tmp_path):
    write_predictions(tmp_path / "p.csv", table(["a"], ["b"], [-0.0], [0.0], uni_T_s=np.float32([-0.0])))
    read = read_predictions(tmp_path / "p.csv")
    assert np.signbit(read[["y_true", "y_pred", "uni_T_s"]].to_numpy()).tolist() == [[True, False, True]]


def test_a_transcript_of_megabytes_is_read(tmp_path):
    texts = ["word " * 500_000, "short"]
    write_predictions(tmp_path / "p.csv", table(["a", "b"], texts, [1, 2], [0, 0]))
    assert read_predictions(tmp_path / "p.csv")["text"].tolist() == texts


@given(WORDS)
def test_no_text_begins_as_a_formula_does(text):
    escaped = escape_formula(text)
    assert not escaped.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))
    assert unescape_formula(escaped) == text


def test_other_readers_see_the_same_but_for_the_apostrophe(tmp_path):
    texts = ['He said "no", =twice', "=1+1", "'Cause"]
    write_predictions(tmp_path / "p.csv", table(["-a", "b", "007"], texts, [1, 2, 3], [-0.1, 2, 3]))
    rows = list(csv.reader(io.StringIO((tmp_path / "p.csv").read_text(encoding="utf-8"))))
    assert rows == [
        ["id", "text", "y_true", "y_pred"],
        ["'-a", texts[0], "1", "-0.1"],
        ["b", "'=1+1", "2", "2"],
        ["007", "'Cause", "3", "3"],
    ]


def test_predictions_of_files_without_labels_are_written_too(tmp_path):
    rows = {"split": ["new", "new"], "id": ["a", "b"], "text": ["x", "y"], "y_pred": np.float32([0.5, 1])}
    write_predictions(tmp_path / "p.csv", pd.DataFrame(rows | {"y_true": np.float32([math.nan, 2])}))
    assert (tmp_path / "p.csv").read_text().splitlines()[1:] == ['"new","a","x",0.5,', '"new","b","y",1,2']


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged"),
        (b"id,text\na,b\n", "lacks y_true, y_pred"),
        (b"id,text,y_true,y_pred\n", "no rows"),
        (b"id,text,y_true,y_pred\na,b,1,2\na,c,1,2\n", "clip a stands there twice"),
        (b"id,text,y_true,y_pred\na,b,1,\n", "damaged"),
        (b"id,text,y_true,y_pred\na,b,1,high\n", "high"),
        (b"id,text,y_true,y_pred\na,b,nan,1\n", "y_true is missing or not finite"),
        (b"id,text,y_true,y_pred\na,b,1,1e60\n", "y_pred"),
        (b"id,text,y_true,y_pred,uni_T_s\na,b,1,1,nan\n", "uni_T_s is missing or not finite"),
        (b"id,text,y_true,y_pred,uni_T_s\na,b,1,1,high\n", "high"),
        (b"id,text,y_true,y_pred,uni_T_s\na,b,1,1,true\n", "true"),
        (b"id,text,y_true,y_pred,uni_T_s\na,b,1,1,2020-01-01\n", "2020"),
        (b"id,text,y_true,y_pred\na,b,1\n", "damaged"),
        (b'id,text,y_true,y_pred\n"a,b,1,1\n', "damaged"),
        (b"id,text,y_true,y_pred\n\xff,b,1,1\n", "damaged"),
        (b"id,id,text,y_true,y_pred\na,a,b,1,1\n", "column stands there twice"),
    ],
)
def test_damage_is_told(tmp_path, content, message):
    path = tmp_path / "p.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=message) as caught:
        read_predictions(path)
    assert str(path) in caught.value.what


def test_a_file_that_is_not_there_is_no_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_predictions(tmp_path / "p.csv")


def test_a_failure_leaves_the_former_file(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("former")
    with pytest.raises(UnicodeEncodeError):
        write_predictions(path, table(["a"], ["\ud800"], [1], [1]))
    assert path.read_text() == "former"
    assert [one.name for one in tmp_path.iterdir()] == ["p.csv"]
