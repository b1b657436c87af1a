"""Kernels: the loops of each stored value, one function each.

A kernel takes pointers and nothing else. Two kernels of the same text are one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pellucid.engines.llvm.emit import Function, Kind
from pellucid.engines.llvm.nest import Nest, Value, accesses, lanes_for
from pellucid.engines.numpy_kernels import lowest
from pellucid.ir.graph import Node
from pellucid.passes.fuse import VIEWS, Affine, Index, identity, offset

__all__ = ["Kernel", "Target", "argmax", "fill", "map_kernel", "reduction", "strided"]


@dataclass(frozen=True)
class Target:
    """What of the processor a kernel depends on."""

    register_bytes: int
    registers: int
    family: str = ""
    """`x86` or `arm`, where that matters."""
    matrix_unit: bool = False
    """Whether it multiplies tiles of bf16 numbers (Intel's AMX)."""


@dataclass
class Kernel:
    """A function of pointers, being written."""

    target: Target
    stored: set[Node]
    error: Node
    """Stands for the cell in which a broken bound is reported."""
    shared: bool = False
    """Whether threads share the work."""
    f: Function = field(default_factory=Function)
    buffers: dict[Node, str] = field(default_factory=dict)
    helpers: dict[str, str] = field(default_factory=dict)
    """The text of functions that it calls, and their names in it."""

    def pointer(self, node: Node) -> str:
        """Return the parameter that points to a node's memory."""
        return self.buffers.setdefault(node, f"%p{len(self.buffers)}")

    def helper(self, f: Function, parameters: str) -> str:
        """Return the name by which the kernel calls another function."""
        self.f.declared |= f.declared
        text = f.define("K", parameters)
        return self.helpers.setdefault(text, f"H{len(self.helpers)}")

    def nest(
        self, sizes: Sequence[int], vector: int | None = None, lanes: int = 1
    ) -> Nest:
        """Start a nest of loops."""
        return Nest(self.f, sizes, self.pointer, self.stored, vector, lanes)

    def text(self, name: str) -> str:
        """Return the function."""
        pointers = [f"ptr {each}" for each in self.buffers.values()]
        if self.shared:
            pointers += ["i64 %thread", "i64 %threads"]
        return self.f.define(name, ", ".join(pointers))


def strided(node: Node, stored: set[Node]) -> tuple[Node, int, tuple[int, ...]] | None:
    """Return where a value lies if it lies in memory: node, start, stride an axis."""
    found: dict[tuple[Node, Affine], None] = {}
    index = tuple(map(Affine.counter, range(node.ndim)))
    accesses(node, index, stored, found, literals=False)
    if len(found) != 1 or _computes(node, stored):
        return None
    ((source, place),) = found
    return source, place.constant, tuple(place.factor(i) for i in range(node.ndim))


def _computes(node: Node, stored: set[Node]) -> bool:
    while node not in stored and node.op.name in VIEWS:
        node = node.inputs[0]
    return not (node in stored or node.op.name in ("input", "const"))


# --- elementwise -----------------------------------------------------------------


def map_kernel(
    kernel: Kernel, shape: tuple[int, ...], targets: Sequence[tuple[Node, Node]]
) -> None:
    """Write pairs (value, place): each value to its place.

    A place is a node of the same shape whose memory is written. Values that read
    nothing in common get nests of their own: caches follow a few streams, not sixty.
    """
    if math.prod(shape) == 0:
        return
    index = tuple(
        Affine() if n == 1 else Affine.counter(i) for i, n in enumerate(shape)
    )
    for group in _related(kernel, index, targets):
        _map_nest(kernel, shape, index, group)


def _related(
    kernel: Kernel, index: Index, targets: Sequence[tuple[Node, Node]]
) -> list[list[tuple[Node, Node]]]:
    """Group pairs that read the same memory, in their order."""
    groups: list[tuple[set[Node], list[tuple[Node, Node]]]] = []
    for value, place in targets:
        found: dict[tuple[Node, Affine], None] = {}
        accesses(value, index, _without(kernel.stored, value, place), found)
        memory = {value, place, *(node for node, at in found if at.terms)}
        pairs = []
        for other in [each for each in groups if each[0] & memory]:
            groups.remove(other)
            memory |= other[0]
            pairs += other[1]
        groups.append((memory, [*pairs, (value, place)]))
    return [pairs for _, pairs in groups]


def _map_nest(
    kernel: Kernel,
    shape: tuple[int, ...],
    index: Index,
    targets: Sequence[tuple[Node, Node]],
) -> None:
    """Write pairs of values and places in one nest."""
    found: dict[tuple[Node, Affine], None] = {}
    for value, place in targets:
        accesses(value, index, _without(kernel.stored, value, place), found)
        found[place, offset(shape, index)] = None
    joined, sizes = _join_axes(shape, [place for _, place in found])
    vector = len(sizes) - 1 if sizes else None
    dtypes = [place.dtype for _, place in targets]
    lanes = 1
    if vector is not None:
        lanes = lanes_for(dtypes, sizes[vector], kernel.target.register_bytes)
    nest = _Joined(kernel, sizes, vector, lanes, joined)
    nest.split = kernel.shared
    outer = range(len(sizes) - 1)
    with nest.over(outer):
        if vector is None:
            _write(nest, kernel, targets, index, shape)
        else:
            for _ in nest.vectors():
                _write(nest, kernel, targets, index, shape)


def _without(stored: set[Node], value: Node, place: Node) -> set[Node]:
    """Let a value be computed into its own memory, and copied into any other."""
    return stored - {value} if value is place else stored


def _write(
    nest: _Joined,
    kernel: Kernel,
    targets: Sequence[tuple[Node, Node]],
    index: Index,
    shape: tuple[int, ...],
) -> None:
    values = []
    for value, place in targets:
        stored, nest.stored = nest.stored, _without(nest.stored, value, place)
        found = nest.value(value, index)
        nest.stored = stored
        nest.load_as(value, offset(shape, index), found)
        values.append(found)
    for (_, place), found in zip(targets, values):
        nest.store(place, offset(shape, index), found)


class _Joined(Nest):
    """A nest whose loops run over several axes at once where they lie in a row."""

    def __init__(
        self,
        kernel: Kernel,
        sizes: Sequence[int],
        vector: int | None,
        lanes: int,
        joined: dict[int, int],
    ) -> None:
        super().__init__(kernel.f, sizes, kernel.pointer, kernel.stored, vector, lanes)
        self.joined = joined

    def load(self, node: Node, place: Affine) -> Value:
        """Read an element; the place counts original axes."""
        return super().load(node, self.merge(place))

    def store(self, node: Node, place: Affine, value: Value) -> None:
        """Write an element; the place counts original axes."""
        super().store(node, self.merge(place), value)

    def load_as(self, node: Node, place: Affine, value: Value) -> None:
        """Say that what lies at a place is known in registers."""
        self.known[-1]["load", node, self.merge(place)] = value

    def merge(self, place: Affine) -> Affine:
        """Return a place in terms of the loops."""
        terms = {self.joined[a]: f for a, f in place.terms if a in self.joined}
        return Affine(place.constant, tuple(sorted(terms.items())))


def _join_axes(
    shape: Sequence[int], places: Sequence[Affine]
) -> tuple[dict[int, int], list[int]]:
    """Join neighbouring axes that every place walks through in one stride.

    Returns the loop of each axis that counts, and the sizes of the loops.
    """
    axes = [i for i, n in enumerate(shape) if n > 1]
    groups: list[list[int]] = []
    for axis in axes:
        last = groups[-1][-1] if groups else None
        if last is not None and all(
            p.factor(last) == p.factor(axis) * shape[axis] for p in places
        ):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    joined = {group[-1]: loop for loop, group in enumerate(groups)}
    return joined, [math.prod(shape[a] for a in group) for group in groups]


# --- reductions ------------------------------------------------------------------


def reduction(kernel: Kernel, node: Node) -> None:
    """Sum or take the largest over axes; the producer is computed on the way."""
    source, axes = node.inputs[0], node.attrs["axes"]
    kept = [i for i in range(source.ndim) if i not in axes]
    if node.type.size == 0:
        return
    start = 0.0 if node.op.name == "sum" else lowest(node.dtype)
    if source.type.size == 0:
        fill(kernel, node, start)
        return
    last = max((i for i, n in enumerate(source.shape) if n > 1), default=None)
    lanes = 1
    if last is not None:
        lanes = lanes_for(
            [source.dtype], source.shape[last], kernel.target.register_bytes
        )
    if last not in axes and _lies(source, kernel.stored):
        lanes = _several(lanes, source.shape[last] if last is not None else 1)
    nest = kernel.nest(source.shape, last, lanes)
    index = identity(source)
    out = offset(node.shape, tuple(index[i] for i in kept))
    reducer = _Reducer(nest, node, start)
    nest.split = kernel.shared
    if last is None or last in axes:
        with nest.over([i for i in kept if i != last]):
            reducer.along_vector(source, index, [i for i in axes if i != last], out)
    else:
        with nest.over([i for i in kept if i != last]):
            for _ in nest.vectors():
                reducer.across_vector(source, index, axes, out)


def _lies(node: Node, stored: set[Node]) -> bool:
    """Return whether a value is read from memory as it is."""
    return node in stored or node.op.name == "input"


def _several(lanes: int, size: int) -> int:
    """Return the lanes of several registers, where an axis divides into them: rows are
    read along, and sums do not wait for each other."""
    most = 8 * lanes
    while most > lanes and size % most:
        most //= 2
    return most


def fill(kernel: Kernel, node: Node, value: float) -> None:
    """Write one number everywhere."""
    nest, kind = kernel.nest([node.type.size]), Kind(node.dtype)
    with nest.over([0]):
        place = Affine.counter(0) if node.type.size > 1 else Affine()
        nest.store(node, place, Value(kind.constant(value), kind, 0))


@dataclass
class _Reducer:
    """Folds values into an accumulator in a register."""

    nest: Nest
    node: Node
    start: float

    def _accumulator(self, kind: Kind) -> str:
        entry = self.nest.f.blocks[0]
        name = self.nest.f.let(f"alloca {kind}", entry)
        self.nest.f.do(f"store {kind} {kind.constant(self.start)}, ptr {name}")
        return name

    def _fold(self, accumulator: str, value: Value) -> None:
        f, kind = self.nest.f, value.kind
        before = f.let(f"load {kind}, ptr {accumulator}")
        after = self._combine(kind, before, value.name)
        f.do(f"store {kind} {after}, ptr {accumulator}")

    def _combine(self, kind: Kind, x: str, y: str) -> str:
        f, floats = self.nest.f, kind.is_float
        if self.node.op.name == "sum":
            return f.let(f"{'fadd' if floats else 'add'} {kind} {x}, {y}")
        name = "maximum" if floats else "smax" if kind.is_signed else "umax"
        t = str(kind)
        return f.call(f"llvm.{name}.{kind.suffix}", t, (t, x), (t, y))

    def across_vector(
        self, source: Node, index: Index, axes: Sequence[int], out: Affine
    ) -> None:
        """Reduce other axes than that of the lanes."""
        kind = Kind(source.dtype, self.nest.lanes)
        accumulator = self._accumulator(kind)
        with self.nest.over(axes):
            value = self.nest.spread(self.nest.value(source, index))
            self._fold(accumulator, value)
        name = self.nest.f.let(f"load {kind}, ptr {accumulator}")
        level = len(self.nest.levels) - 1
        self.nest.store(self.node, out, Value(name, kind, level))

    def along_vector(
        self, source: Node, index: Index, axes: Sequence[int], out: Affine
    ) -> None:
        """Reduce the axis of the lanes, and others."""
        nest, f = self.nest, self.nest.f
        kind = Kind(source.dtype, nest.lanes)
        accumulator = self._accumulator(kind)
        with nest.over(axes):
            if nest.vector is None:
                self._fold(accumulator, nest.value(source, index))
            else:
                for _ in nest.vectors():
                    value = nest.spread(nest.value(source, index))
                    self._fold(accumulator, self._masked(value))
        name = f.let(f"load {kind}, ptr {accumulator}")
        one = Kind(kind.dtype)
        if kind.lanes > 1:
            name = self._across_lanes(kind, one, name)
        self.nest.store(self.node, out, Value(name, one, len(nest.levels) - 1))

    def _masked(self, value: Value) -> Value:
        """Let lanes beyond the end change nothing."""
        nest, kind = self.nest, value.kind
        if not nest.mask:
            return value
        neutral = kind.constant(self.start)
        name = nest.f.let(
            f"select {kind.of('?')} {nest.mask}, {kind} {value.name}, {kind} {neutral}"
        )
        return Value(name, kind, value.level)

    def _across_lanes(self, kind: Kind, one: Kind, name: str) -> str:
        """Fold the lanes by halves: the same order on every machine."""
        f, lanes = self.nest.f, kind.lanes
        while lanes > 1:
            half = lanes // 2
            wide, small = Kind(kind.dtype, lanes), Kind(kind.dtype, half)
            low = ", ".join(f"i32 {i}" for i in range(half))
            high = ", ".join(f"i32 {half + i}" for i in range(half))
            parts = []
            for places in (low, high):
                if half == 1:
                    at = places.removeprefix("i32 ")
                    parts.append(f.let(f"extractelement {wide} {name}, i32 {at}"))
                else:
                    parts.append(
                        f.let(
                            f"shufflevector {wide} {name}, {wide} poison, "
                            f"<{half} x i32> <{places}>"
                        )
                    )
            name, lanes = self._combine(small, *parts), half
        return name


def argmax(kernel: Kernel, node: Node) -> None:
    """Keep the first of the largest; a NaN is larger than all."""
    source, axis = node.inputs[0], node.attrs["axis"]
    if node.type.size == 0:
        return
    nest, f = kernel.nest(source.shape), kernel.f
    index, kind, whole = identity(source), Kind(source.dtype), Kind(np.dtype(np.int32))
    kept = [i for i in range(source.ndim) if i != axis]
    best, at = (f.let(f"alloca {each}") for each in (kind, whole))
    with nest.over(kept):
        f.do(f"store {kind} {kind.constant(lowest(source.dtype))}, ptr {best}")
        f.do(f"store i32 0, ptr {at}")
        with nest.over([axis]):
            value = nest.value(source, index).name
            old = f.let(f"load {kind}, ptr {best}")
            place = f.let(f"load i32, ptr {at}")
            counter = f.let(f"trunc i64 {nest.counters[axis]} to i32")
            better = _is_better(f, kind, value, old)
            new = f.let(f"select i1 {better}, {kind} {value}, {kind} {old}")
            f.do(f"store {kind} {new}, ptr {best}")
            place = f.let(f"select i1 {better}, i32 {counter}, i32 {place}")
            f.do(f"store i32 {place}, ptr {at}")
        name = f.let(f"load i32, ptr {at}")
        out = offset(node.shape, tuple(index[i] for i in kept))
        nest.store(node, out, Value(name, whole, len(nest.levels) - 1))


def _is_better(f: Function, kind: Kind, value: str, old: str) -> str:
    if not kind.is_float:
        return f.let(f"icmp {'s' if kind.is_signed else 'u'}gt {kind} {value}, {old}")
    larger = f.let(f"fcmp ugt {kind} {value}, {old}")  # unordered: one is NaN
    ordered = f.let(f"fcmp ord {kind} {old}, {old}")
    return f.let(f"and i1 {larger}, {ordered}")
