"""Targets: labels into class numbers, quantities into standardised ones, and back.

An encoder is fitted on the training part and travels with the model, so that a
prediction comes back as the label, or in the unit, that the table had.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from pellucid.data.schema import Task
from pellucid.errors import DataError, message

__all__ = ["TARGETS", "ClassTarget", "Label", "NumberTarget", "target_from_dict"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Label: TypeAlias = str | int | bool


@dataclass(frozen=True)
class ClassTarget:
    """The classes of a target, in sorted order, with labels of their own type."""

    name: str
    classes: tuple[Label, ...]

    @classmethod
    def fit(cls, column: pl.Series) -> ClassTarget:
        """Learn the classes from the training part of a target.

        Raises `DataError` for missing values, for one class only, for a class with a
        single row, and for targets that are rather quantities.

        >>> ClassTarget.fit(pl.Series("y", ["no", "yes", "no", "yes"])).classes
        ('no', 'yes')
        """
        labels = _as_labels(_complete(column))
        counts = labels.value_counts().sort(labels.name)
        classes, rows = counts.columns[0], counts.columns[1]
        _check_classes(labels, counts[classes].to_list(), counts[rows].to_list())
        return cls(column.name, tuple(counts[classes].to_list()))

    def encode(self, column: pl.Series) -> Array:
        """Return the class number of each row, int64 `[n]`.

        A label that is not a class is compared again without the spaces around it
        and a full stop at its end. Raises `DataError` for labels that stay unknown.

        >>> ClassTarget("y", ("no", "yes")).encode(pl.Series(["yes.", "no"]))
        array([1, 0])
        """
        labels = _complete(column).rename("label")
        number = {label: k for k, label in enumerate(self.classes)}
        loose = {_loosely(label): k for label, k in number.items()}
        found: dict[Any, int | None] = {}
        for label in labels.unique().to_list():
            same_type = type(label) is type(self.classes[0])
            exact = number.get(label) if same_type else None
            found[label] = loose.get(_loosely(label)) if exact is None else exact
        unseen = sorted(repr(label) for label, k in found.items() if k is None)
        if unseen:
            known = ", ".join(map(repr, self.classes[:12]))
            raise DataError(
                message(
                    f"target {self.name!r} has labels that training did not have: "
                    + ", ".join(unseen[:5])
                    + (", …" if len(unseen) > 5 else ""),
                    expected=f"training had {known}",
                )
            )
        table = pl.DataFrame(
            {"label": list(found), "k": list(found.values())},
            schema={"label": labels.dtype, "k": pl.Int64},
        )
        joined = labels.to_frame().join(
            table, on="label", how="left", maintain_order="left"
        )
        return joined["k"].to_numpy().copy()

    def decode(self, numbers: Any) -> Array:
        """Return the labels of class numbers `[n]`.

        >>> ClassTarget("y", ("no", "yes")).decode([1, 0]).tolist()
        ['yes', 'no']
        """
        labels: Array = np.asarray(self.classes)[np.asarray(numbers)]
        return labels

    def to_dict(self) -> dict[str, Any]:
        """Return the encoder as plain JSON values."""
        return {"task": "classification", **asdict(self), "classes": [*self.classes]}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ClassTarget:
        """Return the encoder that `to_dict` described."""
        return cls(plain["name"], tuple(plain["classes"]))


@dataclass(frozen=True)
class NumberTarget:
    """The mean and the standard deviation of a target in its training part."""

    name: str
    mean: float
    scale: float

    @classmethod
    def fit(cls, column: pl.Series) -> NumberTarget:
        """Learn mean and scale from the training part of a target.

        Raises `DataError` for missing values, text, infinities, and for a target
        that is the same in every row.

        >>> NumberTarget.fit(pl.Series("y", [1.0, 3.0]))
        NumberTarget(name='y', mean=2.0, scale=1.0)
        """
        numbers = _as_numbers(_complete(column))
        mean, scale = float(numbers.mean()), float(numbers.std())
        if not scale > 1e-12 * abs(mean):
            raise DataError(
                message(
                    f"target {column.name!r} is {numbers[0]:g} in every row",
                    hint="there is nothing to learn: choose another target",
                )
            )
        return cls(column.name, mean, scale)

    def encode(self, column: pl.Series) -> Array:
        """Return the standardised values, float32 `[n]`."""
        numbers = _as_numbers(_complete(column))
        standard: Array = ((numbers - self.mean) / self.scale).astype(np.float32)
        return standard

    def decode(self, values: Any) -> Array:
        """Return standardised values `[n]` in the target's unit, float64.

        >>> NumberTarget("y", 2.0, 0.5).decode([0.0, 1.0])
        array([2. , 2.5])
        """
        given: Array = np.asarray(values, np.float64)
        return given * self.scale + self.mean

    def to_dict(self) -> dict[str, Any]:
        """Return the encoder as plain JSON values."""
        return {"task": "regression", **asdict(self)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> NumberTarget:
        """Return the encoder that `to_dict` described."""
        return cls(plain["name"], plain["mean"], plain["scale"])


TARGETS: dict[Task, type[ClassTarget] | type[NumberTarget]] = {
    "classification": ClassTarget,
    "regression": NumberTarget,
}
"""The encoder of each task."""


def target_from_dict(plain: Mapping[str, Any]) -> ClassTarget | NumberTarget:
    """Return the encoder, of either task, that `to_dict` described."""
    task: Task = plain["task"]
    return TARGETS[task].from_dict(plain)


def _complete(column: pl.Series) -> pl.Series:
    missing = column.is_null()
    if column.dtype.is_float():
        missing = missing | column.is_nan()
    if missing.any():
        rows = missing.arg_true()
        raise DataError(
            message(
                f"target {column.name!r} is missing in {len(rows)} of {len(column)} "
                f"rows, first in row {rows[0] + 1}",
                hint="remove these rows, or fill them in",
            )
        )
    if column.is_empty():
        raise DataError(message(f"target {column.name!r} has no rows"))
    return column


def _as_labels(column: pl.Series) -> pl.Series:
    if not column.dtype.is_float():
        return column
    if not bool((column == column.round()).all()):
        raise DataError(
            message(
                f"target {column.name!r} has fractions, so it has no classes",
                hint="use regression, or turn the values into labels",
            )
        )
    return column.cast(pl.Int64)


def _as_numbers(column: pl.Series) -> Array:
    if not column.dtype.is_numeric() and column.dtype != pl.Boolean:
        numbers = column.cast(pl.String).cast(pl.Float64, strict=False)
        if numbers.null_count():
            row = int(numbers.is_null().arg_true()[0])
            raise DataError(
                message(
                    f"target {column.name!r} is {column[row]!r} in row {row + 1}",
                    expected="regression expects a number in every row",
                    hint="use classification for labels",
                )
            )
        column = numbers
    values = column.cast(pl.Float64).to_numpy()
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise DataError(
            message(f"target {column.name!r} is infinite in row {wrong[0] + 1}")
        )
    return values


def _check_classes(labels: pl.Series, classes: list[Label], counts: list[int]) -> None:
    where = f"target {labels.name!r}"
    if len(classes) == 1:
        raise DataError(
            message(
                f"{where} has one class only: {classes[0]!r}",
                expected="a classifier needs two",
                hint="choose another target",
            )
        )
    if 2 * len(classes) > len(labels) and len(labels) > 2:
        numeric = labels.dtype.is_numeric()
        raise DataError(
            message(
                f"{where} has {len(classes)} classes in {len(labels)} rows",
                hint="use regression for a quantity"
                if numeric
                else "choose a target whose labels repeat",
            )
        )
    rarest = counts.index(min(counts))
    if counts[rarest] < 2:
        raise DataError(
            message(
                f"class {classes[rarest]!r} of {where} has a single row",
                expected="each class needs 2, to learn from and to test on",
                hint="remove the row, or join the class with another",
            )
        )


def _loosely(label: Any) -> str:
    """Return what a label is without its type, spaces, or a full stop at its end."""
    if isinstance(label, float) and math.isfinite(label) and label == int(label):
        label = int(label)
    text = str(label).strip()
    text = text.removesuffix(".").strip() or text
    return text.lower() if text in ("True", "False") else text
