"""The reverse pass: from the gradients of outputs to the gradients of anything.

It walks the graph once, from the outputs back, asks each gate's rule what flows into
its inputs, and adds what meets. It builds nodes; it computes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pellucid.dtypes import is_float
from pellucid.errors import GradientError, message
from pellucid.grad.control import CONTROL_RULES
from pellucid.grad.meeting import total
from pellucid.grad.rules import RULES
from pellucid.ir.graph import Graph, Node, born_as, fill, toposort

__all__ = ["adjoints", "differentiate", "gradients"]


def adjoints(
    seeds: Sequence[tuple[Node, Node]], wrt: Iterable[Node]
) -> dict[Node, Node]:
    """Return the gradient of every node between `wrt` and the seeded outputs.

    `seeds` pairs an output with the gradient that enters there. A node that no path
    joins to an output is not in the answer.
    """
    order = toposort([output for output, _ in seeds])
    active = _active(order, wrt)
    grads: dict[Node, Node] = {}
    flows_into: dict[Node, list[Node]] = {}
    parts: dict[Node, dict[int, Node]] = {}
    for output, seed in seeds:
        flows_into.setdefault(output, []).append(seed)
    for y in reversed(order):
        if y not in active or (y not in flows_into and y not in parts):
            continue
        with born_as(y.birth, "backward"):
            if y in flows_into:
                grads[y] = total(flows_into.pop(y))
            if y.op.name == "get":
                parts.setdefault(y.inputs[0], {})[y.attrs["index"]] = grads[y]
                continue
            if y in parts:
                wanted = [each in active for each in y.inputs]
                flows = CONTROL_RULES[y.op.name](parts[y], y, wanted, adjoints)
            else:
                flows = RULES[y.op.name](grads[y], y, *y.inputs) if y.inputs else ()
            for x, flow in zip(y.inputs, flows):
                if flow is not None and x in active:
                    flows_into.setdefault(x, []).append(flow)
    return grads


def _active(order: Sequence[Node], wrt: Iterable[Node]) -> set[Node]:
    """Return the nodes that carry a gradient to one of `wrt`."""
    active = set(wrt)
    for node in order:
        carries = isinstance(node.type, tuple) or is_float(node.dtype)
        if carries and node.op.name != "stop" and not active.isdisjoint(node.inputs):
            active.add(node)
    return active


def gradients(
    output: Node, wrt: Sequence[Node], seed: Node | None = None
) -> list[Node]:
    """Return d output / d each of `wrt`; zeros where no path leads.

    Without a `seed` the output must be a scalar.

    >>> from pellucid.ir.graph import input_node
    >>> from pellucid.ir.types import TensorType
    >>> x = input_node(TensorType((), "f32"), "x")
    >>> gradients(x * x, [x])
    [<add: f32[]>]
    """
    for node in (output, *wrt):
        if not is_float(node.dtype):
            raise GradientError(
                message(
                    f"no gradient for {node.type}",
                    where=str(node.birth),
                    hint="only floats have gradients: cast first",
                )
            )
    if seed is None:
        if output.shape:
            raise GradientError(
                message(
                    f"the gradient of {output.type} needs a seed",
                    where=str(output.birth),
                    expected="expected a scalar",
                    hint="sum it, or give its own gradient",
                )
            )
        seed = fill(1.0, output.type)
    found = adjoints([(output, seed)], wrt)
    return [found[each] if each in found else fill(0.0, each.type) for each in wrt]


def differentiate(graph: Graph, wrt: Sequence[int]) -> Graph:
    """Return the graph with the gradients of its first output as further outputs.

    `wrt` names inputs by position. The first output must be a scalar.

    >>> from pellucid.ir.graph import input_node
    >>> from pellucid.ir.types import TensorType
    >>> x = input_node(TensorType((), "f32"), "x")
    >>> differentiate(Graph((x,), (x * x,)), [0]).output_types
    (f32[], f32[])
    """
    found = gradients(graph.outputs[0], [graph.inputs[i] for i in wrt])
    return Graph(graph.inputs, (*graph.outputs, *found))
