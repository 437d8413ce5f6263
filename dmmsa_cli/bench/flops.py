"""How much work there is, and how fast this machine's matrix products are."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dmmsa_cli.bench.process import Facts
from dmmsa_cli.bench.watching import now
from dmmsa_cli.data.views import Batch, View
from dmmsa_cli.models.base import Outputs

META = torch.device("meta")
TERA = 1e12
COUNTED = 128  # clips, at most, whose FLOPs stand for all
PRODUCTS = ((2048, 2048, 2048), (4096, 768, 2304))  # (n, k, m): a large one, and one as a layer of the network has it
REPEATS = 5
QUEUED = 50  # products between two looks at the clock of a GPU, which is done with one in no time


class FlopCount:
    """Counts the FLOPs of forward plus backward through a model in training, without computing anything.

    The model is copied to the meta device, whose tensors have a shape and no content. Backward starts from the sum of
    all outputs: what the objective itself computes is left out.

    Args:
        model: maps a `Batch` to `Outputs`.
        view: where the clips are that are counted alone.
    """

    def __init__(self, model: nn.Module, view: View) -> None:
        self.model = deepcopy(model).to(META).train()
        self.view = view
        sequences = [source.lengths() for source in view.inputs.values() if not isinstance(source, Tensor)]
        self._lengths = np.stack(sequences, 1) if sequences else np.zeros((view.rows.max() + 1, 0), np.int64)
        self._alone: dict[tuple[int, ...], int] = {}

    def of(self, batch: Batch) -> int:
        """Count for a batch as it is, its padding included."""
        with FlopCounterMode(display=False) as counter:
            _sum(self.model(batch.to(META))).backward()  # type: ignore[no-untyped-call]  # torch's own lack of a hint
        self.model.zero_grad(set_to_none=True)
        return int(counter.get_total_flops())

    def alone(self, row: int) -> int:
        """Count for one clip in a batch of its own, where nothing is padding; only its lengths decide."""
        lengths = tuple(self._lengths[row].tolist())
        if lengths not in self._alone:
            self._alone[lengths] = self.of(self.view.batch(np.array([row])))
        return self._alone[lengths]

    def total(self, rows: NDArray[np.int64]) -> float:
        """Count for many clips, each alone: all of them, or some that are evenly spaced in the order of length."""
        in_order = rows[np.argsort(self._lengths[rows].sum(1), kind="stable")]
        some = in_order[evenly(len(rows), COUNTED)]
        return sum(self.alone(int(row)) for row in some) / len(some) * len(rows)


def _sum(outputs: Outputs) -> Tensor:
    tensors = [outputs.prediction, *outputs.features.values(), *outputs.heads.values()]
    return torch.stack([tensor.float().sum() for tensor in tensors]).sum()


def evenly(total: int, most: int) -> NDArray[np.int64]:
    """Return at most so many of the numbers 0 ... total - 1: the middles of equal parts."""
    count = min(total, most)
    return ((np.arange(count) + 0.5) * total / count).astype(np.int64)


@dataclass(frozen=True)
class Work:
    """FLOPs on real frames, and how fast they are done."""

    epoch: float
    """Of an epoch's steps."""
    passes: float
    """Of the passes that were timed."""
    pass_seconds: float
    work_over_real: float
    """FLOPs of those batches as they are, for the sum over their clips alone."""

    def facts(self, matrix: float) -> Facts:
        """Hold the rate against that of the machine's matrix products, in FLOP a second."""
        rate = self.passes / self.pass_seconds
        return {
            "tflop": self.epoch / TERA,
            "tflop_per_second": rate / TERA,
            "matrix_tflop_per_second": matrix / TERA,
            "share_of_matrix_rate": rate / matrix,
            "work_over_real": self.work_over_real,
        }


def matrix_rate(device: torch.device, precision: str) -> float:
    """Measure the FLOPs a second of matrix products: the faster of two sizes, the median of several times."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return max(_rate(size, device, dtype) for size in PRODUCTS)


def _rate(size: tuple[int, int, int], device: torch.device, dtype: torch.dtype) -> float:
    n, k, m = size
    a, b = torch.randn(n, k, device=device, dtype=dtype), torch.randn(k, m, device=device, dtype=dtype)
    out = torch.empty(n, m, device=device, dtype=dtype)
    times = 1 if device.type == "cpu" else QUEUED
    seconds = [_seconds(a, b, out, times) for _ in range(1 + REPEATS)][1:]  # the first one warms up
    return 2 * n * k * m * times / median(seconds)


def _seconds(a: Tensor, b: Tensor, out: Tensor, times: int) -> float:
    began = now(a.device)
    for _ in range(times):
        torch.mm(a, b, out=out)
    return now(a.device) - began
