"""A program some of whose inputs stay the same, called again and again.

What can be made ready is: the addresses, and memory for what comes and goes. A call
copies its few numbers there and back, and makes no object besides.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from operator import call
from threading import Lock

import numpy as np

from pellucid.engines.program import misfit
from pellucid.ir.graph import Array, Graph

__all__ = ["Bound"]


class Bound:
    """Runs a program on fresh values of its last inputs.

    `enter` runs it on the addresses that stand in a table, while `lock` is held.
    """

    def __init__(
        self,
        graph: Graph,
        given: Sequence[Array],
        enter: Callable[[ctypes.c_void_p], None],
        lock: Lock,
    ) -> None:
        self._given = tuple(np.ascontiguousarray(each) for each in given)
        nodes = graph.inputs[len(given) :]
        inputs = [np.empty(each.shape, each.dtype) for each in nodes]
        self._rooms = [(n, each, n.shape, each.dtype) for n, each in zip(nodes, inputs)]
        outputs = [np.empty(t.shape, t.dtype) for t in graph.output_types]
        self._copies = [each.copy for each in outputs]
        arrays = (*self._given, *inputs, *outputs)
        self._table = np.array([each.ctypes.data for each in arrays], np.uintp)
        self._at = ctypes.c_void_p(self._table.ctypes.data)
        self._enter, self._lock = enter, lock

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """Run on the remaining inputs; returns the outputs."""
        with self._lock:
            for (node, room, shape, dtype), array in zip(self._rooms, arrays):
                if array.shape != shape or array.dtype != dtype:
                    raise misfit(node, array)
                room[...] = array
            self._enter(self._at)
            return tuple(map(call, self._copies))
