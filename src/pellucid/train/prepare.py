"""From what a user passes to `fit` to checked arrays by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pellucid.data.arrays import as_arrays
from pellucid.data.split import split_rows
from pellucid.errors import ArgumentError, DataError, message
from pellucid.train.plan import Data

__all__ = ["hold_out", "named_inputs", "prepare"]


def named_inputs(X: Any, dtype: Any) -> Data:
    """Return features by name: `x`, or `x.0`, `x.1`, … of a tuple.

    One input of several may be a number a row, such as a length: `[n]`.
    """
    if not isinstance(X, tuple):
        return {"x": as_arrays(X, dtype=dtype)[0]}
    return {
        f"x.{i}": as_arrays(each, dtype=dtype, least=1)[0] for i, each in enumerate(X)
    }


def prepare(
    X: Any, y: Any, dtype: Any, sample_weight: Any = None, class_weight: Any = None
) -> Data:
    """Return features, targets and weights by name, checked and of one length.

    Without `y` the features are their own target, as for an autoencoder.
    """
    data = named_inputs(X, dtype)
    first = next(iter(data.values()))
    for name, each in data.items():
        if len(each) != len(first):
            raise DataError(f"{name} has {len(each)} rows, x.0 has {len(first)}")
    if y is None:
        y = first
    targets = y if isinstance(y, Mapping) else {"": y}
    for name, target in targets.items():
        array = as_arrays(first, target, dtype=dtype, least=1)[1]
        assert array is not None
        data[f"y.{name}" if name else "y"] = array
    weight = _weights(data, sample_weight, class_weight, dtype)
    return data if weight is None else {**data, "weight": weight}


def _weights(data: Data, sample: Any, by_class: Any, dtype: Any) -> Any:
    rows = len(next(iter(data.values())))
    weight = None
    if sample is not None:
        weight = np.asarray(sample, dtype=np.float64)
        if weight.shape != (rows,):
            raise DataError(
                f"sample_weight has shape {weight.shape}, X has {rows} rows"
            )
        if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
            raise DataError("sample_weight must be finite, not negative, not all zero")
    if by_class is not None:
        found = _class_weights(data, by_class)
        weight = found if weight is None else weight * found
    return None if weight is None else weight.astype(dtype)


def _class_weights(data: Data, given: Any) -> Any:
    y = data.get("y")
    if y is None or y.dtype.kind != "i" or y.ndim != 1:
        raise ArgumentError(
            message(
                "class_weight needs one integer class a row",
                hint="use sample_weight for other targets",
            )
        )
    classes, counts = np.unique(y, return_counts=True)
    if given == "balanced":
        given = dict(zip(classes, len(y) / (len(classes) * counts)))
    if not isinstance(given, Mapping):
        raise ArgumentError(f"class_weight is 'balanced' or a dict, not {given!r}")
    table = np.array([float(given.get(each, 1.0)) for each in classes.tolist()])
    return table[np.searchsorted(classes, y)]


def hold_out(
    data: Data, validation: Any, seed: int, dtype: Any
) -> tuple[Data, Data | None]:
    """Return the training part and the validation part.

    `validation` is None, a fraction or count of the rows, or a pair `(X, y)`.
    """
    if validation is None:
        return data, None
    if isinstance(validation, tuple | list):
        if len(validation) not in (2, 3):
            raise ArgumentError(
                "validation is a fraction, or (X, y), or (X, y, weight)"
            )
        return data, prepare(validation[0], validation[1], dtype, *validation[2:])
    y = data.get("y")
    strata = y if y is not None and y.dtype.kind == "i" and y.ndim == 1 else None
    rows = len(next(iter(data.values())))
    kept, held = split_rows(rows, validation, seed, strata)
    part = {name: each[kept] for name, each in data.items()}
    return part, {name: each[held] for name, each in data.items()}
