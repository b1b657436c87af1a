"""The llvm engine: a graph becomes one native program."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pellucid.engines.llvm.lower import Lowered, lower
from pellucid.engines.llvm.native import Native, compile_text, target
from pellucid.engines.llvm.threads import count, run_together
from pellucid.engines.program import Engine, Program
from pellucid.errors import EngineError, message
from pellucid.ir.graph import Array, Graph
from pellucid.passes.simplify import simplify

__all__ = ["LlvmEngine", "LlvmProgram"]


class LlvmEngine(Engine):
    """Compiles a graph to native code by LLVM.

    >>> from pellucid.ir.graph import input_node
    >>> from pellucid.ir.types import TensorType
    >>> x = input_node(TensorType((2,), "f32"), "x")
    >>> program = LlvmEngine().compile(Graph((x,), (x + x,)))
    >>> program(np.array([1, 2], np.float32))
    (array([2., 4.], dtype=float32),)
    """

    name = "llvm"

    def _compile(self, graph: Graph, donate: tuple[int, ...]) -> LlvmProgram:
        return LlvmProgram(graph, lower(simplify(graph), target()))


class LlvmProgram(Program):
    """A native function, its memory, and how to call it."""

    def __init__(self, graph: Graph, lowered: Lowered) -> None:
        super().__init__(graph)
        self.lowered = lowered
        self._native = Native(compile_text(lowered.text))
        room = np.zeros(lowered.arena_bytes + 64, np.uint8)
        start = -room.ctypes.data % 64
        self._arena = room[start : start + lowered.arena_bytes]
        self._threads = count() if lowered.threads else 1

    def text(self) -> str:
        """Return the LLVM assembly."""
        return self.lowered.text

    def _run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        inputs = [np.ascontiguousarray(each) for each in arrays]
        outputs = [np.empty(each.shape, each.dtype) for each in self.graph.output_types]
        table = np.array([each.ctypes.data for each in (*inputs, *outputs)], np.uintp)
        places = table.ctypes.data, self._arena.ctypes.data
        run_together(lambda i, n: self._native.main(*places, i, n), self._threads)
        self._check()
        return tuple(outputs)

    def _check(self) -> None:
        count = len(self.lowered.checked)
        cells = self._arena[: 16 * count].view(np.int64).reshape(count, 2)
        if not cells.any():
            return
        at = int(cells[:, 0].argmax())
        node, index = self.lowered.checked[at], int(cells[at, 1])
        cells[:] = 0
        size = node.inputs[0].shape[node.attrs["axis"]]
        raise EngineError(
            message(
                f"{node.op}: index {index} is outside",
                where=str(node.birth),
                expected=f"expected 0 to {size - 1}",
            )
        )
