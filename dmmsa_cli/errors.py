"""Every error that a user can cause or meet, each told in one message: what, where, what to do."""

from __future__ import annotations

import errno
import os
import re


class DmmsaError(Exception):
    """What went wrong, in words for the person at the keyboard; the command line prints it and exits with 1.

    Args:
        what: what went wrong, with both values where two disagree.
        remedy: what the reader can do about it.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}\n{self.remedy}" if self.remedy else self.what


class DatasetMissing(DmmsaError):
    """No store of that name has been prepared."""


class DownloadFailed(DmmsaError):
    """A source could not be reached or gave out."""


class HashMismatch(DmmsaError):
    """A file is not the one it is taken for."""


class UnsafePickle(DmmsaError):
    """A pickle asks for something that could run code."""


class DamagedPickle(DmmsaError):
    """A pickle is truncated, or is none."""


class InvalidDataset(DmmsaError):
    """A pickle was read but its content breaks the layout; all faults are in the message."""


class InvalidSpec(DmmsaError):
    """A dataset's own YAML description can't be used."""


class StoreMismatch(DmmsaError):
    """A store is damaged, or was written under another schema version."""


class InvalidRecipe(DmmsaError):
    """A recipe has unknown keys or impossible values; all of them are in the message."""


class RecipeMissing(InvalidRecipe):
    """No such recipe is shipped for the dataset."""


class Inapplicable(InvalidRecipe):
    """A recipe is sound, but its model means nothing on this dataset; `what` says why, in one sentence."""


class InvalidInput(DmmsaError):
    """An argument, a file of predictions or of features can't be used."""


class EncoderUnavailable(DmmsaError):
    """A pretrained text encoder can't be loaded."""


class PackageMissing(DmmsaError):
    """A package that is not always installed is asked for."""


class DeviceUnavailable(DmmsaError):
    """The device or precision asked for is not there."""


class FolderBusy(DmmsaError):
    """Another process is writing the same folder."""


class RunMismatch(DmmsaError):
    """A folder holds a run of another recipe, or a checkpoint that does not fit."""


class RunMissing(DmmsaError):
    """There is no finished run where one was named."""


class TrainingDiverged(DmmsaError):
    """A loss is no longer a finite number."""


class DiskFull(DmmsaError):
    """A file could not be written for want of room."""


class Interrupted(DmmsaError):
    """Stopped by Ctrl-C or SIGTERM; the message says what was saved."""


class OutOfMemory(DmmsaError):
    """The machine has not the memory that was asked for."""


class GpuOutOfMemory(OutOfMemory):
    """The GPU has not the memory that was asked for."""


def as_dmmsa_error(error: BaseException) -> DmmsaError | None:
    """Return an error in words for its user; None for one that only whoever works on dmmsa can do something about."""
    if isinstance(error, DmmsaError):
        return error
    if is_out_of_memory(error):
        return _out_of_memory(error)
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return DmmsaError(
            f"{error.strerror or error}{where}", "Look at the path, and whether you may read and write it."
        )
    return None


def why_left_out(error: Exception) -> DmmsaError:
    """Return why one of several runs is left out of what is done with all.

    Raises:
        Exception: the error itself, where the others would fare no better: a fault of the program, no memory, a stop.
    """
    known = as_dmmsa_error(error)
    if known is None or isinstance(known, OutOfMemory | Interrupted):
        raise error
    return known


# Where the libraries have no class for it: torch's allocators, sizes that no memory could have, a GPU's libraries.
_NO_MEMORY = re.compile(
    r"can't allocate memory|(not enough|out of) memory|size calculation overflowed|multiplication overflow"
    r"|array is too big|allowed dimension exceeded|STATUS_ALLOC_FAILED|STATUS_NOT_ENOUGH_WORKSPACE",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of Python, numpy, Arrow or torch is one for want of memory; none of them is imported."""
    if isinstance(error, OSError):  # Arrow's, where a file can't be mapped, has no number
        return error.errno == errno.ENOMEM or (error.errno is None and os.strerror(errno.ENOMEM) in str(error))
    described = isinstance(error, RuntimeError | ValueError) and bool(_NO_MEMORY.search(str(error)))
    return described or isinstance(error, MemoryError)


def _out_of_memory(error: BaseException) -> OutOfMemory:
    text = str(error)
    gpu = re.search(r"CUDA|CUBLAS|CUDNN|MPS|HIP", text)
    size = re.search(r"allocate ([\d.]+) ?(bytes|[KMGTPE]i?B)", text)
    amount = f": {_size(float(size[1]), size[2])} more were asked for" if size else ""
    remedy = (
        "A smaller batch (--set fusion.batch_size=8, pretraining.text.batch_size=8), a narrower model (model.width), "
        "shorter texts (text.max_tokens) and fewer --jobs at a time need less; a file given to --from has to fit whole"
    )
    kind = GpuOutOfMemory if gpu else OutOfMemory
    return kind(
        f"{'The GPU' if gpu else 'This machine'} has not enough memory{amount}.",
        f"{remedy}; --device cpu uses the machine's own memory." if gpu else f"{remedy}.",
    )


def _size(number: float, unit: str) -> str:
    return f"{number / 2**30:,.1f} GiB" if unit == "bytes" else f"{number:,.1f} {unit}"
