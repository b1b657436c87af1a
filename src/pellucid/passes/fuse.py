"""Decides which values are stored, and which are computed where they are read.

A value is stored when something needs it as an array (a product, a gather, a scan),
when several readers would compute it again, or when it leaves the graph. All other
elementwise gates and changes of shape become part of the loop of their reader.
"""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.ir.graph import Graph, Node
from pellucid.ir.ops import ELEMENTWISE

__all__ = [
    "VIEWS",
    "Affine",
    "Index",
    "behind_views",
    "identity",
    "is_written_turned",
    "offset",
    "read_through",
    "stored_nodes",
]

VIEWS = frozenset(["reshape", "transpose", "broadcast", "slice", "reverse"])
"""Gates that only say where an element lies."""

_FREE = frozenset(
    [
        "eq",
        "lt",
        "le",
        "and",
        "or",
        "xor",
        "not",
        "neg",
        "abs",
        "cast",
        "stop",
        "where",
        "add",
        "mul",
        "maximum",
        "minimum",
        "sign",
    ]
)
"""Gates that cost less to compute again than to store."""

_DEEPEST = 24
"""The most gates that one loop computes for a value."""


# --- where an element lies -------------------------------------------------------


@dataclass(frozen=True)
class Affine:
    """A whole number that is linear in loop counters: constant + Σ factor · counter."""

    constant: int = 0
    terms: tuple[tuple[int, int], ...] = ()

    @classmethod
    def counter(cls, axis: int) -> Affine:
        """Return the counter of a loop."""
        return cls(0, ((axis, 1),))

    def factor(self, axis: int) -> int:
        """Return what a counter is multiplied by."""
        return dict(self.terms).get(axis, 0)

    def __add__(self, other: Affine) -> Affine:
        sums = dict(self.terms)
        for axis, factor in other.terms:
            sums[axis] = sums.get(axis, 0) + factor
        return Affine(self.constant + other.constant, _terms(sums))

    def times(self, factor: int, plus: int = 0) -> Affine:
        """Return factor · self + plus."""
        terms = tuple([(a, f * factor) for a, f in self.terms]) if factor else ()
        return Affine(self.constant * factor + plus, terms)


Index = tuple[Affine, ...]
"""Where an element lies, an axis each."""


def identity(node: Node) -> Index:
    """Return the index whose counters are the node's own axes."""
    return tuple(
        Affine() if size == 1 else Affine.counter(axis)
        for axis, size in enumerate(node.shape)
    )


def offset(shape: tuple[int, ...], index: Index) -> Affine:
    """Return the position of an element in row-major order."""
    constant, stride = 0, 1
    factors: dict[int, int] = {}
    for size, each in zip(reversed(shape), reversed(index)):
        constant += each.constant * stride
        for axis, factor in each.terms:
            factors[axis] = factors.get(axis, 0) + factor * stride
        stride *= size
    return Affine(constant, _terms(factors))


def _terms(factors: dict[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted([each for each in factors.items() if each[1]]))


def read_through(node: Node, index: Index) -> tuple[Node, Index] | None:
    """Return where a view's element lies in what it views; None where it has no index.

    A reshape that does more than add or drop axes of size 1 has one only where its
    source is stored: there the position in row-major order is enough.
    """
    (source,) = node.inputs
    attrs = node.attrs
    if node.op.name == "transpose":
        back = sorted(range(len(index)), key=attrs["axes"].__getitem__)
        return source, tuple(index[i] for i in back)
    if node.op.name == "broadcast":
        return source, tuple(
            Affine() if old == 1 else each for old, each in zip(source.shape, index)
        )
    if node.op.name == "slice":
        moves = zip(index, attrs["start"], attrs["step"])
        return source, tuple(i.times(step, start) for i, start, step in moves)
    if node.op.name == "reverse":
        return source, tuple(
            each.times(-1, size - 1) if axis in attrs["axes"] else each
            for axis, (each, size) in enumerate(zip(index, source.shape))
        )
    return _through_reshape(node, source, index)


def _through_reshape(
    node: Node, source: Node, index: Index
) -> tuple[Node, Index] | None:
    kept = iter(each for each, size in zip(index, node.shape) if size != 1)
    if [n for n in node.shape if n != 1] != [n for n in source.shape if n != 1]:
        return None
    return source, tuple(Affine() if n == 1 else next(kept) for n in source.shape)


# --- what is stored --------------------------------------------------------------


def stored_nodes(graph: Graph) -> set[Node]:
    """Return the nodes that get memory of their own; constants and inputs have it."""
    stored = {node for node in graph.nodes if node.op.name not in _INLINE}
    stored |= set(graph.outputs)
    for node in graph.nodes:
        stored |= _arrays_for(node)
    for node in _written_turned(graph):
        stored = (stored - {node.inputs[0]}) | {node}
    reads = _reads(graph, stored)
    depth: dict[Node, int] = {}
    for node in graph.nodes:
        if node.op.name == "reshape" and read_through(node, identity(node)) is None:
            stored.add(_in_order(node.inputs[0]))
        inner = [depth[each] for each in node.inputs if each not in stored]
        own = node.op.name not in VIEWS
        depth[node] = own + max(inner, default=0)
        again = reads.get(node, 0) > 1 and not _is_cheap(node, depth[node])
        if node.op.name in ELEMENTWISE and (again or depth[node] > _DEEPEST):
            stored.add(node)
    return {node for node in stored if node.op.name not in ("const", "input")}


def _written_turned(graph: Graph) -> list[Node]:
    """Return each transpose that is all that reads a `conv`: the result of the `conv`
    is written as it turns it, and nowhere else."""
    readers: dict[Node, list[Node]] = {each: [each] for each in graph.outputs}
    for node in graph.nodes:
        for each in node.inputs:
            readers.setdefault(each, []).append(node)
    return [
        node
        for node in graph.nodes
        if node.op.name == "transpose"
        and node.inputs[0].op.name == "conv"
        and len(readers[node.inputs[0]]) == 1
    ]


def is_written_turned(node: Node, stored: set[Node]) -> bool:
    """Return whether a stored value is a `conv` with its axes turned."""
    if node.op.name != "transpose":
        return False
    (source,) = node.inputs
    return source.op.name == "conv" and source not in stored


def _in_order(node: Node) -> Node:
    """Return what must lie in memory so that a reshape can count through it."""
    while node.op.name == "reshape":
        node = node.inputs[0]
    return node


_INLINE = frozenset([*ELEMENTWISE, *VIEWS, "const"])


def _arrays_for(node: Node) -> set[Node]:
    """Return what a gate needs to lie in memory, if only behind views."""
    name, inputs = node.op.name, node.inputs
    if name == "scan":
        first, after = node.attrs["consts"], node.attrs["carries"]
        return {*inputs[:first], *inputs[first + after :]}
    count = {"dot": 2, "conv": 2, "gather": 1}.get(name, 0)
    return {behind_views(each) for each in inputs[:count]}


def _is_cheap(node: Node, depth: int) -> bool:
    return node.op.name in _FREE and depth <= 2


def behind_views(node: Node) -> Node:
    """Return what a chain of views looks at."""
    while node.op.name in VIEWS:
        node = node.inputs[0]
    return node


def _reads(graph: Graph, stored: set[Node]) -> dict[Node, int]:
    """Count the loops that would compute a node; a repeated read along a broadcast
    counts as two."""
    reads: dict[Node, int] = {}
    for node in reversed(graph.nodes):
        own = max(1, reads.get(node, 0)) if node.op.name in VIEWS else 1
        if node.op.name == "broadcast" and node.type.size > node.inputs[0].type.size:
            own = max(own, 2)
        for each in node.inputs:
            reads[each] = reads.get(each, 0) + own
    return reads
