"""Kernels: the loops of each stored value, one function each.

A kernel takes pointers and nothing else. Two kernels of the same text are one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from pellucid.engines.llvm.emit import Function, Kind
from pellucid.engines.llvm.nest import Nest, Value, accesses, lanes_for
from pellucid.ir.graph import Node
from pellucid.passes.fuse import VIEWS, Affine, Index, offset

__all__ = ["Kernel", "Target", "fill", "map_kernel", "strided"]


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


def fill(kernel: Kernel, node: Node, value: float) -> None:
    """Write one number everywhere."""
    nest, kind = kernel.nest([node.type.size]), Kind(node.dtype)
    with nest.over([0]):
        place = Affine.counter(0) if node.type.size > 1 else Affine()
        nest.store(node, place, Value(kind.constant(value), kind, 0))


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
    nest.split, nest.narrows = kernel.shared, True
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
