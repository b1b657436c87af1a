"""How data enter a program, and how a step takes its rows from them.

A column is an array, and a step takes its rows; or it is stretches of one table
(`data.windows`), and a step takes the starts of its rows and reads from there. A table
that several columns read from enters a program once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from pellucid.data.windows import Column, Slices
from pellucid.ir.graph import Array
from pellucid.ir.types import TensorType
from pellucid.tensors import Tensor, take, tensor
from pellucid.tracing import symbol

__all__ = [
    "Data",
    "Entry",
    "Inputs",
    "Layout",
    "Streamed",
    "Whole",
    "arrays_of",
    "rows_of",
    "some_rows",
]

_MOST_NUMBERS = 1 << 20
"""About how many numbers of windows a model sees that learns before training."""

Inputs: TypeAlias = tuple[tuple[str, TensorType], ...]
"""Names and types of what enters a program."""

Data = dict[str, Column]
"""Columns of one length by name: `x` or `x.0`, `y` or `y.name`, `weight`."""


@dataclass(frozen=True)
class _Rows:
    """A column that is an array: the number of its input."""

    values: int

    @property
    def rows(self) -> int:
        """The number of the input that has a row for each row."""
        return self.values

    def gather(self, inputs: Sequence[Tensor], rows: Tensor | None) -> Tensor:
        values = inputs[self.values]
        return values if rows is None else take(values, rows)


@dataclass(frozen=True)
class _Stretches:
    """A column that reads from a table: the numbers of its inputs, and what is read."""

    table: int
    starts: int
    first: int
    length: int | None

    @property
    def rows(self) -> int:
        """The number of the input that has a start for each row."""
        return self.starts

    def gather(self, inputs: Sequence[Tensor], rows: Tensor | None) -> Tensor:
        starts = inputs[self.starts]
        starts = starts if rows is None else take(starts, rows)
        if self.length is None:
            return take(inputs[self.table], starts + self.first)
        offsets = tensor(np.arange(self.first, self.first + self.length, dtype="i4"))
        return take(inputs[self.table], starts.reshape(-1, 1) + offsets)


@dataclass(frozen=True)
class Layout:
    """The inputs that data become, and how each column is taken from them.

    Two data of one layout can share a program.
    """

    inputs: Inputs
    columns: tuple[tuple[str, _Rows | _Stretches], ...]

    @classmethod
    def of(cls, data: Mapping[str, Column]) -> Layout:
        """Return the layout of some data."""
        return _Reading(data).layout()

    @cached_property
    def by_row(self) -> frozenset[int]:
        """The numbers of the inputs that have a row of their own for each row."""
        return frozenset(each.rows for _, each in self.columns)

    def parted(self, arrays: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Return the tables that rows read from, and the arrays of rows."""
        kinds: tuple[list[Any], list[Any]] = [], []
        for i, each in enumerate(arrays):
            kinds[i in self.by_row].append(each)
        return kinds

    def joined(self, tables: Sequence[Any], rows: Sequence[Any]) -> list[Any]:
        """Return what `parted` took apart."""
        kinds = iter(tables), iter(rows)
        return [next(kinds[i in self.by_row]) for i in range(len(self.inputs))]

    def symbols(self) -> list[Tensor]:
        """Return an input without a value for each array."""
        return [symbol(type_, name) for name, type_ in self.inputs]

    def batch(
        self, inputs: Sequence[Tensor], rows: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the columns of some rows by name; of all rows without `rows`."""
        return {name: each.gather(inputs, rows) for name, each in self.columns}


_ORDER = ("order", TensorType((), np.dtype(np.int32)))


@dataclass(frozen=True)
class Whole:
    """Data that enter a program whole; a step takes its rows by their numbers.

    `fixed` are the inputs that every step reads, `moving` what each row of a step
    brings: names and types.
    """

    layout: Layout

    @property
    def fixed(self) -> Inputs:
        """All data."""
        return self.layout.inputs

    @property
    def moving(self) -> Inputs:
        """The number of a row."""
        return (_ORDER,)

    def batch(
        self, fixed: Sequence[Tensor], moving: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Return the columns of a step by name."""
        return self.layout.batch(fixed, moving[0])


@dataclass(frozen=True)
class Streamed:
    """Data of which a program gets only the rows of its steps, in their order.

    Tables that rows read from enter whole.
    """

    layout: Layout

    @property
    def fixed(self) -> Inputs:
        """The tables."""
        return tuple(self.layout.parted(self.layout.inputs)[0])

    @property
    def moving(self) -> Inputs:
        """The row itself, of each array."""
        _, inputs = self.layout.parted(self.layout.inputs)
        return tuple((name, t.with_shape(t.shape[1:])) for name, t in inputs)

    def batch(
        self, fixed: Sequence[Tensor], moving: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Return the columns of a step by name."""
        return self.layout.batch(self.layout.joined(fixed, moving))


Entry: TypeAlias = Whole | Streamed
"""How data enter a program."""


def arrays_of(data: Mapping[str, Column]) -> list[Array]:
    """Return what programs take for some data, in the order of their layout."""
    return _Reading(data).arrays


class _Reading:
    """Walks columns and collects the arrays behind them, each once."""

    def __init__(self, data: Mapping[str, Column]) -> None:
        self.arrays: list[Array] = []
        self._names: list[str] = []
        self._columns = tuple((name, self._read(name, data[name])) for name in data)

    def _read(self, name: str, column: Column) -> _Rows | _Stretches:
        if not isinstance(column, Slices):
            return _Rows(self._add(name, column))
        table = self._add(name, column.table)
        starts = self._add(f"{name}.starts", column.starts)
        return _Stretches(table, starts, column.first, column.length)

    def _add(self, name: str, array: Array) -> int:
        for number, known in enumerate(self.arrays):
            if known is array:
                return number
        self.arrays.append(array)
        self._names.append(name)
        return len(self.arrays) - 1

    def layout(self) -> Layout:
        types = (TensorType(each.shape, each.dtype) for each in self.arrays)
        return Layout(tuple(zip(self._names, types)), self._columns)


def rows_of(column: Column) -> Array:
    """Return a column as an array of its rows; of many windows an even choice."""
    if isinstance(column, Slices):
        numbers = math.prod(column.shape[1:])
        return np.asarray(column.thinned(max(_MOST_NUMBERS // numbers, 64)))
    return column


def some_rows(data: Mapping[str, Column], rows: Any) -> Data:
    """Return some rows of every column; what columns share they go on sharing."""
    taken: dict[int, Any] = {}

    def take_rows(array: Any) -> Any:
        if id(array) not in taken:
            taken[id(array)] = array[rows]
        return taken[id(array)]

    return {
        name: replace(each, starts=take_rows(each.starts))
        if isinstance(each, Slices)
        else take_rows(each)
        for name, each in data.items()
    }
