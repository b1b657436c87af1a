"""Sums and largest values over axes; what is reduced is computed on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pellucid.engines.llvm.emit import Function, Kind
from pellucid.engines.llvm.kernels import Kernel, fill
from pellucid.engines.llvm.nest import Nest, Value, lanes_for
from pellucid.engines.numpy_kernels import lowest
from pellucid.ir.graph import Node
from pellucid.passes.fuse import Affine, Index, identity, offset

__all__ = ["argmax", "reduction"]


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
