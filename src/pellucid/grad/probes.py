"""Looks inside of loops: the values that a `scan` computes at each step, and their
gradients.

A value of a body gets zeros added that come in step by step from outside. They change
nothing, and the gradient of what came in is the gradient of the value, at every step.
The chain rule needs nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pellucid.dtypes import is_float
from pellucid.ir.graph import Graph, Node, bind, input_node, rebind, substitute

__all__ = ["Choose", "Probe", "probed"]

Choose = Callable[[Node, int], dict[str, Node]]
"""Which values of the body of a scan to look at, by the names they are to have. The
number counts the scans that it stands in."""


@dataclass(frozen=True)
class Probe:
    """A value of every step of a scan: `[steps, …]`, and of a scan in a scan
    `[outer steps, steps, …]`.

    `zeros` is an input to be given zeros; its gradient is that of the value. It is None
    for what has no gradient.
    """

    name: str
    value: Node
    zeros: Node | None


def probed(output: Node, choose: Choose) -> tuple[Node, list[Probe]]:
    """Return an output that computes the same, and the probes in what computes it.

    >>> from pellucid.ir.types import TensorType
    >>> c, x = (input_node(TensorType((), "f32"), name) for name in "cx")
    >>> body = Graph((c, x), (c * x, c * x))
    >>> start, xs = input_node(c.type, "c"), input_node(TensorType((5,), "f32"), "xs")
    >>> attrs = dict(consts=0, carries=1, length=5, reverse=False, keep="all")
    >>> loop = bind("scan", start, xs, body=body, **attrs)
    >>> end = bind("get", loop, index=0)
    >>> _, (probe,) = probed(end, lambda scan, depth: {"product": c * x})
    >>> probe.name, probe.value, probe.zeros
    ('product', <get: f32[5]>, <input: f32[5]>)
    """
    found: list[Probe] = []
    (new,) = substitute([output], {}, _rebuild(choose, 0, {}, found))
    return new, found


def _rebuild(
    choose: Choose, depth: int, names: dict[Node, str], found: list[Probe]
) -> Callable[[Node, tuple[Node, ...]], Node]:
    """Return what puts a gate on new inputs, and a probe behind it if it has a name."""

    def rebuild(node: Node, inputs: tuple[Node, ...]) -> Node:
        new = rebind(node, inputs)
        if node.op.name == "scan":
            new = _scan(new, choose(node, depth), choose, depth, found)
        if node not in names:
            return new
        zeros = input_node(node.type, "zeros") if is_float(node.dtype) else None
        found.append(Probe(names[node], new, zeros))
        return new if zeros is None else new + zeros

    return rebuild


def _scan(
    node: Node, chosen: dict[str, Node], choose: Choose, depth: int, found: list[Probe]
) -> Node:
    """Return a scan with probes in its body, where any are wanted."""
    body, inner = node.attrs["body"], list[Probe]()
    names = {value: name for name, value in chosen.items()}
    own = {each: each for each in body.inputs}
    rebuild = _rebuild(choose, depth + 1, names, inner)
    outputs = substitute(body.outputs, own, rebuild)
    if not inner:
        return node
    length = node.attrs["length"]
    slices = [each.zeros for each in inner if each.zeros is not None]
    stacks = {
        each: input_node(each.type.with_shape((length, *each.shape)), "zeros")
        for each in slices
    }
    results = (*outputs, *(each.value for each in inner))
    wide = Graph((*body.inputs, *slices), results)
    inputs = (*node.inputs, *stacks.values())
    scan = bind("scan", *inputs, **{**node.attrs, "body": wide})
    for i, each in enumerate(inner, len(outputs)):
        zeros = None if each.zeros is None else stacks[each.zeros]
        found.append(Probe(each.name, bind("get", scan, index=i), zeros))
    return scan
