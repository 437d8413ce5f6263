import json
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.data.specs import EMOTIONS, SPECS, DatasetSpec, load_spec, to_dict
from dmmsa_cli.errors import InvalidSpec
from dmmsa_cli.recipe import parse
from tests.plain_values import BOMB, PLAIN


@pytest.mark.parametrize("spec", SPECS.values(), ids=str)
def test_a_spec_survives_the_manifest(spec):
    assert parse(DatasetSpec, json.loads(json.dumps(to_dict(spec))), {}, "manifest") == spec


def test_published_files_are_named_and_hashed():
    published = [spec.source for name, spec in SPECS.items() if name not in ("toy", "meld")]
    assert len(published) == 5
    for source in published:
        assert re.fullmatch(r"(MOSI|MOSEI|SIMS)/Processed/(un)?aligned_(50|39)\.pkl", source.path)
        assert re.fullmatch("[0-9a-f]{64}", source.sha256)  # as hashlib writes it: it is compared with that
    assert len({source.path for source in published}) == len({source.sha256 for source in published}) == 5


def test_what_is_known_of_meld():
    meld = SPECS["meld"]
    assert (meld.score_range, meld.metrics, meld.recipes, meld.source) == (1.0, "sims", "default", None)
    assert meld.split_sizes == {"train": 9989, "valid": 1109, "test": 2610}
    assert {spec.emotions for spec in SPECS.values()} == {EMOTIONS}
    assert EMOTIONS == ("joy", "sadness", "anger", "surprise", "disgust", "fear")  # as its file has its columns


def test_the_aligned_variants_differ_in_name_and_file_only():
    mosi, aligned = SPECS["mosi"], SPECS["mosi-aligned"]
    assert aligned.source.path == "MOSI/Processed/aligned_50.pkl"
    same = {"name": "", "source": None, "aligned": None}
    assert to_dict(mosi) | same == to_dict(aligned) | same
    assert (mosi.aligned, aligned.aligned) == (False, True)


def test_a_spec_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "score_range: 1e1\nmodalities: [a, t]\nunimodal_labels: true\nmetrics: sims\n"
        "split_sizes: {train: 9, test: 1, valid: 2}\ntext_encoder: ./bert\n"
    )
    assert load_spec(path, "mine") == DatasetSpec(
        name="mine",
        score_range=10.0,  # YAML itself reads 1e1 as a string
        metrics="sims",
        modalities=("t", "a"),
        unimodal_labels=True,
        text_encoder="./bert",
        split_sizes={"train": 9, "valid": 2, "test": 1},
    )


def test_every_fault_of_a_spec_is_told_at_once(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "score_range: wide\nmodalities: [x]\nmetrics: mae\nunimodal_labels: 3\nsplit_sizes: 5\ncolour: red\n"
    )
    with pytest.raises(InvalidSpec) as error:
        load_spec(path, "mine")
    for key in ("score_range", "modalities", "metrics", "unimodal_labels", "split_sizes", "colour"):
        assert f"  {key}: " in str(error.value)


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "metrics: mosi", "score_range: -1", "score_range: true", BOMB])
def test_what_is_no_spec(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InvalidSpec):
        load_spec(path, "mine")


def test_a_spec_that_is_not_there(tmp_path):
    with pytest.raises(InvalidSpec, match="nothing.yaml"):
        load_spec(tmp_path / "nothing.yaml", "mine")


KEYS = st.sampled_from(["score_range", "metrics", "modalities", "unimodal_labels", "text_encoder", "split_sizes", "x"])


@given(values=st.dictionaries(KEYS | st.integers(), PLAIN | st.dates(), max_size=4))
def test_any_plain_values_are_a_spec_or_refused_in_words(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump(values))
    try:
        load_spec(path, "mine")
    except InvalidSpec as error:
        assert str(error)


@pytest.mark.parametrize("text", ["score_range: HUGE", "? HUGE\n: 1", "split_sizes: {train: HUGE, valid: 1, test: 1}"])
def test_a_number_too_long_to_be_written_out_is_refused_in_words(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("HUGE", hex(16**9999)))
    with pytest.raises(InvalidSpec, match="a number of more than 40 digits"):
        load_spec(path, "mine")
