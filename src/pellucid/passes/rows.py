"""Works on the rows of a small table once each, not once for each time they are taken.

An embedding takes rows of a table by number, the same ones again and again, and the
next layer multiplies them by a weight. What is done to each row alone may be done
before they are taken, and gradients of equal rows may be added before they are
multiplied:

    table[rows] · w                 = (table · w)[rows]
    gᵀ · table[rows]                = (Σ of g by rows)ᵀ · table
    Σ by rows of (g · w)            = (Σ of g by rows) · w

65 characters in 2,048 places make the three products thirty times smaller. Only sums
are in another order. A row that is not finite and that nobody takes now counts in
the second product, where it meets a zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pellucid.dtypes import is_float
from pellucid.ir.graph import Graph, Node, bind, fill, is_zero, rebind, substitute
from pellucid.ir.types import Shape
from pellucid.passes.simplify import simplify

__all__ = ["share_rows"]

_WORTH = 1 << 18
"""Multiplications of a product below which it stays as it is."""


def share_rows(graph: Graph) -> Graph:
    """Return a graph of the same inputs that computes the same by smaller products.

    >>> from pellucid.ir.graph import input_node
    >>> from pellucid.ir.types import TensorType
    >>> types = {"table": "f32", "rows": "i32", "w": "f32"}
    >>> shapes = (10, 64), (1000,), (64, 64)
    >>> table, rows, w = (
    ...     input_node(TensorType(shape, dtype), name)
    ...     for shape, (name, dtype) in zip(shapes, types.items())
    ... )
    >>> taken = bind("gather", table, rows, axis=0)
    >>> y = bind("dot", taken, w, contract=((1,), (0,)), batch=((), ()))
    >>> shared = share_rows(Graph((table, rows, w), (y,)))
    >>> [node.type for node in shared.nodes if node.op.name == "dot"]
    [f32[10,64]]
    """
    shared = _shared(graph)
    return graph if shared is graph else simplify(shared)


def _shared(graph: Graph) -> Graph:
    outputs = tuple(substitute(graph.outputs, {}, _rebuild))
    return graph if outputs == graph.outputs else Graph(graph.inputs, outputs)


def _rebuild(node: Node, inputs: tuple[Node, ...]) -> Node:
    new = rebind(node, inputs)
    if node.op.name == "dot":
        return _product(new) or new
    if node.op.name == "scatter_add":
        return _sums_of_products(new) or new
    body = node.attrs.get("body")
    shared = body and _shared(body)
    if shared is body:
        return new
    return bind(node.op.name, *inputs, **{**node.attrs, "body": shared})


# --- rows behind views -----------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """Rows of a table `[rows, width]`, taken by number: `[*numbers.shape, width]`."""

    table: Node
    numbers: Node

    @property
    def repeat(self) -> bool:
        """Whether each row is taken twice on average, or more often."""
        return bool(self.numbers.type.size >= 2 * self.table.shape[0])


def _taken(node: Node) -> _Rows | None:
    """Return the rows that a value consists of, looked at through views."""
    if node.op.name == "gather":
        table, numbers = node.inputs
        flat = table.ndim == 2 and node.attrs["axis"] == 0 and is_float(table.dtype)
        return _Rows(table, numbers) if flat and table.type.size else None
    if not _keeps_rows(node):
        return None
    found = _taken(node.inputs[0])
    if found is None or node.ndim < 2:
        return None
    return _Rows(found.table, _viewed(node, found.numbers))


def _keeps_rows(node: Node) -> bool:
    """Return whether a view moves whole rows: the last axis stays as it is."""
    if not node.inputs or node.ndim < 1 or node.type.size == 0:
        return False
    if node.op.name == "transpose":
        return bool(node.attrs["axes"][-1] == node.ndim - 1)
    (source, *_) = node.inputs
    return node.op.name == "reshape" and source.shape[-1:] == node.shape[-1:]


def _viewed(view: Node, numbers: Node) -> Node:
    """Return the numbers of the rows as a view moves them."""
    if view.op.name == "transpose":
        return bind("transpose", numbers, axes=view.attrs["axes"][:-1])
    return bind("reshape", numbers, shape=view.shape[:-1])


def _unviewed(view: Node, numbers: Node) -> Node:
    """Return the numbers of the rows before a view moves them."""
    if view.op.name == "transpose":
        axes = view.attrs["axes"][:-1]
        back = tuple(sorted(range(len(axes)), key=axes.__getitem__))
        return bind("transpose", numbers, axes=back)
    return bind("reshape", numbers, shape=view.inputs[0].shape[:-1])


# --- products --------------------------------------------------------------------


def _product(node: Node) -> Node | None:
    """Return a product of taken rows by products of the table."""
    if node.attrs["batch"] != ((), ()) or _work(node) < _WORTH:
        return None
    for side in (0, 1):
        rows = _taken(node.inputs[side])
        if rows is not None and rows.repeat:
            axes = node.attrs["contract"][side]
            if axes == (rows.numbers.ndim,):
                return _of_table(node, side, rows)
            if sorted(axes) == list(range(rows.numbers.ndim)):
                return _over_rows(node, side, rows)
    return None


def _work(node: Node) -> int:
    x, axes = node.inputs[0], node.attrs["contract"][0]
    inner: int = math.prod(x.shape[axis] for axis in axes)
    return inner * int(node.type.size)


def _of_table(node: Node, side: int, rows: _Rows) -> Node:
    """Multiply each row of the table, then take the rows."""
    contract = [*node.attrs["contract"]]
    contract[side] = (1,)
    operands = [*node.inputs]
    operands[side] = rows.table
    whole = bind("dot", *operands, contract=tuple(contract), batch=((), ()))
    return bind("gather", whole, rows.numbers, axis=0 if side == 0 else whole.ndim - 1)


def _over_rows(node: Node, side: int, rows: _Rows) -> Node:
    """Add what meets equal rows, then multiply the table by it."""
    other, axes = node.inputs[1 - side], node.attrs["contract"]
    # Axis i of the numbers meets this axis of the other operand.
    met = [axes[1 - side][axes[side].index(i)] for i in range(rows.numbers.ndim)]
    sums = _summed(other, met, rows.numbers, rows.table.shape[0])
    operands = (rows.table, sums) if side == 0 else (sums, rows.table)
    return bind("dot", *operands, contract=((0,), (0,)), batch=((), ()))


def _summed(x: Node, met: Sequence[int], numbers: Node, count: int) -> Node:
    """Return the sums of x by number; `met` are its axes that the numbers have."""
    free = [axis for axis in range(x.ndim) if axis not in met]
    shape: Shape = (count, *(x.shape[axis] for axis in free))
    order = (*met, *free)
    straight = order == tuple(range(x.ndim))
    updates = x if straight else bind("transpose", x, axes=order)
    zeros = fill(0.0, x.type.with_shape(shape))
    return bind("scatter_add", zeros, numbers, updates, axis=0)


def _sums_of_products(node: Node) -> Node | None:
    """Return sums by row of a product as a product of sums."""
    table, numbers, updates = node.inputs
    if table.ndim != 2 or node.attrs["axis"] != 0 or not is_zero(table):
        return None
    while _keeps_rows(updates):
        numbers, updates = _unviewed(updates, numbers), updates.inputs[0]
    repeat = numbers.type.size >= 2 * table.shape[0]
    if updates.op.name != "dot" or not repeat or _work(updates) < _WORTH:
        return None
    x, w = updates.inputs
    axes, batch = updates.attrs["contract"], updates.attrs["batch"]
    free = [axis for axis in range(x.ndim) if axis not in axes[0]]
    if batch != ((), ()) or len(free) != numbers.ndim or w.ndim != len(axes[1]) + 1:
        return None
    # Its free axes lie as they stand in x; the contracted ones follow in x's order.
    order = sorted(range(len(axes[0])), key=axes[0].__getitem__)
    sums = _summed(x, free, numbers, table.shape[0])
    places = tuple(range(1, sums.ndim)), tuple(axes[1][i] for i in order)
    return bind("dot", sums, w, contract=places, batch=((), ()))
