"""The GPUs of this machine, as CUDA_VISIBLE_DEVICES names them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus(count: int, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the names of the GPUs that this process may use: indices, or the UUIDs that the user gave.

    Args:
        count: how many there are, which CUDA knows; a name that is none of theirs ends the user's list.
        environment: its variable may name some of the machine's only.

    Example:
        >>> visible_gpus(2, {"CUDA_VISIBLE_DEVICES": "3, GPU-8f2b,-1"})
        ['3', 'GPU-8f2b']
    """
    if VISIBLE not in environment:
        return [str(index) for index in range(count)]
    names = [name.strip() for name in environment[VISIBLE].split(",")]
    if any(name.startswith("MIG-") for name in names):  # a process sees but one part of a GPU, which CUDA counts as 1
        return names
    return names[:count]


def gpus_of(device: str) -> list[str]:
    """Return the GPUs that runs on a device can be spread over; none for `cpu` and `mps`."""
    import torch

    return visible_gpus(torch.cuda.device_count()) if device in ("auto", "cuda") else []


def spread(gpus: Sequence[str], at_once: int) -> list[str]:
    """Return a GPU for each of several that run at once, in turn."""
    return [gpus[n % len(gpus)] for n in range(at_once)]
