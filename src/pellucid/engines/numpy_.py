"""The engine that defines every gate: it runs one after the other in NumPy.

`Program.__call__` runs the simplified graph and lets go of values as soon as it
can. `Program.observe` runs the graph as it was built, keeps nothing back, and shows
every value to an observer: inspection, gradient checking and replay stand on it.
Both give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, TypeAlias

import numpy as np

from pellucid.engines.numpy_kernels import KERNELS, Kernel
from pellucid.engines.program import Engine, Program
from pellucid.ir.graph import Array, Graph, Node
from pellucid.ir.ops import ELEMENTWISE
from pellucid.passes.simplify import simplify

__all__ = ["NumpyEngine", "NumpyProgram", "Observer", "run_gate"]

Observer: TypeAlias = Callable[[Node, Any, tuple[int, ...]], None]
"""Called with a node, its value, and the step of each scan that it runs inside."""


class NumpyEngine(Engine):
    """Compiles a graph to a list of NumPy calls.

    >>> from pellucid.ir.graph import input_node
    >>> from pellucid.ir.types import TensorType
    >>> x = input_node(TensorType((2,), "f32"), "x")
    >>> program = NumpyEngine().compile(Graph((x,), (x + x,)))
    >>> program(np.array([1, 2], np.float32))
    (array([2., 4.], dtype=float32),)
    """

    name = "numpy"

    def compile(self, graph: Graph, donate: Sequence[int] = ()) -> NumpyProgram:
        """Return a program that shows the nodes of this very graph to an observer."""
        program = super().compile(graph, donate)
        assert isinstance(program, NumpyProgram)
        return program if program.graph is graph else program.of(graph)

    def _compile(self, graph: Graph, donate: tuple[int, ...]) -> NumpyProgram:
        return NumpyProgram(graph)


class NumpyProgram(Program):
    """A graph as steps: a kernel, where its operands lie, where its result goes."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self._steps = _Steps(simplify(graph), lean=True)
        self._every_step: _Steps | None = None

    def of(self, graph: Graph) -> NumpyProgram:
        """Return this program for an equal graph of other nodes."""
        twin = copy(self)
        twin.graph, twin._every_step = graph, None
        return twin

    def _run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        with np.errstate(all="ignore"):
            return tuple(np.asarray(each) for each in self._steps.run(arrays))

    def observe(self, arrays: Sequence[Array], observer: Observer) -> tuple[Array, ...]:
        """Run the graph as it was built and show every node's value.

        Inputs and constants are shown too. The bodies of scans and calls are run
        gate by gate, with the steps of the scans that they stand in.
        """
        if self._every_step is None:
            self._every_step = _Steps(self.graph, lean=False)
        checked = [self._checked(i, each) for i, each in enumerate(arrays)]
        with np.errstate(all="ignore"):
            outputs = self._every_step.run(checked, observer)
        return tuple(np.asarray(each) for each in outputs)


_Row: TypeAlias = tuple[Kernel, list[int], int, Node]


class _Steps:
    """A graph in execution order. `lean` frees values early and skips broadcasts."""

    def __init__(self, graph: Graph, lean: bool) -> None:
        self.nodes = graph.nodes
        self.inputs = graph.inputs
        slot = {node: i for i, node in enumerate(graph.inputs)}
        for node in graph.nodes:
            slot.setdefault(node, len(slot))
        self.outputs = [slot[node] for node in graph.outputs]
        self.values: list[Any] = [None] * len(slot)
        self.rows: list[_Row] = []
        sources = {node: _lean_inputs(node) if lean else node.inputs for node in slot}
        for node in _needed(graph, sources):
            if node.op.name == "const":
                self.values[slot[node]] = node.attrs["value"].array
            elif node.op.name != "input":
                operands = [slot[each] for each in sources[node]]
                self._add(node, operands, slot[node], lean)
        self.frees = self._last_uses() if lean else [()] * len(self.rows)

    def _add(self, node: Node, operands: list[int], target: int, lean: bool) -> None:
        """Add a step; where it is lean and all operands are known, run it now."""
        kernel = _kernel(node, lean)
        known = [self.values[i] for i in operands]
        if lean and operands and all(each is not None for each in known):
            with np.errstate(all="ignore"):
                self.values[target] = kernel(*known)
        else:
            self.rows.append((kernel, operands, target, node))

    def _last_uses(self) -> list[tuple[int, ...]]:
        """For each step, the values that no later step reads."""
        read: set[int] = {*self.outputs}
        read |= {i for i, value in enumerate(self.values) if value is not None}
        frees: list[tuple[int, ...]] = []
        for _, sources, target, _ in reversed(self.rows):
            frees.append(tuple({*sources, target} - read))
            read |= {*sources, target}
        return frees[::-1]

    def run(
        self,
        arrays: Sequence[Array],
        observer: Observer | None = None,
        at: tuple[int, ...] = (),
    ) -> list[Any]:
        """Run every step; the values of the outputs."""
        values = self.values.copy()
        values[: len(arrays)] = arrays
        if observer is not None:
            return self._observed(values, observer, at)
        for (kernel, sources, target, _), free in zip(self.rows, self.frees):
            values[target] = kernel(*[values[i] for i in sources])
            for i in free:
                values[i] = None
        return [values[i] for i in self.outputs]

    def _observed(
        self, values: list[Any], observer: Observer, at: tuple[int, ...]
    ) -> list[Any]:
        rows = {
            node: (kernel, sources, target)
            for kernel, sources, target, node in self.rows
        }
        slot = {node: i for i, node in enumerate(self.inputs)}
        for node in self.inputs:
            observer(node, values[slot[node]], at)
        for node in self.nodes:
            if node.op.name == "const":
                observer(node, node.attrs["value"].array, at)
            elif node in rows:
                kernel, sources, target = rows[node]
                operands = [values[i] for i in sources]
                if isinstance(kernel, _Scan | _Call):
                    values[target] = kernel(*operands, observer=observer, at=at)
                else:
                    values[target] = kernel(*operands)
                observer(node, values[target], at)
        return [values[i] for i in self.outputs]


def _needed(graph: Graph, sources: dict[Node, tuple[Node, ...]]) -> list[Node]:
    """Return the nodes whose values somebody reads, in order."""
    read = set(graph.outputs)
    for node in reversed(graph.nodes):
        if node in read:
            read.update(sources[node])
    return [node for node in graph.nodes if node in read]


def _lean_inputs(node: Node) -> tuple[Node, ...]:
    """Return inputs without the broadcasts that NumPy does by itself, bit for bit."""
    if node.op.name not in ELEMENTWISE:
        return node.inputs
    if all(each.op.name == "broadcast" for each in node.inputs):
        return node.inputs
    return tuple(
        each.inputs[0] if each.op.name == "broadcast" else each for each in node.inputs
    )


def _kernel(node: Node, lean: bool) -> Kernel:
    if node.op.name == "scan":
        return _Scan(node, lean)
    if node.op.name == "call":
        return _Call(node, lean)
    return KERNELS[node.op.name](node)


def run_gate(node: Node, *values: Any) -> Any:
    """Run one gate on the values of its inputs: what code at the prompt does."""
    with np.errstate(all="ignore"):
        result = _kernel(node, lean=True)(*values)
    return result if isinstance(result, list) else np.asarray(result)


class _Call:
    """Runs a named subgraph."""

    def __init__(self, node: Node, lean: bool) -> None:
        self.body = _Steps(node.attrs["body"], lean)

    def __call__(
        self, *arrays: Array, observer: Observer | None = None, at: tuple[int, ...] = ()
    ) -> list[Any]:
        return self.body.run(arrays, observer, at)


class _Scan:
    """Runs a body once a step, over carried values and slices."""

    def __init__(self, node: Node, lean: bool) -> None:
        attrs = node.attrs
        self.body = _Steps(attrs["body"], lean)
        self.consts, self.carries = attrs["consts"], attrs["carries"]
        length = attrs["length"]
        self.order = range(length - 1, -1, -1) if attrs["reverse"] else range(length)
        self.stacked = node.type[self.carries :]

    def __call__(
        self, *arrays: Array, observer: Observer | None = None, at: tuple[int, ...] = ()
    ) -> list[Any]:
        split = self.consts + self.carries
        consts, carry = list(arrays[: self.consts]), list(arrays[self.consts : split])
        sequences = arrays[split:]
        stacks = [np.empty(each.shape, each.dtype) for each in self.stacked]
        run = self.body.run
        for step in self.order:
            slices = [each[step] for each in sequences]
            where = (*at, step) if observer is not None else at
            results = run([*consts, *carry, *slices], observer, where)
            carry = results[: self.carries]
            for stack, result in zip(stacks, results[self.carries :]):
                stack[step] = result
        return [*carry, *stacks]
