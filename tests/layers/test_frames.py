"""Frames as a model reads them: scaled by the training rows' statistics, and zeros behind the end of each sequence."""

import pytest
import torch

from dmmsa_cli.layers.frames import FrameReader
from tests.ragged import one_group, regrouped


@pytest.mark.parametrize("groups", [one_group, lambda values, lengths: regrouped(one_group(values, lengths), 0.0)])
def test_frames_are_scaled_and_stand_in_the_order_of_the_batch(groups):
    torch.manual_seed(0)
    values, lengths = 10 * torch.randn(4, 6, 3), [2, 6, 1, 4]
    mean, deviation = torch.tensor([1.0, -2.0, 3.0]), torch.tensor([0.5, 2.0, 4.0])
    reader = FrameReader(3)
    reader.standardise_by(mean, deviation)
    block = reader(groups(values, lengths))
    assert block.lengths.tolist() == lengths
    for row, length in enumerate(lengths):
        torch.testing.assert_close(block.values[row, :length], (values[row, :length] - mean) / deviation)
        assert not block.values[row, length:].any()


def test_frames_of_another_width_are_refused():
    with pytest.raises(ValueError, match="frames are 2 wide, this model was made for 3"):
        FrameReader(3)(one_group(torch.zeros(1, 1, 2), [1]))
