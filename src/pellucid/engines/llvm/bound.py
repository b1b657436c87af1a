"""A program some of whose inputs stay the same, called again and again.

What can be made ready is: the addresses, and memory for what comes and goes. A call
copies its few numbers there and back, and makes no object besides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np

from pellucid.engines.program import misfit
from pellucid.ir.graph import Array, Graph

__all__ = ["Bound"]


class Bound:
    """Runs a program on fresh values of its last inputs."""

    def __init__(
        self, graph: Graph, given: Sequence[Array], run: Callable[[int], None]
    ) -> None:
        self._given = tuple(np.ascontiguousarray(each) for each in given)
        self._nodes = graph.inputs[len(given) :]
        self._inputs = [np.empty(each.shape, each.dtype) for each in self._nodes]
        self._outputs = [np.empty(t.shape, t.dtype) for t in graph.output_types]
        arrays = (*self._given, *self._inputs, *self._outputs)
        self._table = np.array([each.ctypes.data for each in arrays], np.uintp)
        self._at, self._run, self._lock = self._table.ctypes.data, run, Lock()

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """Run on the remaining inputs; returns the outputs."""
        with self._lock:
            for node, room, array in zip(self._nodes, self._inputs, arrays):
                if array.shape != room.shape or array.dtype != room.dtype:
                    raise misfit(node, array)
                room[...] = array
            self._run(self._at)
            return tuple([each.copy() for each in self._outputs])
