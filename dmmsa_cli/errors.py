"""Every error that a user can cause or meet, each told in one message: what, where, what to do."""

from __future__ import annotations


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


class InvalidInput(DmmsaError):
    """An argument, a file of predictions or of features can't be used."""


class EncoderUnavailable(DmmsaError):
    """A pretrained text encoder can't be loaded."""


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
