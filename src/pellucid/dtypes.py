"""The number types: their short names, how two combine, how exact each is.

A dtype is a NumPy dtype, nothing of our own. `f32[8,3]` is how a type is written,
so each has a short name; only those in the table exist in a graph.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from pellucid.errors import DTypeError, did_you_mean, message

__all__ = [
    "DTYPES",
    "TOLERANCE",
    "DType",
    "as_dtype",
    "is_float",
    "is_integer",
    "promote",
    "short_name",
]

DType: TypeAlias = np.dtype[Any]

DTYPES: dict[str, DType] = {
    "bool": np.dtype(np.bool_),
    "u8": np.dtype(np.uint8),
    "u32": np.dtype(np.uint32),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
}
"""Every dtype of a graph, by its short name, in the order in which they promote."""

_SHORT = {dtype: name for name, dtype in DTYPES.items()}
_RANK = {dtype: rank for rank, dtype in enumerate(DTYPES.values())}

TOLERANCE: dict[DType, float] = {DTYPES["f32"]: 1e-5, DTYPES["f64"]: 1e-9}
"""How closely two correct computations agree, relative, by dtype."""


def as_dtype(given: Any) -> DType:
    """Return the dtype meant by a short name, a NumPy name or a NumPy dtype.

    >>> as_dtype("f32"), as_dtype("float64"), as_dtype(int)
    (dtype('float32'), dtype('float64'), dtype('int64'))
    """
    if isinstance(given, np.dtype) and given in _SHORT:
        return given
    if isinstance(given, str) and given in DTYPES:
        return DTYPES[given]
    if given is int:
        return DTYPES["i64"]
    try:
        dtype: DType | None = np.dtype(given).newbyteorder("=")
    except TypeError:
        dtype = None
    if dtype is None or dtype not in _SHORT:
        raise DTypeError(
            message(f"unknown dtype {given!r}", hint=did_you_mean(given, DTYPES))
        )
    return dtype


def short_name(dtype: DType) -> str:
    """Return the short name of a dtype.

    >>> short_name(np.dtype("float32"))
    'f32'
    """
    return _SHORT.get(dtype) or _SHORT[as_dtype(dtype)]


def is_float(dtype: DType) -> bool:
    """Return whether a dtype is a floating-point one, so that it has gradients."""
    return dtype.kind == "f"


def is_integer(dtype: DType) -> bool:
    """Return whether a dtype is a signed or unsigned integer."""
    return dtype.kind in "iu"


def promote(x: DType, y: DType) -> DType:
    """Return the dtype in which two meet: a float beats every integer.

    Unlike NumPy, an integer never widens a float: `i64` with `f32` is `f32`.

    >>> promote(np.dtype("int64"), np.dtype("float32"))
    dtype('float32')
    >>> promote(np.dtype("uint32"), np.dtype("int32"))
    dtype('int64')
    """
    if x == y:
        return x
    if is_integer(x) and is_integer(y):
        return as_dtype(np.promote_types(x, y))
    return max(x, y, key=_RANK.__getitem__)
