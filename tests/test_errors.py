"""Errors of the libraries, told in words, and those that are left to be traced back."""

import errno
import os

import numpy as np
import pyarrow as pa
import pytest
import torch

from dmmsa_cli.errors import DmmsaError, InvalidInput, OutOfMemory, as_dmmsa_error

HUGE = 10**15
WANT_OF_MEMORY = {
    "torch": lambda: torch.empty(HUGE),
    "torch, a size that no memory has": lambda: torch.nn.Linear(2**62, 4),
    "numpy": lambda: np.zeros(HUGE),
    "numpy, a size that no memory has": lambda: np.zeros((2**40, 2**40)),
    "arrow": lambda: pa.allocate_buffer(HUGE),
    "python": lambda: b"x" * HUGE,
}


@pytest.mark.parametrize("allocate", WANT_OF_MEMORY.values(), ids=WANT_OF_MEMORY)
def test_want_of_memory_is_told_with_what_needs_less(allocate):
    with pytest.raises(Exception) as raised:  # noqa: PT011  (whatever the library has)
        allocate()
    told = as_dmmsa_error(raised.value)
    assert isinstance(told, OutOfMemory)
    assert told.what.startswith("This machine has not enough memory")
    assert "fusion.batch_size" in told.remedy
    assert "--device cpu" not in told.remedy


CUDA = "CUDA out of memory. Tried to allocate 20.50 GiB. GPU 0 has a total capacity of 15.89 GiB"


@pytest.mark.parametrize(
    ("error", "size"),
    [
        (torch.OutOfMemoryError(CUDA), ": 20.5 GiB more"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.8 GB). Tried to allocate 256 bytes."), ": 0.0 GiB"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "memory."),
    ],
)
def test_a_full_gpu_is_told_with_a_way_around_it(error, size):
    told = as_dmmsa_error(error)
    assert isinstance(told, OutOfMemory)
    assert told.what.startswith("The GPU has not enough memory")
    assert size in told.what
    assert "--device cpu" in told.remedy


def test_how_much_was_asked_for():
    told = as_dmmsa_error(
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 3221225472 bytes.")
    )
    assert "3.0 GiB more were asked for" in str(told)


def test_what_the_system_refuses_is_told_with_its_path():
    told = as_dmmsa_error(PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/x/y"))
    assert isinstance(told, DmmsaError)
    assert told.what == "Permission denied: /x/y"
    assert isinstance(as_dmmsa_error(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))), OutOfMemory)


def test_a_store_that_can_not_be_mapped_for_want_of_addresses_is_not_damaged(tmp_path):
    """As under `ulimit -v`: Arrow's error is an OSError without a number."""
    resource = pytest.importorskip("resource")
    with (tmp_path / "rows.arrow").open("wb") as file:
        file.truncate(2**34)  # no byte of it is written
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**34, limits[1]))
    try:
        with pytest.raises(OSError) as raised:  # noqa: PT011
            pa.memory_map(str(tmp_path / "rows.arrow"))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert isinstance(as_dmmsa_error(raised.value), OutOfMemory)


def test_words_stay_as_they_are_and_faults_of_the_program_are_none():
    known = InvalidInput("what", "remedy")
    assert as_dmmsa_error(known) is known
    for error in (RuntimeError("shapes cannot be multiplied"), ValueError("x"), KeyError("x"), KeyboardInterrupt()):
        assert as_dmmsa_error(error) is None
