"""Cuts long sums into a few parts: the parts are summed first, then their sums.

Where a small result is summed over thousands of rows, as the gradient of a small
weight is over a large batch, threads could share nothing of it. They share the parts.
The cuts depend on the shape alone, so the bits do not depend on the number of threads.
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
        small = node.op.name in ("dot", "sum") and node.type.size <= _SMALL
        if not small or not is_float(node.dtype):
            return rebind(node, inputs)
        if node.op.name == "dot":
            return _product(node, inputs)
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
    count = _parts(x.shape[contract[0][0]]) if len(contract[0]) == 1 else 1
    if count == 1 or batch[0]:
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
