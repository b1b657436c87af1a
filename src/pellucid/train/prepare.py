"""From what a user passes to `fit` to checked arrays by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pellucid.data.arrays import as_arrays
from pellucid.data.split import split_rows
from pellucid.data.windows import Column, Slices, Windows, part_in_time
from pellucid.engines.program import Engine
from pellucid.errors import ArgumentError, DataError, message
from pellucid.ir.graph import Array
from pellucid.train.columns import Data, some_rows
from pellucid.train.objective import column
from pellucid.train.targets import part_missing
from pellucid.train.together import together

__all__ = ["hold_out", "named_inputs", "prepare"]


def named_inputs(X: Any, dtype: Any) -> Data:
    """Return features by name: `x`, or `x.0`, `x.1`, … of a tuple.

    One input of several may be a number a row, such as a length: `[n]`.
    """
    return _one_table(_inputs(X, dtype), dtype)


def _inputs(X: Any, dtype: Any) -> Data:
    if isinstance(X, Windows):
        return {"x": X.inputs}
    if not isinstance(X, tuple):
        return {"x": _features(X, dtype, 2)}
    return {f"x.{i}": _features(each, dtype, 1) for i, each in enumerate(X)}


def _features(given: Any, dtype: Any, least: int) -> Column:
    if isinstance(given, Slices):
        return given
    return as_arrays(given, dtype=dtype, least=least)[0]


def _target(given: Any, rows: int, dtype: Any, name: str) -> Column:
    if isinstance(given, Windows):
        given = given.targets
    if isinstance(given, Slices):
        if len(given) != rows:
            raise DataError(
                message(f"X has {rows} rows and {name} has {len(given)} rows")
            )
        return given
    found = as_arrays(np.empty((rows, 0)), given, dtype=dtype, name=name)[1]
    assert found is not None
    return found


def _one_table(data: Data, dtype: Any) -> Data:
    """Bring the tables that rows are read from to the dtype, each once."""
    checked: dict[int, Array] = {}
    for name, each in data.items():
        if isinstance(each, Slices):
            if id(each.table) not in checked:
                table = as_arrays(each.table, dtype=dtype, least=1)[0]
                checked[id(each.table)] = table
            data[name] = replace(each, table=checked[id(each.table)])
    return data


def prepare(
    X: Any,
    y: Any,
    dtype: Any,
    sample_weight: Any = None,
    class_weight: Any = None,
    *,
    engine: Engine | None = None,
    losses: Mapping[str, Any] | None = None,
) -> Data:
    """Return features, targets and weights by name, checked and of one length.

    Without `y` the features are their own target, as for an autoencoder; but
    `Windows` bring their own. With `losses`, by the name of their output, targets may
    be missing: columns `present` say where they are there. Where each process of an
    engine brings rows, all of them come back.
    """
    data = _inputs(X, dtype)
    first = next(iter(data.values()))
    for name, each in data.items():
        if len(each) != len(first):
            raise DataError(f"{name} has {len(each)} rows, x.0 has {len(first)}")
    if y is None and isinstance(X, Windows):
        y = X
    if y is None:
        data["y"] = first
        y = {}
    for output, target in (y if isinstance(y, Mapping) else {"": y}).items():
        name = column("y", output)
        if losses is not None and not isinstance(target, Slices | Windows):
            target, there = part_missing(target, losses.get(output), name)
            data[column("present", output)] = there
        data[name] = _target(target, len(first), dtype, name)
    data = together(_one_table(data, dtype), engine)
    if sample_weight is not None:
        own: Data = {"sample_weight": np.asarray(sample_weight, dtype=np.float64)}
        sample_weight = together(own, engine)["sample_weight"]
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
    present = data.get("present")
    rows = y if present is None else y[np.asarray(present)]
    classes, counts = np.unique(rows, return_counts=True)
    if given == "balanced":
        given = dict(zip(classes, len(rows) / (len(classes) * counts)))
    if not isinstance(given, Mapping):
        raise ArgumentError(f"class_weight is 'balanced' or a dict, not {given!r}")
    table = np.array([float(given.get(each, 1.0)) for each in classes.tolist()])
    return table[np.searchsorted(classes, y).clip(max=len(classes) - 1)]


def hold_out(
    data: Data,
    validation: Any,
    seed: int,
    dtype: Any,
    engine: Engine,
    losses: Mapping[str, Any] | None = None,
) -> tuple[Data, Data | None]:
    """Return the training part and the validation part.

    `validation` is None, a fraction or count of the rows, a pair `(X, y)`, or
    `Windows`. Of windows the last in time are held out. `losses` as in `prepare`.
    """
    if validation is None:
        return data, None
    if isinstance(validation, Windows):
        return data, prepare(validation, None, dtype, engine=engine)
    if isinstance(validation, tuple | list):
        if len(validation) not in (2, 3):
            raise ArgumentError(
                "validation is a fraction, or (X, y), or (X, y, weight)"
            )
        X, y, *weight = validation
        return data, prepare(X, y, dtype, *weight, engine=engine, losses=losses)
    kept, held = _parted(data, validation, seed)
    return some_rows(data, kept), some_rows(data, held)


def _parted(data: Data, size: Any, seed: int) -> tuple[Array, Array]:
    windows = {name: each for name, each in data.items() if isinstance(each, Slices)}
    if windows:
        aims = [each for name, each in windows.items() if name.split(".")[0] == "y"]
        return part_in_time([*windows.values()], aims, size)
    y = data.get("y")
    strata = y if y is not None and y.dtype.kind == "i" and y.ndim == 1 else None
    return split_rows(len(next(iter(data.values()))), size, seed, strata)
