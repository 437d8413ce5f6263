"""What a stranger's value is. Sizes and shapes are told from how many things lie in each other; nothing is made."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmmsa_cli.data import memory
from dmmsa_cli.data.validation.faults import Report
from dmmsa_cli.data.words import kind_of

Shape = tuple[int, ...]

_NUMBERS = (int, float, np.integer, np.floating, np.bool_)  # bool is an int
_LONGEST = 2**31 - 1  # of an axis: Arrow counts a list's items so
_FLOAT32 = 4  # bytes
_LARGE = 2**28  # bytes of a row, from which on it is held against the memory there is


def size_of(values: Any) -> int | None:  # noqa: ANN401
    """Rows of a list, a tuple or an array; None for anything else."""
    if isinstance(values, np.ndarray):
        return values.shape[0] if values.ndim else None
    return len(values) if isinstance(values, list | tuple) else None


def shape_of(values: Any, axes: int) -> Shape | None:  # noqa: ANN401
    """Shape of an array or of lists in each other; None where they have several lengths.

    Args:
        values: the outermost.
        axes: how many lists deep to look.
    """
    if isinstance(values, np.ndarray):
        return tuple(values.shape)
    if not isinstance(values, list | tuple):
        return ()
    kinds = set(map(type, values))
    if axes == 1 or not any(issubclass(kind, list | tuple | np.ndarray) for kind in kinds):
        return (len(values),)
    shapes = {shape_of(value, axes - 1) for value in values}
    inner = shapes.pop()
    return None if shapes or inner is None else (len(values), *inner)


def corner_shape(values: Any, axes: int) -> Shape:  # noqa: ANN401
    """Shape as far as the first of each list tells it: at once, however much there is."""
    shape: Shape = ()
    while isinstance(values, list | tuple) and len(shape) < axes:
        shape += (len(values),)
        values = values[0] if values else None
    return shape + tuple(values.shape) if isinstance(values, np.ndarray) else shape


def check_count(values: Any, rows: int, report: Report) -> bool:  # noqa: ANN401
    """Whether a value has as many rows as its split; if not, that is reported."""
    size = size_of(values)
    if size is None:
        report(f"is {kind_of(values)} where {rows} rows should be")
    elif size != rows:
        report(f"has {size} rows where the split has {rows}")
    return size == rows


def check_numeric(values: NDArray[Any], report: Report) -> bool:
    """Whether an array is one of numbers; if not, that is reported."""
    numeric = values.dtype.kind in "fiub"
    if not numeric:
        report(f"is {kind_of(values)} where numbers should be")
    return numeric


def check_room(row: Shape, report: Report) -> bool:
    """Whether a row (steps, width) can be held as numbers and be stored; if not, that is reported."""
    needed = _FLOAT32 * prod(row)
    free = memory.available() if needed > _LARGE else None
    if max(row, default=0) > _LONGEST:
        report(f"has rows of shape {row}, longer than {_LONGEST:,}")
    elif free is not None and needed > free:
        report(
            f"has rows of shape {row}, each {needed / 2**30:,.1f} GiB as numbers, where {free / 2**30:,.1f} are free"
        )
    else:
        return True
    return False


def vector(values: Any, report: Report) -> NDArray[np.float64] | None:  # noqa: ANN401
    """Numbers (N,) as float64, or None after reporting why not."""
    shape = shape_of(values, 2)
    if shape is None:
        report("has rows of several lengths where numbers should be")
    elif len(shape) != 1:
        report(f"has shape {shape} where (rows,) should be")
    elif isinstance(values, np.ndarray):
        return values.astype(np.float64) if check_numeric(values, report) else None
    else:
        return _listed_vector(values, report)
    return None


def _listed_vector(values: list[Any] | tuple[Any, ...], report: Report) -> NDArray[np.float64] | None:
    for row, value in enumerate(values):
        if not isinstance(value, _NUMBERS) and not _is_lone_number(value):
            report(f"row {row} is {kind_of(value)} where numbers should be")
            return None
    try:
        return np.asarray(values, np.float64)
    except OverflowError:
        report("holds a number too large for any float")
        return None


def stranger_among(values: Any) -> str | None:  # noqa: ANN401
    """The kind of the first thing in lists within each other that is no number, nor an array of them; or None."""
    if isinstance(values, np.ndarray):
        return None if values.dtype.kind in "fiub" else kind_of(values)
    if not isinstance(values, list | tuple):
        return None if isinstance(values, _NUMBERS) else kind_of(values)
    if all(issubclass(kind, _NUMBERS) for kind in set(map(type, values))):
        return None
    return next((kind for kind in map(stranger_among, values) if kind is not None), None)


def _is_lone_number(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "fiub"
