"""What a layer asks of lengths, masks and tokens, whether or not it knows them.

At the prompt a layer knows their values and tests them. In a program that is being
built they are symbols. Then the test is noted, and whoever knows the data makes it on
all of them before the program runs: `train.input_checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias

from pellucid.ir.graph import Array
from pellucid.nn.context import current_frame
from pellucid.tensors import Tensor

__all__ = ["Check", "Test", "checks_noted", "place_of", "verify"]


Test: TypeAlias = Callable[[Array, int], None]
"""Raises for rows that are not allowed; takes them and the number of the first."""


@dataclass(frozen=True)
class Check:
    """A test that a layer, which is named in words, makes of a value."""

    value: Tensor
    test: Test
    layer: str


_noted: ContextVar[list[Check] | None] = ContextVar("pellucid_checks", default=None)


@contextmanager
def checks_noted() -> Iterator[list[Check]]:
    """Collect the tests of values that are not known in this block."""
    noted: list[Check] = []
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def verify(value: Tensor, test: Test) -> None:
    """Test a value where it is known; else note the test where tests are collected.

    The test may be made of more rows than `value` has, or of fewer.

    >>> from pellucid.ir.types import TensorType
    >>> from pellucid.tracing import symbol
    >>> with checks_noted() as noted:
    ...     verify(symbol(TensorType((3,), "i64")), print)
    >>> noted[0].value
    Tensor(i64[3], symbol)
    """
    if value.has_value:
        test(value.value, 0)
        return
    noted = _noted.get()
    if noted is not None:
        frame = current_frame.get()
        noted.append(Check(value, test, "" if frame is None else frame.layer))


def place_of(index: Sequence[int], first: int) -> str:
    """Say where something stands: its row, and its position there.

    `first` is the number of the row that the index counts from.

    >>> place_of((4,), 0), place_of((4, 2), 100), place_of((4, 2, 7), 0)
    ('row 4, counted from 0', 'row 104, position 2, counted from 0', \
'row 4, position (2, 7), counted from 0')
    """
    if not len(index):
        return ""
    row, *inner = map(int, index)
    if not inner:
        return f"row {row + first}, counted from 0"
    position = inner[0] if len(inner) == 1 else tuple(inner)
    return f"row {row + first}, position {position}, counted from 0"
