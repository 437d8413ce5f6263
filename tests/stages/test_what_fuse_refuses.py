"""A folder that holds another run than the one requested: refused in words, begun or finished, and left as it was."""

import json
import shutil
from contextlib import suppress
from dataclasses import replace
from functools import cache

import pytest
import yaml

from dmmsa_cli.errors import Interrupted, RunMismatch, TrainingDiverged
from dmmsa_cli.experiments.identity import identity_in
from dmmsa_cli.training.run import RunFolder
from tests.interception import no_training
from tests.training_runs import open_mini, run_fuse

VARIANT = "mine"


class Place:
    """A folder of runs, in which a run of seed 1 has been begun, or has finished."""

    def __init__(self, prepared, micro, folder, *, finished, **recipe):
        self.prepared, self.micro, self.runs, self.finished, self.recipe = prepared, micro, folder, finished, recipe
        self.trainings = None

    def open(self, *settings, **changes):
        return open_mini(self.prepared, self.micro, self.runs, *settings, **self.recipe | changes)

    @property
    def run(self):
        return self.runs / "mini" / "micro" / VARIANT / "seed-1"

    def begin(self, experiment=None, **flags):
        with no_training(finish=self.finished), suppress(Interrupted):
            run_fuse(experiment or self.open(), VARIANT, **flags)
        assert RunFolder(self.run).finished == self.finished

    def fuse(self, experiment=None, **flags):
        """Ask for the run once more, to go on with where it has not finished; what is trained is noted."""
        with no_training() as self.trainings:
            return run_fuse(experiment or self.open(), VARIANT, **{"resume": not self.finished, **flags})

    @property
    def trained(self):
        return [given.stage for given in self.trainings.given]

    def content(self):
        """Every file of the run, and every pretrained encoder that has been begun."""
        files = {path: path.read_bytes() for path in self.run.rglob("*") if path.is_file()}
        return files, sorted(self.runs.glob("mini/encoders/*/recipe.yaml"))


@pytest.fixture(scope="module")
def begun(prepared, micro, tmp_path_factory):
    """Folders of runs to copy: on pretrained encoders or from scratch, finished or not."""

    @cache
    def runs(finished, from_scratch):
        folder = tmp_path_factory.mktemp("begun")
        Place(prepared, micro, folder, finished=finished).begin(from_scratch=from_scratch)
        return folder

    return runs


@pytest.fixture
def new(begun, prepared, micro, tmp_path):
    """A place of one's own."""

    def place(finished, *, from_scratch=False):
        folder = tmp_path / f"runs-{finished}"
        shutil.copytree(begun(finished, from_scratch), folder)
        return Place(prepared, micro, folder, finished=finished)

    return place


both = pytest.mark.parametrize("finished", [True, False], ids=["finished", "unfinished"])


@pytest.fixture(params=[True, False], ids=["finished", "unfinished"])
def place(request, new):
    return new(request.param)


# --- another run ----------------------------------------------------------------------------------------------------


def another_base_text_encoder(place):
    (config,) = place.runs.glob("mini/encoders/tiny-*/config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"layer_norm_eps": 1e-3}))
    return place.open(), {}


def retrained(name):
    def encoder_of_the_same_key(place):
        (path,) = place.runs.glob(f"mini/encoders/{name}-*/weights.safetensors")
        path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
        return place.open(), {}

    return encoder_of_the_same_key


def other_data(place):
    experiment = place.open()
    manifest = replace(experiment.store.manifest, data_hash="0" * 64)
    return replace(experiment, store=replace(experiment.store, manifest=manifest)), {}


def folder_of_another_seed(place):
    place.run.rename(place.run.with_name("seed-12"))
    return place.open(), {"seed": 12}


HASH = "[0-9a-f]{12}"
ANOTHER = {
    "base text encoder": (
        another_base_text_encoder,
        rf"the base text encoder is tiny \({HASH}\) there, tiny \({HASH}\) here",
    ),
    "retrained text encoder": (retrained("text"), f"the text encoder is {HASH} there, {HASH} here"),
    "retrained vision encoder": (retrained("vision"), f"the vision encoder is {HASH} there, {HASH} here"),
    "retrained audio encoder": (retrained("audio"), f"the audio encoder is {HASH} there, {HASH} here"),
    "precision": (lambda place: (place.open(precision="bf16"), {}), "settled precision is float32 there, bf16 here"),
    "settled precision": (
        lambda place: (replace(place.open(), precision="bf16"), {}),
        "settled precision is float32 there, bf16 here",
    ),
    "start": (lambda place: (place.open(), {"from_scratch": True}), "--from-scratch is False there, True here"),
    "data": (other_data, f"data is {HASH} there, 000000000000 here"),
    "recipe": (lambda place: (place.open("fusion.epochs=7"), {}), "fusion.epochs is 4 there, 7 here"),
    "seed": (folder_of_another_seed, "seed is 1 there, 12 here"),
}


@pytest.mark.parametrize("what", ANOTHER)
def test_another_run_is_refused_in_words_and_nothing_is_touched(place, what):
    change, words = ANOTHER[what]
    experiment, flags = change(place)
    before = place.content()
    with pytest.raises(RunMismatch, match=f"holds a run of another kind: .*{words}") as refused:
        place.fuse(experiment, **flags)
    assert "--name" in refused.value.remedy and "--force" in refused.value.remedy
    assert place.trained == []
    assert place.content() == before


@both
def test_a_run_from_scratch_is_not_the_one_on_pretrained_encoders(new, finished):
    place = new(finished, from_scratch=True)
    with pytest.raises(RunMismatch, match="--from-scratch is True there, False here"):
        place.fuse()
    assert place.trained == []


@both
def test_a_run_from_scratch_on_another_base_text_encoder_is_refused(new, finished):
    place = new(finished, from_scratch=True)
    experiment, _ = another_base_text_encoder(place)
    with pytest.raises(RunMismatch, match="the base text encoder is .* there, .* here"):
        place.fuse(experiment, from_scratch=True)
    assert place.trained == []


def test_force_replaces_the_run_by_the_one_requested(place):
    experiment = place.open("fusion.epochs=7")
    report = place.fuse(experiment, force=True, resume=False)
    assert (report.skipped, place.trained) == (False, ["fusion"])
    assert identity_in(RunFolder(place.run)).recipe["fusion"]["epochs"] == 7


def test_an_encoder_that_comes_out_otherwise_when_it_is_trained_again_is_refused_too(new, monkeypatch):
    """It was gone when the run was asked for, so what it would be was not known then."""
    place = new(False)
    (encoder,) = place.runs.glob("mini/encoders/vision-*")
    shutil.rmtree(encoder)
    before = place.content()[0]
    monkeypatch.setattr("tests.interception.zlib.crc32", lambda name: 0)
    with pytest.raises(RunMismatch, match=f"the vision encoder is {HASH} there, {HASH} here"):
        place.fuse()
    assert place.trained == ["vision"]
    assert place.content()[0] == before


@pytest.mark.parametrize("same", [True, False], ids=["the same", "another"])
def test_what_another_process_finishes_while_encoders_are_trained_is_held_against_what_was_requested(
    new, prepared, micro, tmp_path, same
):
    """The folder was empty when the run was asked for."""
    done, place = new(True), Place(prepared, micro, tmp_path / "empty", finished=True)
    experiment = place.open() if same else place.open("fusion.epochs=7")

    def meanwhile(line):
        if not place.run.exists():
            shutil.copytree(done.run, place.run)

    if same:
        report = place.fuse(experiment, remark=meanwhile)
        assert (report.skipped, report.seed, report.folder) == (True, 1, place.run)
        assert report.summary == json.loads((done.run / "summary.json").read_text())
    else:
        with pytest.raises(RunMismatch, match="fusion.epochs is 4 there, 7 here"):
            place.fuse(experiment, remark=meanwhile)
    assert place.trained == ["text", "vision", "audio"]


# --- the same run ---------------------------------------------------------------------------------------------------


def goes_on(place, experiment=None):
    """A finished run is skipped, an unfinished one goes on; says what was trained for it."""
    report = place.fuse(experiment)
    assert (report.skipped, report.seed, report.folder) == (place.finished, 1, place.run)
    return place.trained


def test_the_very_run_is_skipped_or_goes_on(place):
    assert goes_on(place) == ([] if place.finished else ["fusion"])


def test_a_run_that_diverged_is_not_told_to_go_on(prepared, micro, tmp_path):
    experiment = open_mini(prepared, micro, tmp_path, "fusion.learning_rate=1e30", "data.standardise=false")
    with pytest.raises(TrainingDiverged):
        run_fuse(experiment, "wild")
    with pytest.raises(RunMismatch, match="diverged") as told:
        run_fuse(experiment, "wild")
    assert "--resume" not in told.value.remedy
    assert "learning rate" in told.value.remedy


def test_an_unfinished_run_goes_on_only_where_that_is_asked_for(place):
    if place.finished:
        assert place.fuse(resume=False).skipped
        return
    with pytest.raises(RunMismatch, match="unfinished"):
        place.fuse(resume=False)
    assert place.trained == []


@pytest.mark.parametrize(
    "lacking", ["data", "fusion.length_window", "text.frozen_layers", "objective.weighting.temperature"]
)
def test_a_run_of_an_older_dmmsa_without_a_key_that_has_a_default_is_the_same(place, lacking):
    path = place.run / "recipe.yaml"
    values = below = yaml.safe_load(path.read_text())
    *parents, last = lacking.split(".")
    for parent in parents:
        below = below[parent]
    del below[last]
    path.write_text(yaml.safe_dump(values))
    assert goes_on(place) == ([] if place.finished else ["fusion"])


def test_a_run_of_an_older_dmmsa_that_kept_no_name_of_its_text_encoder_is_the_same(place):
    path = place.run / "environment.json"
    facts = json.loads(path.read_text())
    del facts["text_encoder"]
    path.write_text(json.dumps(facts))
    assert goes_on(place) == ([] if place.finished else ["fusion"])


def test_a_run_whose_encoders_are_gone_is_left_alone_or_has_them_trained_again(place):
    shutil.rmtree(place.runs / "mini" / "encoders")
    before = place.content()
    assert goes_on(place) == ([] if place.finished else ["text", "vision", "audio", "fusion"])
    assert not place.finished or place.content() == before


@both
def test_a_precision_of_auto_stays_what_it_was_settled_to(prepared, micro, tmp_path, finished):
    place = Place(prepared, micro, tmp_path, finished=finished, precision="auto")
    place.begin(replace(place.open(), precision="bf16"))
    assert goes_on(place, replace(place.open(), precision="float32")) == ([] if finished else ["fusion"])
    if not finished:
        assert place.trainings.by_stage["fusion"].state.precision == "bf16"
