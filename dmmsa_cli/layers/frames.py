"""What a model reads where it reads sequences that no encoder has seen: frames as they are, or states from a cache."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dmmsa_cli.data.ragged import Padded, Ragged, block


class FrameReader(nn.Module):
    """Standardise frames, and put them into one padded block (B, T, F) in the order of the batch.

    Args:
        features: F, width of a frame.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.width = features
        # The training rows' statistics travel with the weights: whoever loads them scales new data alike.
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    def standardise_by(self, mean: Tensor, deviation: Tensor) -> None:
        """Scale frames by these statistics from now on, (F,) each."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def forward(self, frames: Ragged) -> Padded:
        """Map the frames of B clips, (n, T, F) a group, to a block (B, T, F), zeros behind the end of each.

        Raises:
            ValueError: frames of another width.
        """
        width = frames.groups[0].values.shape[-1]
        if width != self.width:
            raise ValueError(f"frames are {width} wide, this model was made for {self.width}")
        return block(frames, [(group.values - self.mean).div_(self.deviation) for group in frames.groups])
