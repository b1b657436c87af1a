"""A program that answers one question after the other, its weights staying the same.

What can be made ready is: the addresses, and memory for what comes and goes. A call
copies its few numbers there and back, and makes no object besides.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from math import isfinite
from threading import Lock

import numpy as np

from pellucid.ir.graph import Array, Graph

__all__ = ["asked"]


def asked(
    graph: Graph,
    given: Sequence[Array],
    enter: Callable[[ctypes.c_void_p], object],
    lock: Lock,
) -> Callable[[Array], Array | None]:
    """Return what answers for the last input; see `Program.asked`.

    `enter` runs the program on the addresses that stand in a table, while `lock` is
    held. The arrays that are given stay where they are: what is written into them
    counts.
    """
    x = np.empty(graph.inputs[-1].shape, graph.inputs[-1].dtype)
    found, size = (np.empty(each.shape, each.dtype) for each in graph.output_types)
    arrays = (*given, x, found, size)
    table = np.array([each.ctypes.data for each in arrays], np.uintp)
    at, copy = ctypes.c_void_p(table.ctypes.data), found.copy

    def answer(question: Array, kept: object = (arrays, table)) -> Array | None:
        with lock:
            x[...] = question
            enter(at)
            return copy() if isfinite(size) else None

    return answer
