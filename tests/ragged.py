"""Sequences as models take them, made by hand."""

import torch

from dmmsa_cli.data.ragged import Padded, Ragged, alike


def one_group(values, lengths):
    """All sequences in one group, with whatever lies behind their ends."""
    return Ragged((Padded(values, torch.as_tensor(lengths)),), torch.arange(len(values)))


def regrouped(ragged, waste):
    """The sequences of a single group in groups of like length, as batches bring them."""
    (whole,) = ragged.groups
    places = alike(whole.lengths.numpy(), waste)
    if len(places) == 1:
        return ragged
    groups = []
    for rows in places:
        lengths = whole.lengths[rows]
        longest = max(1, int(lengths.max()))
        groups.append(Padded(whole.values[rows, :longest], lengths, full=bool((lengths == longest).all())))
    order = torch.argsort(torch.cat([torch.from_numpy(rows) for rows in places]))
    return Ragged(tuple(groups), order)
