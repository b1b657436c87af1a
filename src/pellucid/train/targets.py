"""What training asks of targets: their names, their classes, and which are missing.

In floats NaN is missing. In whole numbers a number below 0 is, where the loss takes
class numbers or probabilities, which are never below 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pellucid.data.arrays import numeric
from pellucid.data.windows import Slices
from pellucid.errors import ArgumentError, DataError, did_you_mean, message
from pellucid.ir.graph import Array
from pellucid.nn.losses import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss
from pellucid.train.columns import Data, rows_of
from pellucid.train.objective import Objective, column

__all__ = ["check_classes", "check_names", "classes_wanted", "known", "part_missing"]

_BY_NUMBER = (CrossEntropyLoss, NLLLoss)
_NEVER_NEGATIVE = (*_BY_NUMBER, BCELoss, BCEWithLogitsLoss)


# --- missing ---------------------------------------------------------------------


def part_missing(given: Any, loss: Any, name: str) -> tuple[Array, Array]:
    """Return targets with 0 for what is missing, and a truth value for each.

    Class numbers that came as floats, because of the NaN between them, become whole.
    Where the loss takes a probability for each class, a row is there or not.

    >>> part_missing([1.0, float("nan")], None, "y")
    (array([1., 0.]), array([ True, False]))
    """
    array = numeric(given, name)
    if array.dtype.kind == "f":
        present: Array = ~np.isnan(array)
    elif array.dtype.kind in "iu" and isinstance(loss, _NEVER_NEGATIVE):
        present = np.greater_equal(array, 0)
    else:
        present = np.ones(array.shape, bool)
    if array.size and not present.any():
        raise DataError(message(f"{name} holds no value at all: all are missing"))
    filled = np.where(present, array, np.zeros((), array.dtype))
    if array.dtype.kind == "f" and isinstance(loss, _BY_NUMBER):
        if array.size != len(array):
            present = np.asarray(present.all(axis=loss.axis))
        elif (filled == np.floor(filled)).all():
            filled = filled.astype(np.int64)
    return filled, present


def known(data: Data, objective: Objective) -> Any:
    """Return the targets from which a model learns their scale: rows that are whole."""
    found = {}
    for name in objective.named:
        if column("y", name) not in data:
            continue
        rows = rows_of(data[column("y", name)])
        present = data.get(column("present", name))
        if present is not None:
            there = np.asarray(present)
            rows = rows[there.reshape(len(there), -1).all(1)]
        found[name] = rows
    return found.get("") if "" in objective.named else found


# --- checks ----------------------------------------------------------------------


def check_names(data: Data, objective: Objective) -> None:
    """Raise `ArgumentError` where targets and losses have not the same names."""
    names = [name.partition(".")[2] for name in data if name.split(".")[0] == "y"]
    wanted = list(objective.named)
    if names == [""] and wanted != [""]:
        what, hint = "the losses have names and y has none", "pass a dict of targets"
    elif wanted == [""] and names != [""]:
        what, hint = "y is a dict and there is one loss", "pass a dict of losses"
    elif lacking := [name for name in wanted if name not in names]:
        what, hint = f"y has no {lacking[0]!r}", did_you_mean(lacking[0], names)
    elif spare := [name for name in names if name not in wanted]:
        what = f"y has {spare[0]!r}, for which there is no loss"
        hint = did_you_mean(spare[0], wanted)
    else:
        return
    raise ArgumentError(message(what, hint=hint))


def classes_wanted(data: Data, objective: Objective) -> dict[str, Any]:
    """Return the losses that take class numbers, by the name of their output."""
    return {
        name: loss
        for name, loss in objective.named.items()
        if isinstance(loss, _BY_NUMBER) and data[column("y", name)].dtype.kind in "iu"
    }


def check_classes(data: Data, losses: Mapping[str, Any], outputs: Any) -> None:
    """Raise `DataError` for a class number that the model has no output for.

    `outputs` are those for some rows.
    """
    for name, loss in losses.items():
        shape = (outputs[name] if name else outputs).shape
        classes = shape[loss.axis if len(shape) > 1 else 0]
        y = data[column("y", name)]
        y = np.asarray(y.table if isinstance(y, Slices) else y)
        if y.min() < 0 or y.max() >= classes:
            bad = int(y[(y < 0) | (y >= classes)][0])
            raise DataError(
                message(
                    f"{column('y', name)} holds the class {bad}",
                    expected=f"the model has outputs for classes 0 to {classes - 1}",
                    hint="number the classes from 0, or give the model more outputs",
                )
            )
