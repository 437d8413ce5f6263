"""Guards against slowness that measure no time: how much of a step's work is done on padding."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dmmsa_cli.data.sequences import Frames, Tokens
from dmmsa_cli.data.shaped import SHAPES, durations
from dmmsa_cli.data.views import View
from dmmsa_cli.experiments.encoders import frames
from dmmsa_cli.experiments.experiment import open_experiment
from dmmsa_cli.layers.sequence import SequenceEncoder
from dmmsa_cli.models.feature_decomposition import FeatureDecomposition

MOSI = SHAPES["mosi"]
ROWS = 400
META = torch.device("meta")
WASTES = pytest.mark.parametrize("waste", [0.0, 0.15], ids=["cpu", "elsewhere"])
BATCHES = pytest.mark.parametrize("size", [16, 112], ids=["dmmsa", "confede"])


class Split:
    """Frames of MOSI's lengths, all zero."""

    def __init__(self):
        seconds = durations(np.random.default_rng(0), "train", ROWS)
        shapes = {"a": MOSI.audio, "v": MOSI.vision}
        self.widths = {m: shape.width for m, shape in shapes.items()}
        self.counts = {m: np.clip(np.ceil(seconds * s.rate), 1, s.longest).astype(np.int64) for m, s in shapes.items()}

    def lengths(self, modality):
        return self.counts[modality]

    def sequence(self, modality, row):
        return np.zeros((self.counts[modality][row], self.widths[modality]), np.float32)


def view_of(waste):
    split = Split()
    sequences = {m: Frames(split, m, split.widths[m], waste=waste) for m in "va"}
    words = Tokens([np.arange(2 + n // 5) for n in split.counts["v"]], padding=0)
    return View({"t": words, **sequences}, {"y": torch.zeros(ROWS)}, np.arange(ROWS))


@WASTES
@BATCHES
def test_little_of_what_is_computed_on_is_padding(waste, size):
    batches = list(view_of(waste).shuffled(size, seed=1, epoch=1).starting_at(0))
    for modality in "tva":
        real = sum(batch.inputs[modality].real for batch in batches)
        slots = sum(batch.inputs[modality].slots for batch in batches)
        assert real <= slots <= 1.15 * real
        filled_up = sum(
            len(batch) * max(int(group.lengths.max()) for group in batch.inputs[modality].groups) for batch in batches
        )
        assert filled_up > 2 * real  # or else these lengths would prove nothing
    assert max(len(batch.inputs[m].groups) for batch in batches for m in "va") <= (16 if waste else size)


def flops(model, batch):
    with FlopCounterMode(display=False) as counter:
        outputs = model(batch.to(META))
        (outputs.prediction.sum() + sum(feature.sum() for feature in outputs.features.values())).backward()
    return counter.get_total_flops()


@WASTES
def test_a_step_costs_what_its_clips_cost_alone(waste):
    """At the width and depth of the paper's recipe, counted on tensors that have a shape and no content."""
    with META:
        encoders = {
            m: SequenceEncoder(
                features=shape.width,
                longest=shape.longest,
                width=768,
                layers=1,
                heads=8,
                position_dropout=0.5,
                layer_dropout=0.5,
            )
            for m, shape in (("v", MOSI.vision), ("a", MOSI.audio))
        }
        model = FeatureDecomposition(encoders, dict.fromkeys("tva", 768), {}, width=768, projector_dropout=0.5).train()
    view = view_of(waste).with_inputs(t=torch.zeros(ROWS, 768))
    batch = next(iter(view.shuffled(16, seed=1, epoch=1).starting_at(0)))
    alone = sum(flops(model, view.batch(np.array([row]))) for row in batch.rows.tolist())
    together = flops(model, batch)
    assert alone <= together <= 1.2 * alone
    if waste == 0:
        assert together == alone
    least = 3 * 12 * 768**2 * sum(batch.inputs[m].real for m in "va")  # the linear maps of the Transformer layers
    assert alone > least


@pytest.mark.parametrize(("device", "groups"), [("cpu", 2), ("meta", 1)])
def test_a_cpu_gets_a_group_for_every_length_and_other_devices_fewer(prepared, micro, tmp_path, device, groups):
    """`meta` stands in for a GPU that is not there."""
    experiment = open_experiment("mini", data_dir=prepared, runs_dir=tmp_path, recipe=str(micro))
    object.__setattr__(experiment, "device", torch.device(device))

    class Rows:
        def lengths(self, modality):
            return np.array([10, 9])

        def sequence(self, modality, row):
            return np.zeros((10 - row, experiment.store.manifest.widths["a"]), np.float32)

    assert len(frames(experiment, "a", Rows()).collate(np.array([0, 1])).groups) == groups
