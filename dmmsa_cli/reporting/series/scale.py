"""How scores of a dataset are read: their range, and the classes that a metric set makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.data.classes import CLASS_COUNTS, NATIVE_RANGE, class_edges
from dmmsa_cli.data.specs import SPECS
from dmmsa_cli.metrics import Scores
from dmmsa_cli.reporting.runs import System


@dataclass(frozen=True)
class Scale:
    """How scores of a dataset are read."""

    metrics: Literal["mosi", "sims"]
    """The metric set."""
    score_range: float
    """R; scores lie in [-R, R]."""

    @property
    def finest(self) -> int:
        """Classes of the finest accuracy: 7, or 5 on CH-SIMS."""
        return max(CLASS_COUNTS[self.metrics])

    def clip(self, scores: Scores) -> Scores:
        """Clip as the metric set does: CH-SIMS to [-R, R], the others not at all."""
        limit = np.float32(self.score_range)
        return np.clip(scores, -limit, limit) if self.metrics == "sims" else scores

    def classes(self, scores: Scores, count: int) -> NDArray[np.int64]:
        """Return the class of each score among `count`, 0 the most negative."""
        return np.searchsorted(class_edges(count, self.metrics, self.score_range), scores).astype(np.int64)

    def class_names(self, count: int) -> tuple[str, ...]:
        """Name 3, 5 or 7 classes as an axis shows them: the score that MOSI's stand for, CH-SIMS's interval (Table 7).

        Example:
            >>> Scale("mosi", 3.0).class_names(3), Scale("sims", 1.0).class_names(3)
            (('-1', '0', '1'), ('[-1, -0.1]', '(-0.1, 0.1]', '(0.1, 1]'))
        """
        if self.metrics == "mosi":
            step = self.score_range / NATIVE_RANGE["mosi"]
            return tuple(f"{step * (i - count // 2):g}" for i in range(count))
        edges = class_edges(count, self.metrics, self.score_range)
        ends = [f"{end:.3g}" for end in (-self.score_range, *edges, self.score_range)]
        return tuple(f"{'(' if i else '['}{ends[i]}, {ends[i + 1]}]" for i in range(count))


def scale(system: System) -> Scale:
    """Return how a system's scores are read; of a dataset of one's own, its run says the range, else the usual one."""
    spec = SPECS.get(system.whole)
    metrics: Literal["mosi", "sims"] = "sims" if "acc2" in system.first.metrics else "mosi"
    known = spec.score_range if spec else system.first.facts.get("score_range", NATIVE_RANGE[metrics])
    return Scale(metrics, float(known))
