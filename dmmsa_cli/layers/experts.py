"""Mixtures of low-rank experts that tasks share, each through a router of its own (MMoLRE, section III-B)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmmsa_cli.layers.sequence import masked_mean

REDUCTION = 4  # of the width, in a router
KERNEL = 3  # positions that an expert looks at


class ExpertBlock(nn.Module):
    """Features of each task, from experts that all share, weighted by the task's router, and from one of its own.

        h^tau = sum over n in top-k of g_tau of g_tau,n f_n(x^tau) + f_tau(x^tau)                     (equation 1)

    f is a convolution d -> r over three positions and one r -> d over one, nothing between them. g_tau is a softmax
    over all N experts; gates outside the top k are 0, and the others are not scaled up for it. The shared experts are
    two products: all their r side by side, each expert's share times its gate, and back.

    Args:
        width: d.
        tasks: names.
        ranks: r of each of the N shared experts.
        task_rank: r of each task's own.
        active: k.
        noise: standard deviation of what is added to a router's N values in training, before the softmax.
    """

    sizes: Tensor

    def __init__(
        self,
        width: int,
        tasks: Sequence[str],
        *,
        ranks: Sequence[int],
        task_rank: int,
        active: int,
        noise: float = 0.0,
    ) -> None:
        super().__init__()
        self.ranks, self.active, self.noise = tuple(ranks), active, noise
        self.register_buffer("sizes", torch.tensor(self.ranks), persistent=False)  # on the device already
        # A product with the neighbours side by side: of lengths that change with every batch torch's own convolution
        # takes two to three times longer on a CPU.
        self.down = _linear(KERNEL * width, sum(ranks))
        self.up = nn.Parameter(torch.cat([_linear(rank, width).weight.data for rank in ranks], dim=1))  # (d, N r)
        self.bias = nn.Parameter(torch.zeros(len(ranks), width))  # of each expert's second convolution
        self.routers = nn.ModuleDict({task: _Router(width, len(ranks)) for task in tasks})
        self.own = nn.ModuleDict(
            {task: nn.Sequential(_linear(KERNEL * width, task_rank), _linear(task_rank, width)) for task in tasks}
        )

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
        """Map one sequence a task, (B, T, d), to one a task, likewise; padding is 0 in both.

        Args:
            inputs: by task; where tasks share a tensor, the shared experts look at it once.
            mask: True at valid positions, (B, T).
        """
        around = {id(x): neighbours(x) for x in inputs.values()}
        hidden = {key: self.down(seen) for key, seen in around.items()}  # (B, T, N r)
        return {
            task: (self._shared(task, x, hidden[id(x)], mask) + self.own[task](around[id(x)])) * mask.unsqueeze(-1)
            for task, x in inputs.items()
        }

    def _shared(self, task: str, x: Tensor, hidden: Tensor, mask: Tensor) -> Tensor:
        gates = self.kept(self.routers[task](x, mask, self.noise if self.training else 0.0)).to(hidden.dtype)
        weighted = hidden * gates.repeat_interleave(self.sizes, dim=1, output_size=sum(self.ranks)).unsqueeze(1)
        return F.linear(weighted, self.up) + F.linear(gates, self.bias.T).unsqueeze(1)

    def kept(self, gates: Tensor) -> Tensor:
        """Return (B, N) with all but the k largest of each row set to 0."""
        if self.active >= gates.shape[1]:
            return gates
        return gates * torch.zeros_like(gates).scatter(1, gates.topk(self.active, dim=1).indices, 1.0)


class _Router(nn.Module):
    """1x1 convolutions d -> d/4 -> d/4, layer norm and GELU between, mean over valid positions, linear, softmax.

    The paper names the convolutions, the mean and the softmax; what makes N values of it, and what stands between two
    linear maps in a row, is MLoRE's (Yang et al., CVPR 2024).
    """

    def __init__(self, width: int, experts: int) -> None:
        super().__init__()
        narrow = max(1, width // REDUCTION)
        self.first, self.norm = nn.Linear(width, narrow), nn.LayerNorm(narrow)
        self.second, self.out = nn.Linear(narrow, narrow), nn.Linear(narrow, experts)

    def forward(self, x: Tensor, mask: Tensor, noise: float) -> Tensor:
        """Map (B, T, d) to the gates of the experts, (B, N) in float32."""
        found: Tensor = self.second(F.gelu(self.norm(self.first(x))))
        values = self.out(masked_mean(found, mask)).float()
        return torch.softmax(values + noise * torch.randn_like(values) if noise else values, dim=-1)


def neighbours(x: Tensor) -> Tensor:
    """Put the position before and the one behind beside each, zeros beyond both ends, (B, T, d) -> (B, T, 3 d)."""
    around = F.pad(x, (0, 0, 1, 1))
    return torch.cat([around[:, :-2], x, around[:, 2:]], dim=-1)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(layer.weight)  # as MLoRE's
    nn.init.zeros_(layer.bias)
    return layer
