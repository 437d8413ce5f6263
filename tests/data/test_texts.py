"""Transcripts that were typed, or stand in a CSV."""

import pytest

from dmmsa_cli.data.prediction_table import escape_formula
from dmmsa_cli.data.texts import given_texts, read_texts
from dmmsa_cli.errors import InvalidInput


def write(path, content, encoding="utf-8"):
    path.write_bytes(content.encode(encoding))
    return path


def test_texts_that_were_typed_are_rows_called_1_2(tmp_path):
    rows = given_texts(["what a film", "=1+1"])
    assert (rows.ids, rows.texts, len(rows)) == (["1", "2"], ["what a film", "=1+1"], 2)
    assert rows.labels == {}


@pytest.mark.parametrize(
    ("content", "ids", "texts"),
    [
        ("id,text\na,one\nb,two\n", ["a", "b"], ["one", "two"]),
        ("text\none\ntwo\n", ["1", "2"], ["one", "two"]),
        ("more,text,id\nx,one,7\ny,two,007\n", ["7", "007"], ["one", "two"]),
        ('id,text\na,"one, ""two"", three"\n', ["a"], ['one, "two", three']),
        ('id,text\na,"two\nlines"\n\nb,NA\n', ["a", "b"], ["two\nlines", "NA"]),
        ("\ufeffid,text\r\na,电影 é\r\n", ["a"], ["电影 é"]),
        (f"id,text\n{escape_formula('@x')},{escape_formula('=1+1')}\n", ["@x"], ["=1+1"]),
        (" id , text \na,one\n", ["a"], ["one"]),
    ],
)
def test_a_csv_is_read_whole(tmp_path, content, ids, texts):
    rows = read_texts(write(tmp_path / "t.csv", content))
    assert (rows.ids, rows.texts) == (ids, texts)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "has no column `text`; its columns are none"),
        ("id,words\na,one\n", "has no column `text`; its columns are 'id', 'words'"),
        ("id;text\na;one\n", "its columns are 'id;text'"),
        ("text,text\na,b\n", "2 columns called text"),
        ("id,id,text\na,b,c\n", "2 columns called id"),
        ("id,text\n", "has no rows"),
        ("id,text\na,one\nb, \n", "line 3: the text is empty"),
        ("id,text\na,one, two\n", "line 2: 3 cells under 2 columns"),
        ("id,text\na\n", "line 2: 1 cell under 2 columns"),
        ('id,text\na,"one\n', "can't be read as CSV"),
        ("id,text\na,one\nb,two\na,three\n", "id 'a' is in it twice"),
    ],
)
def test_what_is_wrong_with_a_csv_is_told(tmp_path, content, words):
    with pytest.raises(InvalidInput) as told:
        read_texts(write(tmp_path / "t.csv", content))
    assert words in told.value.what
    assert told.value.remedy


def test_another_encoding_and_a_file_that_is_not_there_are_told(tmp_path):
    with pytest.raises(InvalidInput, match="not in UTF-8"):
        read_texts(write(tmp_path / "t.csv", "id,text\na,café\n", "latin-1"))
    with pytest.raises(InvalidInput, match="No such file"):
        read_texts(tmp_path / "gone.csv")
    with pytest.raises(InvalidInput, match="can't be read"):
        read_texts(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"), [("", "is empty"), ("  \n", "is empty"), ("caf\udce9", "is no text in UTF-8")]
)
def test_a_typed_text_has_words(text, words):
    with pytest.raises(InvalidInput, match=f"--text number 2 {words}"):
        given_texts(["fine", text])
