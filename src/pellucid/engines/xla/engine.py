"""The xla engine: a graph becomes one XLA program, by `jax.jit`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from math import isfinite
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.engines.program import Engine, Program, misfit
from pellucid.engines.xla.devices import Devices
from pellucid.engines.xla.failures import in_words
from pellucid.engines.xla.gates import Numbers
from pellucid.engines.xla.settings import Settings
from pellucid.engines.xla.trace import Bound, trace
from pellucid.ir.graph import Array, Graph
from pellucid.ir.types import TensorType
from pellucid.passes.simplify import simplify

__all__ = ["XlaEngine", "XlaProgram"]


class XlaEngine(Engine):
    """Compiles a graph by XLA, for the devices that its options name.

    The options are those of `Settings`. JAX starts when the first array is placed or
    the first program is compiled.

    >>> from pellucid.ir.graph import input_node
    >>> x = input_node(TensorType((2,), "f32"), "x")
    >>> program = XlaEngine(device="cpu").compile(Graph((x,), (x + x,)))
    >>> program(np.array([1, 2], np.float32))
    (array([2., 4.], dtype=float32),)
    """

    name = "xla"
    rows_at_once = 4096

    def __init__(self, capacity: int = 256, **options: Any) -> None:
        super().__init__(capacity)
        self.settings = Settings.of(options)

    @cached_property
    def devices(self) -> Devices:
        """The devices that compute."""
        return Devices.of(self.settings)

    @cached_property
    def numbers(self) -> Numbers:
        """How numbers are computed."""
        bfloat16 = self.settings.compute == "bfloat16"
        return Numbers(self.settings.precision, bfloat16, rolled=self._on_cpu)

    @property
    def _on_cpu(self) -> bool:
        return bool(self.devices.first.platform == "cpu")

    @cached_property
    def flops_a_run(self) -> float:  # type: ignore[override]
        """The arithmetic that takes a fraction of a second."""
        one = 2e10 if self._on_cpu else 2e12
        return one * self.devices.count

    @cached_property
    def room(self) -> int | None:
        """The bytes that a data set may take on each device."""
        if self.settings.room is not None:
            return self.settings.room
        most = self.devices.memory()
        return None if most is None else most // 2

    @property
    def own_rows(self) -> bool:  # type: ignore[override]
        """Whether each process brings rows of its own."""
        return self.settings.rows == "own"

    @property
    def processes(self) -> int:
        """How many processes compute together."""
        return self.devices.hosts.count

    @property
    def process(self) -> int:
        """The number of this process."""
        return self.devices.hosts.index

    def place(self, array: Any, *, split: int | None = None, wide: bool = False) -> Any:
        """Copy an array to the devices."""
        if isinstance(array, jax.Array):
            return array
        array, devices = np.asarray(array), self.devices
        place = devices.whole()
        if split is not None:
            place = devices.along(array.shape, split)
        elif wide and array.dtype.kind == "f":
            place = devices.of_weight(array.shape)
        with in_words():
            return devices.put(array, place)

    def place_rows(self, table: Array, rows: Array, *, split: int) -> Any:
        """Copy `table[rows]` to the devices, each its part."""
        with in_words():
            return self.devices.put_rows(table, rows, split)

    def fetch(self, arrays: Sequence[Any]) -> list[Array]:
        """Copy arrays from the devices."""
        with in_words():
            return self.devices.fetch(arrays)

    def finite(self, arrays: Sequence[Any]) -> bool:
        """Return whether all numbers are finite; one truth value leaves the device."""
        with in_words(), jax.enable_x64(True):
            return bool(self._all_finite(list(arrays)))

    @cached_property
    def _all_finite(self) -> Any:
        def all_finite(arrays: list[Any]) -> Any:
            return jnp.stack([jnp.isfinite(each).all() for each in arrays]).all()

        return jax.jit(all_finite, out_shardings=self.devices.whole())

    def gather(self, content: bytes) -> list[bytes]:
        """Return what every process brings, in order."""
        with in_words():
            return self.devices.hosts.gather(content)

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
        devices = engine.devices
        places = tuple(_place(each, engine) for each in graph.output_types)
        self._function = jax.jit(
            self._traced,
            donate_argnums=_useful(graph, donate),
            out_shardings=(places, devices.whole()),
        )

    def _traced(self, *arrays: Any) -> tuple[tuple[Any, ...], Any]:
        outputs, met = trace(self._simple, arrays, self._engine.numbers)
        self._bounds = [bound for bound, _ in met]
        word = np.uint64 if self._has_64_bits else np.uint32
        seen = [largest.astype(word) for _, largest in met]
        return tuple(outputs), jnp.stack(seen) if seen else jnp.zeros(0, word)

    def _words(self) -> AbstractContextManager[Any]:
        """Let JAX have 64-bit types for a graph that holds some, and only then."""
        words: AbstractContextManager[Any] = jax.enable_x64(self._has_64_bits)
        return words

    def _checked(self, index: int, given: Any) -> Any:
        if not isinstance(given, jax.Array):
            return super()._checked(index, given)
        if index < len(self.graph.inputs):
            node = self.graph.inputs[index]
            if given.shape != node.shape or given.dtype != node.dtype:
                raise misfit(node, given)
        return given

    def _run(self, arrays: Sequence[Any]) -> tuple[Any, ...]:
        # One process need not place its arrays: JAX's own call does it much sooner.
        if self._engine.processes > 1:
            placed = [self._engine.place(each) for each in arrays]
        else:
            placed = list(arrays)
        with in_words(), self._words():
            outputs, largest = self._function(*placed)
            if self._bounds:
                for bound, each in zip(self._bounds, np.asarray(largest).tolist()):
                    bound.check(each)
        if any(isinstance(each, jax.Array) for each in arrays):
            return tuple(outputs)
        return tuple(self._engine.fetch(outputs))

    def asked(self, *arrays: Any) -> Callable[[Array], Array | None]:
        """Return what answers for the last input alone, with the others given."""
        engine = self._engine

        def answer(x: Array) -> Array | None:
            found, size = engine.fetch(self(*arrays, engine.place(x, split=0)))
            return found if isfinite(size) else None

        return answer

    def text(self) -> str:
        """Return the program in StableHLO, as XLA gets it."""
        with self._words():
            arrays = [np.zeros(t.shape, t.dtype) for t in self.graph.input_types]
            return str(self._function.lower(*arrays).as_text())


def _place(type_: TensorType, engine: XlaEngine) -> Any:
    """Return where a result lies: a weight comes out where it went in."""
    if type_.dtype.kind != "f":
        return engine.devices.whole()
    return engine.devices.of_weight(type_.shape)


def _types(graph: Graph) -> Iterator[TensorType]:
    """Return the types of all values in a graph and in its bodies."""
    for node in (*graph.inputs, *graph.nodes):
        yield from node.type if isinstance(node.type, tuple) else (node.type,)
        if "body" in node.attrs:
            yield from _types(node.attrs["body"])


def _useful(graph: Graph, donate: Sequence[int]) -> tuple[int, ...]:
    """Return the donated inputs whose memory some output can take."""
    free = Counter(graph.output_types)
    taken = []
    for i in donate:
        if free[graph.input_types[i]]:
            free[graph.input_types[i]] -= 1
            taken.append(i)
    return tuple(taken)
