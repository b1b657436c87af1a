"""The xla engine: a graph becomes one XLA program, by `jax.jit`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.engines.program import Engine, Program
from pellucid.engines.xla.gates import Numbers
from pellucid.engines.xla.trace import Bound, trace
from pellucid.ir.graph import Array, Graph, Node
from pellucid.ir.types import TensorType
from pellucid.passes.simplify import simplify

__all__ = ["XlaEngine", "XlaProgram"]


class XlaEngine(Engine):
    """Compiles a graph by XLA, for the device that JAX finds best or the one named.

    >>> from pellucid.ir.graph import input_node
    >>> x = input_node(TensorType((2,), "f32"), "x")
    >>> program = XlaEngine().compile(Graph((x,), (x + x,)))
    >>> program(np.array([1, 2], np.float32))
    (array([2., 4.], dtype=float32),)
    """

    name = "xla"

    def __init__(self, capacity: int = 256) -> None:
        super().__init__(capacity)
        self.numbers = Numbers()

    def _compile(self, graph: Graph, donate: tuple[int, ...]) -> XlaProgram:
        return XlaProgram(graph, self, donate)


class XlaProgram(Program):
    """A function that JAX compiles when it is first called."""

    def __init__(self, graph: Graph, engine: XlaEngine, donate: Sequence[int]) -> None:
        super().__init__(graph)
        self._engine = engine
        self._simple = simplify(graph)
        self._has_64_bits = any(t.dtype.itemsize == 8 for t in _types(self._simple))
        self._bounds: list[Bound] = []
        self._function = jax.jit(
            self._traced, donate_argnums=_useful(graph, donate), keep_unused=True
        )

    def _traced(self, *arrays: Any) -> tuple[tuple[Any, ...], Any]:
        outputs, met = trace(self._simple, arrays, self._engine.numbers)
        self._bounds = [bound for bound, _ in met]
        word = np.uint64 if self._has_64_bits else np.uint32
        seen = [largest.astype(word) for _, largest in met]
        return tuple(outputs), jnp.stack(seen) if seen else None

    def _words(self) -> AbstractContextManager[Any]:
        """Let JAX have 64-bit types for a graph that holds some, and only then."""
        words: AbstractContextManager[Any] = jax.enable_x64(self._has_64_bits)
        return words

    def _run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        with self._words():
            outputs, largest = self._function(*arrays)
            if largest is not None:
                for bound, each in zip(self._bounds, np.asarray(largest).tolist()):
                    bound.check(each)
            return tuple(np.array(each) for each in outputs)

    def text(self) -> str:
        """Return the program in StableHLO, as XLA gets it."""
        with self._words():
            arrays = [np.zeros(t.shape, t.dtype) for t in self.graph.input_types]
            return str(self._function.lower(*arrays).as_text())


def _types(graph: Graph) -> Iterator[TensorType]:
    """Return the types of all values in a graph and in its bodies."""
    for node in (*graph.inputs, *graph.nodes):
        yield from _types_of(node)
        if "body" in node.attrs:
            yield from _types(node.attrs["body"])


def _types_of(node: Node) -> tuple[TensorType, ...]:
    return node.type if isinstance(node.type, tuple) else (node.type,)


def _useful(graph: Graph, donate: Sequence[int]) -> tuple[int, ...]:
    """Return the donated inputs whose memory some output can take."""
    free = Counter(graph.output_types)
    taken = []
    for i in donate:
        if free[graph.input_types[i]]:
            free[graph.input_types[i]] -= 1
            taken.append(i)
    return tuple(taken)
