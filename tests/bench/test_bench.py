"""`dmmsa bench`: are its numbers what they say they are? Nothing here is timed."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from dmmsa_cli.bench import epoch, experts, start, storing, text
from dmmsa_cli.bench.benchmark import MEASURES, Measure, bench
from dmmsa_cli.bench.flops import FlopCount, Work, evenly
from dmmsa_cli.bench.place import Place, find_place
from dmmsa_cli.bench.process import alone
from dmmsa_cli.bench.text import EncoderSize
from dmmsa_cli.bench.watching import Seen, Watched, positions
from dmmsa_cli.data.ragged import Padded, Ragged
from dmmsa_cli.data.shaped import generate, write_shaped
from dmmsa_cli.data.specs import SPLITS
from dmmsa_cli.data.views import Batch, EpochBatches, View
from dmmsa_cli.errors import InvalidInput, InvalidRecipe
from dmmsa_cli.experiments import inputs
from dmmsa_cli.experiments.base_text import base_text
from dmmsa_cli.models.base import Outputs

ROWS = 48  # in batches of 16: three steps
SMALL = (
    *("model.width=16", "vision.heads=2", "audio.heads=2"),
    *("fusion.batch_size=16", "fusion.epochs=2"),
)
ENCODER = EncoderSize(width=16, layers=1, heads=2, feedforward=32, vocabulary=3000, tokens=256)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A small made-up dataset, prepared, with its text cached."""
    where = find_place(tmp_path_factory.mktemp("bench"), "mosi", rows=ROWS, settings=SMALL, device="cpu")
    storing.found(where)
    storing.prepared(where, where.data_dir)
    text.made(where, ENCODER)
    text.cached(where, ["dmmsa"])
    return where


# --- data -----------------------------------------------------------------------------------------------------------


def test_unpickled_bytes_are_those_of_the_arrays(place):
    arrays = [a for split in generate("mosi", rows=ROWS).values() for a in split.values() if isinstance(a, np.ndarray)]
    assert len(arrays) == 3 * 5  # audio, vision, text, text_bert, scores
    assert storing.unpickled(place)["unpickled_bytes"] == sum(a.nbytes for a in arrays)


def test_made_up_data_are_told_to_be_so(place):
    data = storing.found(place)
    assert data["made_up"] is True
    manifest = json.loads((place.data_dir / place.dataset / "manifest.json").read_text())
    assert manifest["spec"]["name"] == f"synthetic-mosi-{ROWS}"
    assert manifest["source"]["path"].endswith(f"synthetic-mosi-{ROWS}.pkl")
    assert "made up" in place.spec().read_text()


def test_a_given_file_is_taken_as_it_is(tmp_path):
    write_shaped(tmp_path / "given.pkl", "sims", rows=8, text=False)
    data = storing.found(find_place(tmp_path / "new" / "folder", "sims", file=tmp_path / "given.pkl"))
    assert (tmp_path / "new" / "folder").is_dir()
    assert (data["file"], data["made_up"]) == ("given.pkl", None)


def test_a_folder_with_a_store_of_another_file(tmp_path):
    for seed in (1, 2):
        write_shaped(tmp_path / f"{seed}.pkl", "sims", rows=8, text=False, seed=seed)
    first, second = (find_place(tmp_path, "sims", file=tmp_path / f"{seed}.pkl") for seed in (1, 2))
    storing.prepared(first, first.data_dir)
    with pytest.raises(InvalidInput, match=r"1\.pkl, not from .*2\.pkl") as caught:
        storing.prepared(second, second.data_dir)
    assert caught.value.remedy == "Give another --folder, or empty this one."


# --- padding and FLOPs ----------------------------------------------------------------------------------------------


LENGTHS = np.array([2, 5, 2, 3])


class Clips:
    """Four clips of 2, 5, 2 and 3 frames, 3 wide, filled up to the longest of a batch."""

    def lengths(self):
        return LENGTHS

    def collate(self, rows):
        lengths = torch.from_numpy(LENGTHS[rows])
        padded = Padded(torch.ones(len(rows), int(lengths.max()), 3), lengths)
        return Ragged((padded,), torch.arange(len(rows)))


class Linear(nn.Module):
    """One linear map over all positions, 3 -> 7."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(3, 7)

    def forward(self, batch):
        frames = torch.cat([group.values.flatten(0, 1) for group in batch.inputs["a"].groups])
        return Outputs(self.map(frames).sum(-1), {})


@pytest.fixture
def clips():
    return View({"a": Clips()}, {"y": torch.zeros(4)}, np.arange(4))


def test_padding_is_counted(clips):
    assert positions(clips.batch(np.arange(4))) == (12, 20)  # four times five
    assert positions(clips.batch(np.array([0, 2]))) == (4, 4)
    assert positions(Batch(torch.arange(2), {"t": torch.zeros(2, 9)}, {})) == (0, 0)  # embeddings have none


def test_flops_of_a_linear_layer(clips):
    count = FlopCount(Linear(), clips)
    forward_and_weights = 2 * (2 * 3 * 7)  # a frame; inputs need no gradient
    assert [count.alone(row) for row in range(4)] == [n * forward_and_weights for n in (2, 5, 2, 3)]
    assert count.total(np.arange(4)) == 12 * forward_and_weights
    assert count.total(np.array([1, 1, 0])) == 12 * forward_and_weights
    assert count.of(clips.batch(np.arange(4))) == 20 * forward_and_weights


def test_counting_computes_nothing_and_leaves_the_model_alone(clips):
    model = Linear()
    FlopCount(model, clips).alone(0)
    assert model.map.weight.device == CPU
    assert model.map.weight.grad is None


def test_some_stand_for_all(clips, monkeypatch):
    monkeypatch.setattr("dmmsa_cli.bench.flops.COUNTED", 2)
    # Of lengths 2, 2, 3, 5 the middles of both halves: 2 and 5.
    assert FlopCount(Linear(), clips).total(np.arange(4)) == (2 + 5) / 2 * 4 * 2 * (2 * 3 * 7)


@pytest.mark.parametrize(("total", "most", "chosen"), [(3, 5, [0, 1, 2]), (8, 2, [2, 6]), (10, 5, [1, 3, 5, 7, 9])])
def test_evenly(total, most, chosen):
    assert evenly(total, most).tolist() == chosen


def test_the_share_of_the_matrix_rate():
    facts = Work(epoch=5e12, passes=3e12, pass_seconds=10.0, work_over_real=1.25).facts(matrix=0.5e12)
    assert facts["tflop"] == 5.0
    assert facts["tflop_per_second"] == pytest.approx(0.3)
    assert facts["share_of_matrix_rate"] == pytest.approx(0.6)


def test_batches_are_seen_on_their_way(clips):
    seen = Seen(CPU)
    rows = [np.array([0, 1]), np.array([2])]
    watched = Watched(clips, rows, seen=seen)
    given = list(watched.starting_at(0, lambda rows: np.array([3])))
    assert [len(batch) for batch in given] == [3, 2]
    assert [r.tolist() for r in seen.rows] == [[0, 1, 3], [2, 3]]
    assert (seen.real, seen.slots) == (2 + 5 + 3 + 2 + 3, 3 * 5 + 2 * 3)
    assert isinstance(watched, EpochBatches)


# --- an epoch -------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("dmmsa_cli.bench.flops.COUNTED", 4)
    monkeypatch.setattr(epoch, "matrix_rate", lambda device, precision: 1e12)


def test_a_whole_epoch(place, quick):
    facts = epoch.epoch(place, "dmmsa", steps=99)  # more than there are
    assert (facts["steps"], facts["measured_steps"], facts["extrapolated"]) == (3, 3, False)
    assert facts["clips"] == ROWS
    assert facts["seconds"] == pytest.approx(
        facts["refresh_seconds"] + facts["steps_seconds"] + facts["validation_seconds"]
    )
    assert 1 <= facts["padded_over_real"] < 1.2
    assert facts["share_of_matrix_rate"] == pytest.approx(facts["tflop_per_second"])
    assert facts["checkpoint_bytes"] > 2 * facts["weights_bytes"] > 0  # the optimiser's moments are in it
    assert not list(place.folder.glob("tmp*"))


def test_an_extrapolated_epoch(tmp_path, place, quick, monkeypatch):
    monkeypatch.setattr(epoch, "WARM_UP", 1)
    facts = epoch.epoch(place, "dmmsa", steps=1)
    assert (facts["steps"], facts["measured_steps"], facts["extrapolated"]) == (3, 1, True)
    assert facts["steps_seconds"] == pytest.approx(3 * facts["step_seconds"])
    assert facts["clips"] == ROWS


def test_companions_are_counted(place, quick):
    facts = epoch.epoch(place, "confede-released", steps=None)
    assert facts["clips"] == 7 * ROWS
    assert facts["refresh_seconds"] > 0


@pytest.mark.parametrize("recipe", ["mult", "self-mm"])
def test_models_that_read_sequences_and_text_that_is_trained(place, quick, recipe):
    facts = epoch.epoch(replace(place, settings=("fusion.batch_size=16",)), recipe, steps=None)
    assert facts["clips"] == ROWS and facts["steps_seconds"] > 0
    assert facts["padded_over_real"] >= 1
    assert "tflop" not in facts


def test_token_states(place):
    place = replace(place, settings=())
    assert text.reads_states(place, ["dmmsa", "self-mm"]) is None
    assert text.reads_states(place, ["dmmsa", "mult", "tfn"]) == "mult"
    facts, experiment = text.states(place, "mult"), place.open("mult")
    folder = base_text(experiment, 1)
    rows = [inputs.tokens(experiment, folder, experiment.store.split(name)) for name in SPLITS]
    assert facts["states"] == sum(int(split.lengths().sum()) for split in rows)
    assert facts["file_bytes"] > 2 * facts["states"] * ENCODER.width  # float16
    assert not list(place.folder.glob("tmp*"))


# --- the whole ------------------------------------------------------------------------------------------------------


def test_medians():
    repeats = [
        {"seconds": seconds, "extrapolated": True, "precision": "float32", "peak": None} for seconds in (1.0, 9.0, 2.0)
    ]
    assert Measure("epoch", repeats, "dmmsa").median == {
        "seconds": 2.0,
        "extrapolated": True,
        "precision": "float32",
        "peak": None,
    }


def test_a_count_stays_a_count():
    assert Measure("epoch", [{"steps": 81}, {"steps": 81}]).median == {"steps": 81}
    assert isinstance(Measure("epoch", [{"steps": 81}, {"steps": 81}]).median["steps"], int)


def test_start_needs_no_transformers_where_text_is_cached(place):
    answer = alone("start", start.started, place, "dmmsa")
    assert answer.seconds > answer.facts["torch_import_seconds"] > 0
    assert answer.facts["transformers_imported"] is False


def test_the_loop_over_experts_that_is_measured_makes_what_the_two_products_make(monkeypatch, tmp_path):
    for name, value in {"WIDTH": 16, "EXPERTS": 3, "RANK": 4, "ACTIVE": 2, "CLIPS": 2, "TIMES": 1}.items():
        monkeypatch.setattr(experts, name, value)
    made = []
    loop = experts.looped
    monkeypatch.setattr(experts, "looped", lambda *given: made.append((given, loop(*given))) or made[-1][1])
    facts = experts.compared(
        Place(tmp_path, "mosi", tmp_path / "x.pkl", made_up=True, device="cpu", precision="float32")
    )
    assert facts["seconds"] > 0 < facts["loop_seconds"]
    assert len(made) == 2 * len(experts.TASKS)
    for (block, task, x, mask), found in made:
        torch.testing.assert_close(found, block(dict.fromkeys(experts.TASKS, x), mask)[task], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_everything_in_its_order():
    told = []
    found = bench(
        "mosi",
        rows=ROWS,
        recipes=["dmmsa", "confede"],
        steps=1,
        repeats=2,
        device="cpu",
        settings=SMALL,
        encoder=ENCODER,
        tell=told.append,
    )
    named = [(measure.name, measure.recipe) for measure in found.measures]
    of_all = [name for name in MEASURES if name not in ("states", "epoch")]  # neither recipe reads token states
    assert named == [*((name, None) for name in of_all), ("epoch", "dmmsa"), ("epoch", "confede")]
    assert all(len(measure.repeats) == 2 for measure in found.measures)
    assert "epoch of confede, 2 of 2" in told
    numbers = json.loads(json.dumps(found.to_json()))
    assert numbers["measures"][2]["median"]["padded_over_real"] >= 1


@pytest.mark.parametrize(
    ("asked", "error", "told"),
    [
        ({"recipes": ["nosuch"]}, InvalidRecipe, "no recipe nosuch"),
        ({"file": SimpleNamespace(is_file=lambda: False)}, InvalidInput, "no file"),
        ({"settings": ["model.wdith=3"]}, InvalidRecipe, "wdith"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_made(asked, error, told, tmp_path):
    with pytest.raises(error, match=told):
        bench("mosi", folder=tmp_path, **asked)
    assert list(tmp_path.iterdir()) == []


def test_rows_of_a_given_file(tmp_path):
    (tmp_path / "given.pkl").touch()
    with pytest.raises(InvalidInput, match="--rows"):
        find_place(tmp_path, "mosi", file=tmp_path / "given.pkl", rows=3)
