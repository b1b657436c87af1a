"""Arrays that a network can train on: checked once, where they come in."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from pellucid.dtypes import DTYPES, DType, as_dtype, is_float
from pellucid.errors import DataError, message

__all__ = ["as_arrays", "numeric"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_LARGEST = np.iinfo(np.int64).max
_BLOCK = 1 << 16
"""Numbers that are looked at together."""


def as_arrays(
    X: Any, y: Any = None, *, dtype: Any, least: int = 2, name: str = "y"
) -> tuple[Array, Array | None]:
    """Return features `[n, …]` and targets `[n]` or `[n, …]` as checked arrays.

    Features of floats become `dtype`; whole numbers and truth values stay what they
    are, for they may be tokens, lengths or masks: a layer that computes with floats
    converts them. Whole-number and boolean targets become int64, others `dtype`.
    Raises `DataError` for text, for features of fewer than `least` axes, for
    different numbers of rows, for no rows, and for a NaN or an infinity, naming its
    row and column.

    >>> X, y = as_arrays([[1.0, 2.0], [3.0, 4.0]], [0, 1], dtype="f32")
    >>> X.dtype, y.dtype
    (dtype('float32'), dtype('int64'))
    >>> as_arrays(np.array([[1, 2]]), dtype="f32")[0].dtype
    dtype('int64')
    """
    wanted = as_dtype(dtype)
    given = numeric(X, "X")
    features = _whole(given) if given.dtype.kind in "biu" else _finite(given, wanted)
    if features.ndim < least:
        raise DataError(
            message(
                f"X has shape {features.shape}",
                expected="expected rows and columns",
                hint="try X.reshape(-1, 1) for one feature, X.reshape(1, -1) for one "
                "row",
            )
        )
    if not len(features):
        raise DataError(message("X has no rows"))
    if y is None:
        return features, None
    given = numeric(y, name)
    if given.ndim == 0 or len(given) != len(features):
        rows = "no rows" if given.ndim == 0 else f"{len(given)} rows"
        raise DataError(message(f"X has {len(features)} rows and {name} has {rows}"))
    if given.dtype.kind in "biu":
        return features, given.astype(np.int64)
    return features, _finite(given, wanted, name)


def numeric(given: Any, name: str) -> Array:
    """Return numbers or truth values as an array; `DataError` for anything else."""
    try:
        array: Array = np.asarray(given)
    except ValueError as error:
        raise DataError(message(f"{name} is no array: {error}")) from None
    if array.dtype == object:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            array = array.astype(str)
    if array.dtype.kind in "biuf":
        return array
    hint = "encode the labels as class numbers, 0 to k - 1"
    if name == "X":
        hint = "encode categories as numbers, or use the estimators for tables"
    first = "" if array.size == 0 else f", such as {array.flat[0]!s:.40}"
    raise DataError(
        message(
            f"{name} holds {_noun(array)}{first}",
            expected="expected numbers",
            hint=hint,
        )
    )


def _noun(array: Array) -> str:
    return {"U": "text", "S": "text"}.get(array.dtype.kind, str(array.dtype))


def _whole(array: Array) -> Array:
    """Return whole numbers or truth values in a dtype of graphs that holds them all."""
    known = array.dtype.newbyteorder("=")
    if known not in DTYPES.values():
        known = as_dtype("i32" if known.itemsize < 4 else "i64")
    if array.dtype.kind == "u" and array.max(initial=0) > _LARGEST:
        raise DataError(message("X holds a number beyond 2**63 - 1"))
    return np.ascontiguousarray(array, known)


def _all_finite(array: Array) -> bool:
    """Return whether all numbers are finite, in blocks that stay in the cache."""
    flat = array.reshape(-1)
    blocks = range(0, flat.size, _BLOCK)
    return all(np.isfinite(flat[i : i + _BLOCK]).all() for i in blocks)


def _finite(array: Array, dtype: DType, name: str = "X") -> Array:
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(array, dtype)
    if not is_float(dtype) or _all_finite(converted):
        return converted
    index = np.unravel_index(int(np.argmin(np.isfinite(converted))), converted.shape)
    places = zip(("row", "column"), index)
    where = ", ".join(f"{axis} {position}" for axis, position in places)
    value = array[index]
    what = "is too large for its dtype" if np.isfinite(value) else f"is {value}"
    hint = "fill or drop missing values first" if np.isnan(value) else ""
    if hint and name != "X":
        hint += ", or let Trainer(missing='mask') leave them out"
    raise DataError(
        message(f"{name} {what}", where=f"{where}, counted from 0", hint=hint)
    )
