"""Sums that are too long or too short: how products and sums are written anew.

A long sum is cut into a few parts: the parts are summed first, then their sums. Where
a small result is summed over thousands of rows, as the gradient of a small
weight is over a large batch, threads could share nothing of it. They share the parts.
The cuts depend on the shape alone, so the bits do not depend on the number of threads.
A sum of one product is no sum: it becomes a multiplication, part of a larger loop.
"""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.dtypes import is_float
from pellucid.ir.graph import Graph, Node, bind, rebind, substitute
from pellucid.passes.fuse import behind_views, stored_nodes

__all__ = ["split_sums"]

_LONG = 4096
"""The least length of a sum that is cut."""

_SMALL = 8192
"""The most elements of a result that is kept once for each part."""

_FEWEST, _MOST = 4, 16
"""How many parts there are."""


def split_sums(graph: Graph) -> Graph:
    """Return a graph of the same inputs whose long sums are in parts.

    >>> from pellucid.ir.graph import input_node
    >>> from pellucid.ir.types import TensorType
    >>> x = input_node(TensorType((8192,), "f32"), "x")
    >>> total = split_sums(Graph((x,), (bind("sum", x, axes=(0,)),))).outputs[0]
    >>> total.inputs[0].shape
    (16,)
    """
    stored = stored_nodes(graph)

    def rebuild(node: Node, inputs: tuple[Node, ...]) -> Node:
        body = node.attrs.get("body")
        if body is not None:
            attrs = {**node.attrs, "body": split_sums(body)}
            return bind(node.op.name, *inputs, **attrs)
        if node.op.name not in ("dot", "sum") or not is_float(node.dtype):
            return rebind(node, inputs)
        if node.op.name == "dot":
            return _product(node, inputs)
        if node.type.size > _SMALL:
            return rebind(node, inputs)
        source = behind_views(node.inputs[0])
        if source in stored or source.op.name == "input":
            return _sum(node, inputs[0])
        return rebind(node, inputs)

    return Graph(graph.inputs, tuple(substitute(graph.outputs, {}, rebuild)))


def _parts(length: int) -> int:
    """Return into how many equal parts a sum is cut; 1 where it is not."""
    if length < _LONG:
        return 1
    counts = (n for n in range(_MOST, _FEWEST - 1, -1) if length % n == 0)
    return next(counts, 1)


def _cut(node: Node, axis: int, count: int) -> Node:
    """Return a node with an axis in two: the part, and the place in it."""
    length = node.shape[axis] // count
    shape = (*node.shape[:axis], count, length, *node.shape[axis + 1 :])
    return bind("reshape", node, shape=shape)


def _product(node: Node, inputs: Sequence[Node]) -> Node:
    (x, y), (contract, batch) = inputs, (node.attrs["contract"], node.attrs["batch"])
    if not batch[0] and all(x.shape[axis] == 1 for axis in contract[0]):
        return _single(node, x, y)
    count = _parts(x.shape[contract[0][0]]) if len(contract[0]) == 1 else 1
    if count == 1 or batch[0] or node.type.size > _SMALL:
        return rebind(node, tuple(inputs))
    (i,), (j,) = contract
    product = bind(
        "dot",
        _cut(x, i, count),
        _cut(y, j, count),
        contract=((i + 1,), (j + 1,)),
        batch=((i,), (j,)),
    )
    return bind("sum", product, axes=(0,))


def _single(node: Node, x: Node, y: Node) -> Node:
    """Return a product that has one term in each sum: no more than gates."""
    (cx, cy), shape = node.attrs["contract"], node.shape
    rows = [n for axis, n in enumerate(x.shape) if axis not in cx]
    columns = [n for axis, n in enumerate(y.shape) if axis not in cy]
    left = bind("reshape", x, shape=(*rows, *(1 for _ in columns)))
    right = bind("reshape", y, shape=(*(1 for _ in rows), *columns))
    spread = (bind("broadcast", each, shape=shape) for each in (left, right))
    return bind("mul", *spread)


def _sum(node: Node, source: Node) -> Node:
    axes = node.attrs["axes"]
    if not axes or not source.type.size:
        return rebind(node, (source,))
    longest = max(axes, key=lambda axis: source.shape[axis])
    count = _parts(source.shape[longest])
    if count == 1:
        return rebind(node, (source,))
    inner = tuple(axis + (axis >= longest) for axis in axes)
    parts = bind("sum", _cut(source, longest, count), axes=inner)
    before = sum(axis not in axes for axis in range(longest))
    return bind("sum", parts, axes=(before,))
