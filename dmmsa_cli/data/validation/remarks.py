"""What is no fault, and yet should be known: only the file itself shows it, the rows that are stored do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dmmsa_cli.data.validation.faults import Findings, some
from dmmsa_cli.data.validation.layout import FEATURES, LABELS
from dmmsa_cli.data.validation.strings import Splits
from dmmsa_cli.data.validation.values import size_of, vector

_SIGNS = {"negative": -1, "positive": 1}


def remark(
    findings: Findings,
    splits: Splits,
    rows: Mapping[str, int],
    *,
    modalities: Sequence[str],
    labels: Sequence[str],
    widths: Mapping[str, int],
) -> None:
    """Add to the warnings what is odd about labels and masks that can be used.

    Args:
        findings: gets them.
        splits: of a file without faults.
        rows: of each.
        modalities: that are used.
        labels: keys of `LABELS` that are used.
        widths: modalities whose sequences are used.
    """
    if "y" in labels:
        _contradictions(findings, splits, rows)
    if "t" in widths and not all("text_bert" in split for split in splits.values()):
        findings.warnings.append(
            f"{FEATURES['t']} has no mask (text_bert): every token that is not all zero counts as a word, padding too."
        )
    own = [LABELS[m] for m in modalities if m not in labels]
    unused = [key for key in own if any(key in split for split in splits.values())]
    if "y" in labels and unused:
        findings.warnings.append(
            f"In the file, and not used: {', '.join(unused)}. Labels of the modalities alone are for unimodal_labels: "
            "true, and of all modalities."
        )


def _contradictions(findings: Findings, splits: Splits, rows: Mapping[str, int]) -> None:
    """Count annotations Negative beside scores above 0, and Positive beside scores below."""
    against: dict[str, int] = {}
    for name, split in splits.items():
        said, scores = split.get("annotations"), vector(split.get(LABELS["y"]), lambda _: None)
        if scores is None or size_of(said) != rows[name] or said is None:
            continue
        signs = np.array([_SIGNS.get(str(one).strip().lower(), 0) for one in said])
        count = int(np.sum(signs * np.sign(scores) < 0))
        if count:
            against[name] = count
    if against:
        total, where = sum(against.values()), some([f"{name} {count:,}" for name, count in against.items()])
        findings.warnings.append(
            f"annotations contradict the scores of {total:,} of {sum(rows.values()):,} clips ({where}), as Negative "
            "beside a score above 0: the scores are learned."
        )
