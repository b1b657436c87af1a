"""Where weights lie, and whether any lies elsewhere by now.

They start at a line of the processor's cache, so that vectors of a weight that is read
where it lies do not stand across two lines. Native code then reads it from the second
cache at up to twice the speed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["LINE", "assignments", "lines", "settled"]

LINE = 64
"""Bytes of a line of the cache."""

_Array = np.ndarray[Any, Any]


class _Assignments:
    """How often a parameter was given an array, by anyone."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


assignments = _Assignments()
"""Who keeps what follows from parameters looks here whether any may be another now."""


def lines(size: int) -> tuple[_Array, int]:
    """Return new memory of at least a number of bytes: an array of them, and the
    first that starts a line."""
    room = np.empty(size + LINE, np.uint8)
    return room, -room.ctypes.data % LINE


def settled(array: _Array) -> _Array:
    """Return an array that starts at a line: the same one, or a copy.

    >>> settled(np.arange(5)[1:])
    array([1, 2, 3, 4])
    """
    if array.ctypes.data % LINE == 0:
        return array
    room, start = lines(array.nbytes)
    copy: _Array = np.ndarray(array.shape, array.dtype, room, start)
    copy[...] = array
    return copy
