"""ULGM against MMSA's code over three epochs, and against arithmetic."""

import torch
from safetensors.torch import load_file

from dmmsa_cli.objectives.unimodal_labels import UnimodalLabels

NAMES = {"t": "text", "a": "audio", "v": "vision"}


def test_three_epochs_are_mmsas(golden):
    """Where its labels are numbers: in epoch 2 all vision labels become positive, and then it divides by nothing."""
    io = {k.removeprefix("io."): v for k, v in load_file(golden / "baselines" / "ulgm.safetensors").items()}
    made, unknown = UnimodalLabels(tuple(NAMES), limit=3.0), []
    for epoch in (1, 2, 3):
        made.begin_epoch(epoch, io["labels"], torch.arange(12))
        before = {name: made.of(name, torch.arange(12)).clone() for name in NAMES}
        for rows in io[f"epoch{epoch}.order"].long().split(4):
            theirs = {"fusion": "fusion", **NAMES}
            features = {ours: io[f"epoch{epoch}.features.{name}"][rows] for ours, name in theirs.items()}
            made.update(rows, features)
        for ours, name in NAMES.items():
            expected, found = io[f"epoch{epoch}.labels.{name}"], made.of(ours, torch.arange(12))
            nowhere = expected.isnan()
            torch.testing.assert_close(found[~nowhere], expected[~nowhere], atol=1e-5, rtol=0)
            torch.testing.assert_close(found[nowhere], before[ours][nowhere], atol=0, rtol=0)
            unknown.append(int(nowhere.sum()))
    assert unknown == [0, 0, 0, 0, 0, 4, 0, 0, 12]
