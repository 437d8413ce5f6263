"""The connection to a Ray cluster, one that there is or one of this machine alone."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dmmsa_cli.errors import InvalidInput, PackageMissing

KNOCK = 10  # seconds that a cluster has to take a connection in
STORE = 100 * 2**20  # bytes of Ray's memory for objects; ours are small
INSTALL = "pip install 'dmmsa[cluster]', which brings Ray; --engine local needs nothing."


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect this process to a cluster, from `ray.init` to `ray.shutdown`.

    Args:
        address: None starts one of this machine alone, which ends with the connection.

    Raises:
        PackageMissing: Ray is not installed.
        InvalidInput: there is no such cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or Ray warns that this will be so
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        import ray
    except ImportError as error:
        raise PackageMissing("--engine ray needs Ray, which is not installed.", INSTALL) from error
    if ray.is_initialized():  # by a program of the user's own
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        _begin(address)
    except Exception as error:  # each way to fail has a class of its own
        where = f"There is no Ray cluster at {address}" if address else "Ray can't be started on this machine"
        raise InvalidInput(
            f"{where}: {first_line(error)}",
            "`ray status` on its first machine says whether it runs; it needs the same versions of Ray and Python.",
        ) from error
    finally:
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGTERM, before)  # which Ray takes for itself
    try:
        yield
    finally:
        ray.shutdown()


def _begin(address: str | None) -> None:
    import ray

    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        ray.init("local", include_dashboard=False, object_store_memory=STORE, **quiet)
        return
    if address != "auto":  # which Ray looks up
        _knock(address)
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "3")  # tries of a quarter of a minute; Ray has 20
    ray.init(address, **quiet)


def _knock(address: str) -> None:
    """See that somebody listens there, which Ray takes minutes to find out.

    Raises:
        ValueError: it is no address.
        OSError: nobody does.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError("an address is HOST:PORT.")
    socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()


def first_line(error: Exception) -> str:
    """Return what an error of Ray says, without the pages that follow."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
