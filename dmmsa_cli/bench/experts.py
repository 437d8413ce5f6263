"""MMoLRE's shared experts as two products, against the same in a loop over them."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from dmmsa_cli.bench.place import Place
from dmmsa_cli.bench.process import Facts
from dmmsa_cli.layers.experts import ExpertBlock, neighbours
from dmmsa_cli.runtime import autocast, choose_device, choose_precision

TASKS = ("score", "emotions")
WIDTH, EXPERTS, RANK, ACTIVE = 768, 15, 64, 11  # the paper's for CMU-MOSI
CLIPS, POSITIONS = 16, 50
TIMES = 10  # of each, turn by turn: what the machine does meanwhile meets both


def compared(place: Place) -> Facts:
    """Measure a step through one block, forward and backward, and the same with a loop over the experts."""
    device = choose_device(place.device)
    precision = choose_precision("auto" if place.precision is None else place.precision, device)  # type: ignore[arg-type]
    torch.manual_seed(0)
    block = ExpertBlock(WIDTH, TASKS, ranks=[RANK] * EXPERTS, task_rank=128, active=ACTIVE).to(device)
    x = torch.randn(CLIPS, POSITIONS, WIDTH, device=device)
    mask = torch.ones(CLIPS, POSITIONS, dtype=torch.bool, device=device)
    inputs = {task: x.clone().requires_grad_() for task in TASKS}  # of its own, as in the second block

    def timed(run: Callable[[], dict[str, Tensor]]) -> float:
        began = time.perf_counter()
        with autocast(device, precision):
            found = run()
        torch.stack([y.float().square().mean() for y in found.values()]).sum().backward()  # type: ignore[no-untyped-call]
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    ways = [lambda: block(inputs, mask), lambda: {task: looped(block, task, x, mask) for task, x in inputs.items()}]
    for way in ways:
        timed(way)
    products, loop = zip(*[[timed(way) for way in ways] for _ in range(TIMES)], strict=True)
    return {
        "seconds": median(products),
        "loop_seconds": median(loop),
        "experts": EXPERTS,
        "rank": RANK,
        "clips": CLIPS,
        "positions": POSITIONS,
        "precision": precision,
    }


def looped(block: ExpertBlock, task: str, x: Tensor, mask: Tensor) -> Tensor:
    """Compute equation 1 for one task, an expert at a time, (B, T, d) -> (B, T, d)."""
    gates, around = block.kept(block.routers[task](x, mask, 0.0)).to(x.dtype), neighbours(x)
    out: Tensor = block.own[task](around)
    downs, biases = (torch.split(part, list(block.ranks)) for part in (block.down.weight, block.down.bias))
    ups = torch.split(block.up, list(block.ranks), dim=1)
    for n, (down, bias, up) in enumerate(zip(downs, biases, ups, strict=True)):
        found = F.linear(F.linear(around, down, bias), up, block.bias[n])
        out = out + gates[:, n, None, None] * found
    return out * mask.unsqueeze(-1)
