"""Mixtures of low-rank experts that tasks share, each through a router of its own (MMoLRE, section III-B)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmmsa_cli.data.ragged import Padded
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
        self.down = _convolution(width, sum(ranks), KERNEL)
        self.up = nn.Parameter(torch.cat([_started(width, rank) for rank in ranks], dim=1))  # (d, N r)
        self.bias = nn.Parameter(torch.zeros(len(ranks), width))  # of each expert's second convolution
        self.routers = nn.ModuleDict({task: _Router(width, len(ranks)) for task in tasks})
        self.own = nn.ModuleDict(
            {
                task: nn.Sequential(_convolution(width, task_rank, KERNEL), _convolution(task_rank, width, 1))
                for task in tasks
            }
        )

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
        """Map one sequence a task, (B, d, T), to one a task, likewise; padding is 0 in both.

        Args:
            inputs: by task; where tasks share a tensor, the shared experts look at it once.
            mask: True at valid positions, (B, T).
        """
        seen = {id(x): x for x in inputs.values()}
        hidden = {key: self.down(x) for key, x in seen.items()}  # (B, N r, T)
        return {task: self._mixed(task, x, hidden[id(x)], mask) for task, x in inputs.items()}

    def _mixed(self, task: str, x: Tensor, hidden: Tensor, mask: Tensor) -> Tensor:
        gates = self.kept(self.routers[task](x, mask, self.noise if self.training else 0.0)).to(hidden.dtype)
        sizes = torch.tensor(self.ranks, device=gates.device)
        weighted = hidden * gates.repeat_interleave(sizes, dim=1, output_size=sum(self.ranks)).unsqueeze(-1)
        shared = F.linear(weighted.mT, self.up).mT + F.linear(gates, self.bias.T).unsqueeze(-1)  # (B, d, T)
        mixed: Tensor = (shared + self.own[task](x)) * mask.unsqueeze(1)
        return mixed

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
        """Map (B, d, T) to the gates of the experts, (B, N) in float32."""
        found: Tensor = self.second(F.gelu(self.norm(self.first(x.mT))))
        values = self.out(masked_mean(found, mask)).float()
        return torch.softmax(values + noise * torch.randn_like(values) if noise else values, dim=-1)


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Conv1d:
    convolution = nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2)
    nn.init.kaiming_normal_(convolution.weight)  # as MLoRE's
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution


def _started(width: int, rank: int) -> Tensor:
    return nn.init.kaiming_normal_(torch.empty(width, rank))


def channels(block: Padded) -> tuple[Tensor, Tensor]:
    """Return a block (B, T, w) as (B, w, T) with zeros for its padding, and its mask (B, T)."""
    mask = block.mask()
    return (block.values * mask.unsqueeze(-1)).mT, mask
