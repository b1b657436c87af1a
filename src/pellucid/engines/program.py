"""What every engine offers: `compile` a graph, and get a program of arrays.

It knows graphs and arrays. It knows no layer, no optimiser and no training.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from threading import Lock
from typing import Any

import numpy as np

from pellucid.errors import EngineError, ShapeError, message
from pellucid.ir.graph import Array, Graph, Node
from pellucid.ir.ops import ELEMENTWISE
from pellucid.ir.text import render

__all__ = ["Cost", "Engine", "Program", "cost_of", "misfit"]


@dataclass(frozen=True)
class Cost:
    """What one run of a program takes.

    `flops` counts a multiplication and an addition as two, every other elementwise
    result as one. `bytes` counts the values that enter and leave the program once.
    `arena` is the memory that the program keeps for what lies between, in bytes.
    """

    flops: int
    bytes: int
    arena: int = 0


class Program(ABC):
    """A compiled graph: arrays in, arrays out."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._fits = [(each.shape, each.dtype) for each in graph.inputs]

    def __call__(self, *arrays: Any) -> tuple[Array, ...]:
        """Run on arrays of the graph's input types; returns its outputs."""
        checked = [self._checked(i, each) for i, each in enumerate(arrays)]
        if len(checked) != len(self.graph.inputs):
            raise EngineError(
                f"the program takes {len(self.graph.inputs)} arrays, not {len(checked)}"
            )
        return self._run(checked)

    def asked(self, *arrays: Any) -> Callable[[Array], Array | None]:
        """Return what answers for the last input alone, with the others given.

        The program has two outputs: the answer, and a number that is finite where the
        input is. Where it is not, there is no answer: None. Where the same weights
        answer one question after the other, this is quicker than to run the program;
        so whether the input has the graph's shape and dtype is left to the caller.
        """

        def answer(x: Array) -> Array | None:
            found, size = self(*arrays, x)
            return found if isfinite(size) else None

        return answer

    def _checked(self, index: int, given: Any) -> Array:
        array = np.asarray(given, order="C")
        if index < len(self._fits):
            shape, dtype = self._fits[index]
            if array.shape != shape or array.dtype != dtype:
                raise misfit(self.graph.inputs[index], array)
        return array

    @abstractmethod
    def _run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Run on arrays that are known to fit."""

    def text(self) -> str:
        """Return what the engine will run, as text."""
        return render(self.graph, births=True)

    def cost(self) -> Cost:
        """Return the arithmetic and the traffic of one run."""
        return cost_of(self.graph)


def misfit(node: Node, array: Any) -> ShapeError:
    """Word the error of an array that an input cannot take."""
    return ShapeError(
        message(
            f"input {node.attrs['name']!r} does not fit",
            expected=f"expected {node.type}, got {array.dtype}{list(array.shape)}",
        )
    )


class Engine(ABC):
    """Compiles graphs: `compile` is all that a program needs.

    The rest is for those who run programs again and again. An engine may keep arrays
    in a place of its own, such as a GPU's memory. Where an argument of a program was
    placed, its results stay in that place too, until they are fetched.
    """

    name: str

    flops_a_run: float = 2e10
    """The arithmetic that takes a fraction of a second."""

    rows_at_once: int = 256
    """The rows that go through a model together when it predicts: so many that what
    lies between two layers stays in a processor's cache."""

    @property
    def room(self) -> int | None:
        """The bytes that a data set may take in the engine's place; None: any."""
        return None

    own_rows: bool = False
    """Whether each process that computes with this one brings rows of its own."""

    @property
    def processes(self) -> int:
        """How many processes compute together."""
        return 1

    @property
    def process(self) -> int:
        """The number of this one; the first, 0, writes what all would write."""
        return 0

    def __init__(self, capacity: int = 256) -> None:
        self._capacity = capacity
        self._programs: OrderedDict[Any, Program] = OrderedDict()
        self._lock = Lock()

    def compile(self, graph: Graph, donate: Sequence[int] = ()) -> Program:
        """Return the program of a graph, the one made before where there is one.

        `donate` names inputs, by position, that the program may overwrite.
        """
        key = (graph, tuple(donate))
        with self._lock:
            if key in self._programs:
                self._programs.move_to_end(key)
                return self._programs[key]
        program = self._compile(graph, tuple(donate))
        with self._lock:
            self._programs[key] = program
            if len(self._programs) > self._capacity:
                self._programs.popitem(last=False)
        return program

    def place(self, array: Any, *, split: int | None = None, wide: bool = False) -> Any:
        """Bring an array to where programs read it best; one that is there stays.

        Several devices may share the rows along the axis `split`, and the parts of an
        array that is `wide`.
        """
        return array

    def place_rows(self, table: Array, rows: Array, *, split: int) -> Any:
        """Place `table[rows]`; who needs a part of the rows reads only these."""
        return table[rows]

    def fetch(self, arrays: Sequence[Any]) -> list[Array]:
        """Return arrays of programs as NumPy arrays, wherever they are."""
        return list(arrays)

    def finite(self, arrays: Sequence[Any]) -> bool:
        """Return whether all numbers in some float arrays are finite."""
        return all(bool(np.isfinite(each).all()) for each in arrays)

    def gather(self, content: bytes) -> list[bytes]:
        """Return what every process that computes with this one brings, in order."""
        return [content]

    @abstractmethod
    def _compile(self, graph: Graph, donate: tuple[int, ...]) -> Program:
        """Compile a graph that was not compiled before."""


def cost_of(graph: Graph) -> Cost:
    """Count the floating-point work of a graph and the bytes at its border.

    >>> from pellucid.ir.graph import bind, input_node
    >>> from pellucid.ir.types import TensorType
    >>> x = input_node(TensorType((4,), "f32"), "x")
    >>> cost_of(Graph((x,), (x * x,)))
    Cost(flops=4, bytes=32, arena=0)
    """
    flops = sum(_flops(node) for node in graph.nodes)
    border = (*graph.input_types, *graph.output_types)
    return Cost(flops, sum(each.nbytes for each in border))


def _flops(node: Node) -> int:
    name, attrs = node.op.name, node.attrs
    if name in ELEMENTWISE:
        return int(node.type.size)
    if name in ("sum", "max", "argmax"):
        return int(node.inputs[0].type.size)
    if name == "dot":
        x: Node = node.inputs[0]
        depth: int = math.prod(x.shape[i] for i in attrs["contract"][0])
        return 2 * int(node.type.size) * depth
    if name == "conv":
        kernel: Node = node.inputs[1]
        depth = math.prod(kernel.shape[1:])
        return 2 * int(node.type.size) * depth
    if name == "scan":
        return int(attrs["length"]) * cost_of(attrs["body"]).flops
    if name == "call":
        return cost_of(attrs["body"]).flops
    return 0
