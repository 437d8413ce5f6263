"""Rows of the training split that resemble a row, or do not: what ConFEDE contrasts a clip with.

Every row has three pools: similar with the same label (`ss`), dissimilar with another (`dd`), similar with another
(`sd`). One matrix product a chunk of rows and a vectorised top-k find them: memory grows with rows x chunk.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

KINDS = (("near", True), ("far", False), ("near", False))  # ss, dd, sd: which end of the ranking, same label or not
DRAWN = 2  # rows of each kind a step
CHUNK = 512


@dataclass(frozen=True)
class Pools:
    """Candidates of N rows, the best first."""

    rows: Tensor
    """Positions among the N rows, (N, kinds, pool); a pool that is not full repeats its first row."""
    sizes: Tensor
    """How many candidates there are, (N, kinds)."""
    shortages: Tensor
    """(2,): pools with too few candidates for a draw without replacement, and those that had none."""


def retrieve(
    embeddings: Tensor, labels: Tensor, *, searched: float, pool: int, as_released: bool = False, chunk: int = CHUNK
) -> Pools:
    """Rank all rows by cosine similarity, and keep the first of each kind at either end of the ranking.

    A row is never its own neighbour. Where the searched end has no candidate, the rest of the ranking is searched from
    the same end; where no row has, or lacks, the label, the label is let go.

    Args:
        embeddings: (N, width).
        labels: what is compared for 'same label', (N,).
        searched: share of the rows that is searched at each end.
        pool: how many of each kind are kept, at least two.
        as_released: reproduce the published code, which keeps the RANK of a candidate (from the far end: counted back
            from the last row) where its index is meant, and leaves out the rank that equals the row's own index
            instead of the row itself.
        chunk: rows ranked at once.
    """
    unit = F.normalize(embeddings.float(), dim=-1)
    parts = []
    for start in range(0, len(unit), chunk):
        own = torch.arange(start, min(start + chunk, len(unit)), device=unit.device)
        search = _Search(unit[own] @ unit.T, own, labels, pool, as_released)
        parts.append(search.pools(searched))
    return Pools(
        torch.cat([part.rows for part in parts]),
        torch.cat([part.sizes for part in parts]),
        torch.stack([part.shortages for part in parts]).sum(0),
    )


def draw(pools: Pools) -> Tensor:
    """Draw two rows of each kind for every row, (N, kinds x 2): without replacement where there are two."""
    places = torch.arange(pools.rows.shape[-1])
    keys = torch.rand(pools.rows.shape).masked_fill_(places >= pools.sizes.cpu().unsqueeze(-1), -1.0)
    chosen = keys.topk(DRAWN).indices.to(pools.rows.device)  # a place beyond the size repeats the first row
    return pools.rows.gather(-1, chosen).flatten(1)


class _Search:
    """The rankings of a chunk of rows.

    Args:
        similarity: of the chunk's c rows with all N, (c, N).
        own: the chunk's rows, (c,).
        labels: of all rows, (N,).
        pool: how many of each kind are kept.
        as_released: as in `retrieve`.
    """

    def __init__(self, similarity: Tensor, own: Tensor, labels: Tensor, pool: int, as_released: bool) -> None:
        self.similarity, self.own, self.labels, self.as_released = similarity, own, labels, as_released
        self.total = similarity.shape[1]
        self.pool = pool

    def pools(self, searched: float) -> Pools:
        window = max(1, int(self.total * searched))
        everything = torch.ones(len(self.own), dtype=torch.bool, device=self.own.device)
        found = [self._first(end, same, window, everything) for end, same in KINDS]
        rows, sizes = (torch.stack(part, dim=1) for part in zip(*found, strict=True))
        shortages = torch.stack([(sizes == 1).sum(), (sizes == 0).sum()])
        for kind, (end, same) in enumerate(KINDS):
            for condition in (same, None):
                none = sizes[:, kind] == 0
                if none.any():
                    rows[none, kind], sizes[none, kind] = self._first(end, condition, self.total, none)
        return Pools(rows, sizes, shortages)

    def _first(self, end: str, same: bool | None, window: int, which: Tensor) -> tuple[Tensor, Tensor]:
        """The first `pool` rows from one end of the ranking that meet the condition: rows (c, pool), sizes (c,)."""
        order, allowed = self._ranking(end, window, which)
        if same is not None:
            allowed &= (self.labels[order] == self.labels[self.own[which]].unsqueeze(1)) == same
        places = torch.arange(order.shape[1], device=order.device).expand_as(order)
        kept = min(self.pool, order.shape[1])
        best = places.masked_fill(~allowed, self.total).topk(kept, largest=False).values  # in their order
        found = best < self.total
        best = best.where(found, best[:, :1]).clamp(max=order.shape[1] - 1)
        best = F.pad(best, (0, self.pool - kept), mode="constant", value=-1)
        best = best.where(best >= 0, best[:, :1])
        return self._index(order, best, end), found.sum(1)

    def _ranking(self, end: str, window: int, which: Tensor) -> tuple[Tensor, Tensor]:
        """Rows from one end of the ranking on, (c, window), and which of them may be taken."""
        similarity, own = self.similarity[which], self.own[which].unsqueeze(1)
        near = end == "near"
        if not self.as_released:
            similarity = similarity.scatter(1, own, -torch.inf if near else torch.inf)  # itself comes last
        order = similarity.topk(min(window, self.total), largest=near).indices
        if not self.as_released:
            return order, order != own
        places = torch.arange(order.shape[1], device=order.device).expand_as(order)
        # The far end is searched from rank -1 to -window + 1, and a negative rank never equals a row's index.
        return order, places != own if near else places < max(1, window - 1)

    def _index(self, order: Tensor, places: Tensor, end: str) -> Tensor:
        if not self.as_released:
            return order.gather(1, places)
        return places if end == "near" else self.total - 1 - places
