"""Moves out of a loop what is the same in each of its steps.

A product wants its right operand row by row, the axes that it sums over first. A
weight lies the other way round, so it would be turned in every step of a `scan` for
which it is constant. Here it is turned once, before the scan: the same bits by less.
"""

from __future__ import annotations

from pellucid.ir.graph import Graph, Node, bind, input_node, rebind, substitute

__all__ = ["FEW", "hoist"]

FEW = 8
"""Steps below which nothing is moved: who makes it for all is not who uses it then."""


def hoist(graph: Graph) -> Graph:
    """Return a graph of the same inputs whose scans turn no constant in their steps.

    >>> from pellucid.ir.types import TensorType
    >>> x = input_node(TensorType((2,), "f32"), "x")
    >>> hoist(Graph((x,), (x + x,))).outputs == (x + x,)
    True
    """
    return Graph(graph.inputs, tuple(substitute(graph.outputs, {}, _rebuild)))


def _rebuild(node: Node, inputs: tuple[Node, ...]) -> Node:
    if node.op.name != "scan":
        return rebind(node, inputs)
    attrs = node.attrs
    body, first = hoist(attrs["body"]), attrs["consts"]
    if attrs["length"] < FEW:
        return bind("scan", *inputs, **{**attrs, "body": body})
    outer = dict(zip(body.inputs[:first], inputs))
    stand_in: dict[Node, Node] = {}
    """The turned constants of the body, and the new inputs that stand for them."""

    def within(gate: Node, operands: tuple[Node, ...]) -> Node:
        if gate.op.name == "dot":
            return _product(gate, operands, outer, stand_in)
        if gate.op.name == "scan":
            count = gate.attrs["consts"]
            moved = (_moved(each, outer, stand_in) for each in operands[:count])
            return rebind(gate, (*moved, *operands[count:]))
        return rebind(gate, operands)

    results = substitute(body.outputs, {}, within)
    turned = [
        bind("transpose", outer[each.inputs[0]], axes=each.attrs["axes"])
        for each in stand_in
    ]
    heads = (*body.inputs[:first], *stand_in.values(), *body.inputs[first:])
    changed = {
        **attrs,
        "body": Graph(heads, tuple(results)),
        "consts": first + len(turned),
    }
    return bind("scan", *inputs[:first], *turned, *inputs[first:], **changed)


def _moved(node: Node, outer: dict[Node, Node], stand_in: dict[Node, Node]) -> Node:
    """Return what stands for a turned constant; other nodes as they are."""
    if node.op.name != "transpose" or node.inputs[0] not in outer:
        return node
    return stand_in.setdefault(node, input_node(node.type, "turned"))


def _product(
    node: Node,
    operands: tuple[Node, ...],
    outer: dict[Node, Node],
    stand_in: dict[Node, Node],
) -> Node:
    """Return a product whose right operand, if it is constant, lies row by row."""
    left, right = operands
    (cx, cy), (bx, by) = node.attrs["contract"], node.attrs["batch"]
    free = tuple(axis for axis in range(right.ndim) if axis not in (*cy, *by))
    order = (*by, *cy, *free)
    if right not in outer or order == tuple(range(right.ndim)):
        return rebind(node, operands)
    turned = _moved(bind("transpose", right, axes=order), outer, stand_in)
    places = tuple(range(len(by))), tuple(range(len(by), len(by) + len(cy)))
    return bind("dot", left, turned, contract=(cx, places[1]), batch=(bx, places[0]))
